//! Partitions of several topics, and offsets in them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{LeaderEpoch, Offset, TopicPartition};

/// Partitions of several topics.
pub(crate) type Partitions = BTreeSet<TopicPartition>;

/// PartitionOffsets by partition.
pub type PartitionOffsets = BTreeMap<TopicPartition, Offset>;

/// An offset that a group has committed: of the next record it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedPosition {
    /// The offset.
    pub offset: Offset,
    /// The leader epoch of the record before it; -1 if that is not known.
    pub leader_epoch: LeaderEpoch,
}

/// How far a group has read, by partition.
pub type CommittedPositions = BTreeMap<TopicPartition, CommittedPosition>;

/// The same with the partitions of each topic together.
pub(crate) fn by_topic<'a, T>(
    all: impl IntoIterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<String, Vec<(i32, T)>> {
    let mut found: BTreeMap<String, Vec<(i32, T)>> = BTreeMap::new();
    for (place, it) in all {
        found.entry(place.topic.to_string()).or_default().push((place.partition, it));
    }
    found
}

/// The numbers of partitions, with those of each topic together.
pub(crate) fn indexes_by_topic<'a>(
    all: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<String, Vec<i32>> {
    let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for place in all {
        found.entry(place.topic.to_string()).or_default().push(place.partition);
    }
    found
}
