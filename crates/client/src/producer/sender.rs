//! How a producer writes: the next batch of each partition in one request to its leader, up to five
//! requests to each leader at a time, and again while that may help.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_types::{ErrorCode, NodeId, Offset, TopicPartition, Uuid};

use super::options::Acks;
use super::queue::PendingRecord;
use super::queues::ReadyPartition;
use super::{Lost, ProduceFailure, Producer, RecordMetadata};
use crate::client::SendTerms;
use crate::error::ClientError;
use crate::link::PendingReply;
use crate::metadata::IfAbsent;
use crate::transaction::OLD_PRODUCE;

/// At how many bytes a request takes no further batch.
const REQUEST_BYTES: usize = 1 << 20;
/// How much longer an answer may take than the broker waits for its replicas.
const ANSWER_LINGER: Duration = Duration::from_secs(5);

/// How long a producer goes on sending before it returns to its caller.
#[derive(Clone, Debug)]
pub(super) enum Until {
    /// Until this partition may collect another batch.
    Room(TopicPartition),
    /// Until everything is written or lost.
    Done,
}

/// A batch in a request.
#[derive(Clone, Debug)]
struct SentBatch {
    place: TopicPartition,
    topic_id: Uuid,
    number: u64,
    bytes: Bytes,
}

/// A request on its way.
pub(super) struct ProduceCall {
    leader: NodeId,
    reply: PendingReply<ProduceRequest>,
    batches: Vec<SentBatch>,
}

impl std::fmt::Debug for ProduceCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProduceCall").field("leader", &self.leader).finish_non_exhaustive()
    }
}

impl Producer {
    /// Sends what is due, takes in what is answered, and waits as long as `until` says. An error is
    /// that of records that were lost.
    pub(super) async fn make_progress(&mut self, until: Until) -> Result<(), ClientError> {
        loop {
            self.accept_ready().await;
            self.settle_failures();
            self.send_due().await;
            self.settle_failures();
            let is_enough = match &until {
                Until::Room(place) => self.queues.has_room(place),
                Until::Done => self.queues.is_all_written(),
            };
            if is_enough {
                return self.error.take().map_or(Ok(()), Err);
            }
            self.accept_next().await;
        }
    }

    /// Waits for all that is on its way, and sends nothing more.
    pub(super) async fn wait_for_calls(&mut self) {
        while !self.calls.is_empty() {
            let answered = poll_fn(|cx| poll_answered(&mut self.calls, cx)).await;
            self.accept(answered);
        }
    }

    /// Takes in what is answered by now.
    async fn accept_ready(&mut self) {
        while let Poll::Ready(answered) = now_answered(&mut self.calls).await {
            self.accept(answered);
        }
    }

    /// Waits for the next answer, or until something is to be sent again.
    async fn accept_next(&mut self) {
        if self.calls.is_empty() && self.queues.has_due() {
            // What follows a batch that was lost before it was sent.
            return;
        }
        let retry_at = self.queues.first_retry();
        let clock = self.client.clock().clone();
        let answered = tokio::select! {
            biased;
            answered = poll_fn(|cx| poll_answered(&mut self.calls, cx)) => Some(answered),
            () = clock.sleep_until_due(retry_at) => None,
        };
        if let Some(answered) = answered {
            self.accept(answered);
        }
    }

    /// Sends the batches that are due, as far as their leaders may get further requests.
    async fn send_due(&mut self) {
        self.queues.end_pauses(self.client.clock().monotonic());
        loop {
            self.find_leaders().await;
            let mut has_sent = false;
            for leader in self.queues.ready_leaders() {
                while self.calls_to(leader) < self.options.in_flight_max()
                    && self.send_to(leader).await
                {
                    has_sent = true;
                }
            }
            if !has_sent {
                return;
            }
        }
    }

    fn calls_to(&self, leader: NodeId) -> usize {
        self.calls.iter().filter(|call| call.leader == leader).count()
    }

    /// Finds the leaders of partitions that have something to be sent.
    async fn find_leaders(&mut self) {
        while let Some(place) = self.queues.first_unplaced() {
            if let Some((leader, topic_id)) = self.prepare(&place).await {
                self.queues.place_at(leader, &ReadyPartition { place, topic_id });
            }
        }
    }

