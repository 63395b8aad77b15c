//! A log without bytes: records with an epoch and an identity, and a mark behind what is durable.

use ottla_raft::Lineage;
use ottla_types::{LeaderEpoch, Offset};

/// A record: its leader epoch, and which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SimRecord {
    pub epoch: LeaderEpoch,
    pub id: u64,
}

/// A log of which a prefix is durable.
#[derive(Debug, Default)]
pub(crate) struct SimLog {
    pub entries: Vec<SimRecord>,
    pub lineage: Lineage,
    /// How many entries are the same on the disk.
    pub shared: usize,
    /// Is there more on the disk than that: a tail that was cut off, but not yet there?
    pub has_stale_tail: bool,
    /// How often something was cut off; a flush that began before does not count.
    pub generation: u32,
}

impl SimLog {
    /// The log that is on a disk.
    pub fn open(disk: &[SimRecord]) -> Self {
        let mut log = Self { shared: disk.len(), ..Self::default() };
        disk.iter().for_each(|entry| log.append(*entry));
        log
    }

    pub fn append(&mut self, entry: SimRecord) {
        self.entries.push(entry);
        self.lineage.appended(entry.epoch, self.end());
    }

    /// Cuts everything from `end` on off.
    pub fn truncate(&mut self, end: usize) {
        self.has_stale_tail |= self.shared > end;
        self.entries.truncate(end);
        self.lineage.truncated(offset(end));
        self.shared = self.shared.min(end);
        self.generation += 1;
    }

    pub fn end(&self) -> Offset {
        offset(self.entries.len())
    }

    /// The epoch of the last of the first `count` entries.
    pub fn epoch_before(&self, count: usize) -> LeaderEpoch {
        count.checked_sub(1).map_or(0, |last| self.entries[last].epoch)
    }

    /// The log up to `end` is on the disk.
    pub fn flushed(&mut self, disk: &mut Vec<SimRecord>, end: usize) {
        disk.truncate(self.shared);
        disk.extend_from_slice(&self.entries[self.shared..end]);
        self.shared = end;
        self.has_stale_tail = false;
    }

    /// What is on the disk after a crash in which the first `kept` unwritten entries were written.
    pub fn torn(&self, disk: &mut Vec<SimRecord>, kept: usize) {
        disk.truncate(self.shared);
        disk.extend_from_slice(&self.entries[self.shared..self.shared + kept]);
    }

    /// How many entries are not on the disk.
    pub fn unflushed(&self) -> usize {
        self.entries.len() - self.shared
    }
}

/// The offset behind that many entries.
pub(crate) fn offset(count: usize) -> Offset {
    Offset::try_from(count).expect("a simulated log is short")
}

/// How many entries lie below that offset.
pub(crate) fn count(offset: Offset) -> usize {
    usize::try_from(offset).unwrap_or(0)
}
