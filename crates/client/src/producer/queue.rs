//! What a producer has for one partition: records that are being collected, and batches in the
//! order in which they have to be written.
//!
//! Up to five batches are on their way at a time. After a failure nothing more is sent until the
//! others on their way are answered; then what is not written goes out again in the same order.
//! So an idempotent producer keeps its order: a batch that was overtaken by a failure is refused as
//! out of sequence, and is sent again after the one that failed. Only a broker without state of
//! the producer refuses no sequence number; so the first batch that a producer id writes to a
//! partition goes alone.
//!
//! Invariant: the sequence numbers of the batches in the queue follow one another.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ottla_records::{BadBatch, BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ErrorCode, TimestampMs};

use super::ProducerRecord;
use super::options::ProducerOptions;
use crate::error::ClientError;

/// How many batches of a partition may be on their way. More would break idempotence: a broker
/// remembers the last five batches of a producer.
pub(super) const BATCHES_IN_FLIGHT_MAX: usize = 5;

/// What a broker answers to a producer id, an epoch or sequence numbers that it does not accept.
const IDENTITY: [ErrorCode; 3] = [
    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode::INVALID_PRODUCER_EPOCH,
    ErrorCode::UNKNOWN_PRODUCER_ID,
];

/// A producer's id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIdentity {
    /// -1 for a producer that is not idempotent.
    pub id: i64,
    pub epoch: i16,
}

impl ProducerIdentity {
    pub const NONE: Self = Self { id: -1, epoch: -1 };
}

/// A record on its way.
#[derive(Debug)]
pub(crate) struct PendingRecord {
    pub number: u64,
    pub timestamp: TimestampMs,
    pub message: ProducerRecord,
    /// About how large it is in a batch.
    pub bytes: usize,
}

/// The outcome of a batch that was sent.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It was not sent, or is to be sent again.
    Due,
    /// It is on its way.
    Sent,
    /// It failed; what that means is decided when those before and behind it are answered, too.
    Failed(ClientError),
}

/// Records that are written together.
#[derive(Debug)]
pub(super) struct QueuedBatch {
    /// A number that no other batch of its partition has.
    pub number: u64,
    pub records: Vec<PendingRecord>,
    pub attempt: Attempt,
    /// Its first sequence number, once it has one.
    sequence: Option<i32>,
    /// As it is sent.
    encoded: Option<Bytes>,
    /// Until when it is sent again.
    deadline: Option<Duration>,
}

impl QueuedBatch {
    fn new(number: u64, records: Vec<PendingRecord>) -> Self {
        let attempt = Attempt::Due;
        Self { number, records, attempt, sequence: None, encoded: None, deadline: None }
    }

    fn count(&self) -> i32 {
        i32::try_from(self.records.len()).unwrap_or(i32::MAX)
    }

    /// Its next attempt has other sequence numbers.
    fn forget_sequence(&mut self) {
        (self.sequence, self.encoded) = (None, None);
    }
}

/// Records that were lost, and why.
#[derive(Debug)]
pub(super) struct Undelivered {
    pub records: Vec<PendingRecord>,
    pub error: ClientError,
    /// May they have been written, though the request failed? Then their sequence numbers are used
    /// up.
    pub is_uncertain: bool,
}

/// The outcome of a partition's failed batches.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub lost: Vec<Undelivered>,
    /// Is there something to be sent again that needs time to succeed?
    pub must_wait: bool,
}

impl Settled {
    /// May a batch that counts as lost have been written?
    pub fn is_uncertain(&self) -> bool {
        self.lost.iter().any(|it| it.is_uncertain)
    }
}

/// One partition of a producer.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    /// Records that are being collected.
    collecting: Vec<PendingRecord>,
    collecting_bytes: usize,
    batches: VecDeque<QueuedBatch>,
    next_batch: u64,
    /// The producer id and epoch of the queue's batches.
    identity: ProducerIdentity,
    next_sequence: i32,
    /// The producer id of the last batch that was written: the broker knows it, and refuses what is
    /// out of its sequence.
    known_producer: Option<i64>,
    /// After a failure nothing is sent before this time.
    pub retry_at: Option<Duration>,
}

impl Default for PartitionQueue {
    fn default() -> Self {
        Self {
            collecting: Vec::new(),
            collecting_bytes: 0,
            batches: VecDeque::new(),
            next_batch: 0,
            identity: ProducerIdentity::NONE,
            next_sequence: 0,
            known_producer: None,
            retry_at: None,
        }
    }
}

