//! AlterPartitionReassignments: move partitions to other brokers, or call that off.
//!
//! KIP-455. 1: the replication factor may change or not (KIP-860).

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use ottla_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over};

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterPartitionReassignments, 0, 1);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    if !call.may(node, Operation::Alter, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return AlterPartitionReassignmentsResponse { error_code, ..Default::default() };
    }
    let (is_late, is_empty) = (is_over(request.timeout_ms), request.topics.is_empty());
    let refused = error_answers(&request);
    let mut response = if is_late {
        refused(ErrorCode::REQUEST_TIMED_OUT)
    } else {
        let command = ControllerCommand::AlterPartitionReassignments(request);
        node.controller.ask(command).await.unwrap_or_else(refused)
    };
    // Kafka sends an empty text where nothing was asked, and none otherwise; what a request says
    // of the replication factor it echoes only where something was asked.
    if is_empty {
        response.error_message = Some(String::new());
        response.allow_replication_factor_change = true;
    }
    response
}

/// The answer if no partition could be moved: the code of each, and of the request as a whole.
pub fn error_answers(
    request: &AlterPartitionReassignmentsRequest,
) -> impl Fn(ErrorCode) -> AlterPartitionReassignmentsResponse + use<> {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let named: Vec<(String, Vec<i32>)> = request
        .topics
        .iter()
        .map(|it| (it.name.clone(), it.partitions.iter().map(|it| it.partition_index).collect()))
        .collect();
    move |code| {
        let partition = |partition_index: &i32| ReassignablePartitionResponse {
            partition_index: *partition_index,
            error_code: code.0,
            error_message: None,
            ..Default::default()
        };
        let topic = |(name, partitions): &(String, Vec<i32>)| ReassignableTopicResponse {
            name: name.clone(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        };
        AlterPartitionReassignmentsResponse {
            error_code: code.0,
            error_message: None,
            allow_replication_factor_change,
            responses: named.iter().map(topic).collect(),
            ..Default::default()
        }
    }
}
