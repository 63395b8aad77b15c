//! CreateTopics: creates topics, or only checks whether they could be created.
//!
//! Versions 0 and 1 were removed in Kafka 4.0 and are served here. 1: only validate. 4: defaults
//! for partitions and replication factor (KIP-464). 5: the topic's settings in the answer
//! (KIP-525). 7: its id (KIP-516).
//!
//! Gaps: no throttling of topic changes (6, KIP-599), no `create.topic.policy.class.name`.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use ottla_types::{CLUSTER_METADATA, ErrorCode};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over, repeated_items, take_denied};

/// Operators, and Kafka Streams.
pub const API: Api = Api::of(ApiKey::CreateTopics, 0, 7);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let refused = error_answers(&request);
    if is_over(request.timeout_ms) {
        return refused(ErrorCode::REQUEST_TIMED_OUT);
    }
    let denied = take_uncreatable(node, call, &mut request);
    let mut response = match node.create_topics_here(request).await {
        Ok(response) => response,
        Err(code) => return refused(code),
    };
    for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
        hide_settings(node, call, topic);
    }
    response.topics.extend(denied);
    response
}

/// The answer if nothing could be done at all.
pub fn error_answers(
    request: &CreateTopicsRequest,
) -> impl Fn(ErrorCode) -> CreateTopicsResponse + use<> {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    move |code| {
        let topic = |name: &String| CreatableTopicResult {
            name: name.clone(),
            error_code: code.0,
            error_message: None,
            ..Default::default()
        };
        CreateTopicsResponse { topics: names.iter().map(topic).collect(), ..Default::default() }
    }
}

/// Takes the topics out of the request that the client may not create: their answers. What is named
/// twice, and the metadata log, are refused to everyone.
fn take_uncreatable(
    node: &Node,
    call: &Call,
    request: &mut CreateTopicsRequest,
) -> Vec<CreatableTopicResult> {
    if call.may(node, Operation::Create, Resource::Cluster) {
        return Vec::new();
    }
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let repeated = repeated_items(names.iter().map(String::as_str));
    let check = |topic: &CreatableTopic| match topic.name.as_str() {
        name if repeated.contains(name) || name == CLUSTER_METADATA => Ok(()),
        name => call.check(node, Operation::Create, Resource::Topic(name)),
    };
    take_denied(&mut request.topics, check, |topic, code| CreatableTopicResult {
        name: topic.name.clone(),
        error_code: code.0,
        error_message: Some("Authorization failed.".to_owned()),
        ..Default::default()
    })
}

/// A topic is created, but its settings are not shown to a client that may not describe them.
fn hide_settings(node: &Node, call: &Call, topic: &mut CreatableTopicResult) {
    if call.may(node, Operation::DescribeConfigs, Resource::Topic(&topic.name)) {
        return;
    }
    topic.topic_config_error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
    topic.num_partitions = -1;
    topic.replication_factor = -1;
    topic.configs = Some(Vec::new());
}

#[cfg(test)]
#[path = "create_topics_tests.rs"]
mod tests;
