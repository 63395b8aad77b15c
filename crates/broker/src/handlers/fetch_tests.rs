use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce, produce_request};
use crate::harness::replicas::node_with_follower;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::produce_request::ProduceRequest;
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

const SAME_RACK: &str =
    "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Writes three records to `orders-0` that its follower has not yet.
fn write_for_leader(h: &Harness) {
    let batch = batch_of(BatchOptions::default(), &["a", "b", "c"]);
    let request = ProduceRequest { acks: 1, ..produce_request("orders", 0, batch) };
    assert_eq!(h.ask(&request, 9).responses[0].partition_responses[0].error_code, 0);
}

/// The request of a consumer in a rack, from there on, which would wait for long.
fn fetch_in_rack(rack: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: "orders".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        max_bytes: 1 << 20,
        session_epoch: -1,
        rack_id: rack.to_owned(),
        topics: vec![topic],
        ..Default::default()
    }
}

/// The broker to read from instead, the high watermark, and how many bytes of records there are.
fn preferred(response: &FetchResponse) -> (i32, i64, usize) {
    let found = &response.responses[0].partitions[0];
    let records = found.records.as_ref().map_or(0, |it| it.len());
    assert_eq!(found.error_code, 0);
    (found.preferred_read_replica, found.high_watermark, records)
}

#[test]
fn a_consumer_is_sent_to_the_follower_in_its_rack_that_has_the_offset() {
    let (h, follower) = node_with_follower(&[SAME_RACK, "broker.rack=a"], "b");
    write_for_leader(&h);
    let ask =
        |rack: &str, offset, version| preferred(&h.ask(&fetch_in_rack(rack, offset), version)).0;
    assert_eq!(ask("b", 0, 12), -1, "the follower has not fetched yet");
    follower.fetch(&h, 2, 1);
    // The rack, the offset, the version, and the broker to read from.
    let cases = [
        ("b", 1, 12, 2),
        ("b", 2, 11, 2),
        ("b", 0, 12, -1),
        ("b", 3, 12, -1),
        ("a", 1, 12, -1),
        ("c", 1, 12, -1),
        ("", 1, 12, -1),
        ("b", 1, 10, -1),
    ];
    for (rack, offset, version, broker) in cases {
        assert_eq!(ask(rack, offset, version), broker, "rack {rack:?}, {offset}, v{version}");
    }
    // However long it would wait, and however much it wants: it is to go there at once.
    let patient = FetchRequest { max_wait_ms: i32::MAX, min_bytes: 1, ..fetch_in_rack("b", 2) };
    assert_eq!(preferred(&h.ask(&patient, 12)), (2, 2, 0));
}

#[test]
fn without_a_selector_a_consumer_reads_from_the_leader() {
    let (h, follower) = node_with_follower(&["broker.rack=a"], "b");
    write_for_leader(&h);
    follower.fetch(&h, 3, 0);
    let (broker, _, bytes) = preferred(&h.ask(&fetch_in_rack("b", 0), 12));
    assert!(broker == -1 && bytes > 0, "{bytes} bytes from {broker}");
}

#[test]
fn a_follower_in_a_session_learns_the_watermark_that_its_own_fetch_moves() {
    let (h, follower) = node_with_follower(&[SAME_RACK], "b");
    write_for_leader(&h);
    let first = FetchRequest { session_epoch: 0, ..follower.fetch_request(&h, 0, 0) };
    let began = h.ask(&first, 17);
    assert_eq!(preferred(&began).1, 0);
    let next = FetchRequest {
        session_id: began.session_id,
        session_epoch: 1,
        max_wait_ms: i32::MAX,
        ..follower.fetch_request(&h, 3, 0)
    };
    assert_eq!(preferred(&h.ask(&next, 17)), (-1, 3, 0), "it need not wait for more records");
}
