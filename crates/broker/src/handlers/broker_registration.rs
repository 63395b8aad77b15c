//! BrokerRegistration: a broker's process starts, and says where it listens and what it supports.
//!
//! KIP-631. 1: migrations from ZooKeeper, which are refused. 2: its data directories (KIP-858). 3:
//! the epoch before a clean stop (KIP-966). 4: features from level 0 on (KIP-1022).

use ottla_metadata::{ControllerCommand, RegistrationRefusal};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::messages::broker_registration_response::BrokerRegistrationResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers.
pub const API: Api = Api::of(ApiKey::BrokerRegistration, 0, 4);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: BrokerRegistrationRequest,
) -> BrokerRegistrationResponse {
    let refused =
        |code: ErrorCode| BrokerRegistrationResponse { error_code: code.0, ..Default::default() };
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return refused(code);
    }
    let (broker, peer) = (request.broker_id, call.session.peer);
    let asked = node.controller.ask(ControllerCommand::RegisterBroker(request)).await;
    let registered: Result<i64, RegistrationRefusal> = match asked {
        Ok(registered) => registered,
        Err(code) => return refused(code),
    };
    match registered {
        Ok(broker_epoch) => {
            tracing::info!(broker, epoch = broker_epoch, client = %peer, "broker registered");
            BrokerRegistrationResponse { broker_epoch, ..Default::default() }
        }
        Err(RegistrationRefusal { code, why }) => {
            // The response has no place for the reason.
            tracing::warn!(
                broker,
                client = %peer,
                error = code.name(),
                reason = why,
                "broker registration refused"
            );
            refused(code)
        }
    }
}

#[cfg(test)]
#[path = "broker_registration_tests.rs"]
mod tests;
