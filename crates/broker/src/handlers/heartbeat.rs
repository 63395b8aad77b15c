//! Heartbeat: a member of a classic group is still there.
//!
//! 3: static members (KIP-345).

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Members of classic groups.
pub const API: Api = Api::of(ApiKey::Heartbeat, 0, 4);

/// Asks the group's coordinator.
pub async fn handle(node: &Node, call: &Call, request: HeartbeatRequest) -> HeartbeatResponse {
    let refused = |code: ErrorCode| HeartbeatResponse { error_code: code.0, ..Default::default() };
    if !call.may(node, Operation::Read, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let group = request.group_id.clone();
    let answer = node.coordinators.ask_group(&group, GroupCommand::Heartbeat(request));
    answer.await.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "heartbeat_tests.rs"]
mod tests;
