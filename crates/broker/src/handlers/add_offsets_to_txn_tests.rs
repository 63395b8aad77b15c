use crate::harness::asks::{ask_until, init_transactions};
use crate::harness::members::node_with_group;
use crate::harness::transacting::{TRANSACTIONAL_ID, TestEnd, add_offsets, end_transaction};
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn add_offsets_to_txn_begins_a_transaction() {
    let h = node_with_group();
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(add_offsets(&h, producer, TRANSACTIONAL_ID), 0);
    assert_eq!(end_transaction(&h, producer, TestEnd::Commit), 0);
}

#[test]
fn add_offsets_to_txn_without_an_id_or_of_another_is_refused() {
    let h = node_with_group();
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(add_offsets(&h, producer, ""), ErrorCode::INVALID_REQUEST.0);
    let unknown = ErrorCode::INVALID_PRODUCER_ID_MAPPING.0;
    assert_eq!(add_offsets(&h, producer, "other"), unknown);
}

#[test]
fn add_offsets_to_txn_that_cannot_be_written_begins_nothing() {
    let h = node_with_group();
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    h.set_fault("__transaction_state-0", Some(Fault::Full));
    assert_ne!(add_offsets(&h, producer, TRANSACTIONAL_ID), 0);
    h.set_fault("__transaction_state-0", None);
    // The coordinator may be loaded again first.
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0;
    let end = || end_transaction(&h, producer, TestEnd::Commit);
    let code = ask_until(|| Some(end()).filter(|code| *code != loading));
    assert_eq!(code, ErrorCode::INVALID_TXN_STATE.0);
}
