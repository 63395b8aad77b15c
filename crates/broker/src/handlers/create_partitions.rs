//! CreatePartitions: more partitions for a topic.

use ottla_metadata::Command;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over, repeated};

/// Operators.
pub const API: Api = Api::of(ApiKey::CreatePartitions, 0, 3);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let refused = refusal(&request);
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    let denied = take_denied(node, call, &mut request);
    let asked = node.controller.ask(Command::CreatePartitions(request)).await;
    let mut response: CreatePartitionsResponse = match asked {
        Ok(response) => response,
        Err(code) => return refused(code),
    };
    response.results.extend(denied);
    response
}

/// Takes the topics out of the request that the client may not alter: their answers. What is named
/// twice is refused to everyone.
fn take_denied(
    node: &Node,
    call: &Call,
    request: &mut CreatePartitionsRequest,
) -> Vec<CreatePartitionsTopicResult> {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let repeated = repeated(names.iter().map(String::as_str));
    let mut denied = Vec::new();
    request.topics.retain(|topic| {
        let name = topic.name.as_str();
        let kept =
            repeated.contains(name) || call.may(node, Operation::Alter, Resource::Topic(name));
        if !kept {
            denied.push(CreatePartitionsTopicResult {
                name: name.to_owned(),
                error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED.0,
                ..Default::default()
            });
        }
        kept
    });
    denied
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
