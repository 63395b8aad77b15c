use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_records::{BatchOptions, batches_in};
use ottla_types::ErrorCode;

/// The error code, the high watermark and the bytes that a fetch from there brings.
fn fetch(h: &Harness, topic: &str, index: i32, offset: i64) -> (i16, i64, Vec<u8>) {
    let partition = FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = h.ask(&request, 12);
    let found = &response.responses[0].partitions[0];
    let records = found.records.clone().unwrap_or_default();
    (found.error_code, found.high_watermark, records.to_vec())
}

#[test]
fn fetch_brings_the_batches_from_an_offset_on() {
    let h = node_with_topic("orders", 1);
    for value in ["a", "b", "c"] {
        produce(&h, "orders", 0, batch_of(BatchOptions::default(), &[value]));
    }
    let (code, watermark, records) = fetch(&h, "orders", 0, 1);
    let bases: Vec<i64> =
        batches_in(&records).map(|it| it.expect("a batch").base_offset()).collect();
    assert_eq!((code, watermark, bases), (0, 3, vec![1, 2]));
}

#[test]
fn fetch_at_the_end_is_empty_and_behind_it_out_of_range() {
    let h = node_with_topic("orders", 1);
    produce(&h, "orders", 0, batch_of(BatchOptions::default(), &["a"]));
    let out_of_range = ErrorCode::OFFSET_OUT_OF_RANGE.0;
    for (offset, code) in [(1, 0), (2, out_of_range), (-5, out_of_range)] {
        let (answer, _, records) = fetch(&h, "orders", 0, offset);
        assert_eq!((answer, records.len()), (code, 0), "offset {offset}");
    }
}

#[test]
fn fetch_of_a_partition_that_does_not_exist_is_refused() {
    let h = node_with_topic("orders", 1);
    for (topic, index) in [("orders", 1), ("bills", 0)] {
        let (code, ..) = fetch(&h, topic, index, 0);
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, "{topic}-{index}");
    }
}
