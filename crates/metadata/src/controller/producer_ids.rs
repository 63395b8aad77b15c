//! Blocks of producer ids: each id is given away once in a cluster's life (KIP-730).

use ottla_machine::Turn;
use ottla_protocol::metadata::producer_ids_record::ProducerIdsRecord;
use ottla_types::{Bug, ErrorCode, is_planted};

use super::{AskingBroker, Controller, ControllerReply, ControllerScene, ProducerIdBlock};

/// How many ids a block has.
const BLOCK: i32 = 1000;

pub(super) fn allocate_producer_ids(
    scene: &ControllerScene<'_>,
    asking: AskingBroker,
    turn: &mut Turn<Controller>,
) {
    let allocated = next_block(scene, asking);
    let reply = allocated.map(|(record, block)| {
        turn.record(record.into());
        block
    });
    turn.reply(ControllerReply::ProducerIds(reply));
}

fn next_block(
    scene: &ControllerScene<'_>,
    asking: AskingBroker,
) -> Result<(ProducerIdsRecord, ProducerIdBlock), ErrorCode> {
    let broker = asking.registration(scene)?;
    let first = scene.cluster.next_producer_id;
    // All ids there are have been given away.
    let next = first.checked_add(i64::from(BLOCK)).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
    let record = ProducerIdsRecord {
        broker_id: asking.id,
        broker_epoch: broker.map_or(-1, |it| it.epoch),
        next_producer_id: if is_planted(Bug::IdsGivenTwice) { first } else { next },
        ..Default::default()
    };
    Ok((record, ProducerIdBlock { first, count: BLOCK }))
}
