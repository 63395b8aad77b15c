//! Members that speak the classic protocol in a group whose coordinator assigns, and groups that
//! change from one kind to the other while their members stay (KIP-848, "Migration").
//!
//! To such a member every answer is one of the old protocol: its generation is its member epoch,
//! nobody is leader, and a heartbeat that says "rebalance" sends it to join again, whereby it tells
//! what it owns. The last member of the new protocol takes the group's kind along when it goes.

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

/// What a classic member says of itself; `None` if it is no such text.
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

/// What a classic leader has given to a member; `None` if it is no such text.
fn decode_assignment(assignment: Bytes, topics: &TopicCatalog) -> Option<TopicIdPartitions> {
    if assignment.is_empty() {
        return Some(TopicIdPartitions::new());
    }
    let assigned: ConsumerProtocolAssignment = decode_embedded(assignment)?;
    let all = assigned.assigned_partitions.into_iter().map(|it| (it.topic, it.partitions));
    Some(by_id(all, topics))
}

/// Partitions by topic id; topics that are not there any more are left out.
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

/// An assignment, in the version that the member's own text has.
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
