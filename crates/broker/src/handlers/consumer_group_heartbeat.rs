//! ConsumerGroupHeartbeat: members of groups whose coordinator assigns.
//!
//! KIP-848. 1: members make their own ids (KIP-1082), and may subscribe by a pattern.

use ottla_coordinator::group::{GroupCommand, MemberClient};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::hosts::groups::ask_coordinator;
use crate::node::Node;
use crate::request::{Api, Call};

/// From version 1 on members make their own ids, and may subscribe by a pattern.
pub const API: Api = Api::of(ApiKey::ConsumerGroupHeartbeat, 0, 1);

/// Asks the group's coordinator.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let refused = |code: ErrorCode| ConsumerGroupHeartbeatResponse {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    };
    if !node.own().serves_consumer_protocol {
        return refused(ErrorCode::UNSUPPORTED_VERSION);
    }
    if !call.may(node, Operation::Read, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let mut topics = request.subscribed_topic_names.iter().flatten();
    if !topics.all(|topic| call.may(node, Operation::Describe, Resource::Topic(topic))) {
        return refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    if call.version == 0 && request.member_id.is_empty() && request.member_epoch == 0 {
        request.member_id = node.clock.random_uuid().to_string();
    }
    let host = match node.coordinators.group(&request.group_id) {
        Ok(host) => host,
        Err(code) => return refused(code),
    };
    let client = MemberClient { id: call.client_id.to_string(), host: call.session.host() };
    let answer = ask_coordinator(&host, GroupCommand::ConsumerHeartbeat { request, client });
    answer.await.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "consumer_group_heartbeat_tests.rs"]
mod tests;
