//! ListPartitionReassignments: which partitions are on their way to other brokers.
//!
//! KIP-455.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_partition_reassignments_request as asked;
use ottla_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::ListPartitionReassignments, 0, 0);

/// Looks at the metadata.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: asked::ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    if !call.may(node, Operation::Describe, Resource::Cluster) {
        return error_answers(&request)(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    let cluster = node.cluster();
    let wanted = |topic: &str, partition: i32| {
        request.topics.as_ref().is_none_or(|all| {
            all.iter().any(|it| it.name == topic && it.partition_indexes.contains(&partition))
        })
    };
    let mut topics = Vec::new();
    for topic in cluster.topics() {
        let moving = topic.partitions.iter().filter(|(index, state)| {
            !(state.adding.is_empty() && state.removing.is_empty()) && wanted(&topic.name, **index)
        });
        let partitions: Vec<_> = moving
            .map(|(index, state)| OngoingPartitionReassignment {
                partition_index: *index,
                replicas: state.replicas.clone(),
                adding_replicas: state.adding.clone(),
                removing_replicas: state.removing.clone(),
                ..Default::default()
            })
            .collect();
        if !partitions.is_empty() {
            let name = topic.name.to_string();
            topics.push(OngoingTopicReassignment { name, partitions, ..Default::default() });
        }
    }
    ListPartitionReassignmentsResponse { error_message: None, topics, ..Default::default() }
}

/// The answer if nothing can be listed.
pub fn error_answers(
    _: &asked::ListPartitionReassignmentsRequest,
) -> impl Fn(ErrorCode) -> ListPartitionReassignmentsResponse + use<> {
    |code| ListPartitionReassignmentsResponse { error_code: code.0, ..Default::default() }
}
