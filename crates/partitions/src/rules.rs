//! What a topic's settings mean to one of its partitions.

use ottla_records::Compression;
use ottla_storage::{Compaction, LogOptions, Retention};

/// Whose time counts (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer's, if it lies within these bounds of now, in milliseconds.
    Create {
        /// How far in the past it may lie.
        before_max_ms: i64,
        /// How far in the future it may lie.
        after_max_ms: i64,
    },
    /// The broker's, at the append.
    Append,
}

/// In which roles a replica of this node is throttled (KIP-73).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottledRoles {
    /// What it gives as leader to followers that are not in sync.
    pub as_leader: bool,
    /// What it takes as follower, while it is not in sync.
    pub as_follower: bool,
}

/// The rules of a partition, all in force at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRules {
    /// The largest batch, in bytes (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// How many replicas must be in sync for acks=all (`min.insync.replicas`).
    pub in_sync_min: usize,
    /// Must every record have a key (`cleanup.policy` has `compact`)?
    pub compacted: bool,
    /// May records be deleted (`cleanup.policy` has `delete`)?
    pub delete_allowed: bool,
    /// The codec that batches are stored with; `None` leaves them as the producer sent them.
    pub compression: Option<Compression>,
    /// How hard to compress; the codec's default by default.
    pub level: Option<i32>,
    /// Whose time counts.
    pub timestamps: TimestampKind,
    /// What is deleted for its age or size; nothing if `cleanup.policy` has no `delete`.
    pub retention: Retention,
    /// How it is compacted, if it is.
    pub compaction: Option<Compaction>,
    /// How long the files of deleted segments stay, in milliseconds (`file.delete.delay.ms`).
    pub delete_delay_ms: u64,
    /// After how long records are made durable, in milliseconds (`flush.ms`); `None` is never.
    pub flush_ms: Option<u64>,
    /// In which roles it is throttled.
    pub throttled: ThrottledRoles,
    /// How the log is kept.
    pub log: LogOptions,
}

impl PartitionRules {
    /// Is a record acknowledged only when it is durable (`flush.messages=1`)?
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.log.flush_messages <= 1
    }
}

impl Default for PartitionRules {
    fn default() -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            in_sync_min: 1,
            compacted: false,
            delete_allowed: true,
            compression: None,
            level: None,
            timestamps: TimestampKind::Create {
                before_max_ms: i64::MAX,
                after_max_ms: 60 * 60 * 1000,
            },
            retention: Retention::default(),
            compaction: None,
            delete_delay_ms: 60_000,
            flush_ms: None,
            throttled: ThrottledRoles::default(),
            log: LogOptions::default(),
        }
    }
}
