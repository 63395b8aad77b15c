//! The nouns that all floors share: ids, offsets, epochs, error codes; plain data.
//!
//! Nothing here decides anything. Everything has the name that Kafka's users know.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod error_code;
mod hash;
mod near;
mod planted;
mod topic;
mod uuid;

pub use address::join_host_port;
pub use error_code::ErrorCode;
pub use hash::{coordinator_partition, java_string_hash, murmur2};
pub use near::nearest;
#[cfg(planted)]
pub use planted::plant_bug;
pub use planted::{Bug, is_planted};
pub use topic::{
    CLUSTER_METADATA, CONSUMER_OFFSETS, InvalidTopicName, SHARE_GROUP_STATE, TOPIC_NAME_LENGTH_MAX,
    TRANSACTION_STATE, TopicPartition, check_topic_name, is_internal_topic, topic_names_collide,
};
pub use uuid::{InvalidUuid, Uuid};

/// A record's place in its partition: 0-based, contiguous for uncompacted logs. An *end* offset
/// is exclusive: the offset the next record will get.
pub type Offset = i64;

/// How often a partition (or the metadata quorum) has changed its leader; -1 is unknown.
pub type LeaderEpoch = i32;

/// A broker's or controller's `node.id`; -1 means none.
pub type NodeId = i32;

/// A partition's index inside its topic.
pub type PartitionIndex = i32;

/// An idempotent or transactional producer's id; -1 is none.
pub type ProducerId = i64;

/// Which incarnation of a producer id; -1 is none.
pub type ProducerEpoch = i16;

/// A producer's per-partition record counter. Wraps to 0 after `i32::MAX`.
pub type Sequence = i32;

/// Wall-clock milliseconds since 1970-01-01 UTC; -1 is none.
pub type TimestampMs = i64;

/// The value that the wire and the files use for "no offset".
pub const NO_OFFSET: Offset = -1;
/// The value that the wire and the files use for "no leader epoch".
pub const NO_EPOCH: LeaderEpoch = -1;
/// The value that the wire and the files use for "no node".
pub const NO_NODE: NodeId = -1;
/// The value that the wire and the files use for "no producer".
pub const NO_PRODUCER: ProducerId = -1;
/// The value that the wire and the files use for "no timestamp".
pub const NO_TIMESTAMP: TimestampMs = -1;