impl PartitionQueue {
    /// Adds a record to those that are being collected; how many bytes these have now.
    pub fn collect(&mut self, record: PendingRecord) -> usize {
        self.collecting_bytes += record.bytes;
        self.collecting.push(record);
        self.collecting_bytes
    }

    /// Makes a batch of what was collected.
    pub fn close_batch(&mut self) {
        if self.collecting.is_empty() {
            return;
        }
        self.collecting_bytes = 0;
        let records = std::mem::take(&mut self.collecting);
        self.batches.push_back(QueuedBatch::new(self.next_batch, records));
        self.next_batch += 1;
    }

    /// Drops what was not sent.
    pub fn drop_unsent(&mut self) {
        (self.collecting_bytes, self.collecting) = (0, Vec::new());
        self.batches.retain(|batch| matches!(batch.attempt, Attempt::Sent));
    }

    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    pub fn in_flight(&self) -> usize {
        self.batches.iter().filter(|it| matches!(it.attempt, Attempt::Sent)).count()
    }

    /// Is a batch to be sent, and may it be?
    pub fn has_due(&self, in_flight_max: usize) -> bool {
        let has_due = self.batches.iter().any(|it| matches!(it.attempt, Attempt::Due));
        let is_known = self.known_producer == Some(self.identity.id);
        let max = if is_known { in_flight_max } else { 1 };
        has_due && self.retry_at.is_none() && !self.has_failed() && self.in_flight() < max
    }

    fn has_failed(&self) -> bool {
        self.batches.iter().any(|it| matches!(it.attempt, Attempt::Failed(_)))
    }

    /// Has a batch failed, and can be decided what that means?
    pub fn can_settle(&self) -> bool {
        self.has_failed() && self.in_flight() == 0
    }

    /// Forgets the sequence numbers: the next batch is the first of its producer epoch.
    pub fn restart_sequence(&mut self) {
        (self.identity, self.next_sequence) = (ProducerIdentity::NONE, 0);
    }

    /// The next batch that is due: its number and its bytes. One that cannot be encoded has failed.
    pub fn next_due(
        &mut self,
        current: ProducerIdentity,
        options: &ProducerOptions,
        now: Duration,
    ) -> Option<(u64, Bytes)> {
        // Batches that have numbers already keep their identity, and so do those after them.
        if self.identity != current && self.batches.iter().all(|it| it.sequence.is_none()) {
            (self.identity, self.next_sequence) = (current, 0);
        }
        let identity = self.identity;
        let batch = first_due(&mut self.batches)?;
        batch.deadline.get_or_insert(now.saturating_add(options.delivery_timeout));
        let count = batch.count();
        let sequence = *batch.sequence.get_or_insert_with(|| {
            let first = self.next_sequence;
            self.next_sequence = first.wrapping_add(count) & i32::MAX;
            first
        });
        if let Some(bytes) = &batch.encoded {
            return Some((batch.number, bytes.clone()));
        }
        match encode_batch(&batch.records, identity, sequence, options) {
            Ok(bytes) => {
                batch.encoded = Some(bytes.clone());
                Some((batch.number, bytes))
            }
            Err(error) => {
                batch.attempt = Attempt::Failed(error.into());
                None
            }
        }
    }

    /// Gives up the next batch that is due, for an error that does not concern it alone.
    pub fn give_up_due(&mut self, error: ClientError, now: Duration) {
        if let Some(batch) = first_due(&mut self.batches) {
            (batch.attempt, batch.deadline) = (Attempt::Failed(error), Some(now));
        }
    }

    /// The next batch that is due could not be sent; the next attempt may succeed.
    pub fn fail_due(&mut self, error: ClientError, now: Duration, delivery_timeout: Duration) {
        if let Some(batch) = first_due(&mut self.batches) {
            batch.deadline.get_or_insert(now.saturating_add(delivery_timeout));
            batch.attempt = Attempt::Failed(error);
        }
    }

    /// A batch was sent.
    pub fn sent(&mut self, number: u64) {
        self.set_attempt(number, Attempt::Sent);
    }

    /// A batch has been written; returns its records.
    pub fn written(&mut self, number: u64) -> Vec<PendingRecord> {
        self.known_producer = Some(self.identity.id);
        let at = self.batches.iter().position(|it| it.number == number);
        let batch = at.and_then(|at| self.batches.remove(at));
        batch.map_or_else(Vec::new, |batch| batch.records)
    }

    /// A batch has failed.
    pub fn failed(&mut self, number: u64, error: ClientError) {
        self.set_attempt(number, Attempt::Failed(error));
    }

