//! BrokerHeartbeat: a registered broker lives, says how much metadata it has applied, and asks to
//! serve, to be fenced or to stop.
//!
//! KIP-631. 1: directories that have failed (KIP-858). 2: directories that take no new partitions
//! (KIP-1066).

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers.
pub const API: Api = Api::of(ApiKey::BrokerHeartbeat, 0, 2);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    let refused =
        |code: ErrorCode| BrokerHeartbeatResponse { error_code: code.0, ..Default::default() };
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return refused(code);
    }
    call.session.is_of_broker(request.broker_id);
    let asked = node.controller.ask(ControllerCommand::Heartbeat(request)).await;
    asked.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "broker_heartbeat_tests.rs"]
mod tests;
