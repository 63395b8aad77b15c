//! Classic groups: members join and sync through the coordinator, and one of them, the leader,
//! computes the assignment.

pub(super) mod expire;
pub(super) mod heartbeat;
pub(super) mod join;
pub(super) mod leave;
mod rebalance;
pub(super) mod sync;

pub(super) use rebalance::{prepare_rebalance, turn_away};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_types::ErrorCode;

use super::command::GroupTimer;
use super::live::{ClassicGroup, GroupState, known_group};
use super::machine::GroupScene;

/// The partition has been replayed: its groups are as their last generation, and the session
/// timeout of each member starts now.
pub(super) fn start_sessions(scene: &mut GroupScene<'_>) {
    for (group, value) in &scene.stored.groups {
        scene.live.insert(group.clone(), ClassicGroup::from_log(value));
    }
    let all: Vec<(String, String)> = scene
        .live
        .iter()
        .flat_map(|(group, live)| live.members.keys().map(|id| (group.clone(), id.clone())))
        .collect();
    for (group, member) in all {
        restart_session(scene, &group, &member);
    }
    // A consumer group became a classic one, and no leader has assigned since.
    let is_torn = |live: &ClassicGroup| live.state == GroupState::Stable && live.leader.is_none();
    let torn = scene.live.iter().filter(|(_, live)| is_torn(live));
    let torn: Vec<String> = torn.map(|(group, _)| group.clone()).collect();
    for group in torn {
        prepare_rebalance(scene, &group, String::from("the group changed its protocol"));
    }
}

/// The member has sent a request: its session timeout starts again.
pub(super) fn restart_session(scene: &mut GroupScene<'_>, group: &str, member: &str) {
    let found = known_group(scene.live, group).members.get(member);
    let delay = i64::from(found.expect("the caller knows the member").session_timeout_ms);
    scene.turn.set_timer(session_timer(group, member), delay);
}

pub(super) fn session_timer(group: &str, member: &str) -> GroupTimer {
    GroupTimer::Session { group: Arc::from(group), member: Arc::from(member) }
}

/// Is `member` the member with this instance id? `holder` is the id that has it.
pub(super) fn check_instance(holder: Option<&String>, member: &str) -> Result<(), ErrorCode> {
    match holder {
        None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        Some(holder) if holder != member => Err(ErrorCode::FENCED_INSTANCE_ID),
        Some(_) => Ok(()),
    }
}

/// Is this a member of this generation? A negative generation is not compared.
pub(super) fn check_member(
    live: &ClassicGroup,
    member: &str,
    instance: Option<&str>,
    generation: i32,
) -> Result<(), ErrorCode> {
    if let Some(instance) = instance {
        check_instance(live.statics.get(instance), member)?;
    }
    if !live.members.contains_key(member) {
        return Err(ErrorCode::UNKNOWN_MEMBER_ID);
    }
    if generation >= 0 && generation != live.generation {
        return Err(ErrorCode::ILLEGAL_GENERATION);
    }
    Ok(())
}
