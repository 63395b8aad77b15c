use crate::harness::Harness;
use crate::harness::asks::{
    ask_until, batch_of, init_transactions, node_with_topic, produce_request,
};
use ottla_partitions::Fault;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_records::BatchOptions;
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

type Producer = (ProducerId, ProducerEpoch);

fn add_partition(h: &Harness, producer: Producer, topic: &str) -> i16 {
    let topic = AddPartitionsToTxnTopic {
        name: topic.to_owned(),
        partitions: vec![0],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "copy".to_owned(),
        v3_and_below_producer_id: producer.0,
        v3_and_below_producer_epoch: producer.1,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    h.ask(&request, 3).results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

fn end(h: &Harness, producer: Producer, committed: bool) -> i16 {
    let request = EndTxnRequest {
        transactional_id: "copy".to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
        ..Default::default()
    };
    h.ask(&request, 3).error_code
}

fn produce(h: &Harness, producer: Producer) -> i16 {
    let options = BatchOptions {
        producer_id: producer.0,
        producer_epoch: producer.1,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    let mut request = produce_request("orders", 0, batch_of(options, &["a"]));
    request.transactional_id = Some("copy".to_owned());
    h.ask(&request, 9).responses[0].partition_responses[0].error_code
}

/// How far readers of committed records may read, and all others.
fn ends(h: &Harness) -> (i64, i64) {
    let partition = h.node().partitions.find("orders", 0).expect("is here");
    let ends = partition.ends();
    (ends.last_stable, ends.high_watermark)
}

#[test]
fn end_txn_writes_a_marker_and_lets_readers_of_committed_records_go_on() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, "copy");
    assert_eq!(add_partition(&h, producer, "orders"), 0);
    assert_eq!(produce(&h, producer), 0);
    assert_eq!(ends(&h), (0, 1));
    assert_eq!(end(&h, producer, true), 0);
    ask_until(|| (ends(&h) == (2, 2)).then_some(()));
}

#[test]
fn end_txn_of_a_fenced_producer_is_refused() {
    let h = node_with_topic("orders", 1);
    let old = init_transactions(&h, "copy");
    assert_eq!(add_partition(&h, old, "orders"), 0);
    init_transactions(&h, "copy");
    assert_eq!(end(&h, old, true), ErrorCode::PRODUCER_FENCED.0);
}

#[test]
fn end_txn_without_a_transaction_is_refused() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, "copy");
    assert_eq!(end(&h, producer, true), ErrorCode::INVALID_TXN_STATE.0);
}

#[test]
fn end_txn_is_finished_when_a_partition_that_was_full_has_room_again() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, "copy");
    assert_eq!(add_partition(&h, producer, "orders"), 0);
    assert_eq!(produce(&h, producer), 0);
    h.set_fault("orders-0", Some(Fault::Full));
    assert_eq!(end(&h, producer, false), 0, "what is decided is answered");
    assert_eq!(ends(&h), (0, 1), "without the marker");
    h.set_fault("orders-0", None);
    ask_until(|| (ends(&h) == (2, 2)).then_some(()));
}

#[test]
fn add_partitions_to_txn_of_a_topic_that_does_not_exist_is_refused() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, "copy");
    let code = add_partition(&h, producer, "bills");
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
}

#[test]
fn add_partitions_to_txn_that_cannot_be_written_begins_nothing() {
    let h = node_with_topic("orders", 1);
    let producer = init_transactions(&h, "copy");
    h.set_fault("__transaction_state-0", Some(Fault::Full));
    assert_ne!(add_partition(&h, producer, "orders"), 0);
    h.set_fault("__transaction_state-0", None);
    // The coordinator may be loaded again first.
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0;
    let code = ask_until(|| Some(end(&h, producer, true)).filter(|code| *code != loading));
    assert_eq!(code, ErrorCode::INVALID_TXN_STATE.0);
    assert_eq!(add_partition(&h, producer, "orders"), 0);
}
