//! DeleteGroups: forget groups that have no members.
//!
//! KIP-229. 2: flexible. 3: error messages.

use std::collections::BTreeSet;

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_groups_response::{
    DeletableGroupResult, DeleteGroupsResponse,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DeleteGroups, 0, 3);

/// Asks each group's coordinator.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    let mut answered = BTreeSet::new();
    for group in request.groups_names {
        if !answered.insert(group.clone()) {
            continue;
        }
        response.results.push(delete(node, call, group).await);
    }
    response
}

async fn delete(node: &Node, call: &Call, group: String) -> DeletableGroupResult {
    let refused = |code: ErrorCode| DeletableGroupResult {
        group_id: group.clone(),
        error_code: code.0,
        ..Default::default()
    };
    if !call.may(node, Operation::Delete, Resource::Group(&group)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let deleted = node
        .coordinators
        .ask_one_group(&group, GroupCommand::Delete { groups: vec![group.clone()] });
    deleted.await.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "delete_groups_tests.rs"]
mod tests;
