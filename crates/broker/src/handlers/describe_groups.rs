//! DescribeGroups: the members of groups and what is assigned to them.
//!
//! 3: authorised operations (KIP-430). 4: static members (KIP-345). 6: a group that does not exist
//! is GROUP_ID_NOT_FOUND (KIP-1043), and before that a dead one.

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeGroups, 0, 6);

/// Asks each group's coordinator.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut response = DescribeGroupsResponse::default();
    for group in request.groups {
        let mut described = describe(node, call, group).await;
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations =
                call.operations(node, Resource::Group(&described.group_id));
        }
        response.groups.push(described);
    }
    response
}

async fn describe(node: &Node, call: &Call, group: String) -> DescribedGroup {
    let refused = |code: ErrorCode| DescribedGroup {
        error_code: code.0,
        group_id: group.clone(),
        ..Default::default()
    };
    if !call.may(node, Operation::Describe, Resource::Group(&group)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let command = GroupCommand::Describe { groups: vec![group.clone()], version: call.version };
    let described = node.coordinators.ask_one_group(&group, command);
    described.await.unwrap_or_else(refused)
}
