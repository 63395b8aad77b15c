//! Writing: batches for each partition, sent when they are full or when asked to.

mod options;
mod queue;
mod queues;
mod sender;

use bytes::Bytes;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_types::{Offset, TimestampMs, TopicPartition, murmur2};

use crate::client::Client;
use crate::error::ClientError;
use crate::metadata::IfAbsent;
use crate::transaction::ProducerTransaction;
pub(crate) use queue::ProducerIdentity;
use queue::{PartitionQueue, PendingRecord};
use queues::ProducerQueues;
use sender::{ProduceCall, Until};

pub use options::{Acks, OnFailure, ProducerOptions};

/// A record to be written.
#[derive(Clone, Debug, Default)]
pub struct ProducerRecord {
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
pub struct RecordMetadata {
    /// The number that [`Producer::send`] gave it.
    pub number: u64,
    /// Its topic and partition.
    pub place: TopicPartition,
    /// Its offset; -1 if the broker was not asked to say.
    pub offset: Offset,
}

/// Records of one partition that could not be written, and why.
#[derive(Debug)]
pub struct ProduceFailure {
    /// Their topic.
    pub topic: String,
    /// Their partition; none if it was not known yet.
    pub partition: Option<i32>,
    /// The records, in the order in which they were given.
    pub records: Vec<Lost>,
    /// Why they could not be written.
    pub error: ClientError,
}

/// A record that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The number that [`Producer::send`] gave it.
    pub number: u64,
    /// The size of its key in bytes, if it has one.
    pub key_bytes: Option<usize>,
    /// The size of its value in bytes, if it has one.
    pub value_bytes: Option<usize>,
}

impl Lost {
    pub(crate) fn new(number: u64, message: &ProducerRecord) -> Self {
        let bytes = |part: &Option<Bytes>| part.as_ref().map(Bytes::len);
        Self { number, key_bytes: bytes(&message.key), value_bytes: bytes(&message.value) }
    }
}

/// Writes records to topics, with connections of its own.
///
/// Records are collected in a batch for each partition. A batch is sent when it is full, and all of
/// them by [`Self::flush`]; up to five of a partition are on their way at a time. Nothing happens
/// between calls: what is on its way goes on when the producer is called again.
#[derive(Debug)]
pub struct Producer {
    pub(crate) client: Client,
    pub(crate) options: ProducerOptions,
    /// Once it is known.
    identity: Option<ProducerIdentity>,
    pub(crate) transaction: ProducerTransaction,
    queues: ProducerQueues,
    calls: Vec<ProduceCall>,
    /// Where records without a key go, batch by batch.
    turn: usize,
    /// How many records it was given.
    given: u64,
    reports: Vec<RecordMetadata>,
    failures: Vec<ProduceFailure>,
    /// Why records were lost, if that is to be returned.
    error: Option<ClientError>,
}

impl Producer {
    /// A producer on this cluster.
    #[must_use]
    pub fn new(client: Client, options: ProducerOptions) -> Self {
        Self {
            client: client.with_own_connections(),
            queues: ProducerQueues::new(options.in_flight_max()),
            options,
            identity: None,
            transaction: ProducerTransaction::default(),
            calls: Vec::new(),
            turn: 0,
            given: 0,
            reports: Vec::new(),
            failures: Vec::new(),
            error: None,
        }
    }

    /// Puts a record into its partition's batch; sends the batch if that makes it full. Returns
    /// the record's number: how many this producer was given before.
    ///
    /// # Errors
    /// The topic is not known, the record is larger than a request may be, or an earlier batch
    /// could not be written; what could not be written is lost to this producer. With
    /// [`OnFailure::Keep`] these are not errors but [`Self::failures`].
    pub async fn send(&mut self, topic: &str, message: ProducerRecord) -> Result<u64, ClientError> {
        let number = self.given;
        self.given += 1;
        let bytes = size_in_batch(&message);
        let place = match self.choose_partition(topic, &message, bytes).await {
            Ok(place) => place,
            Err(error) => {
                let records = vec![Lost::new(number, &message)];
                let failure =
                    ProduceFailure { topic: topic.to_owned(), partition: None, records, error };
                self.note_failure(failure);
                return self.error.take().map_or(Ok(number), Err);
            }
        };
        let timestamp = message.timestamp.unwrap_or_else(|| self.client.clock().wall_ms());
        let record = PendingRecord { number, timestamp, message, bytes };
        let batch_bytes = self.options.batch_bytes;
        let is_full = self.queues.change(&place, |queue| {
            let is_full = queue.collect(record) >= batch_bytes;
            if is_full {
                queue.close_batch();
            }
            is_full
        });
        if is_full {
            self.turn += 1;
            self.make_progress(Until::Room(place)).await?;
        }
        Ok(number)
    }

