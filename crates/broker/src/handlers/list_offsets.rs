//! ListOffsets: the first and last offset of a partition, or the offset at a time.
//!
//! Version 0 (several offsets a partition) was removed in Kafka 4.0 and is served here. 2:
//! isolation level. 4: leader epochs fence (KIP-320). 5: OFFSET_NOT_AVAILABLE (KIP-207). 7: the
//! largest timestamp (KIP-734). 8, 9, 11: offsets of tiered storage (KIP-405, KIP-1005, KIP-1023).
//!
//! Gap: there is no tiered storage; local and earliest offsets are one, tiered ones do not exist.

use std::collections::{BTreeMap, BTreeSet};

use ottla_partitions::{Isolation, Partition};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_types::{ErrorCode, LeaderEpoch, NO_EPOCH, NO_OFFSET, NO_TIMESTAMP, Offset};

use crate::absent::TopicKey;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, repeated_items};

/// Offsets by time and by name.
pub const API: Api = Api::of(ApiKey::ListOffsets, 0, 11);

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A place in a partition; -1s where there is none.
struct Spot {
    timestamp: i64,
    offset: Offset,
    leader_epoch: LeaderEpoch,
}

const NOWHERE: Spot = Spot { timestamp: NO_TIMESTAMP, offset: NO_OFFSET, leader_epoch: NO_EPOCH };

/// Looks every asked place up.
pub async fn handle(node: &Node, call: &Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = match request.isolation_level {
        0 => Isolation::Uncommitted,
        1 => Isolation::Committed,
        // Kafka has no better code for a level that does not exist.
        _ => return refused_topics(&request, ErrorCode::UNKNOWN_SERVER_ERROR),
    };
    let asked = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |asked| (topic.name.as_str(), asked)));
    let places = asked.clone().map(|(topic, asked)| (topic, asked.partition_index));
    let repeated = repeated_items(places);
    let mut answered = BTreeSet::new();
    let mut topics: Vec<ListOffsetsTopicResponse> = Vec::new();
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for (topic, asked) in asked {
        let place = (topic, asked.partition_index);
        let found = if repeated.contains(&place) {
            if !answered.insert(place) {
                continue;
            }
            Err(ErrorCode::INVALID_REQUEST)
        } else if is_supported(asked.timestamp, call.version) {
            // A follower may know what is not committed.
            let isolation = if request.replica_id >= 0 { Isolation::LogEnd } else { isolation };
            find_offset(node, call, topic, asked, isolation)
        } else {
            Err(ErrorCode::UNSUPPORTED_VERSION)
        };
        let row = *rows.entry(topic).or_insert_with(|| {
            let name = topic.to_owned();
            topics.push(ListOffsetsTopicResponse { name, ..Default::default() });
            topics.len() - 1
        });
        topics[row].partitions.push(answer_partition(call.version, asked, found));
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

/// The answer to a request that is refused as a whole.
fn refused_topics(request: &ListOffsetsRequest, code: ErrorCode) -> ListOffsetsResponse {
    let topic = |topic: &ListOffsetsTopic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|it| answer_partition(1, it, Err(code))).collect(),
        ..Default::default()
    };
    ListOffsetsResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
}

fn answer_partition(
    version: i16,
    asked: &ListOffsetsPartition,
    found: Result<Spot, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (code, spot) = match found {
        Ok(spot) => (ErrorCode::NONE, spot),
        Err(code) => (code, NOWHERE),
    };
    // Version 0 had a list, of which clients took the first.
    let old = version == 0 && spot.offset >= 0;
    ListOffsetsPartitionResponse {
        old_style_offsets: if old { vec![spot.offset] } else { Vec::new() },
        partition_index: asked.partition_index,
        error_code: code.0,
        timestamp: spot.timestamp,
        offset: spot.offset,
        leader_epoch: spot.leader_epoch,
        ..Default::default()
    }
}

fn find_offset(
    node: &Node,
    call: &Call,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Spot, ErrorCode> {
    if !call.may(node, Operation::Describe, Resource::Topic(topic)) {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    let partition = node
        .partitions
        .find(topic, asked.partition_index)
        .ok_or_else(|| node.why_not_here(TopicKey::Name(topic), asked.partition_index))?;
    partition.fence(asked.current_leader_epoch).map_err(|refused| refused.code())?;
    let found = look_up(&partition, asked.timestamp, isolation)?;
    // A new leader does not know yet all that is committed (KIP-207).
    let ends = partition.ends();
    let is_behind = isolation != Isolation::LogEnd && ends.high_watermark < ends.epoch_start;
    let is_last = asked.timestamp == LATEST;
    let is_beyond = (asked.timestamp >= 0 || asked.timestamp == MAX_TIMESTAMP) && found.offset < 0;
    match is_behind && (is_last || is_beyond) {
        true if call.version >= 5 => Err(ErrorCode::OFFSET_NOT_AVAILABLE),
        true => Err(ErrorCode::LEADER_NOT_AVAILABLE),
        false => Ok(found),
    }
}

/// The special timestamps came one by one; an older version must not use a newer one.
const fn is_supported(timestamp: i64, version: i16) -> bool {
    let since = match timestamp {
        0.. | LATEST | EARLIEST => 0,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => return false,
    };
    since <= version
}

/// The place of a supported time.
fn look_up(partition: &Partition, timestamp: i64, isolation: Isolation) -> Result<Spot, ErrorCode> {
    let ends = partition.ends();
    let limit = match isolation {
        Isolation::Committed => ends.last_stable,
        Isolation::Uncommitted => ends.high_watermark,
        Isolation::LogEnd => ends.log_end,
    };
    let at =
        |offset| Spot { timestamp: NO_TIMESTAMP, offset, leader_epoch: partition.epoch_of(offset) };
    match timestamp {
        LATEST => Ok(Spot { leader_epoch: ends.leader_epoch, ..at(limit) }),
        EARLIEST | EARLIEST_LOCAL => Ok(at(ends.log_start)),
        // Nothing is tiered.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(NOWHERE),
        MAX_TIMESTAMP => {
            let found = partition.latest_timestamp().map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
            let found = found.filter(|(_, offset)| *offset < limit);
            Ok(found.map_or(NOWHERE, |(timestamp, offset)| Spot { timestamp, ..at(offset) }))
        }
        time => {
            let found = partition.at_time(time).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
            let found = found.filter(|(_, offset)| *offset < limit);
            Ok(found.map_or(NOWHERE, |(timestamp, offset)| Spot { timestamp, ..at(offset) }))
        }
    }
}

#[cfg(test)]
#[path = "list_offsets_tests.rs"]
mod tests;
