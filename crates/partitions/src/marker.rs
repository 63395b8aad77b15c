//! The ends of transactions, and what keeps a late record from beginning a new one.

use bytes::Bytes;
use ottla_records::control::ControlKind;
use ottla_records::{BadBatch, BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ProducerEpoch, ProducerId, TimestampMs};

use crate::partition::Partition;

/// What a producer's partition looked like when the coordinator was asked about it. A marker of the
/// same epoch that is written meanwhile makes it worthless, so that a record which comes late
/// begins nothing. With `transaction.version` 2 a marker has the next epoch: then the late record's
/// is too old, and what was verified for that next epoch stays verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard(pub(crate) u32);

impl Partition {
    /// Has this producer already written to this partition under a later epoch?
    #[must_use]
    pub fn is_fenced(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        self.peek(|owner| owner.is_fenced(producer, epoch)).unwrap_or(false)
    }
}

/// Ends a producer's transaction in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Commit, or abort?
    pub commit: bool,
    /// The epoch of the coordinator that has decided it.
    pub coordinator_epoch: i32,
    /// Is the epoch larger than that of the transaction's records (`transaction.version` 2)?
    pub is_bumped: bool,
}

impl Marker {
    /// The control batch.
    ///
    /// # Errors
    /// None that a marker can have.
    pub fn batch(&self, now_ms: TimestampMs) -> Result<Bytes, BadBatch> {
        let kind = if self.commit { ControlKind::Commit } else { ControlKind::Abort };
        let key = kind.key();
        let epoch = self.coordinator_epoch.to_be_bytes();
        let value = [0, 0, epoch[0], epoch[1], epoch[2], epoch[3]];
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            transactional: true,
            control: true,
            ..BatchOptions::default()
        });
        let (key, value) = (Some(&key[..]), Some(&value[..]));
        builder.push(&NewRecord { timestamp: now_ms, key, value, headers: &[] });
        builder.build().map(Bytes::from)
    }
}
