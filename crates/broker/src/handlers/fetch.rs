//! Fetch: records from a position, now or when there are enough of them.
//!
//! Versions 0 to 3 were removed in Kafka 4.0 and are served here. 4: isolation level. 5: log start
//! offset. 7: incremental sessions (KIP-227). 9: leader epochs fence (KIP-320). 10: zstd
//! (KIP-110). 11: reads from followers (KIP-392). 13: topic ids (KIP-516). 16: the current
//! leader in errors (KIP-951).
//!
//! Of followers: 12: the epoch of the last record, by which diverging logs are found (KIP-595). 15:
//! the follower's life (KIP-903).
//!
//! Gaps: directory ids (17, KIP-853) and the follower's high watermark (18, KIP-1166) are not
//! looked at; no tiered storage (14, KIP-405).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use ottla_partitions::{
    Interest, Isolation, LeaderEpochEnd, Partition, PartitionRead, PartitionSlice, ReadRefused,
    ServedFrom, Wait,
};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::fetch_request::{FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    PartitionData,
};
use ottla_records::legacy;
use ottla_types::{ErrorCode, NO_OFFSET, NodeId, Uuid};

use crate::absent::TopicKey;
use crate::guard::{Operation, Resource};
use crate::hosts::sessions::{
    FetchPlan, FetchedPartition, FollowerNews, LastReply, Position, SessionRequest, lock_session,
};
use crate::node::Node;
use crate::preferred_replica::preferred_replica;
use crate::replica_fetch::{FetchingReplica, follower_interest};
use crate::request::{Api, Call, ListenerScope};
use crate::rules::ReplicaSelector;

/// Fetch of consumers and of followers.
///
/// Versions 0 to 3 are answered in message formats 0 and 1.
pub const API: Api = Api::of(ApiKey::Fetch, 0, 18);

/// To how many bytes batches may unpack that are turned into old messages.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// Reads; waits if there is too little; says what is there, or what is news to the session.
pub async fn handle(node: &Node, call: &Call, request: FetchRequest) -> FetchResponse {
    if call.session.scope == ListenerScope::Controller {
        return fetch_metadata_log(node, call, request).await;
    }
    let by_id = call.version >= 13;
    let random = || i32::from_le_bytes(first_four(node.clock.random_bytes()));
    let plan = match node.clients.sessions.plan(
        asked_positions(&request, by_id),
        node.clock.monotonic(),
        random,
    ) {
        Ok(plan) => plan,
        Err(code) => return FetchResponse { error_code: code.0, ..Default::default() },
    };
    // As in Kafka, the isolation level is checked only if there is something to read.
    let is_level = matches!(request.isolation_level, 0 | 1);
    if !is_level && plan.wanted.iter().any(|(place, _)| place_here(node, place).is_some()) {
        return refused_request(call.version, &request, ErrorCode::UNKNOWN_SERVER_ERROR);
    }
    let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let deadline = node.clock.monotonic() + Duration::from_millis(wait_ms);
    let bytes_max = usize::try_from(request.max_bytes.min(node.settings().fetch_max_bytes));
    let bytes_max = bytes_max.unwrap_or(0);
    // More than may be sent cannot be waited for.
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max);
    let replica = FetchingReplica::of(&request);
    let mut here = partitions_here(node, &plan);
    let noted = replica.map(|replica| note_replica(node, call, replica, &plan, &here));
    let terms = RequestTerms {
        replica,
        isolation: match request.isolation_level {
            _ if replica.is_some() => Isolation::LogEnd,
            1 => Isolation::Committed,
            _ => Isolation::Uncommitted,
        },
        bytes_max,
        // Older clients do not know that a follower may answer (KIP-392).
        served: match replica {
            None if call.version >= 11 => ServedFrom::AnyReplica,
            _ => ServedFrom::Leader,
        },
        rack: request.rack_id,
        noted: noted.unwrap_or_default(),
    };
    let news = follower_news(node);
    let mut wait: Option<Wait> = None;
    let found = loop {
        warm_cache(node, terms.bytes_max, &plan, &here).await;
        let found = read_all(node, call, &terms, &plan, &here);
        let enough = found.there >= bytes_min;
        if enough || found.is_urgent || plan.wanted.is_empty() && !plan.incremental {
            break found;
        }
        if replica.is_some() && is_behind(&plan, &found, news) {
            break found;
        }
        let Some(wait) = &wait else {
            // Watch first, then look once more: a move in between must not be missed.
            let interest = replica.map_or(Interest::Committed, |_| follower_interest(news));
            here = partitions_here(node, &plan);
            wait = Some(watch_partitions(&here, interest));
            continue;
        };
        tokio::select! {
            biased;
            () = wait.moved() => here = partitions_here(node, &plan),
            () = node.clock.sleep_until(deadline) => break found,
        }
    };
    count_records(node, replica, &here, &found);
    build_response(&plan, found)
}

