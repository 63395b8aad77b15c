//! Produce: append batches to partitions, answer when they are as safe as `acks` asks.
//!
//! Versions 0 to 2 (message formats 0 and 1) were removed in Kafka 4.0 and are served here. 7:
//! zstd (KIP-110). 8: errors by record (KIP-467). 10: the current leader in errors (KIP-951). 11:
//! TRANSACTION_ABORTABLE. 12: a transactional produce adds its partition to the transaction
//! (KIP-890). 13: topic ids (KIP-516).
//!
//! Gap: quotas do not throttle.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use ottla_partitions::{AppendRefusal, AppendedBatch, Inspected, Partition, Terms, Waited};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use ottla_records::{BadRecords, Batch, at_a_glance, legacy};
use ottla_types::{Bug, ErrorCode, NO_OFFSET, Uuid, is_planted};

use crate::absent::TopicKey;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::produce_enlist::{Enlisted, find_partition};
use crate::request::{Api, Call, repeated_items};

/// Versions 0 to 2 bring message formats 0 and 1, which are converted to a batch when they arrive.
pub const API: Api = Api::of(ApiKey::Produce, 0, 13);

/// To how many bytes old messages may unpack.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// What a produce comes to.
pub enum ProduceOutcome {
    /// Answer now.
    Done(ProduceResponse),
    /// Appended; the answer comes when the replicas have it.
    Waiting(Pin<Box<dyn Future<Output = ProduceResponse>>>),
}

/// What was found out about a request before it is appended.
#[derive(Default)]
pub struct PreparedProduce {
    /// What its transaction's coordinator says.
    pub enlisted: Enlisted,
    /// What [`read_through`] found, or nothing if it need not be asked.
    pub read: Vec<ReadThrough>,
}

/// Appends at once; what remains is to wait for the in-sync set.
///
/// The response is written over the one of another request, whose memory it uses again.
///
/// `prepared` is what had to be found out before.
pub fn handle(
    node: &Node,
    call: &Call,
    request: &ProduceRequest,
    mut response: ProduceResponse,
    prepared: PreparedProduce,
) -> ProduceOutcome {
    let PreparedProduce { enlisted, read } = prepared;
    let acks = request.acks;
    let asked = ProduceTerms { acks, enlisted };
    let mut read = read.into_iter();
    let mut waits = Vec::new();
    let topics = &request.topic_data;
    response.responses.resize_with(topics.len(), Default::default);
    for (topic_at, (topic, answer)) in topics.iter().zip(&mut response.responses).enumerate() {
        answer.topic_id = topic.topic_id;
        answer.name.clear();
        answer.name.push_str(&topic.name);
        answer.partition_responses.clear();
        for data in &topic.partition_data {
            let produced = ProducedBatch { topic, data, read: read.next() };
            let (partition, written) = write_partition(node, call, &asked, produced);
            if let (Some(partition), Ok(appended)) = (&partition, &written)
                && let Some(wait) = wait_of(acks, partition, *appended)
            {
                let place = (topic_at, answer.partition_responses.len());
                waits.push((place, wait));
            }
            answer.partition_responses.push(wire_outcome(data.index, partition.as_ref(), written));
        }
    }
    when_safe(node, response, waits, request.timeout_ms)
}