    /// The partition that a record goes to.
    async fn choose_partition(
        &mut self,
        topic: &str,
        message: &ProducerRecord,
        bytes: usize,
    ) -> Result<TopicPartition, ClientError> {
        let limit = self.options.max_block;
        let known = self.client.topic_within(topic, IfAbsent::Create, limit).await?;
        let most = self.options.request_bytes_max;
        let bytes = bytes.saturating_add(BATCH_OVERHEAD);
        if bytes > most {
            return Err(ClientError::RecordTooLarge { bytes, most });
        }
        let count = known.leaders.len();
        let at = match &message.key {
            Some(key) => usize::try_from(murmur2(key) & i32::MAX).unwrap_or(0) % count,
            None => self.turn % count,
        };
        let chosen = || known.partition_at(at);
        Ok(TopicPartition::new(topic, message.partition.unwrap_or_else(chosen)))
    }

    /// Where records went since this was last asked, if the options ask for it.
    pub fn reports(&mut self) -> Vec<RecordMetadata> {
        std::mem::take(&mut self.reports)
    }

    /// What could not be written since this was last asked, with [`OnFailure::Keep`].
    pub fn failures(&mut self) -> Vec<ProduceFailure> {
        std::mem::take(&mut self.failures)
    }

    /// Sends everything that was collected, to all partitions at once; when this returns it is
    /// written.
    ///
    /// # Errors
    /// Batches could not be written, the first of them for this reason; their records are lost to
    /// this producer. With [`OnFailure::Keep`] these are not errors but [`Self::failures`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.queues.change_all(PartitionQueue::close_batch);
        self.turn += 1;
        self.make_progress(Until::Done).await
    }

    /// Handles a failure as the options say.
    fn note_failure(&mut self, failure: ProduceFailure) {
        match self.options.on_failure {
            OnFailure::Return => drop(self.error.get_or_insert(failure.error)),
            OnFailure::Keep => self.failures.push(failure),
        }
    }

    /// Drops what was not sent, and waits for what is on its way.
    pub(crate) async fn drop_unsent(&mut self) {
        self.queues.change_all(PartitionQueue::drop_unsent);
        self.wait_for_calls().await;
        self.queues.clear();
        self.error = None;
    }

    pub(crate) const fn known_identity(&self) -> Option<ProducerIdentity> {
        match self.options.idempotent {
            true => self.identity,
            false => Some(ProducerIdentity::NONE),
        }
    }

    pub(crate) fn set_identity(&mut self, identity: ProducerIdentity) {
        if self.identity != Some(identity) {
            // Each epoch counts its records from 0.
            self.queues.change_all(PartitionQueue::restart_sequence);
        }
        self.identity = Some(identity);
    }

    fn forget_identity(&mut self) {
        self.identity = None;
        // Before a batch is sent to its leader, the producer gets another.
        self.queues.forget_leaders(None);
    }

    pub(crate) async fn identity(&mut self) -> Result<ProducerIdentity, ClientError> {
        if let Some(identity) = self.known_identity() {
            return Ok(identity);
        }
        let deadline = self.client.clock().monotonic() + self.options.delivery_timeout;
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        loop {
            let response = self.client.ask_any(&request).await?;
            let refused = ClientError::check(response.error_code, || "a producer id".to_owned());
            match refused {
                Ok(()) => {
                    let (id, epoch) = (response.producer_id, response.producer_epoch);
                    let identity = ProducerIdentity { id, epoch };
                    self.identity = Some(identity);
                    return Ok(identity);
                }
                Err(error) if error.is_passing() && self.client.clock().monotonic() < deadline => {
                    self.client.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The bytes of a batch's header.
const BATCH_OVERHEAD: usize = 61;
/// The most bytes of a record beside its key, its value and its headers.
const RECORD_OVERHEAD: usize = 21;

/// At most how large a record is in a batch, in bytes.
fn size_in_batch(message: &ProducerRecord) -> usize {
    let part = |part: Option<&[u8]>| part.map_or(1, |it| varint_bytes(it.len()) + it.len());
    let headers = message.headers.iter();
    let headers: usize =
        headers.map(|(name, value)| part(Some(name)) + part(value.as_deref())).sum();
    RECORD_OVERHEAD
        + part(message.key.as_deref())
        + part(message.value.as_deref())
        + varint_bytes(message.headers.len())
        + headers
}

/// How many bytes a length takes that is written as a zigzag varint.
const fn varint_bytes(length: usize) -> usize {
    let bits = usize::BITS as usize + 1 - length.leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_never_larger_than_it_was_taken_for() {
        for (length, bytes) in [(0, 1), (63, 1), (64, 2), (8191, 2), (8192, 3), (2_000_000, 4)] {
            assert_eq!(varint_bytes(length), bytes, "length {length}");
        }
        let message = ProducerRecord {
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from(vec![b'x'; 2_000_000])),
            headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"1")))],
            ..ProducerRecord::default()
        };
        assert_eq!(size_in_batch(&message) + BATCH_OVERHEAD, 2_000_093);
    }
}
