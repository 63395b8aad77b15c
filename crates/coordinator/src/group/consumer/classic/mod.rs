//! Members of a consumer group that use the classic protocol, and groups that change from one type
//! to the other while they have members (KIP-848, "Migration").
//!
//! Such a member sees a classic group: its generation is its member epoch, and there is no leader.
//! `REBALANCE_IN_PROGRESS` in answer to a heartbeat makes it send JoinGroup, with the partitions
//! that it owns. When the last member of the consumer protocol leaves, the group becomes a classic
//! one.

mod downgrade;
mod join;
mod stay;
mod upgrade;

pub(in crate::group) use join::join_consumer_group;
pub(in crate::group) use stay::{
    heartbeat_in_consumer_group, leave_consumer_group, sync_consumer_group,
};

pub(super) use downgrade::{downgrade_group, downgrade_is_due};
pub(super) use upgrade::{Upgrade, upgrade_group};

use alloc::string::String;

use bytes::Bytes;
use ottla_protocol::shared::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition,
};
use ottla_protocol::shared::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_protocol::{Decoder, Message, encode_value};

use super::stored::TopicIdPartitions;
use super::topics::TopicCatalog;

/// The subscription in a classic member's metadata; `None` if the bytes are malformed.
pub(in crate::group) fn decode_subscription(
    metadata: Bytes,
) -> Option<ConsumerProtocolSubscription> {
    decode_embedded(metadata)
}

fn decode_embedded<M: Message>(bytes: Bytes) -> Option<M> {
    let mut d = Decoder::new(bytes);
    let version = d.i16().ok().filter(|version| *version >= 0)?;
    // Later versions only add at the end.
    M::decode(&mut d, version.min(*M::VERSIONS.end())).ok()
}

/// What a classic leader has assigned to a member; `None` if the bytes are malformed.
fn decode_assignment(assignment: Bytes, topics: &TopicCatalog) -> Option<TopicIdPartitions> {
    if assignment.is_empty() {
        return Some(TopicIdPartitions::new());
    }
    let assigned: ConsumerProtocolAssignment = decode_embedded(assignment)?;
    let all = assigned.assigned_partitions.into_iter().map(|it| (it.topic, it.partitions));
    Some(by_id(all, topics))
}

/// Partitions by topic id; topics that do not exist are left out.
fn by_id(
    all: impl Iterator<Item = (String, alloc::vec::Vec<i32>)>,
    topics: &TopicCatalog,
) -> TopicIdPartitions {
    let mut places = TopicIdPartitions::new();
    for (topic, partitions) in all {
        if let Some((id, _)) = topics.find(&topic) {
            places.entry(id).or_default().extend(partitions);
        }
    }
    places
}

/// An assignment, in the version of the member's own metadata.
fn encode_assignment(places: &TopicIdPartitions, metadata: &Bytes, topics: &TopicCatalog) -> Bytes {
    let one = |(topic, partitions): (&ottla_types::Uuid, &alloc::collections::BTreeSet<i32>)| {
        let topic = String::from(topics.name(*topic)?);
        let partitions = partitions.iter().copied().collect();
        Some(TopicPartition { topic, partitions, ..Default::default() })
    };
    let assigned_partitions = places.iter().filter_map(one).collect();
    let assigned = ConsumerProtocolAssignment { assigned_partitions, ..Default::default() };
    let version = Decoder::new(metadata.clone()).i16().unwrap_or(0);
    let version = version.clamp(0, *ConsumerProtocolAssignment::VERSIONS.end());
    // No topic's name is too long for it.
    encode_value(&assigned, version).unwrap_or_default()
}
