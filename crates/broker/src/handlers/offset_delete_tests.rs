use crate::harness::Harness;
use crate::harness::members::{GROUP, fetch_offsets, mend_coordinator, node_with_offset};
use ottla_partitions::Fault;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_types::ErrorCode;

/// The error code of the request, and that of the partition.
fn delete(h: &Harness, group: &str, topic: &str) -> (i16, Option<i16>) {
    let partition = OffsetDeleteRequestPartition { partition_index: 0, ..Default::default() };
    let topic = OffsetDeleteRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let group_id = group.to_owned();
    let request = OffsetDeleteRequest { group_id, topics: vec![topic], ..Default::default() };
    let response = h.ask(&request, 0);
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    (response.error_code, partition.map(|partition| partition.error_code))
}

/// How many topics the group has offsets of.
fn topics(h: &Harness) -> usize {
    fetch_offsets(h).topics.len()
}

#[test]
fn offset_delete_forgets_an_offset() {
    let h = node_with_offset();
    assert_eq!(topics(&h), 1);
    assert_eq!(delete(&h, GROUP, "orders"), (0, Some(0)));
    assert_eq!(topics(&h), 0);
}

#[test]
fn offset_delete_of_no_group_or_no_topic_is_refused() {
    let h = node_with_offset();
    assert_eq!(delete(&h, "writers", "orders"), (ErrorCode::GROUP_ID_NOT_FOUND.0, None));
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(delete(&h, GROUP, "bills"), (0, Some(unknown)));
    assert_eq!(topics(&h), 1);
}

#[test]
fn offset_delete_that_cannot_be_written_keeps_the_offset() {
    let h = node_with_offset();
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_ne!(delete(&h, GROUP, "orders"), (0, Some(0)));
    mend_coordinator(&h);
    assert_eq!(topics(&h), 1);
}