    /// Gets what a partition's next batch needs; the partition's leader and topic, unless the
    /// batch has failed by that.
    async fn prepare(&mut self, place: &TopicPartition) -> Option<(NodeId, Uuid)> {
        let ready = async {
            if self.options.transactional_id.is_some() {
                self.touch(place).await?;
            }
            self.identity().await
        };
        if let Err(error) = ready.await {
            let now = self.client.clock().monotonic();
            self.queues.change(place, |queue| queue.give_up_due(error, now));
            return None;
        }
        match self.client.topic(&place.topic, IfAbsent::Create).await {
            Ok(known) => {
                let leader = known.leaders.get(&place.partition).copied().unwrap_or(-1);
                Some((leader, known.id))
            }
            Err(error) => {
                let now = self.client.clock().monotonic();
                let timeout = self.options.delivery_timeout;
                self.queues.change(place, |queue| queue.fail_due(error, now, timeout));
                None
            }
        }
    }

    /// Sends this leader the next batch of each partition that has one, as many as fit into one
    /// request; were there any?
    async fn send_to(&mut self, leader: NodeId) -> bool {
        let now = self.client.clock().monotonic();
        let Some(identity) = self.known_identity() else { return false };
        let mut batches: Vec<SentBatch> = Vec::new();
        let mut bytes_sum = 0;
        let mut next = self.queues.next_ready(leader, None);
        while let Some(ReadyPartition { place, topic_id }) = next {
            let options = &self.options;
            let due = self.queues.change(&place, |queue| queue.next_due(identity, options, now));
            next = self.queues.next_ready(leader, Some(&place));
            if let Some((number, bytes)) = due {
                bytes_sum += bytes.len();
                batches.push(SentBatch { place, topic_id, number, bytes });
            }
            if bytes_sum >= REQUEST_BYTES {
                break;
            }
        }
        if batches.is_empty() {
            return false;
        }
        let request = self.produce_request(&batches);
        if self.options.acks == Acks::None {
            let told = self.client.tell(leader, &request).await;
            for batch in batches {
                match &told {
                    Ok(()) => self.written(&batch, -1),
                    Err(error) => self.batch_failed(&batch, error.clone()),
                }
            }
            return true;
        }
        match self.client.send_on(leader, &request, self.produce_terms()).await {
            Ok(reply) => {
                // Only now: a caller that stopped waiting before would leave them in flight for
                // ever.
                for batch in &batches {
                    self.queues.change(&batch.place, |queue| queue.sent(batch.number));
                }
                self.calls.push(ProduceCall { leader, reply, batches });
            }
            Err(error) => {
                batches.iter().for_each(|batch| self.batch_failed(batch, error.clone()));
            }
        }
        true
    }

    fn produce_terms(&self) -> SendTerms {
        let is_old = self.options.transactional_id.is_some() && !self.transaction.has_own_epoch;
        let waits = u64::try_from(self.options.timeout_ms).unwrap_or(0);
        let limit = Duration::from_millis(waits).saturating_add(ANSWER_LINGER);
        SendTerms { newest: is_old.then_some(OLD_PRODUCE), limit, ..self.client.terms() }
    }

    fn produce_request(&self, batches: &[SentBatch]) -> ProduceRequest {
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for batch in batches {
            let data = PartitionProduceData {
                index: batch.place.partition,
                records: Some(batch.bytes.clone()),
                ..Default::default()
            };
            // Partitions come in order, those of a topic together.
            match topics.last_mut() {
                Some(topic) if *topic.name == *batch.place.topic => topic.partition_data.push(data),
                _ => topics.push(TopicProduceData {
                    name: batch.place.topic.to_string(),
                    topic_id: batch.topic_id,
                    partition_data: vec![data],
                    ..Default::default()
                }),
            }
        }
        ProduceRequest {
            transactional_id: self.options.transactional_id.clone(),
            acks: self.options.acks as i16,
            timeout_ms: self.options.timeout_ms,
            topic_data: topics,
            ..Default::default()
        }
    }

