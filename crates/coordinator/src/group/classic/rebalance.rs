//! A rebalance of a classic group: from one generation to the next.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_machine::Note;
use ottla_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_types::ErrorCode;

use super::super::command::{GroupReply, GroupTimer};
use super::super::live::{ClassicGroup, ClassicMember, GroupState, known_group};
use super::super::machine::GroupScene;
use super::super::record::GroupRecord;
use super::{restart_session, session_timer};

/// Begins a rebalance, unless one is under way: members learn of it by `REBALANCE_IN_PROGRESS` and
/// send JoinGroup. `reason` is for the log.
pub(in crate::group) fn prepare_rebalance(scene: &mut GroupScene<'_>, group: &str, reason: String) {
    let now = scene.turn.now_ms;
    let live = known_group(scene.live, group);
    match live.state {
        GroupState::Preparing => return try_complete(scene, group),
        GroupState::Completing => {
            // The assignment that the SyncGroup requests wait for will not come. Each member's last
            // assignment is kept: the member may still own those partitions.
            for member in live.members.values_mut() {
                if let Some(ticket) = member.syncing.take() {
                    let code = ErrorCode::REBALANCE_IN_PROGRESS.0;
                    let response = SyncGroupResponse { error_code: code, ..Default::default() };
                    scene.turn.reply_to(ticket, GroupReply::Sync(response));
                }
            }
            scene.turn.cancel_timer(GroupTimer::Sync { group: Arc::from(group) });
        }
        GroupState::Empty | GroupState::Stable => {}
    }
    scene.turn.notes.push(Note::Group {
        event: "group rebalance started",
        group: String::from(group),
        generation: live.generation,
        members: live.members.len(),
        reason,
    });
    let fresh = live.state == GroupState::Empty;
    live.enter(GroupState::Preparing, now);
    let timeout = live.rebalance_timeout_ms();
    let delay = i64::from(scene.settings.initial_rebalance_delay_ms);
    if fresh && delay > 0 {
        // The first members wait for each other (KIP-134).
        live.gathering = Some((now.saturating_add(timeout), false));
        scene.turn.set_timer(GroupTimer::Join { group: Arc::from(group) }, delay.min(timeout));
    } else {
        live.gathering = None;
        scene.turn.set_timer(GroupTimer::Join { group: Arc::from(group) }, timeout);
        try_complete(scene, group);
    }
}

/// Begins the next generation if every member has sent JoinGroup.
pub(super) fn try_complete(scene: &mut GroupScene<'_>, group: &str) {
    let live = known_group(scene.live, group);
    let all = live.members.values().all(|member| member.joining.is_some());
    if live.state == GroupState::Preparing
        && live.gathering.is_none()
        && all
        && live.pending.is_empty()
    {
        complete_join(scene, group);
    }
}

/// Begins the next generation with the members that have sent JoinGroup; static members that have
/// not stay in the group until their session ends.
pub(super) fn complete_join(scene: &mut GroupScene<'_>, group: &str) {
    let now = scene.turn.now_ms;
    let live = known_group(scene.live, group);
    live.gathering = None;
    let absent = |member: &ClassicMember| member.joining.is_none() && member.instance.is_none();
    let late: Vec<String> =
        live.members.iter().filter(|(_, it)| absent(it)).map(|(id, _)| id.clone()).collect();
    for id in &late {
        live.members.remove(id);
        scene.turn.cancel_timer(session_timer(group, id));
    }
    scene.turn.cancel_timer(GroupTimer::Join { group: Arc::from(group) });
    if live.members.is_empty() {
        return become_empty(scene, group);
    }
    if live.members.values().all(|member| member.joining.is_none()) {
        // Only static members are left, and none has sent JoinGroup: they may within their session.
        let timeout = live.rebalance_timeout_ms();
        return scene.turn.set_timer(GroupTimer::Join { group: Arc::from(group) }, timeout);
    }
    let here = |id: &String| live.members.get(id).is_some_and(|it| it.joining.is_some());
    if !live.leader.as_ref().is_some_and(here) {
        live.leader =
            live.members.iter().find(|(_, it)| it.joining.is_some()).map(|(id, _)| id.clone());
    }
    live.generation += 1;
    live.protocol = live.choose();
    live.enter(GroupState::Completing, now);
    let present = live.members.values().filter(|member| member.joining.is_some()).count();
    scene.turn.notes.push(Note::Group {
        event: "group rebalance finished",
        group: String::from(group),
        generation: live.generation,
        members: live.members.len(),
        reason: format!("{present} members joined, {} left out", late.len()),
    });
    let timeout = live.rebalance_timeout_ms();
    scene.turn.set_timer(GroupTimer::Sync { group: Arc::from(group) }, timeout);
    // Static members that have not sent JoinGroup wait for no answer.
    let joining = live.members.iter().filter(|(_, member)| member.joining.is_some());
    let joining: Vec<String> = joining.map(|(id, _)| id.clone()).collect();
    for id in joining {
        answer_join(scene, group, &id);
    }
}

