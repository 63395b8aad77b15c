//! DeleteRecords: move the log start forward; what lies before it is gone for every reader.
//!
//! KIP-107. 2: flexible. A topic that is only compacted is refused. The answer waits until all live
//! replicas have deleted the records, at most for the request's timeout.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_partitions::{Partition, Waited};
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

/// Moves each partition's log start, and waits until all live replicas have done so.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let timeout_ms = u64::try_from(request.timeout_ms).unwrap_or(0);
    let deadline = node.clock.monotonic() + Duration::from_millis(timeout_ms);
    // Of a partition that is named twice the last offset counts.
    let mut asked: BTreeMap<&str, BTreeMap<i32, Offset>> = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let partitions = asked.entry(&topic.name).or_default();
            partitions.insert(partition.partition_index, partition.offset);
        }
    }
    // The followers of all of them delete at the same time.
    let mut begun = Vec::new();
    for (topic, partitions) in asked {
        let one = |(index, offset)| (index, delete(node, call, topic, index, offset));
        begun.push((topic, partitions.into_iter().map(one).collect::<Vec<_>>()));
    }
    let mut topics = Vec::new();
    for (topic, begun) in begun {
        let mut partitions = Vec::new();
        for (partition_index, deletion) in begun {
            let done = match deletion {
                Ok(deletion) => wait_for_followers(node, &deletion, deadline).await,
                Err(code) => DeletionOutcome { low_watermark: NO_OFFSET, code },
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark: done.low_watermark,
                error_code: done.code.0,
                ..Default::default()
            });
        }
        let name = topic.to_owned();
        topics.push(DeleteRecordsTopicResult { name, partitions, ..Default::default() });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

/// A deletion that the leader has done.
struct LeaderDeletion {
    partition: Partition,
    /// Records below it are gone.
    before: Offset,
    /// Up to where all live replicas had deleted then.
    low_watermark: Offset,
}

/// What a deletion has come to.
struct DeletionOutcome {
    low_watermark: Offset,
    code: ErrorCode,
}

/// A follower deletes when its leader tells it to, and says so with its next fetch.
async fn wait_for_followers(
    node: &Node,
    deletion: &LeaderDeletion,
    deadline: Duration,
) -> DeletionOutcome {
    let LeaderDeletion { partition, before, low_watermark } = deletion;
    let refused = |code| DeletionOutcome { low_watermark: NO_OFFSET, code };
    match partition.deleted_everywhere(*before, &node.clock, deadline).await {
        Ok(low_watermark) => DeletionOutcome { low_watermark, code: ErrorCode::NONE },
        // As in Kafka, with the low watermark as of the beginning.
        Err(Waited::TimedOut) => {
            DeletionOutcome { low_watermark: *low_watermark, code: ErrorCode::REQUEST_TIMED_OUT }
        }
        Err(_) => match node.partitions.find(partition.topic(), partition.index()) {
            Some(_) => refused(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            None => {
                refused(node.why_not_here(TopicKey::Name(partition.topic()), partition.index()))
            }
        },
    }
}

fn delete(
    node: &Node,
    call: &Call,
    topic: &str,
    index: i32,
    offset: Offset,
) -> Result<LeaderDeletion, ErrorCode> {
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
    })?;
    let low_watermark = partition.ends().low_watermark;
    Ok(LeaderDeletion { partition, before, low_watermark })
}

#[cfg(test)]
#[path = "delete_records_tests.rs"]
mod tests;
