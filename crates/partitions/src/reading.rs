//! What a reader asks a partition, and what it is answered.

use bytes::Bytes;
use ottla_records::BadBatch;
use ottla_storage::StorageError;
use ottla_types::{ErrorCode, Offset, ProducerId};

/// What a reader wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything that is replicated.
    Uncommitted,
    /// Only what belongs to no open transaction; the aborted ones are named.
    Committed,
    /// Everything that is in the log: for followers.
    LogEnd,
}

/// Which replicas of a partition may answer a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedFrom {
    /// Only the leader.
    Leader,
    /// A follower, too, up to the high watermark that it knows (KIP-392).
    AnyReplica,
}

/// What a reader asks a partition for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSlice {
    /// The first offset wanted.
    pub offset: Offset,
    /// At most so many bytes of whole batches.
    pub bytes_max: usize,
    /// Is the first batch wanted even if it alone has more?
    pub at_least_one: bool,
    /// Up to where.
    pub isolation: Isolation,
    /// By which replicas.
    pub served: ServedFrom,
}

impl PartitionSlice {
    /// From `offset` on, at most `bytes_max` bytes, but one batch at least, by the leader.
    #[must_use]
    pub const fn new(offset: Offset, bytes_max: usize, isolation: Isolation) -> Self {
        Self { offset, bytes_max, at_least_one: true, isolation, served: ServedFrom::Leader }
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub struct PartitionRead {
    /// Whole batches.
    pub records: Bytes,
    /// Is there more that may be read now?
    pub has_more: bool,
    /// Everything below is replicated.
    pub high_watermark: Offset,
    /// Everything below belongs to no open transaction.
    pub last_stable: Offset,
    /// The first offset there is.
    pub log_start: Offset,
    /// To a reader of committed records: producers and first offsets of aborted transactions.
    pub aborted: Option<Vec<(ProducerId, Offset)>>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadRefused {
    /// The partition is led elsewhere.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// There is no such offset.
    #[error("offset {0} is out of range")]
    OutOfRange(Offset),
    /// The disk fails.
    #[error(transparent)]
    Storage(StorageError),
}

impl ReadRefused {
    /// The error code in the answer to the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::OutOfRange(_) => ErrorCode::OFFSET_OUT_OF_RANGE,
            // Messages from before Kafka 0.11, which nothing here reads.
            Self::Storage(StorageError::Batch(BadBatch::Magic(0 | 1))) => {
                ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
            }
            // The log has bytes there that are not a batch: the bytes are wrong, not the disk.
            Self::Storage(StorageError::Batch(_)) => ErrorCode::CORRUPT_MESSAGE,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}
