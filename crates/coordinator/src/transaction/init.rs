//! InitProducerId with a transactional id, versions 0 to 5: the producer gets an epoch that no
//! other producer of this id has, so that earlier ones are fenced (KIP-98). A producer that names
//! its id and epoch goes on after an error (KIP-360).

use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::command::{InitProducer, TransactionReply};
use super::end;
use super::machine::TransactionScene;
use super::stored::{EPOCH_LAST, Transaction, TransactionPartitions, TransactionStatus};

/// The id and epoch that the request has (KIP-360).
type PriorProducer = Option<(ProducerId, ProducerEpoch)>;

pub(super) fn init_producer(scene: &mut TransactionScene<'_>, request: &InitProducer) {
    if request.timeout_ms <= 0 || request.timeout_ms > scene.settings.timeout_max_ms {
        scene.turn.reply(TransactionReply::Producer(Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT)));
        return;
    }
    let Some(known) = scene.stored.get(&request.id) else {
        begin_producer(scene, request);
        return;
    };
    if !may_be(known, request.known) {
        scene.turn.reply(TransactionReply::Producer(Err(ErrorCode::PRODUCER_FENCED)));
        return;
    }
    match known.state {
        TransactionStatus::PrepareCommit | TransactionStatus::PrepareAbort => {
            scene.turn.reply(TransactionReply::Producer(Err(ErrorCode::CONCURRENT_TRANSACTIONS)));
        }
        TransactionStatus::Ongoing => {
            // The open transaction is aborted first; the client sends InitProducerId again.
            end::fence_producer(scene, &request.id, known);
            scene.turn.reply(TransactionReply::Producer(Err(ErrorCode::CONCURRENT_TRANSACTIONS)));
        }
        TransactionStatus::Empty
        | TransactionStatus::CompleteCommit
        | TransactionStatus::CompleteAbort => {
            take_over(scene, request, known);
        }
    }
}

/// Did the producer have the id and epoch that the request has?
fn may_be(known: &Transaction, said: PriorProducer) -> bool {
    let Some((id, epoch)) = said else { return true };
    // Its epochs may have run out, and the answer with the new id may have been lost.
    id == known.producer_id || id == known.previous_id && epoch >= EPOCH_LAST
}

fn begin_producer(scene: &mut TransactionScene<'_>, request: &InitProducer) {
    let Some(fresh) = request.fresh else {
        scene.turn.reply(TransactionReply::NeedsId);
        return;
    };
    let value = Transaction::new(fresh, request.timeout_ms, scene.turn.now_ms);
    scene.live.epoch_before.remove(&request.id);
    scene.write(&request.id, value);
    scene.turn.reply(TransactionReply::Producer(Ok((fresh, 0))));
}

fn take_over(scene: &mut TransactionScene<'_>, request: &InitProducer, known: &Transaction) {
    let mut value = Transaction {
        timeout_ms: request.timeout_ms,
        state: TransactionStatus::Empty,
        partitions: TransactionPartitions::new(),
        started_ms: -1,
        updated_ms: scene.turn.now_ms,
        ..known.clone()
    };
    if known.is_exhausted() {
        let Some(fresh) = request.fresh else {
            scene.turn.reply(TransactionReply::NeedsId);
            return;
        };
        (value.previous_id, value.producer_id, value.epoch) = (known.producer_id, fresh, 0);
        write_producer(scene, request, known.epoch);
    } else {
        let before = scene.live.epoch_before.get(&request.id).copied();
        match request.known {
            None => {
                value.epoch += 1;
                scene.live.epoch_before.remove(&request.id);
            }
            Some((_, epoch)) if epoch == known.epoch => {
                value.epoch += 1;
                write_producer(scene, request, epoch);
            }
            // A retry: the epoch was raised already, and the answer may have been lost.
            Some((id, epoch)) if before == Some(epoch) || id != known.producer_id => {}
            Some(_) => {
                scene.turn.reply(TransactionReply::Producer(Err(ErrorCode::PRODUCER_FENCED)));
                return;
            }
        }
    }
    let producer = (value.producer_id, value.epoch);
    scene.write(&request.id, value);
    scene.turn.reply(TransactionReply::Producer(Ok(producer)));
}

fn write_producer(scene: &mut TransactionScene<'_>, request: &InitProducer, epoch: ProducerEpoch) {
    if request.known.is_some() {
        scene.live.epoch_before.insert(request.id.clone(), epoch);
    } else {
        scene.live.epoch_before.remove(&request.id);
    }
}
