//! AlterPartitionReassignments: move partitions to other brokers, or call that off.
//!
//! KIP-455. 1: the replication factor may change or not (KIP-860).
//!
//! Gap: there is no other broker to move to.

use ottla_metadata::Cluster;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_types::{ErrorCode, NodeId};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over};

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterPartitionReassignments, 0, 1);

/// On one node a partition can only be sent to where it is.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    if !call.may(node, Operation::Alter, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return AlterPartitionReassignmentsResponse { error_code, ..Default::default() };
    }
    let cluster = node.cluster();
    // Also at the request as a whole.
    let late = is_over(request.timeout_ms).then_some(ErrorCode::REQUEST_TIMED_OUT);
    let topic = |topic: &ReassignableTopic| {
        let one = |partition: &ReassignablePartition| {
            let refused = match late {
                Some(code) => Some((code, None)),
                None => check(&cluster, &topic.name, partition).err(),
            };
            ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code: refused.as_ref().map_or(0, |(code, _)| code.0),
                error_message: refused.and_then(|(_, why)| why),
                ..Default::default()
            }
        };
        ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(one).collect(),
            ..Default::default()
        }
    };
    AlterPartitionReassignmentsResponse {
        error_code: late.unwrap_or_default().0,
        // Kafka sends an empty text where nothing was asked, and none otherwise.
        error_message: request.topics.is_empty().then(String::new),
        // Kafka echoes this only where something was asked.
        allow_replication_factor_change: request.topics.is_empty()
            || request.allow_replication_factor_change,
        responses: request.topics.iter().map(topic).collect(),
        ..Default::default()
    }
}

type ReassignmentRefusal = (ErrorCode, Option<String>);

fn check(
    cluster: &Cluster,
    topic: &str,
    asked: &ReassignablePartition,
) -> Result<(), ReassignmentRefusal> {
    let known = cluster.topic(topic);
    if !known.is_some_and(|it| it.partitions.contains_key(&asked.partition_index)) {
        let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        return Err((code, Some(code.message().to_owned())));
    }
    let Some(replicas) = &asked.replicas else {
        // There is no reassignment to cancel.
        return Err((ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, None));
    };
    let invalid = |why: String| Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, Some(why)));
    if replicas.is_empty() {
        return invalid(
            "The manual partition assignment includes an empty replica list.".to_owned(),
        );
    }
    let mut sorted: Vec<NodeId> = replicas.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return invalid(format!("{replicas:?} names a broker twice."));
    }
    if let Some(broker) = sorted.iter().find(|id| cluster.broker(**id).is_none()) {
        return invalid(format!("There is no broker {broker}."));
    }
    Ok(())
}
