//! DeleteRecords: move the log start forward; what lies before it is gone for every reader.
//!
//! KIP-107. 2: flexible. A topic that is only compacted is refused. The answer waits until all live
//! replicas have deleted the records, at most for the request's timeout.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_records_request::DeleteRecordsRequest;
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_types::{NO_OFFSET, Offset};

use crate::node::Node;
use crate::record_deletion::{DeletionOutcome, begin_deletion, wait_for_followers};
use crate::request::{Api, Call};

/// The offset may lie inside a batch; -1 means the high watermark.
pub const API: Api = Api::of(ApiKey::DeleteRecords, 0, 2);

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
        let one = |(index, offset)| (index, begin_deletion(node, call, topic, index, offset));
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

#[cfg(test)]
#[path = "delete_records_tests.rs"]
mod tests;
