use crate::harness::asks::{ask_until, init_transactions, node_with_topic};
use crate::harness::transacting::{
    TRANSACTIONAL_ID, TestEnd, add_partition, end_transaction, produce_in_transaction,
};
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn add_partitions_to_txn_lets_the_producer_write_there() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_ne!(produce_in_transaction(&h, producer), 0, "not a part of the transaction yet");
    assert_eq!(add_partition(&h, producer, "orders"), 0);
    assert_eq!(produce_in_transaction(&h, producer), 0);
}

#[test]
fn add_partitions_to_txn_of_a_topic_that_does_not_exist_is_refused() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    let code = add_partition(&h, producer, "bills");
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
}

#[test]
fn add_partitions_to_txn_that_cannot_be_written_begins_nothing() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    h.set_fault("__transaction_state-0", Some(Fault::Full));
    assert_ne!(add_partition(&h, producer, "orders"), 0);
    h.set_fault("__transaction_state-0", None);
    // The coordinator may be loaded again first.
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0;
    let code = ask_until(|| {
        Some(end_transaction(&h, producer, TestEnd::Commit)).filter(|code| *code != loading)
    });
    assert_eq!(code, ErrorCode::INVALID_TXN_STATE.0);
    assert_eq!(add_partition(&h, producer, "orders"), 0);
}
