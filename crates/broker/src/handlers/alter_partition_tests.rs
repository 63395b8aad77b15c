use crate::harness::Harness;
use crate::harness::asks::node_with_topic;
use crate::harness::brokers::own_epoch;
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_types::{ErrorCode, NodeId, Uuid};

/// The leader of `orders-0` asks for the in-sync set that there is.
fn proposal(h: &Harness) -> AlterPartitionRequest {
    let cluster = h.node().cluster();
    let topic = cluster.topic("orders").expect("it exists");
    let state = &topic.partitions[&0];
    let broker_id = h.node().id;
    let broker_epoch = own_epoch(h);
    let member = BrokerState { broker_id, broker_epoch, ..Default::default() };
    let partition = PartitionData {
        partition_index: 0,
        leader_epoch: state.leader_epoch,
        new_isr: vec![broker_id],
        new_isr_with_epochs: vec![member],
        partition_epoch: state.partition_epoch,
        ..Default::default()
    };
    let partitions = vec![partition];
    let topics = vec![TopicData { topic_id: topic.id, partitions, ..Default::default() }];
    AlterPartitionRequest { broker_id, broker_epoch, topics, ..Default::default() }
}

fn partition_code(response: &AlterPartitionResponse) -> ErrorCode {
    ErrorCode(response.topics[0].partitions[0].error_code)
}

fn code_with(h: &Harness, change: impl FnOnce(&mut PartitionData)) -> ErrorCode {
    let mut request = proposal(h);
    change(&mut request.topics[0].partitions[0]);
    partition_code(&h.ask(&request, 3))
}

#[test]
fn the_in_sync_set_is_answered_with_the_epochs_of_the_partition() {
    let h = node_with_topic("orders", 1);
    for version in [2, 3] {
        let response = h.ask(&proposal(&h), version);
        assert_eq!((response.error_code, partition_code(&response)), (0, ErrorCode::NONE));
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.leader_id, &answer.isr[..]), (h.node().id, &[h.node().id][..]));
    }
}

#[test]
fn an_in_sync_set_that_may_not_be_is_refused() {
    let h = node_with_topic("orders", 1);
    let not_a_replica = |id: NodeId| BrokerState { broker_id: id, ..Default::default() };
    assert_eq!(code_with(&h, |it| it.leader_epoch += 1), ErrorCode::NOT_CONTROLLER);
    assert_eq!(code_with(&h, |it| it.partition_epoch += 1), ErrorCode::NOT_CONTROLLER);
    assert_eq!(code_with(&h, |it| it.leader_epoch -= 1), ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(code_with(&h, |it| it.partition_epoch -= 1), ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(code_with(&h, |it| it.new_isr_with_epochs.clear()), ErrorCode::INVALID_REQUEST);
    let stranger = code_with(&h, |it| it.new_isr_with_epochs.push(not_a_replica(9)));
    assert_eq!(stranger, ErrorCode::INVALID_REQUEST);
    let restarted = code_with(&h, |it| it.new_isr_with_epochs[0].broker_epoch += 1);
    assert_eq!(restarted, ErrorCode::INELIGIBLE_REPLICA);
    assert_eq!(code_with(&h, |it| it.partition_index = 7), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn an_unknown_topic_and_a_stale_broker_are_refused() {
    let h = node_with_topic("orders", 1);
    let mut request = proposal(&h);
    request.topics[0].topic_id = Uuid::of(7);
    assert_eq!(partition_code(&h.ask(&request, 3)), ErrorCode::UNKNOWN_TOPIC_ID);
    for (broker_id, broker_epoch) in [(h.node().id, -1), (9, own_epoch(&h))] {
        let request = AlterPartitionRequest { broker_id, broker_epoch, ..proposal(&h) };
        let response = h.ask(&request, 3);
        assert_eq!(ErrorCode(response.error_code), ErrorCode::STALE_BROKER_EPOCH);
        assert!(response.topics.is_empty());
    }
}
