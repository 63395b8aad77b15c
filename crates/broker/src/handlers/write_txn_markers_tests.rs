use crate::harness::Harness;
use crate::harness::asks::{init_transactions, node_with_topic};
use crate::harness::transacting::{
    TRANSACTIONAL_ID, TestProducer, add_partition, produce_in_transaction, readable,
};
use ottla_partitions::Fault;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla_types::ErrorCode;

/// A topic with a record of a transaction that is open.
fn node_in_transaction() -> (Harness, TestProducer) {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(add_partition(&h, producer, "orders"), 0);
    assert_eq!(produce_in_transaction(&h, producer), 0);
    (h, producer)
}

fn abort(h: &Harness, producer: TestProducer, topic: &str) -> i16 {
    let topic = WritableTxnMarkerTopic {
        name: topic.to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let marker = WritableTxnMarker {
        producer_id: producer.0,
        producer_epoch: producer.1,
        transaction_result: false,
        topics: vec![topic],
        ..Default::default()
    };
    let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
    h.ask(&request, 1).markers[0].topics[0].partitions[0].error_code
}

#[test]
fn write_txn_markers_ends_a_transaction() {
    let (h, producer) = node_in_transaction();
    assert_eq!(readable(&h), (0, 1));
    assert_eq!(abort(&h, producer, "orders"), 0);
    assert_eq!(readable(&h), (2, 2));
}

#[test]
fn write_txn_markers_of_no_epoch_or_for_no_topic_is_refused() {
    let (h, producer) = node_in_transaction();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(abort(&h, producer, "bills"), unknown);
    let code = abort(&h, (producer.0, -2), "orders");
    assert_eq!(code, ErrorCode::INVALID_PRODUCER_EPOCH.0);
    assert_eq!(readable(&h), (0, 1));
}

#[test]
fn write_txn_markers_on_a_full_disk_is_refused_and_can_be_repeated() {
    let (h, producer) = node_in_transaction();
    h.set_fault("orders-0", Some(Fault::Full));
    assert_ne!(abort(&h, producer, "orders"), 0);
    assert_eq!(readable(&h), (0, 1));
    h.set_fault("orders-0", None);
    assert_eq!(abort(&h, producer, "orders"), 0);
    assert_eq!(readable(&h), (2, 2));
}
