//! LeaveGroup, versions 0 to 5: several members from version 3 on (KIP-345), a reason for the log
//! from version 5 on (KIP-800).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use ottla_types::ErrorCode;

use super::super::command::GroupReply;
use super::super::consumer;
use super::super::machine::GroupScene;
use super::rebalance::remove_member;

pub(in crate::group) fn leave_group(
    scene: &mut GroupScene<'_>,
    request: LeaveGroupRequest,
    version: i16,
) {
    let group = request.group_id;
    let mut response = LeaveGroupResponse::default();
    if group.is_empty() {
        response.error_code = ErrorCode::INVALID_GROUP_ID.0;
    } else if version < 3 {
        let member = MemberIdentity { member_id: request.member_id, ..Default::default() };
        let gone = leave_each(scene, &group, &[member]).pop();
        response.error_code = gone.and_then(Result::err).unwrap_or(ErrorCode::NONE).0;
    } else {
        let gone = leave_each(scene, &group, &request.members);
        for (member, gone) in request.members.into_iter().zip(gone) {
            response.members.push(MemberResponse {
                error_code: gone.as_ref().err().copied().unwrap_or(ErrorCode::NONE).0,
                member_id: gone.unwrap_or(member.member_id),
                group_instance_id: member.group_instance_id,
                ..Default::default()
            });
        }
    }
    scene.turn.reply(GroupReply::Leave(response));
}

/// Removes members; of each the id that the request named, or why it cannot leave.
fn leave_each(
    scene: &mut GroupScene<'_>,
    group: &str,
    members: &[MemberIdentity],
) -> Vec<Result<String, ErrorCode>> {
    if scene.stored.consumers.contains_key(group) {
        return consumer::classic::leave_consumer_group(scene, group, members);
    }
    members.iter().map(|member| leave_one(scene, group, member)).collect()
}

/// The id of the member that an entry names, by `member.id` or `group.instance.id`; `holder`
/// returns the id of the static member with an instance id.
pub(in crate::group) fn identified_member<'a>(
    member: &'a MemberIdentity,
    holder: impl FnOnce(&str) -> Option<&'a String>,
) -> Result<&'a String, ErrorCode> {
    let Some(instance) = &member.group_instance_id else { return Ok(&member.member_id) };
    let holder = holder(instance);
    // An operator removes a static member by its name alone.
    if !member.member_id.is_empty() {
        super::check_instance(holder, &member.member_id)?;
    }
    holder.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
}

/// Why the others are called together when a member leaves (KIP-800).
fn leave_reason(id: &str, said: Option<&str>) -> String {
    match said.filter(|said| !said.is_empty()) {
        Some(said) => format!("member {id} left: {said}"),
        None => format!("member {id} left"),
    }
}

fn leave_one(
    scene: &mut GroupScene<'_>,
    group: &str,
    member: &MemberIdentity,
) -> Result<String, ErrorCode> {
    let live = scene.live.get(group).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
    let id = identified_member(member, |instance| live.statics.get(instance))?.clone();
    if !live.members.contains_key(&id) && !live.pending.contains(&id) {
        return Err(ErrorCode::UNKNOWN_MEMBER_ID);
    }
    remove_member(scene, group, &id, leave_reason(&id, member.reason.as_deref()));
    Ok(member.member_id.clone())
}