/// Which changes answer a follower's waiting fetch though there are no records for it. With a
/// selector by racks a moved high watermark does, since consumers read up to it from the follower.
fn follower_news(node: &Node) -> FollowerNews {
    match node.own().replica_selector {
        ReplicaSelector::Leader => FollowerNews::LogStart,
        ReplicaSelector::SameRack => FollowerNews::LogStartOrWatermark,
    }
}

/// What is true of a request as a whole.
struct RequestTerms {
    /// The broker that fetches, if it is one.
    replica: Option<FetchingReplica>,
    isolation: Isolation,
    /// How much the answer may hold, in bytes.
    bytes_max: usize,
    /// Which replicas may answer it.
    served: ServedFrom,
    /// The rack of a consumer; empty if it has none.
    rack: String,
    /// What was found of a follower's logs, in the order of the plan.
    noted: Vec<Result<Option<LeaderEpochEnd>, ErrorCode>>,
}

/// What a follower's fetch says of each of its partitions, before any of them is read.
fn note_replica(
    node: &Node,
    call: &Call,
    replica: FetchingReplica,
    plan: &FetchPlan,
    here: &[Option<Partition>],
) -> Vec<Result<Option<LeaderEpochEnd>, ErrorCode>> {
    if !call.may(node, Operation::ClusterAction, Resource::Cluster) {
        // What is read says so.
        return Vec::new();
    }
    call.session.is_of_broker(replica.id);
    let note = |((_, position), partition): (&(_, Position), &Option<Partition>)| match partition {
        Some(partition) => replica.note(node, partition, position),
        None => Ok(None),
    };
    plan.wanted.iter().zip(here).map(note).collect()
}

/// The metadata log, which other controllers and brokers fetch from a controller's listener
/// (KIP-595).
async fn fetch_metadata_log(node: &Node, call: &Call, request: FetchRequest) -> FetchResponse {
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return FetchResponse { error_code: code.0, ..Default::default() };
    }
    node.quorum.fetch(request).await
}

/// The answer to a request that is refused as a whole. Before version 13, clients look at the
/// codes of partitions.
fn refused_request(version: i16, request: &FetchRequest, code: ErrorCode) -> FetchResponse {
    let topics = if version < 13 { &request.topics[..] } else { &[] };
    let topic = |topic: &FetchTopic| FetchableTopicResponse {
        topic: topic.topic.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|it| partition_data(it.partition, Err(code), LeaderIdAndEpoch::default()))
            .collect(),
        ..Default::default()
    };
    FetchResponse {
        error_code: code.0,
        session_id: request.session_id,
        responses: topics.iter().map(topic).collect(),
        ..Default::default()
    }
}

fn first_four(bytes: [u8; 16]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

fn asked_positions(request: &FetchRequest, by_id: bool) -> SessionRequest {
    let place = |name: &str, id: Uuid, partition| FetchedPartition {
        topic_id: if by_id { id } else { Uuid::ZERO },
        topic: if by_id { Arc::from("") } else { Arc::from(name) },
        partition,
    };
    let positions = |topic: &FetchTopic| {
        let places = topic.partitions.iter().map(|wanted| {
            let position = Position {
                offset: wanted.fetch_offset,
                leader_epoch: wanted.current_leader_epoch,
                last_epoch: wanted.last_fetched_epoch,
                log_start: wanted.log_start_offset,
                bytes_max: wanted.partition_max_bytes,
            };
            (place(&topic.topic, topic.topic_id, wanted.partition), position)
        });
        places.collect::<Vec<_>>()
    };
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        topic.partitions.iter().map(|index| place(&topic.topic, topic.topic_id, *index))
    });
    SessionRequest {
        id: request.session_id,
        epoch: request.session_epoch,
        by_id,
        wanted: read_once(request.topics.iter().flat_map(positions).collect()),
        forgotten: forgotten.collect(),
    }
}

