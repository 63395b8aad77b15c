use super::*;
use ottla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};

fn marker_place(job: u64, topic: &str, index: i32) -> MarkerPlace {
    MarkerPlace { job, partition: TopicPartition::new(topic, index) }
}

fn ending(producer: ProducerId, is_bumped: bool) -> TransactionEnd {
    TransactionEnd { producer: (producer, 4), commit: true, coordinator_epoch: 9, is_bumped }
}

#[test]
fn a_request_names_each_transaction_once_with_all_its_partitions() {
    let (first, second) = (ending(7, true), ending(8, false));
    let batch = vec![
        (marker_place(1, "a", 0), first),
        (marker_place(1, "a", 3), first),
        (marker_place(1, "b", 1), first),
        (marker_place(2, "a", 0), second),
    ];
    let request = markers_request(&batch);
    let topics = |marker: &WritableTxnMarker| -> Vec<(String, Vec<i32>)> {
        marker.topics.iter().map(|it| (it.name.clone(), it.partition_indexes.clone())).collect()
    };
    let [one, two] = &request.markers[..] else { panic!("{} markers", request.markers.len()) };
    assert_eq!((one.producer_id, one.producer_epoch, one.coordinator_epoch), (7, 4, 9));
    assert_eq!((one.transaction_result, one.transaction_version), (true, 2));
    assert_eq!(topics(one), [("a".to_owned(), vec![0, 3]), ("b".to_owned(), vec![1])]);
    assert_eq!((two.producer_id, two.transaction_version), (8, 0));
    assert_eq!(topics(two), [("a".to_owned(), vec![0])]);
}

#[test]
fn an_answer_is_taken_apart_by_producer_and_partition() {
    let partition = WritableTxnMarkerPartitionResult {
        partition_index: 3,
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER.0,
        ..Default::default()
    };
    let topic = WritableTxnMarkerTopicResult {
        name: "a".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let marker =
        WritableTxnMarkerResult { producer_id: 7, topics: vec![topic], ..Default::default() };
    let codes = codes_of(&WriteTxnMarkersResponse { markers: vec![marker], ..Default::default() });
    let key = (7, TopicPartition::new("a", 3));
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [(key, ErrorCode::NOT_LEADER_OR_FOLLOWER)]);
}
