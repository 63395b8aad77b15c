//! Members of a consumer group that leave (epoch -1, or -2 for a static member that will be back),
//! whose session ends, or that do not revoke partitions in time (KIP-848).

use alloc::format;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::ErrorCode;

use super::super::machine::GroupScene;
use super::classic::{downgrade_group, downgrade_is_due};
use super::heartbeat::{AWAY, HeartbeatRefusal, LEAVES, forget_patterns, refuse_heartbeat};
use super::record::ConsumerRecord;
use super::stored::{CurrentAssignment, MemberState};
use super::{Draft, rebalance_timer, stop_watching};

pub(super) fn leave_by_heartbeat(
    scene: &mut GroupScene<'_>,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, HeartbeatRefusal> {
    let (id, member) = (&request.group_id, &request.member_id);
    let unknown = || {
        refuse_heartbeat(ErrorCode::UNKNOWN_MEMBER_ID, "The member is not a member of the group.")
    };
    let none = || refuse_heartbeat(ErrorCode::GROUP_ID_NOT_FOUND, "The group is not known.");
    let group = scene.stored.consumers.get(id).ok_or_else(none)?;
    if let Some(instance) = &request.instance_id
        && group.holder(instance).ok_or_else(unknown)? != member
    {
        return Err(refuse_heartbeat(
            ErrorCode::FENCED_INSTANCE_ID,
            "Another member has the instance id.",
        ));
    }
    if !group.members.contains_key(member) {
        return Err(unknown());
    }
    let is_back_soon = request.member_epoch == AWAY;
    if is_back_soon {
        leave_temporarily(scene, id, member);
    } else {
        remove_members(scene, id, &[member], "left");
    }
    Ok(ConsumerGroupHeartbeatResponse {
        member_id: Some(member.clone()),
        member_epoch: if is_back_soon { AWAY } else { LEAVES },
        ..Default::default()
    })
}

/// A static member will be back: it keeps its partitions until its session ends.
fn leave_temporarily(scene: &mut GroupScene<'_>, id: &str, member: &str) {
    let mut draft = Draft::of(scene, id);
    let had = draft.group.current.get(member).cloned().unwrap_or_default();
    let current = CurrentAssignment {
        epoch: AWAY,
        previous: had.epoch,
        state: MemberState::Stable,
        assigned: had.assigned.clone(),
        ..CurrentAssignment::default()
    };
    let current = current.dated(&had, had.epoch);
    draft.write(ConsumerRecord::current(id, member, current));
    scene.turn.cancel_timer(rebalance_timer(id, member));
    draft.finish(scene);
}

/// Removes members; their partitions are free. `why` is what they did, for the log.
pub(super) fn remove_members(scene: &mut GroupScene<'_>, id: &str, members: &[&str], why: &str) {
    let mut draft = Draft::of(scene, id);
    for member in members {
        for record in ConsumerRecord::no_member(id, member) {
            draft.write(record);
        }
        stop_watching(scene, id, member);
    }
    if downgrade_is_due(scene, &draft) {
        downgrade_group(scene, &draft);
        return;
    }
    forget_patterns(&mut draft);
    let hash = draft.group.hash(&scene.settings.topics);
    draft.bump(hash, format!("member {} {why}", members.join(", ")));
    draft.finish(scene);
}

/// A member's session has ended; or, with the classic protocol, it has not sent JoinGroup or
/// SyncGroup in time.
pub(in crate::group) fn session_timeout(scene: &mut GroupScene<'_>, id: &str, member: &str) {
    let is_member =
        scene.stored.consumers.get(id).is_some_and(|it| it.members.contains_key(member));
    if is_member {
        remove_members(scene, id, &[member], "sent no heartbeat in time");
    }
}

/// A member has not revoked partitions within its rebalance timeout.
pub(in crate::group) fn rebalance_timeout(scene: &mut GroupScene<'_>, id: &str, member: &str) {
    let current = scene.stored.consumers.get(id).and_then(|it| it.current.get(member));
    if current.is_some_and(|it| it.state == MemberState::Unrevoked) {
        remove_members(scene, id, &[member], "did not revoke its partitions in time");
    }
}
