//! SyncGroup, versions 0 to 5: the leader sends the assignment, and each member gets its part.
//! From version 5 on the request names the protocol, which must be the group's (KIP-559).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_types::ErrorCode;

use super::super::command::{GroupReply, GroupTimer};
use super::super::consumer;
use super::super::live::{ClassicGroup, GroupState, known_group};
use super::super::machine::GroupScene;
use super::super::record::GroupRecord;
use super::{prepare_rebalance, restart_session};

pub(in crate::group) fn sync_group(
    scene: &mut GroupScene<'_>,
    request: SyncGroupRequest,
    version: i16,
) {
    if let Err(code) = take_sync(scene, request, version) {
        let response = SyncGroupResponse { error_code: code.0, ..Default::default() };
        scene.turn.reply(GroupReply::Sync(response));
    }
}

fn take_sync(
    scene: &mut GroupScene<'_>,
    request: SyncGroupRequest,
    version: i16,
) -> Result<(), ErrorCode> {
    let (group, id) = (&request.group_id, &request.member_id);
    if group.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    if scene.stored.consumers.contains_key(group) {
        return consumer::classic::sync_consumer_group(scene, &request);
    }
    let ticket = scene.turn.ticket;
    let live = scene.live.get_mut(group).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
    super::check_member(live, id, request.group_instance_id.as_deref(), request.generation_id)?;
    let other = |asked: &Option<String>, known: &Option<String>| asked.is_some() && asked != known;
    if version >= 5
        && (other(&request.protocol_type, &live.protocol_type)
            || other(&request.protocol_name, &live.protocol))
    {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    match live.state {
        GroupState::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        GroupState::Preparing => Err(ErrorCode::REBALANCE_IN_PROGRESS),
        GroupState::Stable => {
            let response = sync_response(live, id);
            scene.turn.reply(GroupReply::Sync(response));
            restart_session(scene, group, id);
            Ok(())
        }
        GroupState::Completing => {
            let member = live.members.get_mut(id).expect("it was checked that it is a member");
            if let Some(earlier) = member.syncing.replace(ticket) {
                // The client has given up its earlier SyncGroup, whose connection may be closed.
                let error_code = ErrorCode::REBALANCE_IN_PROGRESS.0;
                let response = SyncGroupResponse { error_code, ..Default::default() };
                scene.turn.reply_to(earlier, GroupReply::Sync(response));
            }
            if live.is_leader(id) {
                let given = request.assignments.into_iter();
                let given = given.map(|it| (it.member_id, it.assignment)).collect();
                take_assignment(scene, group, given);
            }
            Ok(())
        }
    }
}

/// The leader's assignment: written to the log with the generation, then each SyncGroup is
/// answered.
fn take_assignment(scene: &mut GroupScene<'_>, group: &str, mut given: BTreeMap<String, Bytes>) {
    let live = known_group(scene.live, group);
    for (id, member) in &mut live.members {
        member.assignment = given.remove(id).unwrap_or_default();
    }
    live.enter(GroupState::Stable, scene.turn.now_ms);
    let record = GroupRecord::Group { group: String::from(group), value: Some(live.to_log()) };
    if record.size_bytes() > scene.settings.batch_bytes_max {
        return cannot_be_kept(scene, group);
    }
    scene.turn.record(record);
    scene.turn.cancel_timer(GroupTimer::Sync { group: Arc::from(group) });
    let ids: Vec<String> = live.members.keys().cloned().collect();
    for id in ids {
        let live = known_group(scene.live, group);
        let waiting = live.members.get_mut(&id).and_then(|member| member.syncing.take());
        if let Some(ticket) = waiting {
            let response = sync_response(live, &id);
            scene.turn.reply_to(ticket, GroupReply::Sync(response));
            restart_session(scene, group, &id);
        }
    }
}

/// The generation is larger than a record may be: every SyncGroup is refused, and the group
/// rebalances again.
fn cannot_be_kept(scene: &mut GroupScene<'_>, group: &str) {
    let live = known_group(scene.live, group);
    // The generation was not written.
    live.enter(GroupState::Completing, scene.turn.now_ms);
    for member in live.members.values_mut() {
        member.assignment = Bytes::new();
        if let Some(ticket) = member.syncing.take() {
            let error_code = ErrorCode::UNKNOWN_SERVER_ERROR.0;
            let response = SyncGroupResponse { error_code, ..Default::default() };
            scene.turn.reply_to(ticket, GroupReply::Sync(response));
        }
    }
    prepare_rebalance(scene, group, String::from("the assignment is larger than a record may be"));
}

fn sync_response(live: &ClassicGroup, id: &str) -> SyncGroupResponse {
    SyncGroupResponse {
        protocol_type: live.protocol_type.clone(),
        protocol_name: live.protocol.clone(),
        assignment: live.members.get(id).map(|it| it.assignment.clone()).unwrap_or_default(),
        ..Default::default()
    }
}
