//! OffsetCommit: commits a group's offsets.
//!
//! Versions 0 and 1 were removed in Kafka 4.0 and are served here. 2 to 4: a retention time, which
//! the broker's setting replaces. 6: leader epochs (KIP-320). 7: static members (KIP-345). 9:
//! members of consumer groups (KIP-848). 10: topic ids instead of names.

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Members of groups, and clients that commit offsets without being members.
pub const API: Api = Api::of(ApiKey::OffsetCommit, 0, 10);

/// Takes out what cannot be committed, and gives the rest to the group's coordinator.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    if !call.may(node, Operation::Read, Resource::Group(&request.group_id)) {
        return answer_topic(&request, ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let mut refused = OffsetCommitResponse::default();
    request.topics.retain_mut(|topic| {
        if call.version >= 10
            && let Some(name) = node.topic_name(topic.topic_id)
        {
            topic.name = name;
        }
        let by_id = call.version >= 10;
        let code = if !call.may(node, Operation::Read, Resource::Topic(&topic.name)) {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
        } else if let Some(id) = node.topic_id(&topic.name) {
            // The stored offset has the topic id, also if the request named the topic.
            topic.topic_id = id;
            split_denied(node, topic, &mut refused);
            return !topic.partitions.is_empty();
        } else if by_id {
            ErrorCode::UNKNOWN_TOPIC_ID
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        };
        put_refused(&mut refused.topics, answer_all(topic, code));
        false
    });
    if request.topics.is_empty() {
        return refused;
    }
    let committed = commit_offsets(node, call, request).await;
    if refused.topics.is_empty() {
        return committed;
    }
    for topic in committed.topics {
        put_refused(&mut refused.topics, topic);
    }
    refused
}

async fn commit_offsets(
    node: &Node,
    call: &Call,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let version = call.version;
    let whole = request.clone();
    let command = GroupCommand::CommitOffsets { request, version };
    let committed = node.coordinators.ask_group(&whole.group_id, command);
    committed.await.unwrap_or_else(|code| answer_topic(&whole, code))
}

/// Adds a topic's answers to those of the same topic, if there are any: as in Kafka, what was
/// refused comes first, and each of these topics once.
fn put_refused(all: &mut Vec<OffsetCommitResponseTopic>, topic: OffsetCommitResponseTopic) {
    let same = |other: &&mut OffsetCommitResponseTopic| {
        other.name == topic.name && other.topic_id == topic.topic_id
    };
    match all.iter_mut().find(same) {
        Some(known) => known.partitions.extend(topic.partitions),
        None => all.push(topic),
    }
}

/// Moves partitions that do not exist from the request to the refused.
fn split_denied(
    node: &Node,
    topic: &mut OffsetCommitRequestTopic,
    refused: &mut OffsetCommitResponse,
) {
    let mut missing = topic.clone();
    missing.partitions.retain(|one| !node.has_partition(&topic.name, one.partition_index));
    topic.partitions.retain(|one| node.has_partition(&topic.name, one.partition_index));
    if !missing.partitions.is_empty() {
        put_refused(
            &mut refused.topics,
            answer_all(&missing, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        );
    }
}

fn answer_all(topic: &OffsetCommitRequestTopic, code: ErrorCode) -> OffsetCommitResponseTopic {
    let partition = |index| OffsetCommitResponsePartition {
        partition_index: index,
        error_code: code.0,
        ..Default::default()
    };
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|one| partition(one.partition_index)).collect(),
        ..Default::default()
    }
}

fn answer_topic(request: &OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse {
    OffsetCommitResponse {
        topics: request.topics.iter().map(|topic| answer_all(topic, code)).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "offset_commit_tests.rs"]
mod tests;
