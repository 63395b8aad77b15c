use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce};
use ottla_partitions::Fault;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_records::BatchOptions;
use ottla_types::ErrorCode;

/// A topic with three records.
fn node_with_records() -> Harness {
    let h = node_with_topic("orders", 1);
    produce(&h, "orders", 0, batch_of(BatchOptions::default(), &["a", "b", "c"]));
    h
}

/// The error code, and the low watermark.
fn delete(h: &Harness, topic: &str, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
    let topic = DeleteRecordsTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request =
        DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let response = h.ask(&request, 2);
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.low_watermark)
}

fn log_start(h: &Harness) -> i64 {
    h.node().partitions.find("orders", 0).expect("is here").ends().log_start
}

#[test]
fn delete_records_moves_the_log_start_and_never_back() {
    let h = node_with_records();
    for (offset, start) in [(1, 1), (0, 1), (-1, 3)] {
        assert_eq!(delete(&h, "orders", offset), (0, start), "before {offset}");
        assert_eq!(log_start(&h), start);
    }
}

#[test]
fn delete_records_beyond_the_end_or_of_no_topic_is_refused() {
    let h = node_with_records();
    assert_eq!(delete(&h, "orders", 4), (ErrorCode::OFFSET_OUT_OF_RANGE.0, -1));
    assert_eq!(delete(&h, "orders", -2), (ErrorCode::OFFSET_OUT_OF_RANGE.0, -1));
    assert_eq!(delete(&h, "bills", 0), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, -1));
    assert_eq!(log_start(&h), 0);
}

#[test]
fn delete_records_needs_no_room() {
    let h = node_with_records();
    h.set_fault("orders-0", Some(Fault::Full));
    assert_eq!(delete(&h, "orders", 2), (0, 2));
}
