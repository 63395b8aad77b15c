//! ElectLeaders: let the preferred replica lead again, or (unclean) one that is out of sync.
//!
//! KIP-183. 1: unclean elections (KIP-460).

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over};

/// Operators.
pub const API: Api = Api::of(ApiKey::ElectLeaders, 0, 2);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    if !call.may(node, Operation::Alter, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return ElectLeadersResponse { error_code, ..Default::default() };
    }
    let refused = error_answers(&request);
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    let asked = node.controller.ask(ControllerCommand::ElectLeaders(request)).await;
    asked.unwrap_or_else(refused)
}

/// The answer if no partition's election could be tried.
pub fn error_answers(
    request: &ElectLeadersRequest,
) -> impl Fn(ErrorCode) -> ElectLeadersResponse + use<> {
    let named: Vec<TopicPartitions> = request.topic_partitions.iter().flatten().cloned().collect();
    move |code| {
        let partition = |partition_id: &i32| PartitionResult {
            partition_id: *partition_id,
            error_code: code.0,
            error_message: None,
            ..Default::default()
        };
        let topic = |named: &TopicPartitions| ReplicaElectionResult {
            topic: named.topic.clone(),
            partition_result: named.partitions.iter().map(partition).collect(),
            ..Default::default()
        };
        ElectLeadersResponse {
            error_code: code.0,
            replica_election_results: named.iter().map(topic).collect(),
            ..Default::default()
        }
    }
}
