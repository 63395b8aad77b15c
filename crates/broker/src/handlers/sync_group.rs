//! SyncGroup: the leader sends the assignment, the other members wait for it.
//!
//! 3: static members (KIP-345). 5: the protocol's type and name must be the group's (KIP-559).

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Members of classic groups.
pub const API: Api = Api::of(ApiKey::SyncGroup, 0, 5);

/// Asks the group's coordinator.
pub async fn handle(node: &Node, call: &Call, request: SyncGroupRequest) -> SyncGroupResponse {
    let refused = |code: ErrorCode| SyncGroupResponse { error_code: code.0, ..Default::default() };
    // From version 5 on the protocol must be named (KIP-559).
    if call.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    if !call.may(node, Operation::Read, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let group = request.group_id.clone();
    let answer =
        node.coordinators.ask_group(&group, GroupCommand::Sync { request, version: call.version });
    answer.await.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "sync_group_tests.rs"]
mod tests;
