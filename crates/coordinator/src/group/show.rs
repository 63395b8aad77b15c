//! DescribeGroups and ListGroups.

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_types::ErrorCode;

use super::command::GroupReply;
use super::consumer;
use super::live::{ClassicGroup, GroupState};
use super::machine::GroupScene;

pub(super) fn describe_groups(scene: &mut GroupScene<'_>, groups: Vec<String>, version: i16) {
    let all = groups.into_iter().map(|group_id| {
        match scene.live.get(&group_id) {
            Some(live) => described_group(live, group_id),
            None if scene.stored.consumers.contains_key(&group_id) && version >= 6 => {
                DescribedGroup {
                    error_code: ErrorCode::GROUP_ID_NOT_FOUND.0,
                    error_message: Some(alloc::format!("Group {group_id} is not a classic group.")),
                    group_state: String::from("Dead"),
                    group_id,
                    ..Default::default()
                }
            }
            None if scene.stored.has_offsets(&group_id) => DescribedGroup {
                group_state: String::from(GroupState::Empty.name()),
                group_id,
                ..Default::default()
            },
            // Since version 6 a group that does not exist is an error (KIP-1043).
            None if version >= 6 => DescribedGroup {
                error_code: ErrorCode::GROUP_ID_NOT_FOUND.0,
                error_message: Some(alloc::format!("Group {group_id} not found.")),
                group_state: String::from("Dead"),
                group_id,
                ..Default::default()
            },
            None => {
                DescribedGroup { group_state: String::from("Dead"), group_id, ..Default::default() }
            }
        }
    });
    let all = all.collect();
    scene.turn.reply(GroupReply::Describe(all));
}

fn described_group(live: &ClassicGroup, group_id: String) -> DescribedGroup {
    let protocol = live.protocol.clone().unwrap_or_default();
    // Between two generations what members say is not yet true.
    let settled = live.state == GroupState::Stable;
    let member = |(id, member): (&String, &super::live::ClassicMember)| DescribedGroupMember {
        member_id: id.clone(),
        group_instance_id: member.instance.clone(),
        client_id: member.client.id.clone(),
        client_host: member.client.host.clone(),
        member_metadata: if settled { member.metadata(&protocol) } else { Default::default() },
        member_assignment: member.assignment.clone(),
        ..Default::default()
    };
    DescribedGroup {
        group_id,
        group_state: String::from(live.state.name()),
        protocol_type: live.protocol_type.clone().unwrap_or_default(),
        protocol_data: if settled { protocol.clone() } else { String::new() },
        members: live.members.iter().map(member).collect(),
        ..Default::default()
    }
}

pub(super) fn list_groups(scene: &mut GroupScene<'_>, request: &ListGroupsRequest) {
    let wanted = |filter: &[String], name: &str| {
        filter.is_empty() || filter.iter().any(|it| it.eq_ignore_ascii_case(name))
    };
    let mut all = Vec::new();
    for (group, live) in scene.live.iter() {
        let listed = wanted(&request.states_filter, live.state.name())
            && wanted(&request.types_filter, "classic");
        if listed {
            all.push(ListedGroup {
                group_id: group.clone(),
                protocol_type: live.protocol_type.clone().unwrap_or_default(),
                group_state: String::from(live.state.name()),
                group_type: String::from("classic"),
                ..Default::default()
            });
        }
    }
    let is_other = |group: &String| {
        scene.live.contains_key(group) || scene.stored.consumers.contains_key(group)
    };
    for group in scene.stored.groups_with_offsets().into_iter().filter(|group| !is_other(group)) {
        let empty = GroupState::Empty.name();
        if wanted(&request.states_filter, empty) && wanted(&request.types_filter, "classic") {
            all.push(ListedGroup {
                group_id: group.clone(),
                group_state: String::from(empty),
                group_type: String::from("classic"),
                ..Default::default()
            });
        }
    }
    all.extend(consumer::list_consumer_groups(scene, request));
    scene.turn.reply(GroupReply::List(all));
}
