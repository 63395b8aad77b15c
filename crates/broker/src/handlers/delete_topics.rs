//! DeleteTopics: topics and all their records, by name or by id.

use ottla_metadata::{Command, Reply};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over};

/// Operators.
pub const API: Api = Api::of(ApiKey::DeleteTopics, 0, 6);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let refused = refusal(&request);
    if !call.may(node, Operation::Delete, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    match node.controller.ask(Command::DeleteTopics { request, version: call.version }).await {
        Ok(Reply::DeleteTopics(response)) => response,
        Ok(_) => refused(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refused(code),
    }
}

/// The answer if nothing could be done at all.
fn refusal(request: &DeleteTopicsRequest) -> impl Fn(ErrorCode) -> DeleteTopicsResponse + use<> {
    let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Default::default()));
    let both = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
    let asked: Vec<(Option<String>, ottla_types::Uuid)> = by_name.chain(both).collect();
    move |code| {
        let result =
            |(name, topic_id): &(Option<String>, ottla_types::Uuid)| DeletableTopicResult {
                name: name.clone(),
                topic_id: *topic_id,
                error_code: code.0,
                ..Default::default()
            };
        DeleteTopicsResponse { responses: asked.iter().map(result).collect(), ..Default::default() }
    }
}
