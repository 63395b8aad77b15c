//! Blocks of producer ids: each id is given away once in a cluster's life (KIP-730).

use ottla_machine::Turn;
use ottla_protocol::metadata::producer_ids_record::ProducerIdsRecord;
use ottla_types::{Bug, NodeId, is_planted};

use super::{Controller, ControllerReply, ControllerScene};

/// How many ids a block has.
const BLOCK: i32 = 1000;

pub(super) fn allocate_producer_ids(
    scene: &ControllerScene<'_>,
    broker: NodeId,
    turn: &mut Turn<Controller>,
) {
    let first = scene.cluster.next_producer_id;
    let record = ProducerIdsRecord {
        broker_id: broker,
        broker_epoch: scene.cluster.broker(broker).map_or(-1, |it| it.epoch),
        next_producer_id: if is_planted(Bug::IdsGivenTwice) {
            first
        } else {
            first + i64::from(BLOCK)
        },
        ..Default::default()
    };
    turn.record(record.into());
    turn.reply(ControllerReply::ProducerIds(first, BLOCK));
}
