//! Writing: batches for each partition, sent when they are full or when asked to.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ErrorCode, Offset, TimestampMs, TopicPartition, murmur2};

use crate::cluster::{Cluster, MOMENT};
use crate::error::ClientError;
use crate::producer_options::{Acks, ProducerOptions};
use crate::transaction::{OLD_PRODUCE, Transaction};

/// A record to be written.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Records with the same key go to the same partition.
    pub key: Option<Bytes>,
    /// The content.
    pub value: Option<Bytes>,
    /// Names and values beside it.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Its partition, if its key and turn are not to decide.
    pub partition: Option<i32>,
    /// Its time in milliseconds, if that is not now.
    pub timestamp: Option<TimestampMs>,
}

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number that [`Producer::send`] gave it.
    pub number: u64,
    /// Its topic and partition.
    pub place: TopicPartition,
    /// Its offset; -1 if the broker was not asked to say.
    pub offset: Offset,
}

/// What waits to be sent to a partition.
#[derive(Debug, Default)]
struct Waiting {
    records: Vec<(u64, TimestampMs, Message)>,
    bytes: usize,
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
    waiting: BTreeMap<(String, i32), Waiting>,
    /// Where records without a key go, batch by batch.
    turn: usize,
    /// How many records it was given.
    given: u64,
    reports: Vec<Report>,
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
            turn: 0,
            given: 0,
            reports: Vec::new(),
        }
    }

    /// Puts a record into its partition's batch; sends the batch if that makes it full. Returns
    /// the record's number: how many this producer was given before.
    ///
    /// # Errors
    /// The batch could not be written; its records are lost to this producer.
    pub async fn send(&mut self, topic: &str, message: Message) -> Result<u64, ClientError> {
        let known = self.cluster.topic(topic, true).await?;
        let count = known.leaders.len();
        let at = match &message.key {
            Some(key) => usize::try_from(murmur2(key) & i32::MAX).unwrap_or(0) % count,
            None => self.turn % count,
        };
        let chosen = || known.leaders.keys().nth(at).copied().unwrap_or(0);
        let place = (topic.to_owned(), message.partition.unwrap_or_else(chosen));
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let size = length(&message.key) + length(&message.value) + 64;
        let at = message.timestamp.unwrap_or_else(|| self.cluster.clock.wall_ms());
        let number = self.given;
        self.given += 1;
        let waiting = self.waiting.entry(place.clone()).or_default();
        waiting.records.push((number, at, message));
        waiting.bytes += size;
        if waiting.bytes >= self.options.batch_bytes {
            self.turn += 1;
            self.write(place).await?;
        }
        Ok(number)
    }

    /// Where records went since this was last asked, if the options ask for it.
    pub fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
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
        let records = self.waiting.remove(&place).unwrap_or_default().records;
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
        for (_, timestamp, message) in &records {
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
                    if self.options.reports {
                        let at = TopicPartition::new(place.0.as_str(), place.1);
                        let offset = |n: i64| if offset < 0 { -1 } else { offset + n };
                        let report = |((number, ..), n): (&(u64, _, _), i64)| Report {
                            number: *number,
                            place: at.clone(),
                            offset: offset(n),
                        };
                        self.reports.extend(records.iter().zip(0..).map(report));
                    }
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
            acks: self.options.acks as i16,
            timeout_ms: self.options.timeout_ms,
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
        if self.options.acks == Acks::None {
            self.cluster.tell(leader, &request).await?;
            return Ok(-1);
        }
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