/// Each partition once: of one that is named twice, the last position counts.
fn read_once(wanted: Vec<(FetchedPartition, Position)>) -> Vec<(FetchedPartition, Position)> {
    if wanted.len() < 2 {
        return wanted;
    }
    let mut last: HashMap<FetchedPartition, usize> = HashMap::with_capacity(wanted.len());
    let mut kept: Vec<(FetchedPartition, Position)> = Vec::with_capacity(wanted.len());
    for (place, position) in wanted {
        match last.entry(place) {
            Entry::Occupied(at) => kept[*at.get()].1 = position,
            Entry::Vacant(free) => {
                kept.push((free.key().clone(), position));
                free.insert(kept.len() - 1);
            }
        }
    }
    kept
}

/// What one pass over all partitions found.
#[derive(Default)]
struct FetchLook {
    /// In the order of the plan.
    partitions: Vec<LookedAt>,
    bytes: usize,
    /// How many bytes could be sent if batches were cut, which is what `min_bytes` counts.
    there: usize,
    /// Is there something that must not wait: an error, or where to go instead?
    is_urgent: bool,
}

/// What was found of a partition.
struct LookedAt {
    read: Result<PartitionRead, ErrorCode>,
    /// Where a follower's log parts from this one.
    parting: Option<LeaderEpochEnd>,
    /// The broker that a consumer is to read from instead.
    preferred: Option<NodeId>,
    leader: LeaderIdAndEpoch,
}

fn read_all(
    node: &Node,
    call: &Call,
    terms: &RequestTerms,
    plan: &FetchPlan,
    here: &[Option<Partition>],
) -> FetchLook {
    let mut left = terms.bytes_max;
    let mut found = FetchLook::default();
    let RequestTerms { replica, isolation, served, .. } = *terms;
    for (at, ((place, position), partition)) in plan.wanted.iter().zip(here).enumerate() {
        let noted = terms.noted.get(at).copied().unwrap_or(Ok(None));
        let parting = noted.unwrap_or(None);
        // The first batch of the first partition with data goes out even if it is too large.
        let at_least_one = found.bytes == 0;
        let bytes_max = usize::try_from(position.bytes_max).unwrap_or(0).min(left);
        let offset = position.offset;
        let preferred = match (partition, served) {
            (Some(partition), ServedFrom::AnyReplica) => {
                preferred_replica(node, call, partition, &terms.rack, offset)
            }
            _ => None,
        };
        let is_throttled = |it: &Partition| replica.is_some_and(|by| by.is_throttled(node, it));
        let gets_records = preferred.is_none() && !partition.as_ref().is_some_and(is_throttled);
        let slice = PartitionSlice { offset, bytes_max, at_least_one, isolation, served };
        let asked = FetchTerms { replica, position: *position, slice, noted, gets_records };
        let (read, leader) = match partition {
            Some(partition) => read_one(node, call, partition, &asked),
            None => (Err(why_not_read(node, call, place, &asked)), LeaderIdAndEpoch::default()),
        };
        match &read {
            Ok(read) => {
                found.bytes += read.records.len();
                // As much is there as may be sent at once, even if the next batch does not fit; the
                // first batch is sent even if it alone has more.
                let sent = read.records.len();
                found.there += if read.has_more { bytes_max.max(sent) } else { sent };
                left = left.saturating_sub(read.records.len());
            }
            Err(_) => found.is_urgent = true,
        }
        found.is_urgent |= parting.is_some() || preferred.is_some();
        found.partitions.push(LookedAt { read, parting, preferred, leader });
    }
    found
}

/// What is wanted and has left the cache is brought back by a thread of its directory, so that this
/// one goes on serving others.
async fn warm_cache(node: &Node, bytes_max: usize, plan: &FetchPlan, here: &[Option<Partition>]) {
    let mut left = bytes_max;
    for ((_, position), partition) in plan.wanted.iter().zip(here) {
        let bytes = usize::try_from(position.bytes_max).unwrap_or(0).min(left);
        let Some(partition) = partition else { continue };
        if bytes == 0 || !partition.is_cold(position.offset, bytes) {
            continue;
        }
        left -= bytes;
        node.partitions.warm(partition, position.offset, bytes).await;
    }
}

