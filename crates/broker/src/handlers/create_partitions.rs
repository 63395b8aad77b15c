//! CreatePartitions: more partitions for a topic.
//!
//! KIP-195. 2: flexible.
//!
//! Gap: no throttling of topic changes (3, KIP-599).

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over, repeated_items, take_denied};

/// Operators.
pub const API: Api = Api::of(ApiKey::CreatePartitions, 0, 3);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let refused = error_answers(&request);
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    // What is named twice is refused to everyone.
    let repeated = repeated_items(names.iter().map(String::as_str));
    let check = |topic: &CreatePartitionsTopic| match topic.name.as_str() {
        name if repeated.contains(name) => Ok(()),
        name => call.check(node, Operation::Alter, Resource::Topic(name)),
    };
    let denied = take_denied(&mut request.topics, check, |topic, code| result(&topic.name, code));
    let asked = node.controller.ask(ControllerCommand::CreatePartitions(request)).await;
    let mut response: CreatePartitionsResponse = match asked {
        Ok(response) => response,
        Err(code) => return refused(code),
    };
    response.results.extend(denied);
    response
}

fn result(name: &str, code: ErrorCode) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult { name: name.to_owned(), error_code: code.0, ..Default::default() }
}

/// The answer if nothing could be done at all.
pub fn error_answers(
    request: &CreatePartitionsRequest,
) -> impl Fn(ErrorCode) -> CreatePartitionsResponse + use<> {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    move |code| CreatePartitionsResponse {
        results: names.iter().map(|name| result(name, code)).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "create_partitions_tests.rs"]
mod tests;
