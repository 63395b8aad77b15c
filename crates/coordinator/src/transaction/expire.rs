//! Timers after a load, and transactional ids that expire (`transactional.id.expiration.ms`).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::command::TransactionTimer;
use super::machine::TransactionScene;
use super::record::TransactionRecord;
use super::stored::TransactionStatus;

/// How many ids one round forgets at most; the next goes on.
const RECORDS_MAX: usize = 2_000;

pub(super) fn start_timers(scene: &mut TransactionScene<'_>) {
    for (id, it) in scene.stored.iter().filter(|(_, it)| it.state == TransactionStatus::Ongoing) {
        let due = it.started_ms.saturating_add(i64::from(it.timeout_ms));
        let left = due.saturating_sub(scene.turn.now_ms).max(0);
        scene.turn.set_timer(TransactionTimer::Timeout(Arc::from(id.as_str())), left);
    }
    scene.turn.set_timer(TransactionTimer::IdExpiry, scene.settings.expiration_check_ms);
}

pub(super) fn expire_ids(scene: &mut TransactionScene<'_>) {
    let before = scene.turn.now_ms.saturating_sub(scene.settings.id_expiration_ms);
    let unused = scene.stored.iter().filter(|(_, transaction)| {
        let is_idle =
            !transaction.state.is_prepared() && transaction.state != TransactionStatus::Ongoing;
        is_idle && transaction.updated_ms <= before
    });
    let ids: Vec<String> = unused.map(|(id, _)| id.clone()).take(RECORDS_MAX).collect();
    for id in ids {
        scene.live.epoch_before.remove(&id);
        scene.turn.record(TransactionRecord { id, value: None });
    }
    scene.turn.set_timer(TransactionTimer::IdExpiry, scene.settings.expiration_check_ms);
}
