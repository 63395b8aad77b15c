//! DeleteRecords: move the log start forward; what lies before it is gone for every reader.
//!
//! KIP-107. 2: flexible. A topic that is only compacted is refused.

use std::collections::BTreeMap;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_records_request::DeleteRecordsRequest;
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_types::{ErrorCode, NO_EPOCH, NO_OFFSET, Offset, is_internal_topic};

use crate::absent::TopicKey;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// The offset may lie inside a batch; -1 means the high watermark.
pub const API: Api = Api::of(ApiKey::DeleteRecords, 0, 2);

const TO_HIGH_WATERMARK: Offset = -1;

/// Moves each partition's log start.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    // Of a partition that is named twice the last offset counts.
    let mut asked: BTreeMap<&str, BTreeMap<i32, Offset>> = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let partitions = asked.entry(&topic.name).or_default();
            partitions.insert(partition.partition_index, partition.offset);
        }
    }
    let topics = asked.into_iter().map(|(topic, partitions)| DeleteRecordsTopicResult {
        name: topic.to_owned(),
        partitions: partitions
            .into_iter()
            .map(|(index, offset)| {
                let moved = delete(node, call, topic, index, offset);
                DeleteRecordsPartitionResult {
                    partition_index: index,
                    low_watermark: *moved.as_ref().unwrap_or(&NO_OFFSET),
                    error_code: moved.err().unwrap_or_default().0,
                    ..Default::default()
                }
            })
            .collect(),
        ..Default::default()
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

fn delete(
    node: &Node,
    call: &Call,
    topic: &str,
    index: i32,
    offset: Offset,
) -> Result<Offset, ErrorCode> {
    if !call.may(node, Operation::Delete, Resource::Topic(topic)) {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    let found = node.partitions.find(topic, index);
    let partition = found.ok_or_else(|| node.why_not_here(TopicKey::Name(topic), index))?;
    partition.fence(NO_EPOCH).map_err(|refused| refused.code())?;
    if is_internal_topic(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    // A topic that is only compacted keeps each key's last record for good.
    if !partition.rules().delete_allowed {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let ends = partition.ends();
    let before = if offset == TO_HIGH_WATERMARK { ends.high_watermark } else { offset };
    if before < 0 || before > ends.high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    partition.delete_before(before).map_err(|error| {
        tracing::error!(
            partition = %partition.name(),
            before,
            %error,
            "DeleteRecords failed: the log start cannot be moved; check the disk"
        );
        ErrorCode::KAFKA_STORAGE_ERROR
    })
}

#[cfg(test)]
#[path = "delete_records_tests.rs"]
mod tests;