/// What an answer waits for.
struct ProduceWait {
    partition: Partition,
    appended: AppendedBatch,
    /// All replicas in sync, or this node's disk alone?
    by: SafeBy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SafeBy {
    Replicas,
    Disk,
}

/// With acks=all an answer waits for all replicas in sync; with `flush.messages=1` every answer
/// waits for the disk, whatever acks asks for.
fn wait_of(acks: i16, partition: &Partition, appended: AppendedBatch) -> Option<ProduceWait> {
    let ends = partition.ends();
    let (by, safe) = match acks {
        -1 => (SafeBy::Replicas, ends.high_watermark),
        _ if appended.awaits_disk => (SafeBy::Disk, ends.durable),
        _ => return None,
    };
    let is_safe = safe >= appended.end || is_planted(Bug::CommitWaitSkipped);
    (!is_safe).then(|| ProduceWait { partition: partition.clone(), appended, by })
}

/// Which answer of the response waits for what.
type Awaited = ((usize, usize), ProduceWait);

/// The response, when all that it must wait for is committed.
fn when_safe(
    node: &Node,
    mut response: ProduceResponse,
    waits: Vec<Awaited>,
    timeout_ms: i32,
) -> ProduceOutcome {
    if waits.is_empty() {
        return ProduceOutcome::Done(response);
    }
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let clock = node.clock.clone();
    let deadline = clock.monotonic() + timeout;
    ProduceOutcome::Waiting(Box::pin(async move {
        for ((topic, index), ProduceWait { partition, appended, by }) in waits {
            let waited = match by {
                SafeBy::Replicas => partition.committed(&appended, &clock, deadline).await,
                SafeBy::Disk => partition.until_durable(&appended, &clock, deadline).await,
            };
            let error = match waited {
                Waited::Committed => continue,
                Waited::TooFewReplicas => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                Waited::LeaderMoved => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                Waited::TimedOut => ErrorCode::REQUEST_TIMED_OUT,
            };
            // The answer keeps the batch's offset, as in Kafka.
            response.responses[topic].partition_responses[index].error_code = error.0;
        }
        response
    }))
}

/// Requests that came together and may be one append: each has one batch, for the same partition.
#[derive(Default)]
pub struct ProduceRun {
    version: i16,
    requests: Vec<ProduceRequest>,
}

impl ProduceRun {
    /// Takes the request if it may be one with those before it.
    pub fn takes(&mut self, version: i16, request: ProduceRequest) -> bool {
        let Some((topic, data)) = only_partition(&request) else { return false };
        // Old formats are converted one by one.
        let is_plain = version >= 3
            && matches!(request.acks, -1 | 1)
            && request.transactional_id.is_none()
            && data.records.is_some();
        let fits = self.requests.first().is_none_or(|first| {
            let same = |(own, part): (&TopicProduceData, &PartitionProduceData)| {
                (&own.name, own.topic_id, part.index) == (&topic.name, topic.topic_id, data.index)
            };
            self.version == version
                && first.acks == request.acks
                && only_partition(first).is_some_and(same)
        });
        if is_plain && fits {
            self.version = version;
            self.requests.push(request);
        }
        is_plain && fits
    }

    /// Appends all of them, in one write; `None` if each must be handled for itself, because one of
    /// them is refused. Nothing was written then.
    pub fn append(self, node: &Node, call: &Call) -> Option<Vec<ProduceOutcome>> {
        let first = self.requests.first()?;
        let (acks, (topic, data)) = (first.acks, only_partition(first)?);
        let partition = find_partition(node, call, topic, data.index)?;
        may_write(node, call, &partition).ok()?;
        let terms = append_terms(node, call, acks);
        let batches: Vec<&[u8]> = self
            .requests
            .iter()
            .filter_map(|it| only_partition(it)?.1.records.as_deref())
            .collect();
        let all = partition.append_together(&batches, &terms)?;
        let answers = self.requests.into_iter().zip(all).map(|(request, appended)| {
            let mut waits = Vec::new();
            waits.extend(wait_of(acks, &partition, appended).map(|wait| ((0, 0), wait)));
            let timeout_ms = request.timeout_ms;
            let mut response = ProduceResponse::default();
            for topic in request.topic_data {
                let one = |data: &PartitionProduceData| {
                    wire_outcome(data.index, Some(&partition), Ok(appended))
                };
                response.responses.push(TopicProduceResponse {
                    partition_responses: topic.partition_data.iter().map(one).collect(),
                    name: topic.name,
                    topic_id: topic.topic_id,
                    ..Default::default()
                });
            }
            when_safe(node, response, waits, timeout_ms)
        });
        Some(answers.collect())
    }
}

/// The only partition of a request that has one.
fn only_partition(request: &ProduceRequest) -> Option<(&TopicProduceData, &PartitionProduceData)> {
    let [topic] = &request.topic_data[..] else { return None };
    let [data] = &topic.partition_data[..] else { return None };
    Some((topic, data))
}

/// Makes a request name each topic and each partition once, as Kafka answers each once and a topic
/// without partitions not at all: of several batches for one partition the last counts, or the last
/// of those that are refused at a glance.
pub fn name_once(request: &mut ProduceRequest, version: i16) {
    let topics = &request.topic_data;
    let has_repeats = || {
        !repeated_items(topics.iter().map(|it| (it.topic_id, it.name.as_str()))).is_empty()
            || topics.iter().any(|topic| {
                let data = &topic.partition_data;
                data.is_empty()
                    || data.len() > 1 && !repeated_items(data.iter().map(|it| it.index)).is_empty()
            })
    };
    if only_partition(request).is_some() || !has_repeats() {
        return;
    }
    let is_refused = |data: &PartitionProduceData| {
        let records = data.records.as_deref().unwrap_or_default();
        version >= 3 && at_a_glance(records, version >= 7).is_err()
    };
    let mut rows: BTreeMap<(Uuid, String), usize> = BTreeMap::new();
    let mut places: BTreeMap<(usize, i32), usize> = BTreeMap::new();
    let mut once: Vec<TopicProduceData> = Vec::new();
    for topic in std::mem::take(&mut request.topic_data) {
        let TopicProduceData { name, topic_id, partition_data, .. } = topic;
        if partition_data.is_empty() {
            continue;
        }
        let row = *rows.entry((topic_id, name)).or_insert_with_key(|(topic_id, name)| {
            let (topic_id, name) = (*topic_id, name.clone());
            once.push(TopicProduceData { name, topic_id, ..Default::default() });
            once.len() - 1
        });
        let kept = &mut once[row].partition_data;
        for data in partition_data {
            let at = *places.entry((row, data.index)).or_insert(kept.len());
            match kept.get_mut(at) {
                None => kept.push(data),
                Some(earlier) if is_refused(earlier) && !is_refused(&data) => {}
                Some(earlier) => *earlier = data,
            }
        }
    }
    request.topic_data = once;
}

/// What is asked of every partition of a request.
struct ProduceTerms {
    acks: i16,
    enlisted: Enlisted,
}

/// Why a partition's batch was not appended.
pub struct BatchRefusal {
    code: ErrorCode,
    message: Option<String>,
    /// Which records are wrong, and why.
    records: Vec<(usize, String)>,
    tells_log_start: bool,
}

impl From<ErrorCode> for BatchRefusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), tells_log_start: false }
    }
}

