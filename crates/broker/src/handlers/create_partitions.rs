//! CreatePartitions: more partitions for a topic.

use ottla_metadata::{Command, Reply};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
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
    if !call.may(node, Operation::Alter, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    match node.controller.ask(Command::CreatePartitions(request)).await {
        Ok(Reply::CreatePartitions(response)) => response,
        Ok(_) => refused(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refused(code),
    }
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
