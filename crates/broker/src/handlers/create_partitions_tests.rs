use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce};
use ottla_partitions::Fault;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_records::BatchOptions;
use ottla_types::ErrorCode;

fn grow(h: &Harness, topic: &str, count: i32) -> i16 {
    let topic = CreatePartitionsTopic {
        name: topic.to_owned(),
        count,
        assignments: None,
        ..Default::default()
    };
    let request =
        CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    h.ask(&request, 3).results[0].error_code
}

/// The error code of a produce to the partition.
fn produce_to(h: &Harness, index: i32) -> i16 {
    produce(h, "orders", index, batch_of(BatchOptions::default(), &["a"])).error_code
}

#[test]
fn create_partitions_makes_partitions_that_can_be_written_at_once() {
    let h = node_with_topic("orders", 1);
    assert_eq!(produce_to(&h, 2), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    assert_eq!(grow(&h, "orders", 3), 0);
    assert_eq!((produce_to(&h, 1), produce_to(&h, 2)), (0, 0));
}

#[test]
fn create_partitions_refuses_fewer_and_topics_that_do_not_exist() {
    let h = node_with_topic("orders", 2);
    assert_eq!(grow(&h, "orders", 2), ErrorCode::INVALID_PARTITIONS.0);
    assert_eq!(grow(&h, "orders", 1), ErrorCode::INVALID_PARTITIONS.0);
    assert_eq!(grow(&h, "bills", 3), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
}

#[test]
fn create_partitions_that_cannot_be_written_makes_none() {
    let h = node_with_topic("orders", 1);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    assert_ne!(grow(&h, "orders", 3), 0);
    assert!(!h.node().has_partition("orders", 1));
}
