//! Why a partition that a client asks for is not served here.

use ottla_metadata::Cluster;
use ottla_partitions::Partitions;
use ottla_types::{ErrorCode, PartitionIndex, Uuid};

/// What a request names a topic by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKey<'a> {
    /// Its name.
    Name(&'a str),
    /// Its id (KIP-516): who asks by id is answered in the error codes of ids.
    Id(Uuid),
}

/// The error code for a partition that is not served here.
pub fn why_not_here(
    partitions: &Partitions,
    cluster: &Cluster,
    topic: TopicKey<'_>,
    index: PartitionIndex,
) -> ErrorCode {
    let (known, unknown) = match topic {
        TopicKey::Name(name) => (cluster.topic(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        TopicKey::Id(id) => (cluster.topic_by_id(id), ErrorCode::UNKNOWN_TOPIC_ID),
    };
    match known {
        None => unknown,
        Some(topic) if partitions.is_offline(&topic.name, index) => ErrorCode::KAFKA_STORAGE_ERROR,
        Some(topic) if topic.partitions.contains_key(&index) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}
