//! EndTxn (versions 0 to 5), transaction timeouts, fencing, and what follows the markers.
//!
//! From version 5 on (`transaction.version` 2, KIP-890) every transaction has an epoch of its own:
//! EndTxn answers with the next one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::command::{EndTransaction, MarkerWork, TransactionReply, TransactionTimer};
use super::machine::TransactionScene;
use super::stored::{EPOCH_LAST, Transaction, TransactionPartitions, TransactionStatus};

/// What an EndTxn comes to.
enum EndVerdict {
    /// Prepare it.
    Prepare,
    /// A retry of an EndTxn that is complete: the same answer again.
    Again,
    Refused(ErrorCode),
}

pub(super) fn end_transaction(scene: &mut TransactionScene<'_>, request: &EndTransaction) {
    let Some(known) = scene.stored.get(&request.id) else {
        scene.turn.reply(TransactionReply::Producer(Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)));
        return;
    };
    let bumps = request.client_version >= 2;
    let verdict = if bumps { judge_v2(known, request) } else { judge_v0(known, request) };
    match verdict {
        EndVerdict::Refused(code) => scene.turn.reply(TransactionReply::Producer(Err(code))),
        EndVerdict::Again => {
            scene.turn.reply(TransactionReply::Producer(Ok((known.producer_id, known.epoch))));
        }
        EndVerdict::Prepare => prepare_end(scene, request, known),
    }
}

