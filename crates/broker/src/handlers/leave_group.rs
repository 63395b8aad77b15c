//! LeaveGroup: members go, or are sent away.
//!
//! 3: several members, static ones too (KIP-345). 5: the reason (KIP-800).

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::leave_group_request::LeaveGroupRequest;
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Members of classic groups.
pub const API: Api = Api::of(ApiKey::LeaveGroup, 0, 5);

/// Asks the group's coordinator.
pub async fn handle(node: &Node, call: &Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let refused = |code: ErrorCode| LeaveGroupResponse { error_code: code.0, ..Default::default() };
    if !call.may(node, Operation::Read, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let group = request.group_id.clone();
    let answer =
        node.coordinators.ask_group(&group, GroupCommand::Leave { request, version: call.version });
    answer.await.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "leave_group_tests.rs"]
mod tests;
