//! CreateTopics: new topics, or only a look whether they could be.

use ottla_metadata::Reply;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over};

/// Operators, and Kafka Streams.
pub const API: Api = Api::of(ApiKey::CreateTopics, 0, 7);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let refused = |code: ErrorCode| CreateTopicsResponse {
        topics: names
            .iter()
            .map(|name| CreatableTopicResult {
                name: name.clone(),
                error_code: code.0,
                error_message: None,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    if !call.may(node, Operation::Create, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    match node.create_topics(request).await {
        Ok(Reply::CreateTopics(response)) => response,
        Ok(_) => refused(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refused(code),
    }
}
