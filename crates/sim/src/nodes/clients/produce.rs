//! Producers: plain ones, which send each batch once, and idempotent ones, which send it until they
//! know where it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_records::Compression;
use ottla_types::ErrorCode;

use super::{SimClient, is_passing};
use crate::invariant::Invariant;
use crate::nodes::model::Place;
use crate::nodes::value::{BatchWriter, SimValue, batch_of};

/// The versions that name topics.
const VERSIONS: (u64, u64) = (9, 12);

/// A produce request of one batch.
pub fn request_of(place: &Place, records: Bytes, acks: i16, id: Option<&str>) -> ProduceRequest {
    let data =
        PartitionProduceData { index: place.1, records: Some(records), ..Default::default() };
    let topic = TopicProduceData {
        name: place.0.clone(),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest {
        transactional_id: id.map(str::to_owned),
        acks,
        timeout_ms: 3_000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

/// The code and the offset of the only partition of an answer.
pub fn outcome_of(answer: &ProduceResponse) -> (ErrorCode, i64) {
    let first = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    first.map_or((ErrorCode::UNKNOWN_SERVER_ERROR, -1), |partition| {
        (ErrorCode(partition.error_code), partition.base_offset)
    })
}

impl SimClient {
    /// Some version of Produce that names topics.
    pub fn produce_version(&mut self) -> i16 {
        i16::try_from(self.dice.between(VERSIONS.0, VERSIONS.1)).unwrap_or(9)
    }

    /// A few values that were not written before.
    pub fn some_values(&mut self, number: &mut u64, era: u32, transaction: u64) -> Vec<SimValue> {
        let count = self.dice.between(1, 4);
        let is_idempotent = self.writes_in_order();
        let value =
            |number| SimValue { writer: self.number, era, number, transaction, is_idempotent };
        let values = (*number + 1..=*number + count).map(value).collect();
        *number += count;
        values
    }

    /// Does it write its records in the order of their numbers? Every other producer does.
    pub const fn writes_in_order(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// How a batch is packed.
    pub fn some_packing(&mut self) -> (usize, Compression) {
        let padding = if self.dice.chance(100) { self.dice.index(90) } else { 10 };
        let codecs = [Compression::None, Compression::None, Compression::Lz4, Compression::Zstd];
        (padding, codecs[self.dice.index(codecs.len())])
    }

    /// These values stand at these offsets now.
    pub fn wrote(&self, place: &Place, base_offset: i64, values: &[SimValue]) {
        let mut checked = Ok(());
        {
            let mut model = self.shared.model.borrow_mut();
            let log = model.log(&place.0, place.1);
            for (offset, value) in (base_offset..).zip(values) {
                checked = checked.and_then(|()| log.see(offset, Some(*value)));
            }
        }
        let checked = checked.map_err(|why| format!("{place:?}: acknowledged: {why}"));
        self.demand(Invariant::RecordsStay, checked);
    }
}

/// Sends batches once each.
pub async fn produce_plainly(client: &mut SimClient) {
    let mut number = 0;
    while !client.is_over() {
        if client.connect().await.is_err() {
            client.rest().await;
            continue;
        }
        let (place, era) = (client.some_partition(), client.shared.era.get());
        let values = client.some_values(&mut number, era, 0);
        let packing = client.some_packing();
        let batch = batch_of(&values, BatchWriter::PLAIN, client.clock.wall_ms(), packing);
        let acks = if client.dice.chance(500) { -1 } else { 1 };
        let version = client.produce_version();
        let answer = client.ask_in(era, &request_of(&place, batch, acks, None), version).await;
        if let Ok(answer) = answer {
            match outcome_of(&answer) {
                (ErrorCode::NONE, offset) => client.wrote(&place, offset, &values),
                (code, _) if is_passing(code) => {}
                (code, _) => client.unexpected("Produce", code),
            }
        }
        client.rest().await;
    }
}

/// An idempotent producer's identity, and its place in each partition.
struct Identity {
    producer_id: i64,
    epoch: i16,
    era: u32,
    sequences: BTreeMap<Place, i32>,
}

/// Sends each batch until it knows where it is.
pub async fn produce_idempotently(client: &mut SimClient) {
    let (mut number, mut identity) = (0, None);
    while !client.is_over() {
        let Some(mut known) = identity.take() else {
            identity = init_producer(client).await;
            client.rest().await;
            continue;
        };
        if send_until_known(client, &mut known, &mut number).await {
            identity = Some(known);
        }
        client.rest().await;
    }
}

async fn init_producer(client: &mut SimClient) -> Option<Identity> {
    client.connect().await.ok()?;
    let era = client.shared.era.get();
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let answer = client.ask_in(era, &request, 4).await.ok()?;
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => Some(Identity {
            producer_id: answer.producer_id,
            epoch: answer.producer_epoch,
            era,
            sequences: BTreeMap::new(),
        }),
        code if is_passing(code) => None,
        code => {
            client.unexpected("InitProducerId", code);
            None
        }
    }
}

/// Has the producer still the same id and epoch?
async fn send_until_known(client: &mut SimClient, own: &mut Identity, number: &mut u64) -> bool {
    let place = client.some_partition();
    let values = client.some_values(number, own.era, 0);
    let sequence = own.sequences.get(&place).copied().unwrap_or(0);
    let writer = BatchWriter { producer_id: own.producer_id, epoch: own.epoch, sequence };
    let packing = client.some_packing();
    let batch = batch_of(&values, writer, client.clock.wall_ms(), packing);
    let request = request_of(&place, batch, -1, None);
    let version = client.produce_version();
    loop {
        if client.shared.era.get() != own.era {
            return false;
        }
        let answer = match client.connect().await {
            Ok(()) => client.ask_in(own.era, &request, version).await,
            Err(lost) => Err(lost),
        };
        if let Ok(answer) = answer {
            match outcome_of(&answer) {
                (ErrorCode::NONE, offset) => {
                    client.wrote(&place, offset, &values);
                    let count = i32::try_from(values.len()).unwrap_or(0);
                    own.sequences.insert(place, sequence + count);
                    return true;
                }
                (code, _) if is_passing(code) => {}
                (code, _) => {
                    client.unexpected("an idempotent Produce", code);
                    return false;
                }
            }
        }
        client.rest().await;
    }
}
