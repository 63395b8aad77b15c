//! A metadata log as it lies on the disk, read without changing it: for commands that run beside a
//! node, or before one is to start again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ottla_protocol::metadata::MetadataRecord;
use ottla_raft::{LogEnd, QuorumLog, SnapshotId, VoterSet};
use ottla_records::{Batch, HEADER_BYTES};
use ottla_storage::{File, Files, StorageError};
use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use crate::FOLDER;
use crate::driver::QuorumError;
use crate::replay::Replay;
use crate::snapshot::{newest_snapshot, read_file, snapshot_path};
use crate::state;

/// The largest batch that is read, in bytes; Apache Kafka's controllers write 8 MB at most.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// What the metadata log of a directory holds.
#[derive(Debug)]
pub struct LogSurvey {
    /// The newest snapshot. Everything that it holds had committed.
    pub newest_snapshot: Option<SnapshotId>,
    /// The offset of the first record of the log.
    pub start: Offset,
    /// Where the log ends, or where it is broken, and the epoch of the last record.
    pub end: LogEnd,
    /// The highest epoch that the replica has heard of.
    pub epoch: LeaderEpoch,
    /// When the newest batch was written.
    pub newest_ms: Option<TimestampMs>,
    /// The voters in force at the end; those that were passed in where the log names none.
    pub voters: VoterSet,
    /// The level of `kraft.version` in force at the end.
    pub kraft_version: i16,
    /// The metadata records, the newest snapshot's first.
    pub records: Vec<MetadataRecord>,
    /// How many of `records`, the last ones, lie behind the newest snapshot: whether they had
    /// committed is not on the disk.
    pub undecided: usize,
    /// Where the log cannot be read on.
    pub broken: Option<BrokenLog>,
}

/// A place of the log from which on it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLog {
    /// The segment.
    pub file: PathBuf,
    /// The byte of the segment.
    pub position: u64,
    /// How many bytes lie there and behind it, in this and in later segments.
    pub left_bytes: u64,
    /// The offset that is due there.
    pub offset: Offset,
    /// How it is broken.
    pub kind: BreakKind,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for BrokenLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, at, offset, why) = (self.file.display(), self.position, self.offset, &self.why);
        write!(f, "{file} cannot be read from byte {at} on, where offset {offset} is due: {why}")
    }
}

/// How a log is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakKind {
    /// The last batch is incomplete: its write was not finished, or is not yet.
    CutOff,
    /// Something else lies there than what was written.
    Damaged,
}

impl LogSurvey {
    /// Reads the metadata log of the data directory `dir`; `static_voters` are those of
    /// `controller.quorum.voters`.
    ///
    /// # Errors
    /// A file cannot be read, the snapshot or a record is broken or newer than this software, or
    /// there is no snapshot of what lies before the log.
    pub fn read(
        files: &dyn Files,
        dir: &Path,
        static_voters: VoterSet,
    ) -> Result<Self, QuorumError> {
        let folder = &dir.join(FOLDER);
        let mut replay = Replay::over(QuorumLog::new(static_voters));
        let newest = newest_snapshot(files, folder)?;
        if let Some(id) = newest {
            let bytes = read_file(files, &snapshot_path(id, folder))?;
            replay.take_snapshot(id, &bytes.unwrap_or_default())?;
        }
        let in_snapshot = replay.records.len();
        let snapshot_end = newest.map_or(0, |id| id.end);
        let mut reading = Reading { replay, snapshot_end, next: None, newest_ms: None };
        let segments = segments_of(files, folder)?;
        let start = segments.keys().next().copied().unwrap_or(snapshot_end);
        if start > snapshot_end {
            let why =
                format!("it starts at offset {start}, and no snapshot has the records before");
            return Err(QuorumError::Corrupt(why));
        }
        let broken = reading.read_segments(files, folder, &segments)?;
        let Reading { replay, newest_ms, .. } = reading;
        let state = state::read_state(files, folder)?;
        let end = replay.log.end();
        Ok(Self {
            newest_snapshot: newest,
            start,
            end,
            epoch: state.epoch.max(end.epoch),
            newest_ms,
            voters: replay.log.voters().clone(),
            kraft_version: replay.log.kraft_version(),
            undecided: replay.records.len() - in_snapshot,
            records: replay.records,
            broken,
        })
    }

    /// Is there nothing but a formatted directory, without a record?
    #[must_use]
    pub const fn is_blank(&self) -> bool {
        self.end.offset == 0
    }
}

