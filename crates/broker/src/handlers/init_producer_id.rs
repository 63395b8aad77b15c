//! InitProducerId: who an idempotent producer is.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::node::Node;
use crate::request::{Api, Call};

/// Idempotent producers; transactional ones need a coordinator that is not built yet.
pub const API: Api = Api::of(ApiKey::InitProducerId, 0, 5);

/// Gives a fresh id away.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.0,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    if let Some(id) = &request.transactional_id {
        let code = if id.is_empty() {
            ErrorCode::INVALID_REQUEST
        } else if may(&call.caller.principal, Operation::Write, Resource::TransactionalId(id)) {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        } else {
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        };
        return refused(code);
    }
    if (request.producer_id < 0) != (request.producer_epoch < 0) {
        return refused(ErrorCode::INVALID_REQUEST);
    }
    match node.producer_id().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, ..Default::default() },
        Err(ErrorCode::NOT_CONTROLLER) => refused(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        Err(code) => refused(code),
    }
}
