//! The timers of a classic group: a member's session, the time to join, the time to sync.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::command::GroupTimer;
use super::super::live::{ClassicMember, GroupState, known_group};
use super::super::machine::GroupScene;
use super::rebalance::{complete_join, remove_member, try_complete};

/// A member has sent no heartbeat within its session timeout.
pub(in crate::group) fn session_expired(scene: &mut GroupScene<'_>, group: &str, member: &str) {
    // A member id that was handed out and not used yet has this timer too (KIP-394). It may outlive
    // the group: nothing is left to do then.
    let live = scene.live.get(group);
    // A member that waits for the answer to its JoinGroup cannot send heartbeats.
    let waits = |member: &ClassicMember| member.joining.is_some();
    if live.is_some_and(|live| !live.members.get(member).is_some_and(waits)) {
        remove_member(scene, group, member, format!("the session of member {member} timed out"));
    }
}

/// The members have had their rebalance timeout (or the initial delay, KIP-134) to join.
pub(in crate::group) fn join_time_over(scene: &mut GroupScene<'_>, group: &str) {
    let now = scene.turn.now_ms;
    let delay = i64::from(scene.settings.initial_rebalance_delay_ms);
    let live = known_group(scene.live, group);
    assert_eq!(live.state, GroupState::Preparing, "the end of a join cancels its timer");
    match &mut live.gathering {
        Some((until, came)) if *came && *until > now => {
            // A member joined during this delay: it starts again, up to the rebalance timeout.
            *came = false;
            let left = (*until - now).min(delay);
            scene.turn.set_timer(GroupTimer::Join { group: Arc::from(group) }, left);
        }
        Some(_) => {
            live.gathering = None;
            let absent = live.members.values().any(|member| member.joining.is_none());
            if absent || !live.pending.is_empty() {
                let timeout = live.rebalance_timeout_ms();
                scene.turn.set_timer(GroupTimer::Join { group: Arc::from(group) }, timeout);
            }
            try_complete(scene, group);
        }
        None => complete_join(scene, group),
    }
}

/// The members have had their rebalance timeout to send SyncGroup: those that did not are removed.
pub(in crate::group) fn sync_time_over(scene: &mut GroupScene<'_>, group: &str) {
    let live = known_group(scene.live, group);
    assert_eq!(live.state, GroupState::Completing, "the assignment cancels this timer");
    let silent = live.members.iter().filter(|(_, member)| member.syncing.is_none());
    let silent: Vec<String> = silent.map(|(id, _)| id.clone()).collect();
    for id in silent {
        let reason = format!("member {id} sent no SyncGroup in time");
        remove_member(scene, group, &id, reason);
    }
}
