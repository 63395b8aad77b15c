use crate::harness::Harness;
use crate::harness::asks::node_with_topic;
use crate::harness::brokers::{own_epoch, register_broker};
use ottla_protocol::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use ottla_types::{ErrorCode, NodeId, Uuid};

/// Partitions 0 and 7 of `orders`, and one of a topic that does not exist, in one directory.
fn assignment(h: &Harness, broker_id: NodeId, broker_epoch: i64) -> AssignReplicasToDirsRequest {
    let topic = |topic_id: Uuid, partitions: &[i32]| TopicData {
        topic_id,
        partitions: partitions
            .iter()
            .map(|index| PartitionData { partition_index: *index, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let orders = h.node().topic_id("orders").expect("it exists");
    let broker = h.node().cluster().broker(broker_id).cloned();
    let directory = DirectoryData {
        id: broker.map_or(Uuid::of(5), |it| it.log_dirs[0]),
        topics: vec![topic(Uuid::of(77), &[0]), topic(orders, &[0, 7])],
        ..Default::default()
    };
    let directories = vec![directory];
    AssignReplicasToDirsRequest { broker_id, broker_epoch, directories, ..Default::default() }
}

/// The codes of a request's partitions, in their order.
fn codes(h: &Harness, request: &AssignReplicasToDirsRequest) -> Vec<ErrorCode> {
    let response = h.ask(request, 0);
    assert_eq!(response.error_code, 0);
    let topics = response.directories.iter().flat_map(|it| &it.topics);
    topics.flat_map(|it| &it.partitions).map(|it| ErrorCode(it.error_code)).collect()
}

#[test]
fn each_partition_is_answered_in_its_place() {
    let h = node_with_topic("orders", 1);
    let wanted =
        [ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
    let own = assignment(&h, h.node().id, own_epoch(&h));
    assert_eq!(codes(&h, &own), wanted);
    let epoch = register_broker(&h, 2);
    let elsewhere = codes(&h, &assignment(&h, 2, epoch));
    assert_eq!(elsewhere[1], ErrorCode::NOT_LEADER_OR_FOLLOWER, "broker 2 has no replica");
}

#[test]
fn a_broker_of_another_epoch_assigns_nothing() {
    let h = node_with_topic("orders", 1);
    for (broker, epoch) in [(h.node().id, -1), (9, own_epoch(&h))] {
        let response = h.ask(&assignment(&h, broker, epoch), 0);
        assert_eq!(ErrorCode(response.error_code), ErrorCode::STALE_BROKER_EPOCH);
        assert!(response.directories.is_empty());
    }
}
