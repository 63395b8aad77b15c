//! `ottla doctor --offline DIR`: what is wrong with a data directory, and what a start would do.
//!
//! Nothing is changed, not even a lock is taken, so it can look at a copy or at a disk that is
//! mounted read-only. A directory that a node is writing to is not looked into.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use ottla_records::{Batch, HEADER_BYTES};
use ottla_storage::{DiskFiles, File, Files, Listed, OffsetCheckpoint, PartitionMetadata};
use ottla_types::TopicPartition;

use crate::dump::DumpError;
use crate::lock;

/// How much of a log is read at once, in bytes.
const READ_BYTES: usize = 4 << 20;
/// The largest batch that can be valid, in bytes.
const BATCH_BYTES_MAX: usize = 1 << 30;
/// What half-done work leaves, and what a start does with it.
const LEFT_OVER: [(&str, &str); 4] = [
    (".deleted", "was deleted; a start removes it"),
    (".cleaned", "a cleaner did not finish; a start removes it"),
    (".tmp", "was not finished; a start removes it"),
    (".swap", "a cleaner had finished; a start puts it in its place"),
];

/// Look at a data directory without changing it.
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// The data directory; no node needs to run, and none should.
    #[arg(long, value_name = "DIR")]
    pub offline: PathBuf,
    /// Read every record of every log, not only what a start would read.
    #[arg(long)]
    pub thorough: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Severity, file or folder, and finding.
    pub all: Vec<(Severity, String, String)>,
    /// How many partitions there are.
    pub partitions: usize,
    /// How many bytes a start would read.
    pub to_read_bytes: u64,
    /// A running node has the directory; nothing in it was looked at.
    pub in_use: bool,
}

impl Findings {
    /// What was found, in a sentence; empty if the directory was not checked.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let worst = self.all.iter().map(|(severity, ..)| *severity).max();
        let verdict = match worst {
            None => "all is well",
            Some(Severity::Note) => "all is well; a start tidies up",
            Some(Severity::Warning) => "a start works, without the data that the warnings name",
            Some(Severity::Error) => "something is lost or broken",
        };
        let (count, bytes) = (self.partitions, self.to_read_bytes);
        let text = format!("{count} partitions, {bytes} bytes to read at the start: {verdict}");
        Some(text).filter(|_| !self.in_use)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A start takes care of it and nothing is lost.
    Note,
    /// A start goes on without something.
    Warning,
    /// Records are lost or cannot be read, or the node does not start.
    Error,
}

/// The checkpoints of a data directory.
#[derive(Default)]
struct Points {
    clean: bool,
    recovery: OffsetCheckpoint,
    start: OffsetCheckpoint,
}

impl Doctor {
    /// Looks.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn look(&self) -> Result<Findings, DumpError> {
        let dir = &self.offline;
        let listed = list_files(dir)?;
        let mut found = Findings::default();
        if let Some(process) = lock::lock_holder(&dir.join(".lock")) {
            // What it has not finished writing would look like damage.
            found.in_use = true;
            let what = format!(
                "in use by process {process}: stop that node first, or ask it with `ottla doctor`"
            );
            found.say(Severity::Warning, &dir.display().to_string(), what);
            return Ok(found);
        }
        let points = self.top(&listed, &mut found);
        for entry in listed.iter().filter(|entry| entry.is_dir) {
            if entry.name.ends_with("-delete") || entry.name.ends_with("-stray") {
                found.say(Severity::Note, &entry.name, "of a deleted topic; a start removes it");
            } else if let Some(place) = place_of(&entry.name) {
                found.partitions += 1;
                self.partition(&dir.join(&entry.name), &place, &points, &mut found)?;
            } else {
                found.say(
                    Severity::Warning,
                    &entry.name,
                    "not the folder of a partition; left alone",
                );
            }
        }
        Ok(found)
    }

    fn top(&self, listed: &[Listed], found: &mut Findings) -> Points {
        let dir = &self.offline;
        let has = |name: &str| listed.iter().any(|entry| entry.name == name);
        if !has("meta.properties") {
            let what = "is missing; a start takes the directory for a new one";
            found.say(Severity::Error, "meta.properties", what);
        }
        let clean = has(".kafka_cleanshutdown");
        // A directory that was only formatted has no log that a stop could have cut short.
        let is_log = |file: &Listed| file.name.ends_with(".log");
        let has_log =
            |name: &str| list_files(&dir.join(name)).is_ok_and(|files| files.iter().any(is_log));
        if !clean && listed.iter().any(|entry| entry.is_dir && has_log(&entry.name)) {
            let what = "the last stop was not a clean one; logs are looked through";
            found.say(Severity::Note, ".kafka_cleanshutdown", what);
        }
        let mut read = |name: &str| match OffsetCheckpoint::read(&DiskFiles, &dir.join(name)) {
            Ok(points) => points,
            Err(error) => {
                let what = format!("{error}; a start takes it for empty");
                found.say(Severity::Warning, name, what);
                OffsetCheckpoint::default()
            }
        };
        read("replication-offset-checkpoint");
        read("cleaner-offset-checkpoint");
        let recovery = read("recovery-point-offset-checkpoint");
        Points { clean, recovery, start: read("log-start-offset-checkpoint") }
    }

    fn partition(
        &self,
        folder: &Path,
        place: &TopicPartition,
        points: &Points,
        found: &mut Findings,
    ) -> Result<(), DumpError> {
        let name = format!("{}-{}", place.topic, place.partition);
        let files: BTreeMap<String, u64> =
            list_files(folder)?.into_iter().map(|entry| (entry.name, entry.size_bytes)).collect();
        if &*place.topic != "__cluster_metadata" {
            match PartitionMetadata::read(&DiskFiles, folder) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let what = "partition.metadata is missing; a start writes it";
                    found.say(Severity::Note, &name, what);
                }
                Err(error) => found.say(Severity::Error, &name, error.to_string()),
            }
        }
        for (ending, what) in LEFT_OVER {
            for file in files.keys().filter(|file| file.ends_with(ending)) {
                found.say(Severity::Note, &format!("{name}/{file}"), what);
            }
        }
        let point = points.recovery.0.get(place).copied().unwrap_or(0);
        let bases: Vec<i64> =
            files.keys().filter_map(|file| file.strip_suffix(".log")?.parse().ok()).collect();
        let start = points.start.0.get(place).copied().unwrap_or(0);
        if bases.first().is_some_and(|first| *first > start && start > 0) {
            let what = format!("starts at {start}, but its first segment later");
            found.say(Severity::Warning, &name, what);
        }
        for (at, base) in bases.iter().enumerate() {
            let next = bases.get(at + 1).copied();
            let log = format!("{base:020}.log");
            for ending in ["index", "timeindex"] {
                // A log without records has none yet.
                let is_empty = files.get(&log).is_none_or(|bytes| *bytes == 0);
                if !is_empty && !files.contains_key(&format!("{base:020}.{ending}")) {
                    let what = format!("has no .{ending}; a start makes it again");
                    found.say(Severity::Note, &format!("{name}/{log}"), what);
                }
            }
            let durable = points.clean || next.is_some_and(|next| next <= point);
            if !durable {
                found.to_read_bytes += files.get(&log).copied().unwrap_or(0);
            }
            if !durable || self.thorough {
                let expected = Expected { base: *base, next, durable };
                check_segment(&folder.join(&log), &format!("{name}/{log}"), &expected, found)?;
            }
        }
        Ok(())
    }
}

