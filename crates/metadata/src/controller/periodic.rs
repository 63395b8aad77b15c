//! What the active controller does by itself, now and then.
//!
//! None of it is of use to a single node: only other replicas can lead, and only other readers of
//! the metadata log learn from a record that nothing has changed. So its timers run only while
//! other brokers or controllers are registered.

use ottla_machine::Turn;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::no_op_record::NoOpRecord;

use super::{Controller, ControllerScene, ControllerTimer, elect_leaders};

/// After how long a periodic task goes on that has not done all at once, in milliseconds.
const MORE_MS: i64 = 10;

/// Sets the timers that a turn has made necessary.
pub(super) fn start_timers(scene: &ControllerScene<'_>, turn: &mut Turn<Controller>) {
    if !has_others(scene) {
        return;
    }
    if let Some(balance_ms) = scene.settings.balance_ms {
        turn.start_timer(ControllerTimer::LeaderBalance, balance_ms);
    }
    turn.start_timer(ControllerTimer::UncleanElection, scene.settings.unclean_ms);
    if let Some(idle_ms) = scene.settings.idle_ms {
        // Only a log that stands still needs a record that says nothing (KIP-835).
        turn.set_timer(ControllerTimer::NoOp, idle_ms);
    }
}

/// Are other brokers or controllers registered? They read the metadata log, or could lead a
/// partition.
fn has_others(scene: &ControllerScene<'_>) -> bool {
    let own = scene.settings.own_broker;
    scene.cluster.brokers().any(|it| Some(it.id) != own)
        || scene.cluster.controllers().any(|it| Some(it.controller_id) != own)
}

/// The metadata log has stood still: one record moves the high watermark, so that readers see that
/// the quorum works.
pub(super) fn write_no_op(scene: &ControllerScene<'_>, turn: &mut Turn<Controller>) {
    if has_others(scene) {
        turn.record(MetadataRecord::from(NoOpRecord::default()));
    }
}

/// Gives partitions back to their preferred replicas.
pub(super) fn balance_leaders(scene: &ControllerScene<'_>, turn: &mut Turn<Controller>) {
    let has_more = elect_leaders::balance_leaders(scene, turn);
    if let Some(balance_ms) = scene.settings.balance_ms.filter(|_| has_others(scene)) {
        let next_ms = if has_more { MORE_MS } else { balance_ms };
        turn.set_timer(ControllerTimer::LeaderBalance, next_ms);
    }
}

/// Elects leaders that may lack records, where that is allowed and nothing else helps
/// (KAFKA-18635).
pub(super) fn elect_uncleanly(scene: &ControllerScene<'_>, turn: &mut Turn<Controller>) {
    let has_more = elect_leaders::elect_uncleanly(scene, turn);
    if has_others(scene) {
        let next_ms = if has_more { MORE_MS } else { scene.settings.unclean_ms };
        turn.set_timer(ControllerTimer::UncleanElection, next_ms);
    }
}
