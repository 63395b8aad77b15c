//! AllocateProducerIds: producer ids that a broker may give away.
//!
//! KIP-730.

use ottla_metadata::{ControllerCommand, ProducerIdBlock};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers.
pub const API: Api = Api::of(ApiKey::AllocateProducerIds, 0, 0);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return error_answer(&request, code);
    }
    let (broker, broker_epoch) = (request.broker_id, Some(request.broker_epoch));
    let command = ControllerCommand::AllocateProducerIds { broker, broker_epoch };
    let asked: Result<Result<ProducerIdBlock, ErrorCode>, ErrorCode> =
        node.controller.ask(command).await;
    match asked.flatten() {
        Ok(ProducerIdBlock { first, count }) => AllocateProducerIdsResponse {
            producer_id_start: first,
            producer_id_len: count,
            ..Default::default()
        },
        Err(code) => error_answer(&request, code),
    }
}

/// The answer if no ids can be given.
fn error_answer(_: &AllocateProducerIdsRequest, code: ErrorCode) -> AllocateProducerIdsResponse {
    AllocateProducerIdsResponse { error_code: code.0, ..Default::default() }
}

#[cfg(test)]
#[path = "allocate_producer_ids_tests.rs"]
mod tests;
