//! SyncGroup, Heartbeat and LeaveGroup of classic members of a consumer group (KIP-848).

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_types::ErrorCode;

use super::super::super::classic::check_instance;
use super::super::super::classic::leave::identified_member;
use super::super::super::command::GroupReply;
use super::super::super::machine::GroupScene;
use super::super::stored::{
    ClassicMetadata, ConsumerGroup, ConsumerMember, CurrentAssignment, MemberState,
};
use super::super::{CONSUMER, join_timer, leave as leaving, restart_session, sync_timer};
use super::encode_assignment;

/// A classic member of a group, and the state of its reconciliation.
struct KnownMember<'a> {
    said: &'a ConsumerMember,
    classic: &'a ClassicMetadata,
    now: &'a CurrentAssignment,
}

/// The classic member with this id, if its member epoch is the generation of the request.
fn known_member<'a>(
    group: &'a ConsumerGroup,
    member: &str,
    instance: Option<&str>,
    generation: i32,
) -> Result<KnownMember<'a>, ErrorCode> {
    if let Some(instance) = instance {
        check_instance(group.holder(instance), member)?;
    }
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    let said = group.members.get(member).ok_or(unknown)?;
    let classic = said.classic.as_ref().ok_or(unknown)?;
    let now = group.current.get(member).ok_or(unknown)?;
    if now.epoch != generation {
        return Err(ErrorCode::ILLEGAL_GENERATION);
    }
    Ok(KnownMember { said, classic, now })
}

pub(in crate::group) fn sync_consumer_group(
    scene: &mut GroupScene<'_>,
    request: &SyncGroupRequest,
) -> Result<(), ErrorCode> {
    let (id, member) = (&request.group_id, &request.member_id);
    let group = scene.stored.consumers.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
    let instance = request.group_instance_id.as_deref();
    let known = known_member(group, member, instance, request.generation_id)?;
    let (name, metadata) = known.classic.protocols.first().cloned().unwrap_or_default();
    let other = |asked: &Option<String>, ours: &str| asked.as_ref().is_some_and(|it| it != ours);
    if other(&request.protocol_type, CONSUMER) || other(&request.protocol_name, &name) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    // A member that has to give partitions up does that before it joins for the next epoch.
    if group.epoch > known.now.epoch && known.now.state != MemberState::Unrevoked {
        start_rejoin_timer(scene, id, member, known.said);
        return Err(ErrorCode::REBALANCE_IN_PROGRESS);
    }
    let response = SyncGroupResponse {
        protocol_type: request.protocol_type.clone(),
        protocol_name: request.protocol_name.clone(),
        assignment: encode_assignment(&known.now.assigned, &metadata, &scene.settings.topics),
        ..Default::default()
    };
    scene.turn.cancel_timer(sync_timer(id, member));
    restart_session(scene, id, member, known.said);
    scene.turn.reply(GroupReply::Sync(response));
    Ok(())
}

/// The member has to send JoinGroup within its rebalance timeout.
fn start_rejoin_timer(scene: &mut GroupScene<'_>, id: &str, member: &str, said: &ConsumerMember) {
    scene.turn.start_timer(join_timer(id, member), i64::from(said.rebalance_timeout_ms));
}

pub(in crate::group) fn heartbeat_in_consumer_group(
    scene: &mut GroupScene<'_>,
    request: &HeartbeatRequest,
) -> Result<(), ErrorCode> {
    let (id, member) = (&request.group_id, &request.member_id);
    let group = scene.stored.consumers.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
    let instance = request.group_instance_id.as_deref();
    let known = known_member(group, member, instance, request.generation_id)?;
    let now = known.now;
    let is_free = || now.state == MemberState::Unreleased && !group.waits(member);
    let is_called = now.epoch < group.epoch || now.state == MemberState::Unrevoked || is_free();
    restart_session(scene, id, member, known.said);
    if is_called {
        start_rejoin_timer(scene, id, member, known.said);
        return Err(ErrorCode::REBALANCE_IN_PROGRESS);
    }
    Ok(())
}

/// Removes members; of each its id, or why it cannot leave.
pub(in crate::group) fn leave_consumer_group(
    scene: &mut GroupScene<'_>,
    id: &str,
    members: &[MemberIdentity],
) -> Vec<Result<String, ErrorCode>> {
    let Some(group) = scene.stored.consumers.get(id) else {
        return members.iter().map(|_| Err(ErrorCode::UNKNOWN_MEMBER_ID)).collect();
    };
    let found: Vec<Result<String, ErrorCode>> =
        members.iter().map(|it| leaving_member(group, it)).collect();
    let gone: Vec<&str> = found.iter().flatten().map(String::as_str).collect();
    if !gone.is_empty() {
        leaving::remove_members(scene, id, &gone, "left");
    }
    found
}

fn leaving_member(group: &ConsumerGroup, member: &MemberIdentity) -> Result<String, ErrorCode> {
    let id = identified_member(member, |instance| group.holder(instance))?;
    // An operator removes members of either protocol (KIP-1092).
    let is_there = group.members.contains_key(id);
    is_there.then(|| id.clone()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
}
