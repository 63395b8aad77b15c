//! ListGroups: the groups that this node coordinates.
//!
//! 4: filtered by state (KIP-518). 5: by type (KIP-848).

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::hosts::groups::ask_coordinator;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators; filters by state from version 4 on, by type from 5 on.
pub const API: Api = Api::of(ApiKey::ListGroups, 0, 5);

/// Asks every coordinator of this node.
pub async fn handle(node: &Node, call: &Call, request: ListGroupsRequest) -> ListGroupsResponse {
    let mut response = ListGroupsResponse::default();
    let hosts = match node.coordinators.all_groups() {
        Ok(hosts) => hosts,
        Err(code) => return ListGroupsResponse { error_code: code.0, ..Default::default() },
    };
    for host in hosts {
        let listed: Result<Vec<ListedGroup>, ErrorCode> =
            ask_coordinator(&host, GroupCommand::List(request.clone())).await;
        match listed {
            Ok(groups) => response.groups.extend(groups),
            Err(code) => response.error_code = code.0,
        }
    }
    response.groups.retain(|group| {
        call.may(node, Operation::Describe, Resource::Cluster)
            || call.may(node, Operation::Describe, Resource::Group(&group.group_id))
    });
    response
}
