//! ConsumerGroupDescribe, and this kind's part of ListGroups.

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as Shown, TopicPartitions,
};
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_types::ErrorCode;

use super::super::command::GroupReply;
use super::super::machine::GroupScene;
use super::CONSUMER;
use super::assign::preferred_assignor;
use super::stored::{ConsumerGroup, CurrentAssignment, TopicIdPartitions};
use super::topics::TopicCatalog;

pub(in crate::group) fn describe_consumer_groups(scene: &mut GroupScene<'_>, groups: Vec<String>) {
    let topics = &scene.settings.topics;
    let all = groups.into_iter().map(|id| match scene.stored.consumers.get(&id) {
        Some(group) => described_group(group, id, topics),
        None if id.is_empty() => DescribedGroup {
            error_code: ErrorCode::INVALID_GROUP_ID.0,
            group_id: id,
            ..Default::default()
        },
        None => DescribedGroup {
            error_code: ErrorCode::GROUP_ID_NOT_FOUND.0,
            error_message: Some(alloc::format!("Group {id} is not a consumer group.")),
            group_id: id,
            ..Default::default()
        },
    });
    let all = all.collect();
    scene.turn.reply(GroupReply::ConsumerDescribe(all));
}

fn described_group(
    group: &ConsumerGroup,
    group_id: String,
    topics: &TopicCatalog,
) -> DescribedGroup {
    let shown = |places: Option<&TopicIdPartitions>| {
        let one = |(topic_id, partitions): (&ottla_types::Uuid, _)| {
            let topic_name = String::from(topics.name(*topic_id)?);
            let partitions: &alloc::collections::BTreeSet<i32> = partitions;
            let partitions = partitions.iter().copied().collect();
            Some(TopicPartitions {
                topic_id: *topic_id,
                topic_name,
                partitions,
                ..Default::default()
            })
        };
        let topic_partitions = places.into_iter().flatten().filter_map(one).collect();
        Assignment { topic_partitions, ..Default::default() }
    };
    let members = group.members.iter().map(|(id, member)| Shown {
        member_id: id.clone(),
        instance_id: member.instance.clone(),
        rack_id: member.rack.clone(),
        member_epoch: group.current.get(id).map_or(0, |it| it.epoch),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.topics.iter().cloned().collect(),
        subscribed_topic_regex: Some(member.regex.clone().unwrap_or_default()),
        assignment: shown(group.current.get(id).map(CurrentAssignment::owned).as_ref()),
        target_assignment: shown(group.targets.get(id)),
        // 0 stands for the classic protocol.
        member_type: i8::from(member.classic.is_none()),
        ..Default::default()
    });
    DescribedGroup {
        group_id,
        group_state: String::from(group.state()),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: String::from(preferred_assignor(group)),
        members: members.collect(),
        ..Default::default()
    }
}

pub(in crate::group) fn list_consumer_groups(
    scene: &GroupScene<'_>,
    request: &ListGroupsRequest,
) -> Vec<ListedGroup> {
    let wanted = |filter: &[String], name: &str| {
        filter.is_empty() || filter.iter().any(|it| it.eq_ignore_ascii_case(name))
    };
    if !wanted(&request.types_filter, CONSUMER) {
        return Vec::new();
    }
    let all = scene.stored.consumers.iter();
    let all = all.filter(|(_, group)| wanted(&request.states_filter, group.state()));
    all.map(|(id, group)| ListedGroup {
        group_id: id.clone(),
        protocol_type: String::from(CONSUMER),
        group_state: String::from(group.state()),
        group_type: String::from(CONSUMER),
        ..Default::default()
    })
    .collect()
}
