use crate::harness::Harness;
use crate::harness::asks::{ask_until, find_coordinator, node_with_topic};
use ottla_partitions::Fault;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_types::ErrorCode;

/// A node with a topic and the coordinator of `readers`.
fn node_with_group() -> Harness {
    let h = node_with_topic("orders", 1);
    find_coordinator(&h, 0, "readers");
    h
}

/// Commits an offset as a consumer without a group's membership does.
fn commit(h: &Harness, topic: &str, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "readers".to_owned(),
        topics: vec![topic],
        ..Default::default()
    };
    h.ask(&request, 8).topics[0].partitions[0].error_code
}

/// The committed offset, as soon as the coordinator is loaded.
fn committed(h: &Harness) -> i64 {
    let topic = OffsetFetchRequestTopics {
        name: "orders".to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: "readers".to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    ask_until(|| {
        let group = h.ask(&request, 8).groups.swap_remove(0);
        (group.error_code == 0).then(|| group.topics[0].partitions[0].committed_offset)
    })
}

#[test]
fn offset_commit_is_what_offset_fetch_brings() {
    let h = node_with_group();
    assert_eq!(committed(&h), -1);
    for offset in [5, 3] {
        assert_eq!(commit(&h, "orders", offset), 0);
        assert_eq!(committed(&h), offset);
    }
}

#[test]
fn offset_commit_for_a_topic_that_does_not_exist_is_refused() {
    let h = node_with_group();
    assert_eq!(commit(&h, "bills", 5), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
}

#[test]
fn offset_commit_that_cannot_be_written_is_refused_and_never_shown() {
    let h = node_with_group();
    assert_eq!(commit(&h, "orders", 5), 0);
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_eq!(commit(&h, "orders", 6), ErrorCode::NOT_COORDINATOR.0);
    assert_eq!(committed(&h), 5);
    h.set_fault("__consumer_offsets-0", None);
    assert_eq!(commit(&h, "orders", 7), 0);
    assert_eq!(committed(&h), 7);
}

#[test]
fn offset_commit_needs_no_more_open_files() {
    let h = node_with_group();
    h.set_fault("__consumer_offsets-0", Some(Fault::NoHandles));
    assert_eq!(commit(&h, "orders", 6), 0, "the log is open already");
    assert_eq!(committed(&h), 6);
}