/// What a segment should be like.
struct Expected {
    base: i64,
    next: Option<i64>,
    durable: bool,
}

impl Findings {
    fn say(&mut self, severity: Severity, place: &str, what: impl Into<String>) {
        self.all.push((severity, place.to_owned(), what.into()));
    }
}

fn list_files(dir: &Path) -> Result<Vec<Listed>, DumpError> {
    DiskFiles.list(dir).map_err(|source| DumpError::Read { path: dir.to_owned(), source })
}

fn place_of(name: &str) -> Option<TopicPartition> {
    let (topic, index) = name.rsplit_once('-')?;
    Some(TopicPartition::new(topic, index.parse().ok()?))
}

/// Reads a segment through and reports where it is not valid.
fn check_segment(
    path: &Path,
    name: &str,
    expected: &Expected,
    found: &mut Findings,
) -> Result<(), DumpError> {
    let failed = |source: io::Error| DumpError::Read { path: path.to_owned(), source };
    let file = DiskFiles.open(path).map_err(failed)?;
    let size = file.size().map_err(failed)?;
    let (mut position, mut end) = (0, expected.base);
    let mut buffer = Vec::new();
    while position < size {
        match batch_at(&*file, position, size, &mut buffer).map_err(failed)? {
            Ok(batch) if batch.base_offset() >= end => {
                end = batch.next_offset();
                position += batch.size() as u64;
            }
            wrong => {
                let why = wrong.map_or_else(
                    |why| why,
                    |_| "the batch's offset is lower than the one before".to_owned(),
                );
                let left = size - position;
                let (severity, then) = match (expected.durable, expected.next) {
                    (true, _) => {
                        (Severity::Error, "records from here on cannot be read".to_owned())
                    }
                    (false, None) => (Severity::Warning, format!("a start cuts {left} bytes off")),
                    (false, Some(_)) => {
                        let then = "a start cuts it there and removes later segments";
                        (Severity::Error, then.to_owned())
                    }
                };
                let what = format!("at byte {position}, after offset {end}: {why}; {then}");
                found.say(severity, name, what);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The batch at a place of a log, or what is wrong there.
fn batch_at<'a>(
    file: &dyn File,
    position: u64,
    size: u64,
    buffer: &'a mut Vec<u8>,
) -> io::Result<Result<Batch<'a>, String>> {
    let left = usize::try_from(size - position).unwrap_or(usize::MAX);
    buffer.clear();
    file.read_into(buffer, position, left.min(HEADER_BYTES))?;
    let length = match buffer.first_chunk::<HEADER_BYTES>().map(Batch::header_only) {
        None => return Ok(Err("incomplete batch header".to_owned())),
        Some(Err(error)) => return Ok(Err(error.to_string())),
        Some(Ok(header)) => header.size(),
    };
    if length > left || length > BATCH_BYTES_MAX {
        return Ok(Err(format!("a batch of {length} bytes, but the file has only {left} more")));
    }
    buffer.clear();
    let mut at = 0;
    while at < length {
        let more = (length - at).min(READ_BYTES);
        file.read_into(buffer, position + at as u64, more)?;
        at += more;
    }
    Ok(match Batch::first(buffer) {
        Ok(batch) if batch.crc_is_right() => Ok(batch),
        Ok(_) => Err("the batch's checksum is wrong".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}
