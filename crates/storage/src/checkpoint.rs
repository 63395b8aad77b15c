//! Small text files that are replaced as a whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ottla_types::{Offset, TopicPartition, Uuid};

use crate::error::StorageError;
use crate::files::{Files, read_whole, replace_soon};

/// The lines behind a version and a count, as all of Kafka's checkpoint files have them.
///
/// # Errors
/// The file cannot be read, or is no such file.
pub(crate) fn read_lines(files: &dyn Files, path: &Path) -> Result<Vec<String>, StorageError> {
    let Some(bytes) = read_whole(files, path).map_err(StorageError::io(path))? else {
        return Ok(Vec::new());
    };
    let wrong = |why: &str| StorageError::corrupt(path, why);
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))?;
    let mut lines = text.lines().map(str::to_owned);
    // An empty file is what a crash between creating and writing leaves.
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != "0" {
        return Err(wrong("the version is not 0"));
    }
    let count = lines.next().and_then(|count| count.trim().parse::<usize>().ok());
    let lines: Vec<String> = lines.collect();
    match count {
        Some(count) if count == lines.len() => Ok(lines),
        _ => Err(wrong("the count does not fit the lines")),
    }
}

pub(crate) fn write_lines(
    files: &dyn Files,
    path: &Path,
    lines: &[String],
) -> Result<(), StorageError> {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    // An old checkpoint is as correct as a new one, recovery only reads more of the log.
    replace_soon(files, path, text.as_bytes()).map_err(StorageError::io(path))
}

/// A file of one offset a partition, such as `recovery-point-offset-checkpoint`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetCheckpoint(pub BTreeMap<TopicPartition, Offset>);

impl OffsetCheckpoint {
    /// Reads it; a file that is not there is empty.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no `topic partition offset`.
    pub fn read(files: &dyn Files, path: &Path) -> Result<Self, StorageError> {
        let mut all = BTreeMap::new();
        for line in read_lines(files, path)? {
            let entry = parse_checkpoint_line(&line).ok_or_else(|| {
                StorageError::corrupt(path, format!("invalid offset in line {line:?}"))
            })?;
            all.insert(entry.0, entry.1);
        }
        Ok(Self(all))
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The file system refuses; the old content is still there.
    pub fn write(&self, files: &dyn Files, path: &Path) -> Result<(), StorageError> {
        let line = |(place, offset): (&TopicPartition, &Offset)| {
            format!("{} {} {offset}", place.topic, place.partition)
        };
        write_lines(files, path, &self.0.iter().map(line).collect::<Vec<_>>())
    }
}

fn parse_checkpoint_line(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split_whitespace();
    let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
    let place = TopicPartition::new(topic, partition.parse().ok()?);
    Some((place, offset.parse().ok().filter(|_| words.next().is_none())?))
}

/// `partition.metadata`: which topic a folder belongs to, whatever the topic is called (KIP-516).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The topic's id.
    pub topic_id: Uuid,
}

/// What stands before the topic id in `partition.metadata`, and how long an id is in text.
const BEFORE_TOPIC_ID: &[u8] = b"version: 0\ntopic_id: ";
const TOPIC_ID_BYTES: usize = 22;

/// Is this a beginning of what [`PartitionMetadata::write`] writes, and not all of it? What a power
/// cut leaves may also have zeros behind it.
fn is_cut_off(bytes: &[u8]) -> bool {
    let end = bytes.iter().rposition(|it| *it != 0).map_or(0, |at| at + 1);
    let left = &bytes[..end];
    let is_of_id = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    match left.strip_prefix(BEFORE_TOPIC_ID) {
        Some(id) => id.len() < TOPIC_ID_BYTES && id.iter().all(is_of_id),
        None => BEFORE_TOPIC_ID.starts_with(left),
    }
}

impl PartitionMetadata {
    /// The file's name.
    pub const FILE: &'static str = "partition.metadata";

    /// Reads it from a partition's folder; `None` if there is none, or only a beginning of it.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn read(files: &dyn Files, folder: &Path) -> Result<Option<Self>, StorageError> {
        let path = &folder.join(Self::FILE);
        let Some(bytes) = read_whole(files, path).map_err(StorageError::io(path))? else {
            return Ok(None);
        };
        if is_cut_off(&bytes) {
            // The power went before it was on the disk.
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes);
        let id = text.lines().find_map(|line| line.strip_prefix("topic_id:"));
        let topic_id = id.and_then(|id| id.trim().parse().ok());
        topic_id
            .map(|topic_id| Some(Self { topic_id }))
            .ok_or_else(|| StorageError::corrupt(path, "topic_id is missing"))
    }

    /// Writes it into a partition's folder. A power cut may leave none or a part of it: then the
    /// folder is what its name says, as long as the folders of deleted topics are gone for good
    /// before a topic of the same name has one.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, files: &dyn Files, folder: &Path) -> Result<(), StorageError> {
        let path = &folder.join(Self::FILE);
        let text = format!("version: 0\ntopic_id: {}", self.topic_id);
        let written = files.create(path).and_then(|file| file.write_at(text.as_bytes(), 0));
        written.map_err(StorageError::io(path))
    }
}
