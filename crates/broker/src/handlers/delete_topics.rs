//! DeleteTopics: topics and all their records, by name or by id.
//!
//! Version 0 was removed in Kafka 4.0 and is served here. 5: error messages. 6: by id (KIP-516).
//!
//! Gap: no throttling of topic changes (5, KIP-599).

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use ottla_types::{ErrorCode, Uuid};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over, repeated_items, take_denied};

/// Operators.
pub const API: Api = Api::of(ApiKey::DeleteTopics, 0, 6);

const DENIED: ErrorCode = ErrorCode::TOPIC_AUTHORIZATION_FAILED;

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let refused = error_answers(&request);
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    let denied = take_undeletable(node, call, &mut request);
    let command = ControllerCommand::DeleteTopics { request, version: call.version };
    let asked: Result<DeleteTopicsResponse, _> = node.controller.ask(command).await;
    let mut response = match asked {
        Ok(response) => response,
        Err(code) => return refused(code),
    };
    response.responses.extend(denied);
    response
}

/// Takes the topics out of the request that the client may not delete: their answers. One that it
/// may not describe is denied whether it exists or not, and its id does not tell its name. What is
/// named twice is refused to everyone, and so is everything where topics cannot be deleted.
fn take_undeletable(
    node: &Node,
    call: &Call,
    request: &mut DeleteTopicsRequest,
) -> Vec<DeletableTopicResult> {
    if !node.own().deletes_topics || call.may(node, Operation::Delete, Resource::Cluster) {
        return Vec::new();
    }
    let may = |operation, name: &str| call.may(node, operation, Resource::Topic(name));
    let named = request.topics.iter().filter_map(|topic| topic.name.clone());
    let names: Vec<String> = request.topic_names.iter().cloned().chain(named).collect();
    let repeated = repeated_items(names.iter().map(String::as_str));
    let check_name = |name: &str| {
        let is_known = node.topic_id(name).is_some();
        let hides = !may(Operation::Describe, name);
        let is_denied = hides || (is_known && !may(Operation::Delete, name));
        if is_denied && !repeated.contains(name) { Err(DENIED) } else { Ok(()) }
    };
    let check = |topic: &DeleteTopicState| match (&topic.name, topic.topic_id.is_zero()) {
        (Some(name), true) => check_name(name),
        (None, false) => match node.topic_name(topic.topic_id) {
            Some(name) if !may(Operation::Delete, &name) => Err(DENIED),
            _ => Ok(()),
        },
        _ => Ok(()),
    };
    let mut denied = take_denied(
        &mut request.topic_names,
        |name| check_name(name),
        |name, code| topic_result(Some(name.clone()), Uuid::ZERO, code),
    );
    denied.extend(take_denied(&mut request.topics, check, |topic, code| {
        let seen = || node.topic_name(topic.topic_id).filter(|it| may(Operation::Describe, it));
        topic_result(topic.name.clone().or_else(seen), topic.topic_id, code)
    }));
    denied
}

fn topic_result(name: Option<String>, topic_id: Uuid, code: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: code.0, ..Default::default() }
}

/// The answer if nothing could be done at all.
pub fn error_answers(
    request: &DeleteTopicsRequest,
) -> impl Fn(ErrorCode) -> DeleteTopicsResponse + use<> {
    let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Default::default()));
    let both = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
    let asked: Vec<(Option<String>, Uuid)> = by_name.chain(both).collect();
    move |code| DeleteTopicsResponse {
        responses: asked.iter().map(|(name, id)| topic_result(name.clone(), *id, code)).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "delete_topics_tests.rs"]
mod tests;
