//! `ottla dump`: what is in the files of a log, as `kafka-dump-log.sh` prints it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use ottla_storage::{DiskFiles, Files};

use crate::stored::RecordDecoder;
use crate::{index, log};

/// Show what is in log, index, snapshot and checkpoint files (kafka-dump-log.sh).
#[derive(Args, Clone, Debug, Default)]
#[command(rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of Kafka's tool")]
pub struct Dump {
    /// The files, separated by commas.
    #[arg(long, required = true, value_delimiter = ',', value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Show the records of each batch.
    #[arg(long)]
    pub deep_iteration: bool,
    /// Show the records' keys and values too.
    #[arg(long)]
    pub print_data_log: bool,
    /// Show batches and records, but of records only offset, time and sizes.
    #[arg(long)]
    pub skip_record_metadata: bool,
    /// Compare an index with its log, and show only where they differ.
    #[arg(long)]
    pub verify_index_only: bool,
    /// Check that an index is in order, without showing it.
    #[arg(long)]
    pub index_sanity_check: bool,
    /// Records are those of __consumer_offsets.
    #[arg(long)]
    pub offsets_decoder: bool,
    /// Records are those of __transaction_state.
    #[arg(long)]
    pub transaction_log_decoder: bool,
    /// Records are those of __share_group_state.
    #[arg(long)]
    pub share_group_state_decoder: bool,
    /// Records are those of __cluster_metadata.
    #[arg(long)]
    pub cluster_metadata_decoder: bool,
    /// How many bytes of a log to read at most.
    #[arg(long, default_value_t = u64::MAX, value_name = "BYTES")]
    pub max_bytes: u64,
    /// The size of the largest message; taken for Kafka's sake.
    #[arg(long, default_value_t = 5 * 1024 * 1024, value_name = "BYTES")]
    pub max_message_size: u64,
}

/// Why a file cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its name does not show which kind of file it is.
    #[error("{}: not a .log, .index, .timeindex, .txnindex, .snapshot or .checkpoint file", .0.display())]
    Kind(PathBuf),
    /// It is not what its name says.
    #[error("{}: {why}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Shown(#[from] io::Error),
}

/// Where an index and its log differ.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Index file; offset in the index, offset in the log.
    pub offsets: Vec<(PathBuf, i64, i64)>,
    /// Time index; timestamp in the index, timestamp in the log.
    pub times: Vec<(PathBuf, i64, i64)>,
    /// Time index; timestamp, and the one before it.
    pub order: Vec<(PathBuf, i64, i64)>,
    /// Offset in the time index, and the one found in the log.
    pub lost: Vec<(i64, i64)>,
    /// Log; an offset and the one after it. Also printed where it is not an error: of a log that
    /// does not begin at 0, and of a compacted one.
    pub gaps: Vec<(PathBuf, i64, i64)>,
}

impl Dump {
    /// Shows the files, one after the other, and then where indexes differ from their logs.
    ///
    /// # Errors
    /// A file cannot be read, or is not a file of a log.
    pub fn run(&self, out: &mut impl Write) -> Result<(), DumpError> {
        let mut differences = Differences::default();
        for path in &self.files {
            writeln!(out, "Dumping {}", path.display())?;
            let ending = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
            match ending {
                "log" | "checkpoint" => log::dump_log(self, path, &mut differences, out)?,
                "index" => index::dump_offset_index(self, path, &mut differences, out)?,
                "timeindex" => index::dump_time_index(self, path, &mut differences, out)?,
                "txnindex" => index::dump_aborted(path, out)?,
                "snapshot" => index::dump_producers(path, out)?,
                _ => return Err(DumpError::Kind(path.clone())),
            }
        }
        differences.show(out)?;
        Ok(())
    }

    pub(crate) const fn decoder(&self) -> RecordDecoder {
        if self.offsets_decoder {
            RecordDecoder::Groups
        } else if self.transaction_log_decoder {
            RecordDecoder::Transactions
        } else if self.share_group_state_decoder {
            RecordDecoder::Shares
        } else if self.cluster_metadata_decoder {
            RecordDecoder::Metadata
        } else {
            RecordDecoder::Text
        }
    }

    pub(crate) const fn shows_records(&self) -> bool {
        self.deep_iteration || self.shows_data()
    }

    pub(crate) const fn shows_data(&self) -> bool {
        self.print_data_log || !matches!(self.decoder(), RecordDecoder::Text)
    }
}

impl Differences {
    fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let each = [
            (&self.offsets, "Mismatches in :", "Index offset", "log offset"),
            (&self.times, "Found timestamp mismatch in :", "Index timestamp", "log timestamp"),
            (
                &self.order,
                "Found out of order timestamp in :",
                "Index timestamp",
                "Previously indexed timestamp",
            ),
        ];
        for (found, title, here, there) in each {
            let mut last: Option<&Path> = None;
            for (path, a, b) in found {
                if last != Some(path) {
                    writeln!(out, "{title}{}", path.display())?;
                    last = Some(path);
                }
                writeln!(out, "  {here}: {a}, {there}: {b}")?;
            }
        }
        if !self.lost.is_empty() {
            writeln!(out, "The following indexed offsets are not found in the log.")?;
        }
        for (indexed, found) in &self.lost {
            writeln!(out, "Indexed offset: {indexed}, found log offset: {found}")?;
        }
        let mut last: Option<&Path> = None;
        for (path, before, behind) in &self.gaps {
            if last != Some(path) {
                writeln!(out, "Non-consecutive offsets in {}", path.display())?;
                last = Some(path);
            }
            writeln!(out, "  {before} is followed by {behind}")?;
        }
        Ok(())
    }
}

/// The whole of a file, or its first `bytes_max` bytes.
pub(crate) fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DumpError> {
    let failed = |source| DumpError::Read { path: path.to_owned(), source };
    let file = DiskFiles.open(path).map_err(failed)?;
    let size = file.size().map_err(failed)?.min(bytes_max);
    let mut bytes = Vec::new();
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    file.read_into(&mut bytes, 0, length).map_err(failed)?;
    Ok(bytes)
}

/// `OptionalLong`, as Java shows it.
pub(crate) fn java_optional(value: Option<i64>) -> String {
    value.map_or("OptionalLong.empty".to_owned(), |value| format!("OptionalLong[{value}]"))
}
