//! ListTransactions: whose transactions this node coordinates.
//!
//! KIP-664. 1: only those that run for so long (KIP-994). 2: only those whose id matches a pattern
//! (KIP-1152).

use std::collections::BTreeSet;

use ottla_coordinator::pattern::{Alphabet, compile_whole};
use ottla_coordinator::transaction::{Transaction, TransactionCommand, TransactionStatus};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::list_transactions_response::{
    ListTransactionsResponse, TransactionState,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::hosts::shards::ask_coordinator;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::ListTransactions, 0, 2);

/// States that Kafka knows and that are never stored.
const NEVER_STORED: [&str; 2] = ["Dead", "PrepareEpochFence"];

/// Asks every coordinator of this node.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let hosts = match node.coordinators.all_transactions() {
        Ok(hosts) => hosts,
        Err(code) => return ListTransactionsResponse { error_code: code.0, ..Default::default() },
    };
    let is_known = |name: &String| {
        NEVER_STORED.contains(&name.as_str())
            || TransactionStatus::ALL.iter().any(|it| it.name() == name)
    };
    let unknown: BTreeSet<String> =
        request.state_filters.iter().filter(|name| !is_known(name)).cloned().collect();
    let mut response = ListTransactionsResponse {
        unknown_state_filters: unknown.into_iter().collect(),
        ..Default::default()
    };
    let pattern = request.transactional_id_pattern.as_deref().unwrap_or_default();
    if !pattern.is_empty() && compile_whole(pattern, Alphabet::Unicode).is_err() {
        let error_code = ErrorCode::INVALID_REGULAR_EXPRESSION.0;
        return ListTransactionsResponse { error_code, ..Default::default() };
    }
    if call.version < 1 {
        request.duration_filter = -1;
    }
    for host in hosts {
        let listed: Result<Result<Vec<_>, _>, _> =
            ask_coordinator(&host, TransactionCommand::List(request.clone())).await;
        match listed.flatten() {
            Ok(all) => response
                .transaction_states
                .extend(all.into_iter().map(|(id, it)| listed_transaction(id, &it))),
            Err(code) => {
                return ListTransactionsResponse { error_code: code.0, ..Default::default() };
            }
        }
    }
    response.transaction_states.retain(|transaction| {
        call.may(
            node,
            Operation::Describe,
            Resource::TransactionalId(&transaction.transactional_id),
        )
    });
    response
}

fn listed_transaction(transactional_id: String, it: &Transaction) -> TransactionState {
    TransactionState {
        transactional_id,
        producer_id: it.producer_id,
        transaction_state: it.state.name().to_owned(),
        ..Default::default()
    }
}