/// The one place where a refused batch becomes a wire code.
impl From<AppendRefusal> for BatchRefusal {
    fn from(refused: AppendRefusal) -> Self {
        Self {
            code: refused.code(),
            message: Some(refused.to_string()),
            records: refused.records(),
            tells_log_start: refused.tells_log_start(),
        }
    }
}

type AppendOutcome = Result<AppendedBatch, BatchRefusal>;

/// What a request has for one partition.
struct ProducedBatch<'a> {
    topic: &'a TopicProduceData,
    data: &'a PartitionProduceData,
    /// What was found out before, if it was read beside the threads that serve.
    read: Option<ReadThrough>,
}

fn write_partition(
    node: &Node,
    call: &Call,
    asked: &ProduceTerms,
    produced: ProducedBatch<'_>,
) -> (Option<Partition>, AppendOutcome) {
    let ProducedBatch { topic, data, read } = produced;
    if asked.enlisted.is_denied {
        // Kafka refuses the request as a whole then.
        return (None, Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.into()));
    }
    let Some(partition) = find_partition(node, call, topic, data.index) else {
        let key = match call.version {
            ..13 => TopicKey::Name(&topic.name),
            _ => TopicKey::Id(topic.topic_id),
        };
        let code = node.why_not_here(key, data.index);
        return (None, Err(code.into()));
    };
    let records = data.records.clone().unwrap_or_default();
    let written = match may_append(node, call, asked, &partition, &records) {
        Ok(()) => {
            let guard = asked.enlisted.guards.get(partition.name()).copied();
            let terms = Terms { guard, ..append_terms(node, call, asked.acks) };
            append_batch(&partition, &records, &terms, read)
        }
        Err(refusal) => Err(refusal),
    };
    (Some(partition), written)
}

/// The checks before the batch itself, in Kafka's order: a client that is wrong in two
/// ways gets the same error.
fn may_append(
    node: &Node,
    call: &Call,
    asked: &ProduceTerms,
    partition: &Partition,
    records: &[u8],
) -> Result<(), BatchRefusal> {
    let may_write = may_write(node, call, partition);
    if may_write == Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED) {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED.into());
    }
    let is_acks = matches!(asked.acks, -1..=1);
    let refused = asked.enlisted.refused.get(partition.name()).copied();
    if is_acks && may_write.is_ok() && refused.is_none() {
        return Ok(());
    }
    // From version 3 on, bytes that are no batch are refused before all other checks.
    if call.version >= 3 {
        at_a_glance(records, call.version >= 7).map_err(AppendRefusal::Records)?;
    }
    if let Some(code) = refused {
        return Err(code.into());
    }
    if !is_acks {
        return Err(ErrorCode::INVALID_REQUIRED_ACKS.into());
    }
    may_write.map_err(BatchRefusal::from)
}

