//! A replica's log over a snapshot, and what of the two is on its disk.

use std::sync::Arc;

use ottla_raft::{LogEnd, QuorumControl, SnapshotId};
use ottla_types::{LeaderEpoch, Offset};

use crate::log::{SimRecord, count, offset};

/// A snapshot: everything below its end. It never changes, so that nodes may share it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct SimSnapshot {
    pub id: SnapshotId,
    pub records: Vec<SimRecord>,
    pub controls: Vec<QuorumControl>,
}

impl SimSnapshot {
    /// How many bytes it has: a snapshot of nothing has some, too.
    pub fn size_bytes(&self) -> u64 {
        100 + 10 * self.records.len() as u64
    }
}

/// What lies on a disk: snapshots, the oldest first, and the log from the start of which the
/// oldest reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct DiskLog {
    pub snapshots: Vec<Arc<SimSnapshot>>,
    /// How many records are gone, being in a snapshot.
    pub base: usize,
    pub entries: Vec<SimRecord>,
}

impl DiskLog {
    /// The record at an offset, in the log or in a snapshot.
    pub fn record(&self, at: usize) -> Option<SimRecord> {
        match at.checked_sub(self.base) {
            Some(index) => self.entries.get(index).copied(),
            None => self.snapshots.first().and_then(|it| it.records.get(at)).copied(),
        }
    }

    pub fn end(&self) -> usize {
        self.base + self.entries.len()
    }

    /// What a node finds when it starts: a snapshot that reaches beyond the log takes its place.
    pub fn recover(&mut self) {
        if let Some(last) = self.snapshots.last()
            && count(last.id.end) > self.end()
        {
            let (snapshots, base) = (vec![Arc::clone(last)], count(last.id.end));
            *self = Self { snapshots, base, entries: Vec::new() };
        }
    }
}

/// A log of which a prefix is durable. Places in it are offsets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReplicaLog {
    pub snapshots: Vec<Arc<SimSnapshot>>,
    base: usize,
    entries: Vec<SimRecord>,
    /// Up to where it is the same on the disk.
    shared: usize,
    /// Is there more on the disk than that: a tail that was cut off, but not yet there?
    has_stale_tail: bool,
    /// How often something was cut off; a flush that began before does not count.
    pub generation: u32,
    pub is_flushing: bool,
}

impl ReplicaLog {
    /// The log that is on a disk.
    pub fn open(disk: &DiskLog) -> Self {
        Self {
            snapshots: disk.snapshots.clone(),
            base: disk.base,
            entries: disk.entries.clone(),
            shared: disk.end(),
            has_stale_tail: false,
            generation: 0,
            is_flushing: false,
        }
    }

    pub fn append(&mut self, entry: SimRecord) {
        self.entries.push(entry);
    }

    /// Cuts everything from `end` on off.
    pub fn truncate(&mut self, end: usize) {
        self.has_stale_tail |= self.shared > end;
        self.entries.truncate(end.saturating_sub(self.base));
        self.shared = self.shared.min(end);
        self.generation += 1;
    }

    /// A snapshot takes the place of the log, here and on the disk.
    pub fn replace(&mut self, disk: &mut DiskLog, snapshot: Arc<SimSnapshot>) {
        let base = count(snapshot.id.end);
        *disk = DiskLog { snapshots: vec![snapshot], base, entries: Vec::new() };
        let generation = self.generation + 1;
        *self = Self { generation, is_flushing: self.is_flushing, ..Self::open(disk) };
    }

    /// A snapshot was written.
    pub fn add_snapshot(&mut self, disk: &mut DiskLog, snapshot: Arc<SimSnapshot>) {
        disk.snapshots.push(Arc::clone(&snapshot));
        self.snapshots.push(snapshot);
    }

    /// The log starts where this snapshot ends.
    pub fn clean(&mut self, disk: &mut DiskLog, start: SnapshotId) {
        let gone = count(start.end) - self.base;
        self.entries.drain(..gone);
        self.base += gone;
        self.snapshots.retain(|it| it.id >= start);
        disk.entries.drain(..gone);
        disk.base += gone;
        disk.snapshots.retain(|it| it.id >= start);
    }

    pub fn end(&self) -> usize {
        self.base + self.entries.len()
    }

    pub fn start(&self) -> Offset {
        offset(self.base)
    }

    /// The record at an offset, in the log or in a snapshot.
    pub fn record(&self, at: usize) -> Option<SimRecord> {
        match at.checked_sub(self.base) {
            Some(index) => self.entries.get(index).copied(),
            None => self.snapshots.first().and_then(|it| it.records.get(at)).copied(),
        }
    }

    /// Everything below `end`.
    pub fn records_below(&self, end: usize) -> Vec<SimRecord> {
        (0..end).filter_map(|at| self.record(at)).collect()
    }

    /// At most so many records from an offset on; none before the start.
    pub fn records_from(&self, at: usize, most: usize) -> Vec<SimRecord> {
        let Some(index) = at.checked_sub(self.base) else { return Vec::new() };
        self.entries.iter().skip(index).take(most).copied().collect()
    }

    /// The epoch of the record before an offset.
    pub fn epoch_before(&self, end: usize) -> LeaderEpoch {
        let last = end.checked_sub(1).and_then(|last| self.record(last));
        last.map_or(0, |record| record.epoch)
    }

    pub fn durable_end(&self) -> LogEnd {
        LogEnd { epoch: self.epoch_before(self.shared), offset: offset(self.shared) }
    }

    pub fn is_flushed(&self) -> bool {
        self.shared == self.end() && !self.has_stale_tail
    }

    /// Is more on the disk than there should be?
    pub const fn has_stale_tail(&self) -> bool {
        self.has_stale_tail
    }

    /// The log up to `end` is on the disk.
    pub fn flushed(&mut self, disk: &mut DiskLog, end: usize) {
        disk.entries.truncate(self.shared - self.base);
        disk.entries.extend_from_slice(&self.entries[self.shared - self.base..end - self.base]);
        self.shared = end;
        self.has_stale_tail = false;
    }

    /// What is on the disk after a crash in which the first `kept` unwritten entries were written.
    pub fn torn(&self, disk: &mut DiskLog, kept: usize) {
        let shared = self.shared - self.base;
        disk.entries.truncate(shared);
        disk.entries.extend_from_slice(&self.entries[shared..shared + kept]);
    }

    /// How many entries are not on the disk.
    pub fn unflushed(&self) -> usize {
        self.end() - self.shared
    }
}
