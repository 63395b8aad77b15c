//! Why a partition that a client asks for is not served here.

use std::sync::Arc;

use ottla_metadata::Topic;
use ottla_partitions::Partitions;
use ottla_types::{ErrorCode, PartitionIndex};

/// The error code for a partition of `topic` that is not served here; `unknown`, if there is no
/// such topic.
pub fn why_not_here(
    partitions: &Partitions,
    topic: Option<&Arc<Topic>>,
    index: PartitionIndex,
    unknown: ErrorCode,
) -> ErrorCode {
    match topic {
        None => unknown,
        Some(topic) if partitions.is_offline(&topic.name, index) => ErrorCode::KAFKA_STORAGE_ERROR,
        Some(topic) if partitions.of_topic(&topic.name).is_empty() => {
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        }
        Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}