fn may_write(node: &Node, call: &Call, partition: &Partition) -> Result<(), ErrorCode> {
    let topic = partition.topic();
    if !call.may(node, Operation::Write, Resource::Topic(topic)) {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    if !node.may_write_internal(call, topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    Ok(())
}

fn append_batch(
    partition: &Partition,
    records: &Bytes,
    terms: &Terms,
    read: Option<ReadThrough>,
) -> AppendOutcome {
    match read {
        None | Some(ReadThrough::Not) => Ok(partition.append(records, terms)?),
        Some(ReadThrough::Through(batch, inspected)) => {
            Ok(partition.append_inspected(&batch, terms, inspected)?)
        }
        Some(ReadThrough::Refused(refusal)) => Err(refusal),
    }
}

fn append_terms(node: &Node, call: &Call, acks: i16) -> Terms {
    let (now_ms, zstd_allowed) = (node.clock.wall_ms(), call.version >= 7);
    Terms { now_ms, for_all: acks == -1, zstd_allowed, guard: None }
}

/// What was found out of the batch of one partition before it is appended.
pub enum ReadThrough {
    /// It is read when it is appended, as that takes little.
    Not,
    /// This is the batch, of old messages too, and what is in it.
    Through(Bytes, Inspected),
    /// It cannot be appended.
    Refused(BatchRefusal),
}

/// Are there batches that [`read_through`] must see first: compressed ones, old messages, or those
/// that a topic stores in a codec of its own?
#[must_use]
pub fn must_read_through(node: &Node, call: &Call, request: &ProduceRequest) -> bool {
    let mut data = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_compressed = |partition: &PartitionProduceData| {
        partition.records.as_deref().is_some_and(ottla_partitions::claims_compression)
    };
    call.version < 3 || node.partitions.may_repack() || data.any(is_compressed)
}

/// Reads the batches of a request through that take long to read, in the order of its partitions.
///
/// They are waited for, so that the requests of a connection keep their order.
pub async fn read_through(node: &Node, call: &Call, request: &ProduceRequest) -> Vec<ReadThrough> {
    let terms = append_terms(node, call, request.acks);
    let mut all = Vec::new();
    for topic in &request.topic_data {
        for data in &topic.partition_data {
            let partition = find_partition(node, call, topic, data.index);
            let records = data.records.as_ref();
            all.push(match (partition, records) {
                (Some(partition), Some(records)) => {
                    read_one(node, call, &partition, records, &terms).await
                }
                _ => ReadThrough::Not,
            });
        }
    }
    all
}

async fn read_one(
    node: &Node,
    call: &Call,
    partition: &Partition,
    records: &Bytes,
    terms: &Terms,
) -> ReadThrough {
    let is_old = call.version < 3 && Batch::produced(records).is_err();
    let batch =
        if is_old { convert_old(node, partition, records).await } else { Ok(records.clone()) };
    match batch {
        Ok(batch) if is_old || partition.must_inspect(&batch) => {
            let inspected = node.unpacking().inspect(partition, &batch, terms).await;
            inspected.map_or(ReadThrough::Not, |inspected| ReadThrough::Through(batch, inspected))
        }
        Ok(_) => ReadThrough::Not,
        Err(refusal) => ReadThrough::Refused(refusal),
    }
}

/// Old messages as a batch.
async fn convert_old(
    node: &Node,
    partition: &Partition,
    set: &Bytes,
) -> Result<Bytes, BatchRefusal> {
    if set.is_empty() {
        return Err(AppendRefusal::Records(BadRecords::Empty(0)).into());
    }
    let set = set.clone();
    let convert = move || legacy::convert_up(&set, UNPACKED_BYTES_MAX);
    match node.unpacking().work(partition.name(), convert).await {
        Some(Ok(batch)) => Ok(Bytes::from(batch)),
        Some(Err(error)) => Err(AppendRefusal::Records(BadRecords::Broken(error)).into()),
        None => Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()),
    }
}

fn wire_outcome(
    index: i32,
    partition: Option<&Partition>,
    written: AppendOutcome,
) -> PartitionProduceResponse {
    let log_start = || partition.map_or(NO_OFFSET, |partition| partition.ends().log_start);
    match written {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: log_start(),
            ..Default::default()
        },
        Err(refusal) => PartitionProduceResponse {
            index,
            error_code: refusal.code.0,
            base_offset: NO_OFFSET,
            log_start_offset: if refusal.tells_log_start { log_start() } else { NO_OFFSET },
            error_message: refusal.message,
            record_errors: refusal
                .records
                .into_iter()
                .map(|(record, message)| BatchIndexAndErrorMessage {
                    batch_index: i32::try_from(record).unwrap_or(i32::MAX),
                    batch_index_error_message: Some(message),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        },
    }
}

#[cfg(test)]
#[path = "produce_tests.rs"]
mod tests;