/// The last member is gone: the group is empty, which ends the rebalance, too.
fn become_empty(scene: &mut GroupScene<'_>, group: &str) {
    let live = known_group(scene.live, group);
    live.generation += 1;
    live.protocol = None;
    live.leader = None;
    live.enter(GroupState::Empty, scene.turn.now_ms);
    scene.turn.notes.push(Note::Group {
        event: "group rebalance finished",
        group: String::from(group),
        generation: live.generation,
        members: 0,
        reason: String::from("the group has no members left"),
    });
    let value = Some(live.to_log());
    scene.turn.record(GroupRecord::Group { group: String::from(group), value });
}

/// Answers a JoinGroup that waits; the leader's answer lists all members.
fn answer_join(scene: &mut GroupScene<'_>, group: &str, id: &str) {
    let live = known_group(scene.live, group);
    let member = live.members.get_mut(id).expect("only members wait");
    let (ticket, version) = member.joining.take().expect("the caller has seen that it waits");
    let response = join_response(live, id, version);
    scene.turn.reply_to(ticket, GroupReply::Join(response));
    restart_session(scene, group, id);
}

/// The answer to a JoinGroup of a member of the current generation; the leader's lists all members.
pub(super) fn join_response(live: &ClassicGroup, id: &str, version: i16) -> JoinGroupResponse {
    let protocol = live.protocol.clone().unwrap_or_default();
    let member = |(id, member): (&String, &ClassicMember)| JoinGroupResponseMember {
        member_id: id.clone(),
        group_instance_id: member.instance.clone(),
        metadata: member.metadata(&protocol),
        ..Default::default()
    };
    let members =
        if live.is_leader(id) { live.members.iter().map(member).collect() } else { Vec::new() };
    JoinGroupResponse {
        generation_id: live.generation,
        protocol_type: if version >= 7 { live.protocol_type.clone() } else { None },
        protocol_name: Some(protocol.clone()),
        leader: live.leader.clone().unwrap_or_default(),
        member_id: String::from(id),
        members,
        ..Default::default()
    }
}

/// Answers the requests of a member that wait with an error.
pub(in crate::group) fn turn_away(
    scene: &mut GroupScene<'_>,
    id: &str,
    member: &ClassicMember,
    code: ErrorCode,
) {
    let error_code = code.0;
    if let Some((ticket, _)) = member.joining {
        let member_id = String::from(id);
        let response = JoinGroupResponse { error_code, member_id, ..Default::default() };
        scene.turn.reply_to(ticket, GroupReply::Join(response));
    }
    if let Some(ticket) = member.syncing {
        let response = SyncGroupResponse { error_code, ..Default::default() };
        scene.turn.reply_to(ticket, GroupReply::Sync(response));
    }
}

/// Removes a member, and begins a rebalance for this reason.
pub(super) fn remove_member(scene: &mut GroupScene<'_>, group: &str, id: &str, reason: String) {
    let live = known_group(scene.live, group);
    live.pending.remove(id);
    let Some(member) = live.members.remove(id) else {
        return try_complete(scene, group);
    };
    if let Some(instance) = &member.instance
        && live.statics.get(instance).is_some_and(|holder| holder == id)
    {
        live.statics.remove(instance);
    }
    turn_away(scene, id, &member, ErrorCode::UNKNOWN_MEMBER_ID);
    scene.turn.cancel_timer(session_timer(group, id));
    let live = known_group(scene.live, group);
    if live.is_leader(id) {
        live.leader = None;
    }
    match live.state {
        GroupState::Stable | GroupState::Completing => prepare_rebalance(scene, group, reason),
        GroupState::Preparing => try_complete(scene, group),
        GroupState::Empty => {}
    }
}