    fn accept(&mut self, answered: Answered) {
        let (call, answer) = answered;
        for batch in &call.batches {
            match &answer {
                Ok(response) => match outcome_of(batch, response) {
                    Ok(base) => self.written(batch, base),
                    Err(error) => self.batch_failed(batch, error),
                },
                Err(error) => self.batch_failed(batch, error.clone()),
            }
        }
    }

    fn batch_failed(&mut self, batch: &SentBatch, error: ClientError) {
        self.queues.change(&batch.place, |queue| queue.failed(batch.number, error));
    }

    /// A batch has been written.
    fn written(&mut self, batch: &SentBatch, base: Offset) {
        let records = self.queues.change(&batch.place, |queue| queue.written(batch.number));
        if self.options.reports {
            let offset = |n: i64| if base < 0 { -1 } else { base + n };
            let reports = records.iter().zip(0..).map(|(record, n)| RecordMetadata {
                number: record.number,
                place: batch.place.clone(),
                offset: offset(n),
            });
            self.reports.extend(reports);
        }
    }

    /// Decides whether failed batches are retried, split or dropped.
    fn settle_failures(&mut self) {
        let now = self.client.clock().monotonic();
        let retry_at = now + self.client.options().retry_backoff;
        let mut failures = Vec::new();
        let mut is_uncertain = false;
        let mut moved: BTreeSet<Arc<str>> = BTreeSet::new();
        for place in self.queues.failed() {
            let settled = self.queues.change(&place, |queue| {
                let settled = queue.settle_failures(now);
                if settled.must_wait {
                    queue.retry_at = Some(retry_at);
                }
                settled
            });
            if settled.must_wait {
                moved.insert(Arc::clone(&place.topic));
            }
            is_uncertain |= settled.is_uncertain();
            failures.extend(settled.lost.into_iter().map(|lost| ProduceFailure {
                topic: place.topic.to_string(),
                partition: Some(place.partition),
                records: lost.records.iter().map(lost_record).collect(),
                error: lost.error,
            }));
        }
        for topic in moved {
            self.client.forget(&topic);
            self.queues.forget_leaders(Some(&topic));
        }
        // The next batch must not come under numbers that may be used up: the broker would take it
        // for the lost one and drop it.
        if is_uncertain && self.options.transactional_id.is_none() {
            self.forget_identity();
        }
        failures.into_iter().for_each(|failure| self.note_failure(failure));
    }
}

fn lost_record(record: &PendingRecord) -> Lost {
    Lost::new(record.number, &record.message)
}

type Answered = (ProduceCall, Result<ProduceResponse, ClientError>);

/// The first of these calls that is answered by now, if one is.
async fn now_answered(calls: &mut Vec<ProduceCall>) -> Poll<Answered> {
    poll_fn(|cx| Poll::Ready(poll_answered(calls, cx))).await
}

/// The first of these calls that is answered; it is no longer among them.
fn poll_answered(calls: &mut Vec<ProduceCall>, cx: &mut Context<'_>) -> Poll<Answered> {
    for at in 0..calls.len() {
        if let Poll::Ready(answer) = calls[at].reply.poll(cx) {
            return Poll::Ready((calls.remove(at), answer));
        }
    }
    Poll::Pending
}

/// What a response says of a batch: its first offset, or why it was refused.
fn outcome_of(batch: &SentBatch, response: &ProduceResponse) -> Result<Offset, ClientError> {
    let place = &batch.place;
    // From version 13 on topics are named by their ids.
    let is_it = |name: &str, id: Uuid| match name.is_empty() {
        true => id == batch.topic_id,
        false => *name == *place.topic,
    };
    let topics = response.responses.iter().filter(|topic| is_it(&topic.name, topic.topic_id));
    let mut partitions = topics.flat_map(|topic| &topic.partition_responses);
    let Some(found) = partitions.find(|it| it.index == place.partition) else {
        let (what, code) = (place.to_string(), ErrorCode::UNKNOWN_SERVER_ERROR);
        return Err(ClientError::Refused { what, code });
    };
    if ErrorCode(found.error_code) == ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
        // An earlier attempt was written, too long ago for the broker to know where.
        return Ok(-1);
    }
    ClientError::check(found.error_code, || {
        format!("{place}: {}", found.error_message.as_deref().unwrap_or_default())
    })?;
    Ok(found.base_offset)
}
