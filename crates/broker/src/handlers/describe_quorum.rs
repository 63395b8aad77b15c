//! DescribeQuorum: the voters of the metadata log and how far each has it.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node as QuorumNode, PartitionData, ReplicaState, TopicData,
};
use ottla_types::ErrorCode;

use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeQuorum, 0, 2);

const TOPIC: &str = "__cluster_metadata";

/// Describes the quorum, whose only voter is this node.
pub fn handle(
    node: &Node,
    _call: &Call,
    request: &DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let end = node.metadata_offset();
    let now = node.clock.wall_ms();
    let describe = |topic: &str, index: i32| {
        if topic != TOPIC || index != 0 {
            return PartitionData {
                partition_index: index,
                error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
                ..Default::default()
            };
        }
        PartitionData {
            partition_index: 0,
            leader_id: node.id,
            leader_epoch: node.quorum_epoch(),
            high_watermark: end,
            current_voters: vec![ReplicaState {
                replica_id: node.id,
                replica_directory_id: node.metadata_directory,
                log_end_offset: end,
                last_fetch_timestamp: now,
                last_caught_up_timestamp: now,
                ..Default::default()
            }],
            ..Default::default()
        }
    };
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| describe(&topic.topic_name, partition.partition_index))
            .collect(),
        ..Default::default()
    });
    let listeners = node.voter_listeners.iter().map(|it| Listener {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
        ..Default::default()
    });
    let listeners = listeners.collect();
    DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: vec![QuorumNode { node_id: node.id, listeners, ..Default::default() }],
        ..Default::default()
    }
}
