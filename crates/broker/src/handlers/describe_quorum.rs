//! DescribeQuorum: the voters of the metadata log and how far each has it.
//!
//! KIP-595. 1: when each replica fetched (KIP-836). 2: directory ids and endpoints of voters
//! (KIP-853).
//!
//! Gap: this node is the only voter.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node as QuorumNode, PartitionData, ReplicaState, TopicData,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeQuorum, 0, 2);

const TOPIC: &str = "__cluster_metadata";

/// Describes the quorum, whose only voter is this node.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if !call.may(node, Operation::Describe, Resource::Cluster) {
        return error_answers(&request)(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if !asks_for_the_quorum(&request) {
        return refused(&request);
    }
    let end = node.metadata_offset();
    let now = node.clock.wall_ms();
    let partition = PartitionData {
        partition_index: 0,
        leader_id: node.id,
        leader_epoch: node.quorum_epoch(),
        high_watermark: end,
        current_voters: vec![ReplicaState {
            replica_id: node.id,
            replica_directory_id: node.facts.metadata_directory,
            log_end_offset: end,
            last_fetch_timestamp: now,
            last_caught_up_timestamp: now,
            ..Default::default()
        }],
        ..Default::default()
    };
    let topic_name = TOPIC.to_owned();
    let topics = vec![TopicData { topic_name, partitions: vec![partition], ..Default::default() }];
    let listeners = node.facts.voter_listeners.iter().map(|endpoint| Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Default::default()
    });
    let listeners = listeners.collect();
    DescribeQuorumResponse {
        topics,
        nodes: vec![QuorumNode { node_id: node.id, listeners, ..Default::default() }],
        ..Default::default()
    }
}

/// The answer if the quorum cannot be described at all.
pub fn error_answers(
    _: &DescribeQuorumRequest,
) -> impl Fn(ErrorCode) -> DescribeQuorumResponse + use<> {
    |code| DescribeQuorumResponse {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    }
}

/// There is one such log, and it has one partition: a request for anything else is refused whole.
fn asks_for_the_quorum(request: &DescribeQuorumRequest) -> bool {
    let [topic] = &request.topics[..] else { return false };
    let [partition] = &topic.partitions[..] else { return false };
    topic.topic_name == TOPIC && partition.partition_index == 0
}

fn refused(request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| PartitionData {
            partition_index: partition.partition_index,
            error_code: code.0,
            error_message: Some(code.message().to_owned()),
            ..Default::default()
        });
        let topic_name = topic.topic_name.clone();
        TopicData { topic_name, partitions: partitions.collect(), ..Default::default() }
    });
    DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }
}
