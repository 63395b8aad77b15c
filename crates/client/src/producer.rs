//! Writing: batches for each partition, sent when they are full or when asked to.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BatchBuilder, BatchOptions, Compression, NewRecord};
use ottla_types::{ErrorCode, Offset, murmur2};

use crate::cluster::{Cluster, MOMENT, PATIENCE};
use crate::error::ClientError;
use crate::transaction::{OLD_PRODUCE, Transaction};

/// How a producer writes.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// How batches are compressed.
    pub compression: Compression,
    /// Is each record written once, whatever happens to connections?
    pub idempotent: bool,
    /// The size at which a batch is sent, in bytes.
    pub batch_bytes: usize,
    /// How long a batch is tried again when it fails for a reason that may pass.
    pub patience: Duration,
    /// The name under which it writes in transactions (`transactional.id`).
    pub transactional_id: Option<String>,
    /// For how long a transaction may be open, in milliseconds (`transaction.timeout.ms`).
    pub transaction_timeout_ms: i32,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            idempotent: true,
            batch_bytes: 64 << 10,
            patience: PATIENCE,
            transactional_id: None,
            transaction_timeout_ms: 60_000,
        }
    }
}

/// A record to be written.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Records with the same key go to the same partition.
    pub key: Option<Bytes>,
    /// The content.
    pub value: Option<Bytes>,
    /// Names and values beside it.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Writes records to topics.
#[derive(Debug)]
pub struct Producer {
    pub(crate) cluster: Cluster,
    pub(crate) options: ProducerOptions,
    /// Id and epoch, once they are known.
    pub(crate) identity: Option<(i64, i16)>,
    pub(crate) transaction: Transaction,
    pub(crate) sequences: BTreeMap<(String, i32), i32>,
    waiting: BTreeMap<(String, i32), Vec<(i64, Message)>>,
    waiting_bytes: BTreeMap<(String, i32), usize>,
    /// Where records without a key go, batch by batch.
    turn: usize,
}

impl Producer {
    /// A producer on this cluster.
    #[must_use]
    pub fn new(cluster: Cluster, options: ProducerOptions) -> Self {
        Self {
            cluster,
            options,
            identity: None,
            transaction: Transaction::default(),
            sequences: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Puts a record into its partition's batch; sends the batch if that makes it full.
    ///
    /// # Errors
    /// The batch could not be written; its records are lost to this producer.
    pub async fn send(&mut self, topic: &str, message: Message) -> Result<(), ClientError> {
        let known = self.cluster.topic(topic, true).await?;
        let count = known.leaders.len();
        let at = match &message.key {
            Some(key) => usize::try_from(murmur2(key) & i32::MAX).unwrap_or(0) % count,
            None => self.turn % count,
        };
        let partition = known.leaders.keys().nth(at).copied().unwrap_or(0);
        let place = (topic.to_owned(), partition);
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let size = length(&message.key) + length(&message.value) + 64;
        let now = self.cluster.clock.wall_ms();
        self.waiting.entry(place.clone()).or_default().push((now, message));
        let bytes = self.waiting_bytes.entry(place.clone()).or_default();
        *bytes += size;
        if *bytes >= self.options.batch_bytes {
            self.turn += 1;
            self.write(place).await?;
        }
        Ok(())
    }

    /// Sends everything that waits; when this returns it is written.
    ///
    /// # Errors
    /// A batch could not be written; its records are lost to this producer.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        let places: Vec<_> = self.waiting.keys().cloned().collect();
        for place in places {
            self.write(place).await?;
        }
        self.turn += 1;
        Ok(())
    }

    /// What waits is not sent.
    pub(crate) fn drop_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes.clear();
    }

    async fn identity(&mut self) -> Result<(i64, i16), ClientError> {
        if !self.options.idempotent {
            return Ok((-1, -1));
        }
        if let Some(identity) = self.identity {
            return Ok(identity);
        }
        let deadline = self.cluster.clock.monotonic() + self.options.patience;
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        loop {
            let response = self.cluster.ask_any(&request).await?;
            let refused = ClientError::check(response.error_code, || "a producer id".to_owned());
            match refused {
                Ok(()) => {
                    let identity = (response.producer_id, response.producer_epoch);
                    self.identity = Some(identity);
                    return Ok(identity);
                }
                Err(error) if error.is_passing() && self.cluster.clock.monotonic() < deadline => {
                    self.cluster.clock.sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what waits for a partition as one batch, again and again until it is there.
    async fn write(&mut self, place: (String, i32)) -> Result<Offset, ClientError> {
        let records = self.waiting.remove(&place).unwrap_or_default();
        self.waiting_bytes.remove(&place);
        let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
        let transactional = self.options.transactional_id.is_some();
        if transactional {
            self.touch(&place).await?;
        }
        let (producer_id, producer_epoch) = self.identity().await?;
        let sequence = self.sequences.get(&place).copied().unwrap_or(0);
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: self.options.compression,
            transactional,
            producer_id,
            producer_epoch,
            base_sequence: if producer_id < 0 { -1 } else { sequence },
            ..BatchOptions::default()
        });
        for (timestamp, message) in &records {
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                message.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            builder.push(&NewRecord {
                timestamp: *timestamp,
                key: message.key.as_deref(),
                value: message.value.as_deref(),
                headers: &headers,
            });
        }
        let batch = Bytes::from(builder.build()?);
        let deadline = self.cluster.clock.monotonic() + self.options.patience;
        loop {
            match self.try_write(&place, &batch).await {
                Ok(offset) => {
                    let next = sequence.wrapping_add(count) & i32::MAX;
                    self.sequences.insert(place, next);
                    return Ok(offset);
                }
                Err(error) if error.is_passing() && self.cluster.clock.monotonic() < deadline => {
                    self.cluster.forget(&place.0);
                    self.cluster.clock.sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_write(
        &mut self,
        (topic, partition): &(String, i32),
        batch: &Bytes,
    ) -> Result<Offset, ClientError> {
        let known = self.cluster.topic(topic, true).await?;
        let leader = known.leaders.get(partition).copied().unwrap_or(-1);
        let transactional_id = self.options.transactional_id.clone();
        let is_old = transactional_id.is_some() && !self.transaction.has_own_epoch;
        let request = ProduceRequest {
            transactional_id,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.clone(),
                topic_id: known.id,
                partition_data: vec![PartitionProduceData {
                    index: *partition,
                    records: Some(batch.clone()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let newest = is_old.then_some(OLD_PRODUCE);
        let response = self.cluster.ask_up_to(leader, &request, newest).await?;
        let answers = response.responses.iter().flat_map(|it| &it.partition_responses);
        let Some(answer) = answers.into_iter().next() else {
            let (what, code) = (format!("{topic}-{partition}"), ErrorCode::UNKNOWN_SERVER_ERROR);
            return Err(ClientError::Refused { what, code });
        };
        ClientError::check(answer.error_code, || {
            let said = answer.error_message.clone();
            format!("{topic}-{partition}: {}", said.unwrap_or_default())
        })?;
        Ok(answer.base_offset)
    }
}