/// The partitions of a plan, in its order; `None` for one that is not here. They are looked for
/// once before each look at them, as a fetch of a follower may name thousands.
fn partitions_here(node: &Node, plan: &FetchPlan) -> Vec<Option<Partition>> {
    plan.wanted.iter().map(|(place, _)| place_here(node, place)).collect()
}

fn place_here(node: &Node, place: &FetchedPartition) -> Option<Partition> {
    if place.topic_id.is_zero() {
        node.partitions.find(&place.topic, place.partition)
    } else {
        node.partitions.find_by_id(place.topic_id, place.partition)
    }
}

/// What is asked of one partition.
struct FetchTerms {
    replica: Option<FetchingReplica>,
    position: Position,
    slice: PartitionSlice,
    /// What was found of a follower's log.
    noted: Result<Option<LeaderEpochEnd>, ErrorCode>,
    /// Not if it is to read elsewhere, or is throttled.
    gets_records: bool,
}

impl FetchTerms {
    /// May the client, or the broker that follows, read the topic?
    fn may_read(&self, node: &Node, call: &Call, topic: &str) -> bool {
        match self.replica {
            None => call.may(node, Operation::Read, Resource::Topic(topic)),
            Some(_) => call.may(node, Operation::ClusterAction, Resource::Cluster),
        }
    }
}

/// The error code for a partition that is not here.
fn why_not_read(
    node: &Node,
    call: &Call,
    place: &FetchedPartition,
    asked: &FetchTerms,
) -> ErrorCode {
    if !place.topic.is_empty() && !asked.may_read(node, call, &place.topic) {
        return ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    }
    let topic = match call.version {
        ..13 => TopicKey::Name(&place.topic),
        _ => TopicKey::Id(place.topic_id),
    };
    node.why_not_here(topic, place.partition)
}

fn read_one(
    node: &Node,
    call: &Call,
    partition: &Partition,
    asked: &FetchTerms,
) -> (Result<PartitionRead, ErrorCode>, LeaderIdAndEpoch) {
    let unknown = LeaderIdAndEpoch::default();
    if !asked.may_read(node, call, partition.topic()) {
        return (Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED), unknown);
    }
    let FetchTerms { position, slice, noted, gets_records, .. } = *asked;
    let old = match call.version {
        0 | 1 => Some(0),
        2 | 3 => Some(1),
        _ => None,
    };
    let fenced = partition.fence_reader(position.leader_epoch, slice.served);
    let fenced = fenced.map_err(|refused| refused.code());
    let read = fenced.and(noted).and_then(|parting| {
        // What it lacks is of no use to a follower before it has cut off what it has too much.
        let read = match gets_records && parting.is_none() {
            true => partition.read(slice),
            false => Ok(partition.read_nothing()),
        };
        read.map_err(|refused| {
            if let ReadRefused::Storage(error) = &refused {
                tracing::error!(
                    partition = %partition.name(),
                    offset = slice.offset,
                    %error,
                    "fetch failed: the log cannot be read; check the disk"
                );
            }
            refused.code()
        })
    });
    let read = match (read, old) {
        (Ok(read), Some(magic)) => legacy::convert_down(&read.records, magic, UNPACKED_BYTES_MAX)
            .map(|records| PartitionRead { records: Bytes::from(records), ..read })
            .map_err(|_| ErrorCode::CORRUPT_MESSAGE),
        (read, _) => read,
    };
    let leader = match &read {
        Err(ErrorCode::FENCED_LEADER_EPOCH | ErrorCode::NOT_LEADER_OR_FOLLOWER) => {
            LeaderIdAndEpoch {
                leader_id: partition.leader(),
                leader_epoch: partition.ends().leader_epoch,
                ..Default::default()
            }
        }
        _ => unknown,
    };
    (read, leader)
}

/// Counts what goes out, to a consumer or to a broker.
fn count_records(
    node: &Node,
    replica: Option<FetchingReplica>,
    here: &[Option<Partition>],
    found: &FetchLook,
) {
    for (partition, LookedAt { read, .. }) in here.iter().zip(&found.partitions) {
        let (Some(partition), Ok(read)) = (partition, read) else { continue };
        let bytes = read.records.len();
        if replica.is_some() && partition.throttled().as_leader {
            node.replicas.quotas.leading.count_copied(bytes);
        } else if replica.is_none() && bytes > 0 {
            partition.count_fetched(bytes);
        }
    }
}

