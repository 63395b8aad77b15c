//! What the log knows of one transactional id.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use ottla_types::{PartitionIndex, ProducerEpoch, ProducerId, TimestampMs};

/// The last epoch that a client may use; one more is left for the marker that ends its transaction.
pub const EPOCH_LAST: ProducerEpoch = ProducerEpoch::MAX - 1;

/// The state of a transaction. The numbers are those of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum TransactionStatus {
    /// The producer is known and has no transaction.
    Empty = 0,
    /// A transaction is open.
    Ongoing = 1,
    /// It will be committed: markers are on their way.
    PrepareCommit = 2,
    /// It will be aborted: markers are on their way.
    PrepareAbort = 3,
    /// It is committed everywhere.
    CompleteCommit = 4,
    /// It is aborted everywhere.
    CompleteAbort = 5,
}

impl TransactionStatus {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// As Kafka's tools show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Are markers on their way?
    #[must_use]
    pub const fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// The state of this number.
    #[must_use]
    pub fn of(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i8 == number)
    }
}

/// Partitions by topic.
pub type TransactionPartitions = BTreeMap<String, BTreeSet<PartitionIndex>>;

/// A transactional id: its producer, and its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer id before epochs ran out; the same as `producer_id` if they never did; -1 if
    /// not known.
    ///
    /// Example: producer 7 ends a transaction at epoch 32766 (`EPOCH_LAST`): `next_id` is 8 until
    /// the markers are written, then `producer_id` is 8, the epoch 0, and `previous_id` 7.
    pub previous_id: ProducerId,
    /// The producer id from the end of this transaction on; -1 if it stays the same.
    pub next_id: ProducerId,
    /// The producer's epoch. While a transaction of version 2 is prepared, that of its markers.
    pub epoch: ProducerEpoch,
    /// `transaction.timeout.ms`.
    pub timeout_ms: i32,
    /// Its state.
    pub state: TransactionStatus,
    /// The partitions of the open transaction.
    pub partitions: TransactionPartitions,
    /// When the transaction began; -1 if there was none.
    pub started_ms: TimestampMs,
    /// When this was written.
    pub updated_ms: TimestampMs,
    /// The `transaction.version` that the client spoke: 2 if it counts on an epoch for each
    /// transaction, else 0.
    pub client_version: i16,
}

impl Transaction {
    /// A producer that has no transaction yet.
    #[must_use]
    pub const fn new(producer_id: ProducerId, timeout_ms: i32, now_ms: TimestampMs) -> Self {
        Self {
            producer_id,
            previous_id: producer_id,
            next_id: -1,
            epoch: 0,
            timeout_ms,
            state: TransactionStatus::Empty,
            partitions: TransactionPartitions::new(),
            started_ms: -1,
            updated_ms: now_ms,
            client_version: 0,
        }
    }

    /// Has its epoch run out? Then the next producer of this name gets another id.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        self.epoch >= EPOCH_LAST
    }

    /// What is wrong with a transaction that this coordinator is about to write.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        use TransactionStatus::{CompleteAbort, CompleteCommit, Ongoing};
        let is_open = self.state == Ongoing || self.state.is_prepared();
        if !is_open && !self.partitions.is_empty() {
            return Some("partitions in a transaction that has ended");
        }
        let is_complete = matches!(self.state, CompleteCommit | CompleteAbort);
        (is_complete && self.next_id >= 0).then_some("the next producer id was not taken into use")
    }

    /// Has it been open for longer than it may?
    #[must_use]
    pub fn is_late(&self, now_ms: TimestampMs) -> bool {
        self.state == TransactionStatus::Ongoing
            && self.started_ms.saturating_add(i64::from(self.timeout_ms)) <= now_ms
    }
}
