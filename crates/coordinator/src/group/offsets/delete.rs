//! OffsetDelete (KIP-496), DeleteGroups (KIP-229), and the offsets of deleted topics.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_types::ErrorCode;

use super::super::command::{DeletedTopic, GroupReply};
use super::super::consumer;
use super::super::live::{ClassicGroup, GroupState};
use super::super::machine::GroupScene;
use super::super::record::GroupRecord;

pub(in crate::group) fn delete_offsets(scene: &mut GroupScene<'_>, request: &OffsetDeleteRequest) {
    let group = &request.group_id;
    let mut response = OffsetDeleteResponse::default();
    let live = scene.live.get(group);
    let is_known = live.is_some() || scene.stored.consumers.contains_key(group);
    if !is_known && !scene.stored.has_offsets(group) {
        response.error_code = ErrorCode::GROUP_ID_NOT_FOUND.0;
        return scene.turn.reply(GroupReply::DeleteOffsets(response));
    }
    let busy = live.is_some_and(|live| live.state != GroupState::Empty);
    let known = scene.stored.consumers.get(group);
    let of_members = || known.map(|it| it.topics().into_iter().cloned().collect());
    let subscribed = live.and_then(subscribed_topics).or_else(of_members);
    let busy = busy || known.is_some_and(|it| !it.members.is_empty());
    if live.is_some()
        && busy
        && live.is_some_and(|live| live.protocol_type.as_deref() != Some(consumer::CONSUMER))
    {
        response.error_code = ErrorCode::NON_EMPTY_GROUP.0;
        return scene.turn.reply(GroupReply::DeleteOffsets(response));
    }
    for topic in &request.topics {
        let read = busy && subscribed.as_ref().is_none_or(|all| all.contains(&topic.name));
        let mut answer =
            OffsetDeleteResponseTopic { name: topic.name.clone(), ..Default::default() };
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let code = if read { ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC } else { ErrorCode::NONE };
            if !read && scene.stored.has_offset(group, &topic.name, index) {
                scene.turn.record(offset_tombstone(group, &topic.name, index));
            }
            answer.partitions.push(OffsetDeleteResponsePartition {
                partition_index: index,
                error_code: code.0,
                ..Default::default()
            });
        }
        response.topics.push(answer);
    }
    scene.turn.reply(GroupReply::DeleteOffsets(response));
}

pub(super) fn offset_tombstone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    let (group, topic) = (String::from(group), String::from(topic));
    GroupRecord::Offset { group, topic, partition, value: None }
}

/// The topics that members subscribe to; `None` if their metadata is not that of consumers.
pub(super) fn subscribed_topics(live: &ClassicGroup) -> Option<BTreeSet<String>> {
    if live.protocol_type.as_deref() != Some(consumer::CONSUMER) {
        return None;
    }
    let protocol = live.protocol.as_deref()?;
    let mut all = BTreeSet::new();
    for member in live.members.values() {
        all.extend(consumer::classic::decode_subscription(member.metadata(protocol))?.topics);
    }
    Some(all)
}

pub(in crate::group) fn delete_groups(scene: &mut GroupScene<'_>, groups: Vec<String>) {
    let mut results = Vec::new();
    for group_id in groups {
        let code = delete_group(scene, &group_id);
        results.push(DeletableGroupResult { group_id, error_code: code.0, ..Default::default() });
    }
    scene.turn.reply(GroupReply::Delete(results));
}

fn delete_group(scene: &mut GroupScene<'_>, group: &str) -> ErrorCode {
    if let Some(known) = scene.stored.consumers.get(group) {
        if !known.members.is_empty() {
            return ErrorCode::NON_EMPTY_GROUP;
        }
        tombstone_group(scene, group);
        return ErrorCode::NONE;
    }
    let known = scene.live.get(group);
    if known.is_none() && !scene.stored.has_offsets(group) {
        return ErrorCode::GROUP_ID_NOT_FOUND;
    }
    if known.is_some_and(|live| live.state != GroupState::Empty || !live.pending.is_empty()) {
        return ErrorCode::NON_EMPTY_GROUP;
    }
    tombstone_group(scene, group);
    ErrorCode::NONE
}

/// Deletes the group and its offsets.
pub(super) fn tombstone_group(scene: &mut GroupScene<'_>, group: &str) {
    for (topic, partition) in scene.stored.partitions_of(group) {
        scene.turn.record(offset_tombstone(group, topic, partition));
    }
    if scene.stored.groups.contains_key(group) {
        scene.turn.record(GroupRecord::Group { group: String::from(group), value: None });
    }
    consumer::delete_consumer_group(scene, group);
    scene.live.remove(group);
}

/// Deletes the offsets of these topics, those of open transactions too. An offset with the id of
/// another topic of the same name stays.
pub(in crate::group) fn delete_topic_offsets(scene: &mut GroupScene<'_>, gone: &[DeletedTopic]) {
    for group in scene.stored.groups_with_offsets() {
        for topic in gone {
            for partition in scene.stored.offsets_of_topic(group, &topic.name, topic.id) {
                scene.turn.record(offset_tombstone(group, &topic.name, partition));
            }
        }
    }
    scene.turn.reply(GroupReply::TopicsDeleted);
}