/// The segments, with their sizes in bytes.
fn segments_of(files: &dyn Files, folder: &Path) -> Result<BTreeMap<Offset, u64>, StorageError> {
    let listed = files.list(folder);
    let listed = listed.map_err(|source| StorageError::Io { path: folder.to_owned(), source })?;
    let base = |name: &str| name.strip_suffix(".log")?.parse().ok();
    Ok(listed.iter().filter_map(|it| Some((base(&it.name)?, it.size_bytes))).collect())
}

/// Where the segment with this base offset lies.
pub(crate) fn segment_path(base: Offset, folder: &Path) -> PathBuf {
    folder.join(format!("{base:020}.log"))
}

struct Reading {
    replay: Replay,
    snapshot_end: Offset,
    /// The offset that the next batch must have.
    next: Option<Offset>,
    newest_ms: Option<TimestampMs>,
}

impl Reading {
    fn read_segments(
        &mut self,
        files: &dyn Files,
        folder: &Path,
        segments: &BTreeMap<Offset, u64>,
    ) -> Result<Option<BrokenLog>, QuorumError> {
        for base in segments.keys() {
            let path = segment_path(*base, folder);
            let broken = if self.next.is_some_and(|next| next != *base) {
                let why = format!("the segment begins at offset {base}: one before it is missing");
                Some((0, BreakKind::Damaged, why))
            } else {
                self.next = Some(*base);
                self.read_segment(files, &path)?
            };
            if let Some((position, kind, why)) = broken {
                let later: u64 = segments.range(base..).map(|(_, size)| size).sum();
                let is_last = segments.keys().next_back() == Some(base);
                return Ok(Some(BrokenLog {
                    file: path,
                    position,
                    left_bytes: later.saturating_sub(position),
                    offset: self.next.unwrap_or(*base),
                    kind: if is_last { kind } else { BreakKind::Damaged },
                    why,
                }));
            }
        }
        Ok(None)
    }

    /// Reads a segment through; at which byte it is broken, if it is, how and why.
    fn read_segment(
        &mut self,
        files: &dyn Files,
        path: &Path,
    ) -> Result<Option<(u64, BreakKind, String)>, QuorumError> {
        let failed = |source| StorageError::Io { path: path.to_owned(), source };
        let file = files.open(path).map_err(failed)?;
        let size = file.size().map_err(failed)?;
        let (mut position, mut buffer) = (0, Vec::new());
        while position < size {
            let found = read_batch(&*file, position, size, &mut buffer).map_err(failed)?;
            let batch = match found {
                Ok(batch) => batch,
                Err((kind, why)) => return Ok(Some((position, kind, why))),
            };
            let due = self.next.unwrap_or(0);
            if batch.base_offset() != due || batch.next_offset() <= due {
                let why = format!("a batch of offset {} where {due} is due", batch.base_offset());
                return Ok(Some((position, BreakKind::Damaged, why)));
            }
            self.next = Some(batch.next_offset());
            self.newest_ms = self.newest_ms.max(Some(batch.base_timestamp()));
            if batch.next_offset() > self.snapshot_end {
                self.replay.take_log(batch.bytes())?;
            }
            position += batch.size() as u64;
        }
        Ok(None)
    }
}

/// The batch at a place of a segment, or what is wrong there.
fn read_batch<'a>(
    file: &dyn File,
    position: u64,
    size: u64,
    buffer: &'a mut Vec<u8>,
) -> std::io::Result<Result<Batch<'a>, (BreakKind, String)>> {
    let left = usize::try_from(size - position).unwrap_or(usize::MAX);
    buffer.clear();
    file.read_into(buffer, position, left.min(HEADER_BYTES))?;
    let length = match buffer.first_chunk::<HEADER_BYTES>().map(Batch::header_only) {
        None => {
            let why = "the header of a batch is cut off".to_owned();
            return Ok(Err((BreakKind::CutOff, why)));
        }
        Some(Err(error)) => return Ok(Err((BreakKind::Damaged, error.to_string()))),
        Some(Ok(header)) => header.size(),
    };
    if length > BATCH_BYTES_MAX {
        return Ok(Err((BreakKind::Damaged, format!("a batch of {length} bytes"))));
    }
    if length > left {
        let why = format!("a batch of {length} bytes, and the segment has {left} more");
        return Ok(Err((BreakKind::CutOff, why)));
    }
    file.read_into(buffer, position + HEADER_BYTES as u64, length.saturating_sub(HEADER_BYTES))?;
    Ok(match Batch::first(buffer) {
        Ok(batch) if batch.crc_is_right() => Ok(batch),
        Ok(_) => Err((BreakKind::Damaged, "the checksum of a batch is wrong".to_owned())),
        Err(error) => Err((BreakKind::Damaged, error.to_string())),
    })
}
