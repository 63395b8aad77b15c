//! DescribeTransactions and ListTransactions.

use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;

use ottla_types::ErrorCode;

use super::command::TransactionReply;
use super::machine::TransactionScene;
use super::stored::Transaction;
use crate::pattern::{Alphabet, compile_whole};

pub(super) fn describe_transaction(scene: &mut TransactionScene<'_>, id: &str) {
    let found = scene.stored.get(id).cloned();
    scene.turn.reply(TransactionReply::Described(found));
}

/// Those that pass every filter.
pub(super) fn list_transactions(
    scene: &mut TransactionScene<'_>,
    request: &ListTransactionsRequest,
) {
    let now = scene.turn.now_ms;
    let pattern = match request.transactional_id_pattern.as_deref() {
        None | Some("") => None,
        Some(pattern) => match compile_whole(pattern, Alphabet::Unicode) {
            Ok(pattern) => Some(pattern),
            Err(_) => {
                let refused = Err(ErrorCode::INVALID_REGULAR_EXPRESSION);
                return scene.turn.reply(TransactionReply::Listed(refused));
            }
        },
    };
    let passes = |transaction: &Transaction| {
        let (states, ids) = (&request.state_filters, &request.producer_id_filters);
        // As in Kafka, a producer that has begun no transaction yet passes for any duration: its
        // start is -1.
        let age = now.saturating_sub(transaction.started_ms);
        (states.is_empty() || states.iter().any(|state| state == transaction.state.name()))
            && (ids.is_empty() || ids.contains(&transaction.producer_id))
            && (request.duration_filter < 0 || age > request.duration_filter)
    };
    let found = scene.stored.iter().filter(|(id, transaction)| {
        passes(transaction) && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
    });
    let found = found.map(|(id, it)| (id.clone(), it.clone())).collect();
    scene.turn.reply(TransactionReply::Listed(Ok(found)));
}
