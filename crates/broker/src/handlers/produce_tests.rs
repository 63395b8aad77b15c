use crate::harness::asks::{batch_of, node_with_topic, produce, produce_request};
use ottla_partitions::Fault;
use ottla_records::BatchOptions;
use ottla_types::ErrorCode;

#[test]
fn produce_answers_with_the_offset_of_the_first_record() {
    let h = node_with_topic("orders", 1);
    for base in [0, 2] {
        let answer = produce(&h, "orders", 0, batch_of(BatchOptions::default(), &["a", "b"]));
        assert_eq!((answer.error_code, answer.base_offset, answer.log_start_offset), (0, base, 0));
    }
}

#[test]
fn produce_to_a_partition_that_does_not_exist_creates_nothing() {
    let h = node_with_topic("orders", 1);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    for (topic, index) in [("orders", 1), ("bills", 0)] {
        let answer = produce(&h, topic, index, batch_of(BatchOptions::default(), &["a"]));
        assert_eq!((answer.error_code, answer.base_offset), (unknown, -1), "{topic}-{index}");
    }
    assert_eq!(h.node().topic_id("bills"), None);
}

#[test]
fn produce_on_a_full_disk_is_refused_and_goes_on_when_there_is_room() {
    let h = node_with_topic("orders", 2);
    h.set_fault("orders-0", Some(Fault::Full));
    let batch = || batch_of(BatchOptions::default(), &["a"]);
    let refused = produce(&h, "orders", 0, batch());
    assert_eq!(refused.error_code, ErrorCode::KAFKA_STORAGE_ERROR.0);
    assert_eq!(produce(&h, "orders", 1, batch()).error_code, 0, "the other has room");
    h.set_fault("orders-0", None);
    let answer = produce(&h, "orders", 0, batch());
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}

#[test]
fn produce_of_an_idempotent_producer_stores_a_repeat_once() {
    let h = node_with_topic("orders", 1);
    let options = |base_sequence| BatchOptions {
        producer_id: 4,
        producer_epoch: 0,
        base_sequence,
        ..BatchOptions::default()
    };
    // First sequence, error code, base offset.
    let cases = [
        (0, ErrorCode::NONE, 0),
        (0, ErrorCode::NONE, 0),
        (1, ErrorCode::NONE, 1),
        (5, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
    ];
    for (sequence, code, base) in cases {
        let answer = produce(&h, "orders", 0, batch_of(options(sequence), &["a"]));
        assert_eq!((answer.error_code, answer.base_offset), (code.0, base), "sequence {sequence}");
    }
}

#[test]
fn produce_with_acks_that_do_not_exist_is_refused() {
    let h = node_with_topic("orders", 1);
    let batch = batch_of(BatchOptions::default(), &["a"]);
    let mut request = produce_request("orders", 0, batch);
    request.acks = 2;
    let answer = h.ask(&request, 9).responses[0].partition_responses[0].error_code;
    assert_eq!(answer, ErrorCode::INVALID_REQUIRED_ACKS.0);
}
