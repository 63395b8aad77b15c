//! CreatePartitions: more partitions for a topic.

use ottla_metadata::Command;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::node::Node;
use crate::request::{Api, Call, is_over};

/// Operators.
pub const API: Api = Api::of(ApiKey::CreatePartitions, 0, 3);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let refused = refusal(&request);
    if !may(&call.caller.principal, Operation::Alter, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    node.controller.ask(Command::CreatePartitions(request)).await.unwrap_or_else(refused)
}

/// The answer if nothing could be done at all.
fn refusal(
    request: &CreatePartitionsRequest,
) -> impl Fn(ErrorCode) -> CreatePartitionsResponse + use<> {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    move |code| {
        let result = |name: &String| CreatePartitionsTopicResult {
            name: name.clone(),
            error_code: code.0,
            ..Default::default()
        };
        CreatePartitionsResponse {
            results: names.iter().map(result).collect(),
            ..Default::default()
        }
    }
}
