//! JoinGroup: join a group: wait until everybody is there, learn who leads.

use ottla_coordinator::group::{Client, Command, Join, Reply};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::hosts::groups::ask;
use crate::node::Node;
use crate::request::{Api, Call};

/// Members of classic groups.
pub const API: Api = Api::of(ApiKey::JoinGroup, 0, 9);

/// Asks the group's coordinator.
pub async fn handle(node: &Node, call: &Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let refused = |code: ErrorCode| JoinGroupResponse { error_code: code.0, ..Default::default() };
    if !may(&call.caller.principal, Operation::Read, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let host = match node.group(&request.group_id) {
        Ok(host) => host,
        Err(code) => return refused(code),
    };
    let join = Join {
        request,
        version: call.version,
        client: Client { id: call.client_id.clone(), host: call.caller.host() },
        uuid: hyphenated(node.clock.random_bytes()),
    };
    let answer = ask(&host, Command::Join(join), |reply| match reply {
        Reply::Join(response) => Some(response),
        _ => None,
    });
    answer.await.unwrap_or_else(refused)
}

/// A random uuid as Java prints it; member ids end with one.
fn hyphenated(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