    fn set_attempt(&mut self, number: u64, attempt: Attempt) {
        if let Some(batch) = self.batches.iter_mut().find(|it| it.number == number) {
            batch.attempt = attempt;
        }
    }

    /// Once everything on its way is answered: which of the failed batches are sent again, which
    /// are split, and which are lost.
    pub fn settle_failures(&mut self, now: Duration) -> Settled {
        let mut settled = Settled::default();
        if !self.can_settle() {
            return settled;
        }
        let mut kept = VecDeque::new();
        // Is a batch before this one not written? Then this one could not follow it.
        let mut is_behind_failure = false;
        for mut batch in std::mem::take(&mut self.batches) {
            if !settled.lost.is_empty() {
                // It takes the numbers that the lost one has not used, or those of a new identity.
                batch.forget_sequence();
            }
            let error = match std::mem::replace(&mut batch.attempt, Attempt::Due) {
                Attempt::Failed(error) => error,
                Attempt::Due | Attempt::Sent => {
                    kept.push_back(batch);
                    continue;
                }
            };
            let is_identity = error.code().is_some_and(|code| IDENTITY.contains(&code));
            let was_overtaken = is_behind_failure && is_identity;
            is_behind_failure = true;
            let is_late = batch.deadline.is_some_and(|deadline| now >= deadline);
            // Under another identity it might be written twice.
            let may_repeat = settled.is_uncertain() && !is_certain(&error) && !was_overtaken;
            let may_pass = (error.is_passing() || was_overtaken) && !may_repeat;
            if !is_late && is_too_large(&error) && batch.records.len() > 1 {
                kept.extend(self.halves_of(batch));
            } else if !is_late && may_pass {
                settled.must_wait |= error.is_passing();
                kept.push_back(batch);
            } else {
                if settled.lost.is_empty() {
                    self.next_sequence = batch.sequence.unwrap_or(self.next_sequence);
                }
                let is_uncertain = !is_certain(&error);
                settled.lost.push(Undelivered { records: batch.records, error, is_uncertain });
            }
        }
        self.batches = kept;
        settled
    }

    /// A batch in two of about the same size, which share its sequence numbers.
    fn halves_of(&mut self, batch: QueuedBatch) -> [QueuedBatch; 2] {
        let (sequence, deadline) = (batch.sequence, batch.deadline);
        let (first, rest) = split_in_halves(batch.records);
        let [mut first, mut rest] = [first, rest].map(|records| {
            self.next_batch += 1;
            QueuedBatch { deadline, ..QueuedBatch::new(self.next_batch - 1, records) }
        });
        first.sequence = sequence;
        rest.sequence = sequence.map(|it| it.wrapping_add(first.count()) & i32::MAX);
        [first, rest]
    }
}

fn first_due(batches: &mut VecDeque<QueuedBatch>) -> Option<&mut QueuedBatch> {
    batches.iter_mut().find(|it| matches!(it.attempt, Attempt::Due))
}

/// Is it clear after this error that the batch was not written?
fn is_certain(error: &ClientError) -> bool {
    match error {
        ClientError::Batch(_)
        | ClientError::Encode(_)
        | ClientError::Connection { .. }
        | ClientError::Advertised { .. } => true,
        error => error.code().is_some_and(|it| !it.is_retriable() && !IDENTITY.contains(&it)),
    }
}

/// Does the broker refuse a batch for its size?
fn is_too_large(error: &ClientError) -> bool {
    error.code() == Some(ErrorCode::MESSAGE_TOO_LARGE)
}

fn encode_batch(
    records: &[PendingRecord],
    identity: ProducerIdentity,
    sequence: i32,
    options: &ProducerOptions,
) -> Result<Bytes, BadBatch> {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: options.compression,
        transactional: options.transactional_id.is_some(),
        producer_id: identity.id,
        producer_epoch: identity.epoch,
        base_sequence: if identity.id < 0 { -1 } else { sequence },
        ..BatchOptions::default()
    });
    for PendingRecord { timestamp, message, .. } in records {
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

/// Records in two parts of about the same size, neither of them empty.
fn split_in_halves(mut records: Vec<PendingRecord>) -> (Vec<PendingRecord>, Vec<PendingRecord>) {
    let half = records.iter().map(|it| it.bytes).sum::<usize>() / 2;
    let mut bytes = 0;
    let first = records.iter().take_while(|record| {
        bytes += record.bytes;
        bytes <= half
    });
    let first = first.count().clamp(1, records.len().saturating_sub(1).max(1));
    let rest = records.split_off(first);
    (records, rest)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
