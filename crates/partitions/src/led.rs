//! A partition in one leader epoch: what a coordinator that was loaded in it may append.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, TimestampMs};

use crate::marker::Marker;
use crate::owner::{AppendRefusal, AppendResult, Owner, Terms};
use crate::partition::Partition;
use crate::progress::Ends;

/// A partition in one leader epoch. In every other epoch its appends are refused, also when this
/// node leads that one too: between the two another leader may have written.
#[derive(Clone, Debug)]
pub struct LedPartition {
    partition: Partition,
    epoch: LeaderEpoch,
}

impl LedPartition {
    /// The partition in this leader epoch, whether it has begun, lasts or has ended.
    #[must_use]
    pub const fn new(partition: Partition, epoch: LeaderEpoch) -> Self {
        Self { partition, epoch }
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The leader epoch.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// How far the partition has come; `None` if this node does not lead it in this epoch.
    #[must_use]
    pub fn ends(&self) -> Option<Ends> {
        let ends = self.partition.ends();
        (ends.leading && ends.leader_epoch == self.epoch).then_some(ends)
    }

    /// As [`Partition::append`].
    ///
    /// # Errors
    /// As there, and in every other epoch.
    pub fn append(&self, batch: &Bytes, terms: &Terms) -> AppendResult {
        self.write(|owner| owner.append(batch, terms, None))
    }

    /// Appends a batch that stands in no producer's sequence, though it may belong to a producer's
    /// transaction.
    ///
    /// # Errors
    /// Another epoch, too few replicas are in sync, or the disk fails.
    pub fn append_own(&self, batch: &Bytes, now_ms: TimestampMs) -> AppendResult {
        self.write(|owner| owner.write_own(batch, now_ms))
    }

    /// As [`Partition::end_transaction`].
    ///
    /// # Errors
    /// As there, and in every other epoch.
    pub fn end_transaction(&self, marker: &Marker, now_ms: TimestampMs) -> AppendResult {
        self.write(|owner| owner.end_transaction(marker, now_ms))
    }

    /// Could it be appended to now, as far as is known without writing?
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.ends().is_some() && self.partition.accepts_own()
    }

    fn write(&self, turn: impl FnOnce(&mut Owner) -> AppendResult) -> AppendResult {
        self.partition.write(|owner| {
            if owner.assignment().leader_epoch != self.epoch {
                return Err(AppendRefusal::NotLeader);
            }
            turn(owner)
        })
    }
}
