use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_records::BatchOptions;
use ottla_types::ErrorCode;

/// The error code and the offset for a timestamp, or a special time.
fn list_offset(h: &Harness, topic: &str, timestamp: i64, epoch: i32) -> (i16, i64) {
    let partition =
        ListOffsetsPartition { timestamp, current_leader_epoch: epoch, ..Default::default() };
    let topic = ListOffsetsTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
    let response = h.ask(&request, 7);
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.offset)
}

#[test]
fn list_offsets_knows_the_first_the_last_and_those_of_times() {
    let h = node_with_topic("orders", 1);
    produce(&h, "orders", 0, batch_of(BatchOptions::default(), &["a", "b"]));
    // Latest, earliest, the largest timestamp; the records are of the time 5.
    for (timestamp, offset) in [(-1, 2), (-2, 0), (-3, 0), (4, 0), (5, 0), (6, -1)] {
        assert_eq!(list_offset(&h, "orders", timestamp, -1), (0, offset), "time {timestamp}");
    }
}

#[test]
fn list_offsets_fences_a_client_with_another_leader_epoch() {
    let h = node_with_topic("orders", 1);
    let unknown = ErrorCode::UNKNOWN_LEADER_EPOCH.0;
    assert_eq!(list_offset(&h, "orders", -1, 9), (unknown, -1));
    assert_eq!(list_offset(&h, "orders", -1, 0), (0, 0));
}

#[test]
fn list_offsets_of_a_topic_that_does_not_exist_is_refused() {
    let h = node_with_topic("orders", 1);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(list_offset(&h, "bills", -1, -1), (unknown, -1));
}
