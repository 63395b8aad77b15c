//! DescribeTransactions: the states of transactions (KIP-664).

use ottla_coordinator::transaction::{Transaction, TransactionCommand};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::describe_transactions_response::{
    DescribeTransactionsResponse, TopicData, TransactionState,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::hosts::shards::ask_coordinator;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeTransactions, 0, 0);

/// Asks each id's coordinator.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut response = DescribeTransactionsResponse::default();
    for id in request.transactional_ids {
        let shown = match describe(node, call, &id).await {
            Ok(found) => shown(node, call, &found),
            Err(code) => TransactionState { error_code: code.0, ..Default::default() },
        };
        response.transaction_states.push(TransactionState { transactional_id: id, ..shown });
    }
    response
}

async fn describe(node: &Node, call: &Call, id: &str) -> Result<Transaction, ErrorCode> {
    if !call.may(node, Operation::Describe, Resource::TransactionalId(id)) {
        return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    let host = node.coordinators.transaction(id)?;
    let found: Option<Transaction> =
        ask_coordinator(&host, TransactionCommand::Describe(id.to_owned())).await?;
    found.ok_or(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND)
}

fn shown(node: &Node, call: &Call, it: &Transaction) -> TransactionState {
    let may_see = |topic: &&String| call.may(node, Operation::Describe, Resource::Topic(topic));
    let topic = |topic: &String| TopicData {
        topic: topic.clone(),
        partitions: it.partitions[topic].iter().copied().collect(),
        ..Default::default()
    };
    TransactionState {
        transaction_state: it.state.name().to_owned(),
        transaction_timeout_ms: it.timeout_ms,
        transaction_start_time_ms: it.started_ms,
        producer_id: it.producer_id,
        producer_epoch: it.epoch,
        topics: it.partitions.keys().filter(may_see).map(topic).collect(),
        ..Default::default()
    }
}
