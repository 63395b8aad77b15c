//! ConsumerGroupDescribe: the members of consumer groups (KIP-848), and their assignments.
//!
//! KIP-848. 1: the type of each member (KIP-1099).

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_describe_response::{
    ConsumerGroupDescribeResponse, DescribedGroup,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::ConsumerGroupDescribe, 0, 1);

/// Kafka's text where members have topics that the client may not see.
const DENIED: &str =
    "The group has described topic(s) that the client is not authorized to describe.";

/// Asks each group's coordinator.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let mut response = ConsumerGroupDescribeResponse::default();
    for group in request.group_ids {
        response.groups.push(describe(node, call, group).await);
    }
    response
}

async fn describe(node: &Node, call: &Call, group: String) -> DescribedGroup {
    let refused = |code: ErrorCode| DescribedGroup {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        group_id: group.clone(),
        ..Default::default()
    };
    if !node.own().serves_consumer_protocol {
        return refused(ErrorCode::UNSUPPORTED_VERSION);
    }
    if !call.may(node, Operation::Describe, Resource::Group(&group)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let described = node
        .coordinators
        .ask_one_group(&group, GroupCommand::ConsumerDescribe(vec![group.clone()]));
    let described = described.await.unwrap_or_else(refused);
    let mut members = described.members.iter();
    let hides = |topic: &str| !call.may(node, Operation::Describe, Resource::Topic(topic));
    let is_hidden = members.any(|member| {
        let all = [&member.assignment, &member.target_assignment];
        all.iter().any(|it| it.topic_partitions.iter().any(|topic| hides(&topic.topic_name)))
    });
    if is_hidden {
        let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        return DescribedGroup { error_message: Some(DENIED.to_owned()), ..refused(code) };
    }
    described
}