fn watch_partitions(here: &[Option<Partition>], interest: Interest) -> Wait {
    let mut wait = Wait::new();
    for partition in here.iter().flatten() {
        wait.add(partition.progress(), interest);
    }
    wait
}

/// Is there something that a follower is to be told at once, though there are no records for it?
fn is_behind(plan: &FetchPlan, found: &FetchLook, news: FollowerNews) -> bool {
    let Some(session) = &plan.session else { return false };
    let session = lock_session(session);
    plan.wanted.iter().zip(&found.partitions).any(|((place, _), LookedAt { read, .. })| {
        read.as_ref().is_ok_and(|read| session.is_behind(place, said_of(read), news))
    })
}

/// What an answer says of a partition besides records.
const fn said_of(read: &PartitionRead) -> LastReply {
    LastReply { high_watermark: read.high_watermark, log_start: read.log_start }
}

fn build_response(plan: &FetchPlan, found: FetchLook) -> FetchResponse {
    let mut session = plan.session.as_ref().map(|session| lock_session(session));
    let mut response = FetchResponse {
        session_id: session.as_ref().map_or(0, |session| session.id()),
        ..Default::default()
    };
    let mut served = Vec::new();
    for ((place, _), looked_at) in plan.wanted.iter().zip(found.partitions) {
        let LookedAt { read, parting, preferred, leader } = looked_at;
        let news = match (&mut session, &read) {
            (Some(session), Ok(read)) => {
                // Both must be evaluated: the session must remember what this answer says.
                session.is_news(place, said_of(read)) | !read.records.is_empty()
            }
            (Some(session), Err(_)) => {
                session.said_error(place);
                true
            }
            (None, _) => true,
        };
        if read.as_ref().is_ok_and(|read| !read.records.is_empty()) {
            served.push(place.clone());
        }
        if news || !plan.incremental || parting.is_some() || preferred.is_some() {
            let mut data = partition_data(place.partition, read, leader);
            if data.error_code == 0
                && let Some(preferred) = preferred
            {
                data.preferred_read_replica = preferred;
            }
            if let Some(LeaderEpochEnd { epoch, end }) = parting {
                let parting = EpochEndOffset { epoch, end_offset: end, ..Default::default() };
                data.diverging_epoch = parting;
            }
            push_partition(&mut response.responses, place, data);
        }
    }
    if let Some(session) = &mut session {
        session.served(&served);
    }
    response
}

fn push_partition(
    topics: &mut Vec<FetchableTopicResponse>,
    place: &FetchedPartition,
    data: PartitionData,
) {
    match topics.last_mut() {
        Some(last) if last.topic_id == place.topic_id && *last.topic == *place.topic => {
            last.partitions.push(data);
        }
        _ => topics.push(FetchableTopicResponse {
            topic: place.topic.to_string(),
            topic_id: place.topic_id,
            partitions: vec![data],
            ..Default::default()
        }),
    }
}

fn partition_data(
    partition_index: i32,
    read: Result<PartitionRead, ErrorCode>,
    current_leader: LeaderIdAndEpoch,
) -> PartitionData {
    match read {
        Ok(read) => PartitionData {
            partition_index,
            high_watermark: read.high_watermark,
            last_stable_offset: read.last_stable,
            log_start_offset: read.log_start,
            aborted_transactions: read.aborted.map(|aborted| {
                let aborted = aborted.into_iter().map(|(producer_id, first_offset)| {
                    AbortedTransaction { producer_id, first_offset, ..Default::default() }
                });
                aborted.collect()
            }),
            records: Some(read.records),
            ..Default::default()
        },
        Err(code) => PartitionData {
            partition_index,
            error_code: code.0,
            high_watermark: NO_OFFSET,
            // As in Kafka: `None` for a partition whose log could not be read, else an empty list.
            aborted_transactions: was_found_before_the_log(code).then(Vec::new),
            current_leader,
            // Clients expect records to be there, if empty, beside an error too.
            records: Some(Bytes::new()),
            ..Default::default()
        },
    }
}

/// Is it an error that is found before a partition's log is read?
const fn was_found_before_the_log(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::UNKNOWN_SERVER_ERROR
    )
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
