use crate::harness::Harness;
use crate::harness::ask_node;
use crate::harness::asks::{batch_of, node_with_topic, produce, produce_request};
use crate::harness::brokers::heartbeat_request;
use crate::harness::replicas::{PlayedFollower, node_with_follower};
use ottla_partitions::{Fault, Interest, Wait};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_protocol::messages::delete_records_response::DeleteRecordsResponse;
use ottla_protocol::messages::produce_request::ProduceRequest;
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
    answer_of(&h.ask(&delete_request(topic, offset, 10_000), 2))
}

fn answer_of(response: &DeleteRecordsResponse) -> (i16, i64) {
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.low_watermark)
}

fn delete_request(topic: &str, offset: i64, timeout_ms: i32) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
    let topic = DeleteRecordsTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    DeleteRecordsRequest { topics: vec![topic], timeout_ms, ..Default::default() }
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

/// A topic with three records that a follower has, too.
fn node_with_replicated_records() -> (Harness, PlayedFollower) {
    let (h, follower) = node_with_follower(&[], "b");
    let batch = batch_of(BatchOptions::default(), &["a", "b", "c"]);
    let request = ProduceRequest { acks: 1, ..produce_request("orders", 0, batch) };
    assert_eq!(h.ask(&request, 9).responses[0].partition_responses[0].error_code, 0);
    follower.fetch(&h, 3, 0);
    (h, follower)
}

#[test]
fn delete_records_that_a_follower_still_has_times_out_with_the_low_watermark() {
    let (h, follower) = node_with_replicated_records();
    let timed_out = (ErrorCode::REQUEST_TIMED_OUT.0, 0);
    assert_eq!(answer_of(&h.ask(&delete_request("orders", 2, 1), 2)), timed_out);
    assert_eq!(log_start(&h), 2, "the leader has deleted them");
    assert_eq!(follower.fetch(&h, 3, 0).log_start_offset, 2, "and tells the follower");
    follower.fetch(&h, 3, 2);
    assert_eq!(delete(&h, "orders", 2), (0, 2));
}

#[test]
fn delete_records_is_answered_when_the_follower_has_deleted_too() {
    let (h, follower) = node_with_replicated_records();
    let partition = h.node().partitions.find("orders", 0).expect("is here");
    let mut begun = Wait::new();
    begun.add(partition.progress(), Interest::Committed);
    let request = delete_request("orders", -1, i32::MAX);
    let deleting = ask_node(h.node(), h.session(), &request, 2);
    let following = async {
        // The leader has moved its log start.
        begun.moved().await;
        let request = follower.fetch_request(&h, 3, 3);
        ask_node(h.node(), h.session(), &request, 17).await
    };
    let (answer, fetched) = h.both(deleting, following);
    assert_eq!(fetched.responses[0].partitions[0].log_start_offset, 3);
    assert_eq!(answer_of(&answer), (0, 3));
}

#[test]
fn delete_records_does_not_wait_for_a_fenced_follower() {
    let (h, follower) = node_with_replicated_records();
    let leave = BrokerHeartbeatRequest {
        want_fence: true,
        ..heartbeat_request(&h, follower.id, follower.epoch)
    };
    assert!(h.ask(&leave, 1).is_fenced);
    assert_eq!(delete(&h, "orders", 1), (0, 1));
}
