//! EndTxn, timeouts, fencing, and what follows the markers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::command::{End, Reply, Timer, Work};
use super::machine::Scene;
use super::stored::{EPOCH_LAST, Partitions, State, Transaction};

/// What an EndTxn comes to.
enum Verdict {
    /// Prepare it.
    Prepare,
    /// It was done before: say so again.
    Again,
    Refused(ErrorCode),
}

pub(super) fn end(scene: &mut Scene<'_>, request: &End) {
    let Some(known) = scene.stored.get(&request.id) else {
        scene.turn.reply(Reply::Producer(Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)));
        return;
    };
    let bumps = request.client_version >= 2;
    let verdict = if bumps { judge(known, request) } else { judge_old(known, request) };
    match verdict {
        Verdict::Refused(code) => scene.turn.reply(Reply::Producer(Err(code))),
        Verdict::Again => {
            scene.turn.reply(Reply::Producer(Ok((known.producer_id, known.epoch))));
        }
        Verdict::Prepare => prepare(scene, request, known),
    }
}

/// Where the epoch stays the same from one transaction to the next.
fn judge_old(known: &Transaction, request: &End) -> Verdict {
    let (id, epoch) = request.producer;
    if known.producer_id != id {
        return Verdict::Refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    if known.epoch != epoch {
        return Verdict::Refused(ErrorCode::PRODUCER_FENCED);
    }
    match (known.state, request.commit) {
        (State::Ongoing, _) => Verdict::Prepare,
        (State::CompleteCommit, true) | (State::CompleteAbort, false) => Verdict::Again,
        (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
            Verdict::Refused(ErrorCode::CONCURRENT_TRANSACTIONS)
        }
        _ => Verdict::Refused(ErrorCode::INVALID_TXN_STATE),
    }
}

/// Where each transaction has an epoch of its own (KIP-890).
fn judge(known: &Transaction, request: &End) -> Verdict {
    let (id, epoch) = request.producer;
    let has_rotated = known.previous_id == id
        && known.producer_id != id
        && epoch == EPOCH_LAST
        && known.epoch == 0;
    if known.producer_id != id && !has_rotated {
        return Verdict::Refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    let was_bumped = known.producer_id == id && epoch.checked_add(1) == Some(known.epoch);
    let is_again = was_bumped || has_rotated;
    let is_current = known.producer_id == id && known.epoch == epoch;
    let is_valid = match known.state {
        State::Empty | State::Ongoing => is_current,
        State::PrepareCommit | State::PrepareAbort => was_bumped,
        State::CompleteCommit | State::CompleteAbort => is_again || is_current,
    };
    if !is_valid {
        return Verdict::Refused(ErrorCode::PRODUCER_FENCED);
    }
    match (known.state, request.commit) {
        // An abort without a transaction is allowed: the client may not know whether it has one.
        (State::Ongoing, _) | (State::Empty, false) => Verdict::Prepare,
        (State::CompleteCommit, true) | (State::CompleteAbort, false) if is_again => Verdict::Again,
        (State::CompleteCommit | State::CompleteAbort, false) if !is_again => Verdict::Prepare,
        (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
            Verdict::Refused(ErrorCode::CONCURRENT_TRANSACTIONS)
        }
        _ => Verdict::Refused(ErrorCode::INVALID_TXN_STATE),
    }
}

fn prepare(scene: &mut Scene<'_>, request: &End, known: &Transaction) {
    let mut value = prepared(known, request.commit, scene.turn.now_ms);
    value.client_version = request.client_version;
    let mut told = (known.producer_id, known.epoch);
    if request.client_version >= 2 {
        if known.is_exhausted() {
            let Some(fresh) = request.fresh else {
                scene.turn.reply(Reply::NeedsId);
                return;
            };
            value.next_id = fresh;
        }
        value.epoch = known.epoch.saturating_add(1);
        told =
            if value.next_id >= 0 { (value.next_id, 0) } else { (value.producer_id, value.epoch) };
    }
    scene.turn.cancel_timer(Timer::Timeout(Arc::from(request.id.as_str())));
    scene.write(&request.id, value);
    scene.turn.reply(Reply::Producer(Ok(told)));
}

fn prepared(known: &Transaction, commit: bool, now_ms: i64) -> Transaction {
    let state = if commit { State::PrepareCommit } else { State::PrepareAbort };
    let mut value = Transaction { state, updated_ms: now_ms, ..known.clone() };
    if known.state != State::Ongoing {
        value.partitions.clear();
        value.started_ms = now_ms;
    }
    value
}

/// Aborts an open transaction under an epoch that its producer does not have.
pub(super) fn fence(scene: &mut Scene<'_>, id: &str, known: &Transaction) {
    let mut value = prepared(known, false, scene.turn.now_ms);
    value.epoch = known.epoch.saturating_add(1);
    scene.turn.cancel_timer(Timer::Timeout(Arc::from(id)));
    scene.write(id, value);
}

pub(super) fn time_out(scene: &mut Scene<'_>, id: &str) {
    if let Some(known) = scene.stored.get(id).filter(|it| it.is_late(scene.turn.now_ms)) {
        fence(scene, id, known);
    }
}

/// Hands out what nobody is at yet. The answer waits for what was decided, so that no marker is
/// written for a decision that could be lost.
pub(super) fn take_work(scene: &mut Scene<'_>) {
    let mut all = Vec::new();
    for id in scene.prepared {
        if let Some(it) = scene.stored.get(id)
            && scene.live.at_work.insert(id.clone())
        {
            all.push(work(id, it, scene.live.tried.contains(id)));
        }
    }
    scene.turn.reply(Reply::Work(all));
}

fn work(id: &str, it: &Transaction, is_again: bool) -> Work {
    Work {
        id: id.into(),
        producer: (it.producer_id, it.epoch),
        commit: it.state == State::PrepareCommit,
        partitions: it.partitions.clone(),
        version: it.client_version,
        is_again,
    }
}

pub(super) fn marked(scene: &mut Scene<'_>, done: &Work) {
    scene.live.at_work.remove(&done.id);
    scene.live.tried.remove(&done.id);
    let known = scene.stored.get(&done.id).filter(|it| {
        // Keyed by the epoch: an answer to an earlier round must not end a later transaction.
        it.state.is_prepared() && (it.producer_id, it.epoch) == done.producer
    });
    if let Some(known) = known {
        let mut value = Transaction {
            state: if done.commit { State::CompleteCommit } else { State::CompleteAbort },
            partitions: Partitions::new(),
            updated_ms: scene.turn.now_ms,
            ..known.clone()
        };
        rotate(&mut value);
        scene.write(&done.id, value);
    }
    scene.turn.reply(Reply::Done);
}

/// The producer goes on under the id that was promised to it.
fn rotate(value: &mut Transaction) {
    if value.next_id >= 0 {
        let (next, first): (ProducerId, ProducerEpoch) = (value.next_id, 0);
        (value.previous_id, value.producer_id, value.epoch) = (value.producer_id, next, first);
        value.next_id = -1;
    }
}
