//! OffsetForLeaderEpoch: where an epoch ended, so that a client can see that its log was cut.
//!
//! Versions 0 and 1 were removed in Kafka 4.0 and are served here. 2: the client's leader epoch
//! fences (KIP-320). 3: the replica that asks.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use ottla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_types::{ErrorCode, NO_EPOCH, NO_OFFSET};

use crate::absent::TopicKey;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// The largest epoch that is not above the asked one, and its end.
pub const API: Api = Api::of(ApiKey::OffsetForLeaderEpoch, 0, 4);

/// Looks every asked epoch up.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|asked| {
                end(node, call, &topic.topic, asked).unwrap_or_else(|code| EpochEndOffset {
                    error_code: code.0,
                    partition: asked.partition,
                    ..Default::default()
                })
            })
            .collect(),
        ..Default::default()
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn end(
    node: &Node,
    call: &Call,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    if !call.may(node, Operation::ClusterAction, Resource::Cluster)
        && !call.may(node, Operation::Describe, Resource::Topic(topic))
    {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    let partition = node
        .partitions
        .find(topic, asked.partition)
        .ok_or_else(|| node.why_not_here(TopicKey::Name(topic), asked.partition))?;
    partition.fence(asked.current_leader_epoch).map_err(|refused| refused.code())?;
    let (leader_epoch, end_offset) = match asked.leader_epoch {
        NO_EPOCH => (NO_EPOCH, NO_OFFSET),
        epoch => partition.end_of_epoch(epoch),
    };
    Ok(EpochEndOffset {
        partition: asked.partition,
        leader_epoch,
        end_offset,
        ..Default::default()
    })
}
