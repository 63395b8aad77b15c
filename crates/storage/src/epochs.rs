//! Which leader's epoch starts at which offset: `leader-epoch-checkpoint` (KIP-101).

use std::path::Path;

use ottla_types::{LeaderEpoch, NO_EPOCH, Offset};

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
///
/// A change stays in memory until the log is flushed: what a crash takes is found again in the
/// batches after the recovery point, as each names its epoch.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    starts: Vec<EpochStart>,
    /// Is the file behind?
    changed: bool,
}

impl Epochs {
    /// The file's name.
    pub(crate) const FILE: &'static str = "leader-epoch-checkpoint";

    pub(crate) fn read(files: &dyn Files, folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join(Self::FILE);
        let mut starts: Vec<EpochStart> = Vec::new();
        for line in read_lines(files, &path)? {
            let entry = line.split_once(' ').and_then(|(epoch, start)| {
                Some(EpochStart { epoch: epoch.parse().ok()?, start: start.trim().parse().ok()? })
            });
            let entry = entry.ok_or_else(|| {
                StorageError::corrupt(&path, format!("invalid epoch in line {line:?}"))
            })?;
            starts.push(entry);
        }
        Ok(Self { starts, changed: false })
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

    /// The largest epoch up to `epoch`, and the offset where it ends: where the next one starts, or
    /// the log's end. `None` of no epoch (-1) and of one larger than all that are known; of an
    /// epoch before the first that is known, the start of that one, as in Kafka also of those
    /// below -1.
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if epoch == NO_EPOCH {
            return None;
        }
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

    /// `epoch` starts at `start`. As in Kafka, entries that contradict this go: those of the same
    /// or a later epoch, and those that start there or behind.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if epoch < 0
            || self.starts.last().is_some_and(|last| last.epoch == epoch && last.start <= start)
        {
            return;
        }
        let stays = |entry: &EpochStart| entry.epoch < epoch && entry.start < start;
        let kept = self.starts.iter().rposition(stays).map_or(0, |at| at + 1);
        self.starts.truncate(kept);
        self.starts.push(EpochStart { epoch, start });
        self.changed = true;
    }

    /// A start after a crash has met a batch of `epoch` at `start`: if the epoch is new, it starts
    /// there.
    pub(crate) fn found(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.latest().is_none_or(|latest| latest < epoch) {
            self.assign(epoch, start);
        }
    }

    /// The log now ends at `end`.
    pub(crate) fn truncate_end(&mut self, end: Offset) {
        let before = self.starts.len();
        self.starts.retain(|entry| entry.start < end);
        self.changed |= self.starts.len() != before;
    }

    /// The log has no records.
    pub(crate) fn clear(&mut self) {
        self.changed |= !self.starts.is_empty();
        self.starts.clear();
    }

    /// The log now starts at `start`.
    pub(crate) fn truncate_start(&mut self, start: Offset) {
        let behind = self.starts.partition_point(|entry| entry.start <= start);
        let Some(first) = behind.checked_sub(1) else { return };
        if first == 0 && self.starts[0].start == start {
            return;
        }
        self.starts.drain(..first);
        self.starts[0].start = start;
        self.changed = true;
    }

    /// What is to be written, if anything; the file is taken to have it then.
    pub(crate) fn take_changed(&mut self) -> Option<Self> {
        std::mem::take(&mut self.changed).then(|| self.clone())
    }

    /// What was taken could not be written.
    pub(crate) const fn put_back_changed(&mut self) {
        self.changed = true;
    }

    pub(crate) fn write(&self, files: &dyn Files, folder: &Path) -> Result<(), StorageError> {
        let line = |entry: &EpochStart| format!("{} {}", entry.epoch, entry.start);
        let lines: Vec<String> = self.starts.iter().map(line).collect();
        write_lines(files, &folder.join(Self::FILE), &lines)
    }
}
