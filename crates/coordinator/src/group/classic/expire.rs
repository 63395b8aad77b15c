//! What happens when nothing happens.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::command::GroupTimer;
use super::super::live::GroupState;
use super::super::machine::GroupScene;
use super::rebalance::{complete_join, remove_member, try_complete};

/// A member has been silent for too long.
pub(in crate::group) fn session_expired(scene: &mut GroupScene<'_>, group: &str, member: &str) {
    let Some(live) = scene.live.get(group) else { return };
    let waits = live.members.get(member).is_some_and(|it| it.joining.is_some());
    // Who waits for an answer cannot send heartbeats.
    if !waits {
        remove_member(scene, group, member, format!("the session of member {member} timed out"));
    }
}

/// The time for joining is over.
pub(in crate::group) fn join_time_over(scene: &mut GroupScene<'_>, group: &str) {
    let now = scene.turn.now_ms;
    let delay = i64::from(scene.settings.initial_rebalance_delay_ms);
    let Some(live) = scene.live.get_mut(group) else { return };
    if live.state != GroupState::Preparing {
        return;
    }
    match &mut live.gathering {
        Some((until, came)) if *came && *until > now => {
            // Somebody came: wait a little longer, for the next.
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

/// The time for asking for the assignment is over: who has not asked is out.
pub(in crate::group) fn sync_time_over(scene: &mut GroupScene<'_>, group: &str) {
    let Some(live) = scene.live.get(group) else { return };
    if live.state != GroupState::Completing {
        return;
    }
    let silent = live.members.iter().filter(|(_, member)| member.syncing.is_none());
    let silent: Vec<String> = silent.map(|(id, _)| id.clone()).collect();
    for id in silent {
        let reason = format!("member {id} did not ask for its assignment in time");
        remove_member(scene, group, &id, reason);
    }
}
