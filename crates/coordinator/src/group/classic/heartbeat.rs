//! Heartbeat, versions 0 to 4.

use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_types::ErrorCode;

use super::super::command::GroupReply;
use super::super::consumer;
use super::super::live::GroupState;
use super::super::machine::GroupScene;
use super::restart_session;

pub(in crate::group) fn classic_heartbeat(scene: &mut GroupScene<'_>, request: &HeartbeatRequest) {
    let code = take_heartbeat(scene, request).map_or_else(|code| code, |()| ErrorCode::NONE);
    let response = HeartbeatResponse { error_code: code.0, ..Default::default() };
    scene.turn.reply(GroupReply::Heartbeat(response));
}

fn take_heartbeat(scene: &mut GroupScene<'_>, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
    let (group, id) = (&request.group_id, &request.member_id);
    if group.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    if scene.stored.consumers.contains_key(group) {
        return consumer::classic::heartbeat_in_consumer_group(scene, request);
    }
    let live = scene.live.get(group).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
    super::check_member(live, id, request.group_instance_id.as_deref(), request.generation_id)?;
    if request.generation_id < 0 {
        return Err(ErrorCode::ILLEGAL_GENERATION);
    }
    let state = live.state;
    let waits = live.members.get(id).is_some_and(|member| member.joining.is_some());
    if !waits {
        restart_session(scene, group, id);
    }
    if state == GroupState::Preparing { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
}
