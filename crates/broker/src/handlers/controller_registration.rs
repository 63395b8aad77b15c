//! ControllerRegistration: a controller's process says where it listens and what it supports.
//!
//! KIP-919.

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Controllers.
pub const API: Api = Api::of(ApiKey::ControllerRegistration, 0, 0);

/// Asks the active controller, which this node must run.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: ControllerRegistrationRequest,
) -> ControllerRegistrationResponse {
    let refused = |code: ErrorCode| ControllerRegistrationResponse {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    };
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return refused(code);
    }
    let asked = node.controller.ask(ControllerCommand::RegisterController(request)).await;
    asked.unwrap_or_else(refused)
}

#[cfg(test)]
#[path = "controller_registration_tests.rs"]
mod tests;
