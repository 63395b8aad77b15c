//! How the records of a partition are written: as one batch, tried again while that may help, and
//! in parts where the broker says that the batch is too large.
//!
//! A part gets its sequence numbers when it is sent, and the next is not sent before it has been
//! answered. So the order of records stays what it was, each is written once, and a record that is
//! refused leaves no gap behind.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BadBatch, BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ErrorCode, Offset, TopicPartition};

use crate::cluster::MOMENT;
use crate::error::ClientError;
use crate::producer::{Lost, Pending, ProduceFailure, Producer, RecordMetadata};
use crate::producer_options::Acks;
use crate::transaction::OLD_PRODUCE;

/// What a broker says of an identity or of sequence numbers that it cannot accept.
const IDENTITY: [ErrorCode; 3] = [
    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode::INVALID_PRODUCER_EPOCH,
    ErrorCode::UNKNOWN_PRODUCER_ID,
];

impl Producer {
    /// Writes what waits for a partition.
    pub(crate) async fn write(&mut self, place: (String, i32)) -> Result<(), ClientError> {
        let mut parts = VecDeque::from([self.taken(&place)]);
        while let Some(part) = parts.pop_front() {
            match self.write_batch(&place, &part).await {
                Ok(base) => self.written(&place, &part, base),
                Err(error) if is_too_large(&error) && part.len() > 1 => {
                    let (first, rest) = halves(part);
                    parts.push_front(rest);
                    parts.push_front(first);
                }
                Err(error) => {
                    self.doubt(&error);
                    let records = part.iter().map(|it| Lost::new(it.number, &it.message)).collect();
                    let (topic, partition) = (place.0.clone(), Some(place.1));
                    self.failed(ProduceFailure { topic, partition, records, error })?;
                }
            }
        }
        Ok(())
    }

    /// Takes note that a batch has been written.
    fn written(&mut self, place: &(String, i32), records: &[Pending], base: Offset) {
        let sequence = self.sequences.entry(place.clone()).or_default();
        let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
        *sequence = sequence.wrapping_add(count) & i32::MAX;
        if self.options.reports {
            let at = TopicPartition::new(place.0.as_str(), place.1);
            let offset = |n: i64| if base < 0 { -1 } else { base + n };
            let reports = records.iter().zip(0..).map(|(record, n)| RecordMetadata {
                number: record.number,
                place: at.clone(),
                offset: offset(n),
            });
            self.reports.extend(reports);
        }
    }

    /// After an error that leaves open whether the batch was written, the next batch must not come
    /// under its sequence number: the broker would take it for the same one and drop it.
    fn doubt(&mut self, error: &ClientError) {
        let is_certain = match error {
            ClientError::Batch(_) | ClientError::Encode(_) => true,
            ClientError::Refused { code, .. } => !code.is_retriable() && !IDENTITY.contains(code),
            _ => false,
        };
        if !is_certain && self.options.transactional_id.is_none() {
            self.identity = None;
            self.sequences.clear();
        }
    }

    /// Writes records as one batch, tried again and again while that may help.
    async fn write_batch(
        &mut self,
        place: &(String, i32),
        records: &[Pending],
    ) -> Result<Offset, ClientError> {
        if self.options.transactional_id.is_some() {
            self.touch(place).await?;
        }
        let identity = self.identity().await?;
        let batch = self.batch(place, identity, records)?;
        let deadline = self.cluster.clock.monotonic() + self.options.patience;
        loop {
            match self.try_write(place, &batch).await {
                Err(error) if error.is_passing() && self.cluster.clock.monotonic() < deadline => {
                    self.cluster.forget(&place.0);
                    self.cluster.clock.sleep(MOMENT).await;
                }
                done => return done,
            }
        }
    }

    /// A batch with the partition's next sequence numbers.
    fn batch(
        &self,
        place: &(String, i32),
        (producer_id, producer_epoch): (i64, i16),
        records: &[Pending],
    ) -> Result<Bytes, BadBatch> {
        let sequence = self.sequences.get(place).copied().unwrap_or(0);
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: self.options.compression,
            transactional: self.options.transactional_id.is_some(),
            producer_id,
            producer_epoch,
            base_sequence: if producer_id < 0 { -1 } else { sequence },
            ..BatchOptions::default()
        });
        for Pending { timestamp, message, .. } in records {
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                message.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            builder.push(&NewRecord {
                timestamp: *timestamp,
                key: message.key.as_deref(),
                value: message.value.as_deref(),
                headers: &headers,
            });
        }
        Ok(Bytes::from(builder.build()?))
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

/// Does the broker refuse a batch for its size?
fn is_too_large(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { code: ErrorCode::MESSAGE_TOO_LARGE, .. })
}

/// Records in two parts of about the same size, neither of them empty.
fn halves(mut records: Vec<Pending>) -> (Vec<Pending>, Vec<Pending>) {
    let half = records.iter().map(|it| it.bytes).sum::<usize>() / 2;
    let mut bytes = 0;
    let at = records.iter().take_while(|it| {
        bytes += it.bytes;
        bytes <= half
    });
    let at = at.count().clamp(1, records.len().saturating_sub(1).max(1));
    let rest = records.split_off(at);
    (records, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::ProducerRecord;

    #[test]
    fn a_batch_is_split_in_the_middle_of_its_bytes() {
        let of = |sizes: &[usize]| -> Vec<Pending> {
            let one = |(number, bytes): (u64, &usize)| Pending {
                number,
                timestamp: 0,
                message: ProducerRecord::default(),
                bytes: *bytes,
            };
            (0..).zip(sizes).map(one).collect()
        };
        for (sizes, first) in [
            (&[1, 1][..], 1),
            (&[1, 1, 1, 1], 2),
            (&[9, 1, 1, 1], 1),
            (&[1, 1, 1, 9], 3),
            (&[4, 4, 4], 1),
        ] {
            let (a, b) = halves(of(sizes));
            assert_eq!((a.len(), b.len()), (first, sizes.len() - first), "{sizes:?}");
            let numbers: Vec<u64> = a.iter().chain(&b).map(|it| it.number).collect();
            assert!(numbers.is_sorted(), "{sizes:?} in another order: {numbers:?}");
        }
    }
}
