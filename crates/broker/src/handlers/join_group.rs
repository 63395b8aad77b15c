//! JoinGroup: a member joins, waits until all have joined, and learns who leads the group.
//!
//! 1: a rebalance timeout of its own. 4: a new member is first given an id, MEMBER_ID_REQUIRED
//! (KIP-394). 5: static members (KIP-345). 7: the protocol's type in the answer (KIP-559). 8: the
//! reason (KIP-800). 9: the answer can let the leader skip the assignment (KIP-814).

use ottla_coordinator::group::{GroupCommand, JoinCommand, MemberClient};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Members of classic groups.
pub const API: Api = Api::of(ApiKey::JoinGroup, 0, 9);

/// The first version that can say that there is no protocol.
const NO_PROTOCOL_FROM: i16 = 7;

/// Asks the group's coordinator.
pub async fn handle(node: &Node, call: &Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let refused = |code: ErrorCode| JoinGroupResponse { error_code: code.0, ..Default::default() };
    let group = Resource::Group(&request.group_id);
    let mut response = if call.may(node, Operation::Read, group) {
        join(node, call, request).await.unwrap_or_else(refused)
    } else {
        refused(ErrorCode::GROUP_AUTHORIZATION_FAILED)
    };
    if call.version >= NO_PROTOCOL_FROM {
        // Before that an empty name meant no name.
        response.protocol_name = response.protocol_name.filter(|it| !it.is_empty());
    }
    response
}

async fn join(
    node: &Node,
    call: &Call,
    request: JoinGroupRequest,
) -> Result<JoinGroupResponse, ErrorCode> {
    let group = request.group_id.clone();
    let join = JoinCommand {
        request,
        version: call.version,
        client: MemberClient { id: call.client_id.to_string(), host: call.session.host() },
        uuid: hyphenated(node.clock.random_bytes()),
    };
    node.coordinators.ask_group(&group, GroupCommand::Join(join)).await
}

/// A random uuid as Java prints it; member ids end with one.
fn hyphenated(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
#[path = "join_group_tests.rs"]
mod tests;