/// EndTxn before KIP-890: the epoch stays the same from one transaction to the next.
fn judge_v0(known: &Transaction, request: &EndTransaction) -> EndVerdict {
    let (id, epoch) = request.producer;
    if known.producer_id != id {
        return EndVerdict::Refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    if known.epoch != epoch {
        return EndVerdict::Refused(ErrorCode::PRODUCER_FENCED);
    }
    match (known.state, request.commit) {
        (TransactionStatus::Ongoing, _) => EndVerdict::Prepare,
        (TransactionStatus::CompleteCommit, true) | (TransactionStatus::CompleteAbort, false) => {
            EndVerdict::Again
        }
        (TransactionStatus::PrepareCommit, true) | (TransactionStatus::PrepareAbort, false) => {
            EndVerdict::Refused(ErrorCode::CONCURRENT_TRANSACTIONS)
        }
        _ => EndVerdict::Refused(ErrorCode::INVALID_TXN_STATE),
    }
}

/// EndTxn with KIP-890: each transaction has an epoch of its own.
///
/// Example: a producer at epoch 4 ends its transaction: the markers carry epoch 5, which is also
/// its next epoch. A retry of that EndTxn still carries epoch 4 (`was_bumped`). At [`EPOCH_LAST`]
/// the producer goes on with a new producer id and epoch 0 (`has_rotated`).
fn judge_v2(known: &Transaction, request: &EndTransaction) -> EndVerdict {
    let (id, epoch) = request.producer;
    let has_rotated = known.previous_id == id
        && known.producer_id != id
        && epoch == EPOCH_LAST
        && known.epoch == 0;
    if known.producer_id != id && !has_rotated {
        return EndVerdict::Refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    let was_bumped = known.producer_id == id && epoch.checked_add(1) == Some(known.epoch);
    let is_again = was_bumped || has_rotated;
    let is_current = known.producer_id == id && known.epoch == epoch;
    let is_valid = match known.state {
        TransactionStatus::Empty | TransactionStatus::Ongoing => is_current,
        TransactionStatus::PrepareCommit | TransactionStatus::PrepareAbort => was_bumped,
        TransactionStatus::CompleteCommit | TransactionStatus::CompleteAbort => {
            is_again || is_current
        }
    };
    if !is_valid {
        return EndVerdict::Refused(ErrorCode::PRODUCER_FENCED);
    }
    match (known.state, request.commit) {
        // An abort without a transaction is allowed: the client may not know whether it has one.
        (TransactionStatus::Ongoing, _) | (TransactionStatus::Empty, false) => EndVerdict::Prepare,
        (TransactionStatus::CompleteCommit, true) | (TransactionStatus::CompleteAbort, false)
            if is_again =>
        {
            EndVerdict::Again
        }
        (TransactionStatus::CompleteCommit | TransactionStatus::CompleteAbort, false)
            if !is_again =>
        {
            EndVerdict::Prepare
        }
        (TransactionStatus::PrepareCommit, true) | (TransactionStatus::PrepareAbort, false) => {
            EndVerdict::Refused(ErrorCode::CONCURRENT_TRANSACTIONS)
        }
        _ => EndVerdict::Refused(ErrorCode::INVALID_TXN_STATE),
    }
}

fn prepare_end(scene: &mut TransactionScene<'_>, request: &EndTransaction, known: &Transaction) {
    let mut value = prepared_value(known, request.commit, scene.turn.now_ms);
    value.client_version = request.client_version;
    let mut answer = (known.producer_id, known.epoch);
    if request.client_version >= 2 {
        if known.is_exhausted() {
            let Some(fresh) = request.fresh else {
                scene.turn.reply(TransactionReply::NeedsId);
                return;
            };
            value.next_id = fresh;
        }
        value.epoch = known.epoch.saturating_add(1);
        answer =
            if value.next_id >= 0 { (value.next_id, 0) } else { (value.producer_id, value.epoch) };
    }
    scene.turn.cancel_timer(TransactionTimer::Timeout(Arc::from(request.id.as_str())));
    scene.write(&request.id, value);
    scene.turn.reply(TransactionReply::Producer(Ok(answer)));
}

fn prepared_value(known: &Transaction, commit: bool, now_ms: i64) -> Transaction {
    let state =
        if commit { TransactionStatus::PrepareCommit } else { TransactionStatus::PrepareAbort };
    let mut value = Transaction { state, updated_ms: now_ms, ..known.clone() };
    if known.state != TransactionStatus::Ongoing {
        value.partitions.clear();
        value.started_ms = now_ms;
    }
    value
}

/// Aborts an open transaction with an epoch that its producer does not have: the producer is
/// fenced.
pub(super) fn fence_producer(scene: &mut TransactionScene<'_>, id: &str, known: &Transaction) {
    let mut value = prepared_value(known, false, scene.turn.now_ms);
    value.epoch = known.epoch.saturating_add(1);
    scene.turn.cancel_timer(TransactionTimer::Timeout(Arc::from(id)));
    scene.write(id, value);
}

pub(super) fn time_out(scene: &mut TransactionScene<'_>, id: &str) {
    if let Some(known) = scene.stored.get(id).filter(|it| it.is_late(scene.turn.now_ms)) {
        fence_producer(scene, id, known);
    }
}

/// Hands out the markers that are to be written and not being written. The answer waits until the
/// decisions have committed, so that no marker is written for a decision that could be lost.
pub(super) fn take_work(scene: &mut TransactionScene<'_>) {
    let mut all = Vec::new();
    for id in scene.prepared {
        if let Some(it) = scene.stored.get(id)
            && scene.live.at_work.insert(id.clone())
        {
            all.push(marker_work(id, it));
        }
    }
    scene.turn.reply(TransactionReply::Work(all));
}

fn marker_work(id: &str, it: &Transaction) -> MarkerWork {
    MarkerWork {
        id: id.into(),
        producer: (it.producer_id, it.epoch),
        commit: it.state == TransactionStatus::PrepareCommit,
        partitions: it.partitions.clone(),
        version: it.client_version,
    }
}

pub(super) fn complete_transaction(scene: &mut TransactionScene<'_>, done: &MarkerWork) {
    scene.live.at_work.remove(&done.id);
    let known = scene.stored.get(&done.id).filter(|transaction| {
        // Keyed by the epoch: an answer to an earlier round must not end a later transaction.
        transaction.state.is_prepared()
            && (transaction.producer_id, transaction.epoch) == done.producer
    });
    if let Some(known) = known {
        let mut value = Transaction {
            state: if done.commit {
                TransactionStatus::CompleteCommit
            } else {
                TransactionStatus::CompleteAbort
            },
            partitions: TransactionPartitions::new(),
            updated_ms: scene.turn.now_ms,
            ..known.clone()
        };
        rotate_producer_id(&mut value);
        scene.write(&done.id, value);
    }
    scene.turn.reply(TransactionReply::Done);
}

/// The producer goes on with the producer id that EndTxn has promised.
fn rotate_producer_id(value: &mut Transaction) {
    if value.next_id >= 0 {
        let (next, first): (ProducerId, ProducerEpoch) = (value.next_id, 0);
        (value.previous_id, value.producer_id, value.epoch) = (value.producer_id, next, first);
        value.next_id = -1;
    }
}
