//! UnregisterBroker: a broker that does not come back is taken out of the cluster.
//!
//! KIP-631.

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_types::ErrorCode;

use crate::audit;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::UnregisterBroker, 0, 0);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    if let Err(code) = call.check(node, Operation::Alter, Resource::Cluster) {
        return error_answers(&request)(code);
    }
    let broker = request.broker_id;
    let asked = node.controller.ask(ControllerCommand::UnregisterBroker { broker }).await;
    let response: UnregisterBrokerResponse =
        asked.unwrap_or_else(|code| error_answers(&request)(code));
    if response.error_code == ErrorCode::NONE.0 {
        audit::broker_unregistered(call, broker);
    }
    response
}

/// The answer if the controller cannot be asked.
pub fn error_answers(
    _: &UnregisterBrokerRequest,
) -> impl Fn(ErrorCode) -> UnregisterBrokerResponse + use<> {
    |code| UnregisterBrokerResponse {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "unregister_broker_tests.rs"]
mod tests;
