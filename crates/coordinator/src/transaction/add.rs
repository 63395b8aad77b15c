//! AddPartitionsToTxn, versions 0 to 5, and the partitions that a produce or an offset commit adds
//! (KIP-890): the coordinator has a partition in its log before the first record is written there.

use alloc::sync::Arc;

use ottla_types::ErrorCode;

use super::command::{AddPartitions, TransactionReply, TransactionTimer};
use super::machine::TransactionScene;
use super::stored::{Transaction, TransactionPartitions, TransactionStatus};

pub(super) fn add_partitions(scene: &mut TransactionScene<'_>, request: &AddPartitions) {
    let done = try_add(scene, request);
    scene.turn.reply(TransactionReply::Added(done));
}

fn try_add(scene: &mut TransactionScene<'_>, request: &AddPartitions) -> Result<(), ErrorCode> {
    let known = scene.stored.get(&request.id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
    let (id, epoch) = request.producer;
    if known.producer_id != id {
        return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    if known.state.is_prepared() {
        // Before the epoch, which is already that of the markers.
        return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
    }
    if known.epoch != epoch {
        return Err(ErrorCode::PRODUCER_FENCED);
    }
    let has_all = known.state == TransactionStatus::Ongoing
        && contains_all(&known.partitions, &request.partitions);
    if request.verify_only {
        return if has_all { Ok(()) } else { Err(ErrorCode::TRANSACTION_ABORTABLE) };
    }
    if has_all {
        return Ok(());
    }
    let now = scene.turn.now_ms;
    let mut value = Transaction {
        state: TransactionStatus::Ongoing,
        updated_ms: now,
        client_version: request.client_version,
        ..known.clone()
    };
    if known.state != TransactionStatus::Ongoing {
        value.partitions.clear();
        value.started_ms = now;
        let timeout = i64::from(known.timeout_ms);
        scene.turn.set_timer(TransactionTimer::Timeout(Arc::from(request.id.as_str())), timeout);
    }
    for (topic, indexes) in &request.partitions {
        value.partitions.entry(topic.clone()).or_default().extend(indexes);
    }
    scene.write(&request.id, value);
    Ok(())
}

fn contains_all(all: &TransactionPartitions, some: &TransactionPartitions) -> bool {
    some.iter().all(|(topic, indexes)| all.get(topic).is_some_and(|it| indexes.is_subset(it)))
}
