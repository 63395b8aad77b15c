//! AddOffsetsToTxn: a transaction is going to commit a group's offsets.
//!
//! 2: PRODUCER_FENCED. 4: TRANSACTION_ABORTABLE (KIP-890). With `transaction.version` 2,
//! TxnOffsetCommit does it.

use ottla_coordinator::transaction::AddPartitions;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_offsets_to_txn_response::AddOffsetsToTxnResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::hosts::transactions::for_version;
use crate::node::Node;
use crate::request::{Api, Call};

/// Transactional producers that do not count on an epoch for each transaction.
pub const API: Api = Api::of(ApiKey::AddOffsetsToTxn, 0, 4);

/// The group's partition of `__consumer_offsets` becomes part of the transaction.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let code = try_add(node, call, request).await.err().unwrap_or(ErrorCode::NONE);
    let error_code = for_version(code, call.version).0;
    AddOffsetsToTxnResponse { error_code, ..Default::default() }
}

async fn try_add(
    node: &Node,
    call: &Call,
    request: AddOffsetsToTxnRequest,
) -> Result<(), ErrorCode> {
    let id = request.transactional_id;
    if !call.may(node, Operation::Write, Resource::TransactionalId(&id)) {
        return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    if !call.may(node, Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    if id.is_empty() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let partitions = node.offsets_of_group(&request.group_id)?;
    let producer = (request.producer_id, request.producer_epoch);
    node.add_to_transaction(AddPartitions {
        id,
        producer,
        partitions,
        verify_only: false,
        client_version: 0,
    })
    .await
}

#[cfg(test)]
#[path = "add_offsets_to_txn_tests.rs"]
mod tests;
