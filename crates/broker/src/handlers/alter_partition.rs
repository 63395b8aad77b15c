//! AlterPartition: the leader of a partition wants another in-sync set.
//!
//! KIP-497, KIP-704. 2: topics by id (KIP-841). 3: the broker epochs of the members (KIP-903).

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_partition_request::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers.
pub const API: Api = Api::of(ApiKey::AlterPartition, 2, 3);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterPartitionRequest,
) -> AlterPartitionResponse {
    let refused =
        |code: ErrorCode| AlterPartitionResponse { error_code: code.0, ..Default::default() };
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return refused(code);
    }
    let command = ControllerCommand::AlterPartition { request, version: call.version };
    node.controller.ask(command).await.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "alter_partition_tests.rs"]
mod tests;
