use crate::harness::asks::{ask_until, init_transactions, node_with_topic};
use crate::harness::transacting::{
    TRANSACTIONAL_ID, TestEnd, add_partition, end_transaction, produce_in_transaction, readable,
};
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn end_txn_writes_a_marker_and_lets_readers_of_committed_records_go_on() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(add_partition(&h, producer, "orders"), 0);
    assert_eq!(produce_in_transaction(&h, producer), 0);
    assert_eq!(readable(&h), (0, 1));
    assert_eq!(end_transaction(&h, producer, TestEnd::Commit), 0);
    ask_until(|| (readable(&h) == (2, 2)).then_some(()));
}

#[test]
fn end_txn_of_a_fenced_producer_is_refused() {
    let h = node_with_topic("orders", 1);
    let old = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(add_partition(&h, old, "orders"), 0);
    init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(end_transaction(&h, old, TestEnd::Commit), ErrorCode::PRODUCER_FENCED.0);
}

#[test]
fn end_txn_without_a_transaction_is_refused() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(end_transaction(&h, producer, TestEnd::Commit), ErrorCode::INVALID_TXN_STATE.0);
}

#[test]
fn end_txn_is_finished_when_a_partition_that_was_full_has_room_again() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(add_partition(&h, producer, "orders"), 0);
    assert_eq!(produce_in_transaction(&h, producer), 0);
    h.set_fault("orders-0", Some(Fault::Full));
    assert_eq!(end_transaction(&h, producer, TestEnd::Abort), 0, "what is decided is answered");
    assert_eq!(readable(&h), (0, 1), "without the marker");
    h.set_fault("orders-0", None);
    ask_until(|| (readable(&h) == (2, 2)).then_some(()));
}
