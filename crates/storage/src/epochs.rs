//! Which leader's epoch starts at which offset: `leader-epoch-checkpoint` (KIP-101).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset};

use crate::checkpoint::{read_lines, write_lines};
use crate::error::StorageError;
use crate::files::Files;

/// Where an epoch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// The epochs of a log, ascending in both numbers.
#[derive(Clone, Debug)]
pub struct Epochs {
    files: Arc<dyn Files>,
    path: PathBuf,
    starts: Vec<EpochStart>,
}

impl Epochs {
    pub(crate) fn read(files: &Arc<dyn Files>, folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join("leader-epoch-checkpoint");
        let mut starts: Vec<EpochStart> = Vec::new();
        for line in read_lines(&**files, &path)? {
            let entry = line.split_once(' ').and_then(|(epoch, start)| {
                Some(EpochStart { epoch: epoch.parse().ok()?, start: start.trim().parse().ok()? })
            });
            let entry =
                entry.ok_or_else(|| StorageError::corrupt(&path, format!("no epoch: {line}")))?;
            starts.push(entry);
        }
        Ok(Self { files: Arc::clone(files), path, starts })
    }

    /// All of them.
    #[must_use]
    pub fn starts(&self) -> &[EpochStart] {
        &self.starts
    }

    /// The last epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|last| last.epoch)
    }

    /// The epoch in which the record at `offset` was written.
    #[must_use]
    pub fn of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.starts.partition_point(|entry| entry.start <= offset);
        self.starts.get(behind.checked_sub(1)?).map(|entry| entry.epoch)
    }

    /// The largest epoch up to `epoch` and where it ends; `None` if all epochs are larger.
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let behind = self.starts.partition_point(|entry| entry.epoch <= epoch);
        let next = self.starts.get(behind)?;
        match behind.checked_sub(1) {
            Some(at) => Some((self.starts[at].epoch, next.start)),
            // All known epochs are later: it ended where the first of them starts.
            None => Some((epoch, next.start)),
        }
    }

    /// `epoch` starts at `start`, if it is new; on the disk before this returns.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), StorageError> {
        if epoch < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return Ok(());
        }
        // An epoch without a record gives way to the next.
        self.starts.retain(|entry| entry.start < start);
        self.starts.push(EpochStart { epoch, start });
        self.write()
    }

    /// The log now ends at `end`.
    pub(crate) fn truncate_end(&mut self, end: Offset) -> Result<(), StorageError> {
        let before = self.starts.len();
        self.starts.retain(|entry| entry.start < end);
        if self.starts.len() == before { Ok(()) } else { self.write() }
    }

    /// The log now starts at `start`.
    pub(crate) fn truncate_start(&mut self, start: Offset) -> Result<(), StorageError> {
        let behind = self.starts.partition_point(|entry| entry.start <= start);
        let Some(first) = behind.checked_sub(1) else { return Ok(()) };
        if first == 0 && self.starts[0].start == start {
            return Ok(());
        }
        self.starts.drain(..first);
        self.starts[0].start = start;
        self.write()
    }

    fn write(&self) -> Result<(), StorageError> {
        let line = |entry: &EpochStart| format!("{} {}", entry.epoch, entry.start);
        let lines: Vec<String> = self.starts.iter().map(line).collect();
        write_lines(&*self.files, &self.path, &lines)
    }
}
