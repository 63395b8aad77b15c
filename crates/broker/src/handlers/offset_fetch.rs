//! OffsetFetch: the committed offsets of groups.
//!
//! Version 0 (offsets in ZooKeeper) was removed in Kafka 4.0; here it reads __consumer_offsets.
//! 2: null asks for all topics. 7: only offsets without an open transaction (KIP-447). 8: several
//! groups (KIP-709). 9: members of consumer groups (KIP-848). 10: topic ids instead of names.

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_types::{ErrorCode, NO_EPOCH, NO_OFFSET};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// One group up to version 7, several from 8 on, topics by id from 10 on.
pub const API: Api = Api::of(ApiKey::OffsetFetch, 0, 10);

/// Asks each group's coordinator.
pub async fn handle(node: &Node, call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let require_stable = request.require_stable;
    if call.version >= 8 {
        let mut response = OffsetFetchResponse::default();
        for group in request.groups {
            response.groups.push(of_group(node, call, group, require_stable).await);
        }
        return response;
    }
    let topics = request.topics.map(|topics| {
        let topic = |topic: OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        };
        topics.into_iter().map(topic).collect::<Vec<_>>()
    });
    // Before version 2 there was no null; an empty list asked for nothing.
    let group =
        OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
    let asked = group.topics.clone();
    let answer = of_group(node, call, group, require_stable).await;
    old_response(call.version, answer, asked)
}

async fn of_group(
    node: &Node,
    call: &Call,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let group_id = group.group_id.clone();
    let refused = |code: ErrorCode| OffsetFetchResponseGroup {
        group_id: group_id.clone(),
        error_code: code.0,
        ..Default::default()
    };
    if !call.may(node, Operation::Describe, Resource::Group(&group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let by_id = call.version >= 10;
    let mut unknown = Vec::new();
    if let Some(topics) = &mut group.topics
        && by_id
    {
        topics.retain_mut(|topic| match node.topic_name(topic.topic_id) {
            Some(name) => {
                topic.name = name;
                true
            }
            None => {
                unknown.push(missing_offset(topic, ErrorCode::UNKNOWN_TOPIC_ID));
                false
            }
        });
    }
    let may_see = |name: &str| call.may(node, Operation::Describe, Resource::Topic(name));
    let asks_for_all = group.topics.is_none();
    if let Some(topics) = &mut group.topics {
        topics.retain(|topic| {
            let kept = may_see(&topic.name);
            if !kept {
                unknown.push(missing_offset(topic, ErrorCode::TOPIC_AUTHORIZATION_FAILED));
            }
            kept
        });
    }
    let command = GroupCommand::FetchOffsets { request: group, require_stable };
    let answer = node.coordinators.ask_group(&group_id, command);
    let mut answer = answer.await.unwrap_or_else(refused);
    if answer.error_code != 0 {
        return answer;
    }
    if asks_for_all {
        answer.topics.retain(|topic| may_see(&topic.name));
    }
    if by_id {
        answer.topics.retain_mut(|topic| {
            topic.topic_id = node.topic_id(&topic.name).unwrap_or_default();
            !topic.topic_id.is_zero()
        });
    }
    answer.topics.append(&mut unknown);
    answer
}

/// The answer for a topic whose offsets are not shown.
fn missing_offset(topic: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: NO_EPOCH,
        metadata: Some(String::new()),
        error_code: code.0,
        ..Default::default()
    };
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        ..Default::default()
    }
}

/// The answer in the form of versions 0 to 7; before 2 an error is repeated at every partition.
fn old_response(
    version: i16,
    answer: OffsetFetchResponseGroup,
    asked: Option<Vec<OffsetFetchRequestTopics>>,
) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse { error_code: answer.error_code, ..Default::default() };
    if version < 2 && answer.error_code != 0 {
        let failed = asked.unwrap_or_default().into_iter().map(|topic| OffsetFetchResponseTopic {
            partitions: topic
                .partition_indexes
                .iter()
                .map(|index| OffsetFetchResponsePartition {
                    partition_index: *index,
                    committed_offset: NO_OFFSET,
                    metadata: Some(String::new()),
                    error_code: answer.error_code,
                    ..Default::default()
                })
                .collect(),
            name: topic.name,
            ..Default::default()
        });
        response.topics = failed.collect();
        return response;
    }
    let partition = |one: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: one.partition_index,
        committed_offset: one.committed_offset,
        committed_leader_epoch: one.committed_leader_epoch,
        metadata: one.metadata,
        error_code: one.error_code,
        ..Default::default()
    };
    let topics = answer.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    });
    response.topics = topics.collect();
    response
}
