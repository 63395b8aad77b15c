//! EndTxn: a transaction is to be committed or aborted.
//!
//! 2: PRODUCER_FENCED. 4: TRANSACTION_ABORTABLE. 5: each transaction ends with a new epoch, which
//! the answer names (KIP-890).
//!
//! The answer leaves when the decision has committed. The markers that can be written at once are
//! written before that; the others follow.

use ottla_coordinator::transaction::{EndTransaction, TransactionCommand};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::end_txn_response::EndTxnResponse;
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use crate::guard::{Operation, Resource};
use crate::hosts::transactions::for_version;
use crate::node::Node;
use crate::request::{Api, Call};

/// From version 5 on the answer says under which epoch the next transaction goes on (KIP-890).
pub const API: Api = Api::of(ApiKey::EndTxn, 0, 5);

/// Decides, and answers when that has committed.
pub async fn handle(node: &Node, call: &Call, request: EndTxnRequest) -> EndTxnResponse {
    match end(node, call, request).await {
        Ok((producer_id, producer_epoch)) if call.version >= 5 => {
            EndTxnResponse { producer_id, producer_epoch, ..Default::default() }
        }
        Ok(_) => EndTxnResponse { producer_id: -1, producer_epoch: -1, ..Default::default() },
        Err(code) => EndTxnResponse {
            error_code: for_version(code, call.version).0,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn end(
    node: &Node,
    call: &Call,
    request: EndTxnRequest,
) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
    let id = request.transactional_id;
    if !call.may(node, Operation::Write, Resource::TransactionalId(&id)) {
        return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    let host = node.coordinators.transaction(&id)?;
    let end = EndTransaction {
        id,
        producer: (request.producer_id, request.producer_epoch),
        commit: request.committed,
        client_version: if call.version >= 5 { 2 } else { 0 },
        fresh: None,
    };
    let command = |fresh| TransactionCommand::End(EndTransaction { fresh, ..end.clone() });
    let told = node.ask_for_producer(&host, command).await;
    node.coordinators.write_markers(&host);
    told
}

#[cfg(test)]
#[path = "end_txn_tests.rs"]
mod tests;
