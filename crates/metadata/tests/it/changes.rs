//! Changes of partitions that are asked for: in-sync sets, leaders, moves to other brokers.

use ottla_machine::testkit::MachineBench;
use ottla_metadata::{Controller, ControllerCommand, ControllerReply, PartitionState};
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_types::{ErrorCode, NodeId};

use crate::{create, heartbeat, lifecycle, reply, topic, unfence};

/// Brokers 1 to 3, and a topic with a replica on each of the first two or on all.
fn scene(replicas: &[NodeId]) -> MachineBench<Controller> {
    let mut bench = lifecycle::cluster();
    let assignment = CreatableReplicaAssignment {
        partition_index: 0,
        broker_ids: replicas.to_vec(),
        ..Default::default()
    };
    let config = CreatableTopicConfig {
        name: "min.insync.replicas".to_owned(),
        value: Some("2".to_owned()),
        ..Default::default()
    };
    let topic =
        CreatableTopic { assignments: vec![assignment], configs: vec![config], ..topic("t") };
    assert_eq!(create(&mut bench, vec![topic]), [ErrorCode::NONE]);
    bench
}

fn state(bench: &MachineBench<Controller>) -> PartitionState {
    bench.machine.cluster().topic("t").unwrap().partitions[&0].clone()
}

fn fence(bench: &mut MachineBench<Controller>, broker: NodeId) {
    let request = BrokerHeartbeatRequest { want_fence: true, ..heartbeat(bench, broker) };
    bench.run(ControllerCommand::Heartbeat(request));
}

/// The leader asks for an in-sync set, of members in their present epochs.
fn proposal(bench: &MachineBench<Controller>, isr: &[NodeId]) -> AlterPartitionRequest {
    let cluster = bench.machine.cluster();
    let state = state(bench);
    let epoch = |id: NodeId| cluster.broker(id).map_or(-1, |it| it.epoch);
    let member = |id: &NodeId| BrokerState {
        broker_id: *id,
        broker_epoch: epoch(*id),
        ..Default::default()
    };
    let partition = PartitionData {
        partition_index: 0,
        leader_epoch: state.leader_epoch,
        new_isr_with_epochs: isr.iter().map(member).collect(),
        partition_epoch: state.partition_epoch,
        ..Default::default()
    };
    let topic_id = cluster.topic("t").unwrap().id;
    let topics = vec![TopicData { topic_id, partitions: vec![partition], ..Default::default() }];
    AlterPartitionRequest {
        broker_id: state.leader,
        broker_epoch: epoch(state.leader),
        topics,
        ..Default::default()
    }
}

/// The code of the only partition, or of the request.
fn alter(bench: &mut MachineBench<Controller>, request: AlterPartitionRequest) -> ErrorCode {
    let asked = ControllerCommand::AlterPartition { request, version: 3 };
    match reply(bench, asked) {
        ControllerReply::AlterPartition(told) if told.topics.is_empty() => {
            ErrorCode(told.error_code)
        }
        ControllerReply::AlterPartition(told) => ErrorCode(told.topics[0].partitions[0].error_code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leader_shrinks_and_widens_its_in_sync_set() {
    let mut bench = scene(&[1, 2, 3]);
    let request = proposal(&bench, &[1, 2]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE);
    let shrunk = state(&bench);
    assert_eq!((&shrunk.isr[..], &shrunk.elr[..], shrunk.leader_epoch), (&[1, 2][..], &[][..], 0));
    let request = proposal(&bench, &[1]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE);
    assert_eq!(state(&bench).elr, [2], "too few are in sync: 2 has all that is committed");
    let request = proposal(&bench, &[1, 3]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE);
    let widened = state(&bench);
    assert_eq!((&widened.isr[..], &widened.elr[..]), (&[1, 3][..], &[][..]));
    assert_eq!((widened.leader_epoch, widened.partition_epoch), (0, 3));
}

#[test]
fn an_in_sync_set_is_refused_for_the_first_thing_that_is_wrong() {
    let mut bench = scene(&[1, 2, 3]);
    let request = proposal(&bench, &[1, 2]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE);
    fence(&mut bench, 3);
    let change = |of: &dyn Fn(&mut PartitionData)| {
        let mut request = proposal(&bench, &[1, 2]);
        of(&mut request.topics[0].partitions[0]);
        request
    };
    let members = |ids: &[NodeId]| {
        let member = |id: &NodeId| BrokerState { broker_id: *id, ..Default::default() };
        ids.iter().map(member).collect::<Vec<_>>()
    };
    let mut stale = proposal(&bench, &[1, 2]);
    stale.broker_epoch -= 1;
    let mut unknown = proposal(&bench, &[1, 2]);
    unknown.topics[0].topic_id = ottla_types::Uuid::of(7);
    let mut follower = proposal(&bench, &[1, 2]);
    follower.broker_id = 2;
    follower.broker_epoch = bench.machine.cluster().broker(2).unwrap().epoch;
    let cases = [
        (stale, ErrorCode::STALE_BROKER_EPOCH),
        (unknown, ErrorCode::UNKNOWN_TOPIC_ID),
        (change(&|it| it.partition_index = 5), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (change(&|it| it.leader_epoch = 1), ErrorCode::NOT_CONTROLLER),
        (change(&|it| it.partition_epoch = 2), ErrorCode::NOT_CONTROLLER),
        (change(&|it| it.leader_epoch = -1), ErrorCode::FENCED_LEADER_EPOCH),
        (follower, ErrorCode::INVALID_REQUEST),
        (change(&|it| it.partition_epoch = 0), ErrorCode::INVALID_UPDATE_VERSION),
        (change(&|it| it.new_isr_with_epochs = members(&[2])), ErrorCode::INVALID_REQUEST),
        (change(&|it| it.new_isr_with_epochs = members(&[1, 9])), ErrorCode::INVALID_REQUEST),
        (change(&|it| it.new_isr_with_epochs = members(&[1, 1])), ErrorCode::INVALID_REQUEST),
        (change(&|it| it.leader_recovery_state = 1), ErrorCode::INVALID_REQUEST),
        (change(&|it| it.leader_recovery_state = 7), ErrorCode::INVALID_REQUEST),
        (change(&|it| it.new_isr_with_epochs = members(&[1, 3])), ErrorCode::INELIGIBLE_REPLICA),
        (change(&|it| it.new_isr_with_epochs[1].broker_epoch += 1), ErrorCode::INELIGIBLE_REPLICA),
        (change(&|it| it.new_isr_with_epochs = members(&[1])), ErrorCode::NONE),
    ];
    let before = bench.records.len();
    for (request, code) in cases {
        let asked = format!("{request:?}");
        assert_eq!(alter(&mut bench, request), code, "{asked}");
    }
    assert_eq!(bench.records.len(), before + 1);
}

fn elect(bench: &mut MachineBench<Controller>, election_type: i8) -> ErrorCode {
    let topic =
        TopicPartitions { topic: "t".to_owned(), partitions: vec![0], ..Default::default() };
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: Some(vec![topic]),
        ..Default::default()
    };
    match reply(bench, ControllerCommand::ElectLeaders(request)) {
        ControllerReply::ElectLeaders(told) => {
            ErrorCode(told.replica_election_results[0].partition_result[0].error_code)
        }
        other => panic!("{other:?}"),
    }
}

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

#[test]
fn the_preferred_replica_leads_again_when_it_is_in_sync() {
    let mut bench = scene(&[1, 2, 3]);
    assert_eq!(elect(&mut bench, PREFERRED), ErrorCode::ELECTION_NOT_NEEDED);
    fence(&mut bench, 1);
    assert_eq!(state(&bench).leader, 2);
    unfence(&mut bench, 1);
    assert_eq!(elect(&mut bench, PREFERRED), ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE);
    let request = proposal(&bench, &[2, 3, 1]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE);
    let epoch = state(&bench).leader_epoch;
    assert_eq!(elect(&mut bench, PREFERRED), ErrorCode::NONE);
    assert_eq!((state(&bench).leader, state(&bench).leader_epoch), (1, epoch + 1));
}

#[test]
fn the_controller_gives_partitions_back_by_itself() {
    let mut bench = scene(&[1, 2, 3]);
    fence(&mut bench, 1);
    unfence(&mut bench, 1);
    let request = proposal(&bench, &[2, 3, 1]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE);
    bench.run(ControllerCommand::BalanceLeaders);
    assert_eq!(state(&bench).leader, 1);
    let before = bench.records.len();
    bench.run(ControllerCommand::BalanceLeaders);
    assert_eq!(bench.records.len(), before, "nothing is left to do");
}

#[test]
fn an_unclean_election_is_held_where_nothing_else_helps() {
    let mut bench = scene(&[1, 2, 3]);
    assert_eq!(elect(&mut bench, UNCLEAN), ErrorCode::ELECTION_NOT_NEEDED);
    (1..=3).rev().for_each(|id| fence(&mut bench, id));
    assert_eq!((state(&bench).leader, &state(&bench).elr[..]), (-1, &[1, 2][..]));
    assert_eq!(elect(&mut bench, UNCLEAN), ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE);
    unfence(&mut bench, 3);
    bench.run(ControllerCommand::ElectUncleanly);
    assert_eq!(state(&bench).leader, -1, "the topic does not allow it");
    assert_eq!(elect(&mut bench, UNCLEAN), ErrorCode::NONE);
    let elected = state(&bench);
    assert_eq!((elected.leader, &elected.isr[..], elected.elr.len()), (3, &[3][..], 0));
    assert_eq!(elected.recovery, 1);
    let mut request = proposal(&bench, &[3]);
    request.topics[0].partitions[0].leader_recovery_state = 1;
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE, "it recovers still");
    let request = proposal(&bench, &[3]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NONE);
    assert_eq!(state(&bench).recovery, 0);
}

fn reassign(
    bench: &mut MachineBench<Controller>,
    replicas: Option<&[NodeId]>,
    allow_replication_factor_change: bool,
) -> ErrorCode {
    reassign_together(bench, &[replicas], allow_replication_factor_change)[0]
}

/// The same partition several times in one request.
fn reassign_together(
    bench: &mut MachineBench<Controller>,
    wanted: &[Option<&[NodeId]>],
    allow_replication_factor_change: bool,
) -> Vec<ErrorCode> {
    let partition = |replicas: &Option<&[NodeId]>| ReassignablePartition {
        partition_index: 0,
        replicas: replicas.map(<[_]>::to_vec),
        ..Default::default()
    };
    let topic = ReassignableTopic {
        name: "t".to_owned(),
        partitions: wanted.iter().map(partition).collect(),
        ..Default::default()
    };
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![topic],
        allow_replication_factor_change,
        ..Default::default()
    };
    match reply(bench, ControllerCommand::AlterPartitionReassignments(request)) {
        ControllerReply::AlterPartitionReassignments(told) => {
            told.responses[0].partitions.iter().map(|it| ErrorCode(it.error_code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_partition_that_a_request_names_twice_moves_once() {
    let mut bench = scene(&[1, 2]);
    let before = state(&bench);
    let stay = Some(&[1, 2][..]);
    let codes = [ErrorCode::NONE, ErrorCode::NONE, ErrorCode::NO_REASSIGNMENT_IN_PROGRESS];
    assert_eq!(reassign_together(&mut bench, &[stay, stay, None], true), codes);
    assert_eq!(state(&bench), before, "it is asked to stay where it is");
    let codes = [ErrorCode::NONE, ErrorCode::INVALID_REQUEST];
    let moves = [Some(&[3, 2][..]), Some(&[1, 3][..])];
    assert_eq!(reassign_together(&mut bench, &moves, true), codes);
    assert_eq!(state(&bench).adding, [3]);
    assert_eq!(state(&bench).partition_epoch, before.partition_epoch + 1);
}

#[test]
fn a_partition_moves_when_its_new_replica_is_in_sync() {
    let mut bench = scene(&[1, 2]);
    assert_eq!(reassign(&mut bench, None, true), ErrorCode::NO_REASSIGNMENT_IN_PROGRESS);
    let wrong = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
    assert_eq!(reassign(&mut bench, Some(&[]), true), wrong);
    assert_eq!(reassign(&mut bench, Some(&[2, 2]), true), wrong);
    assert_eq!(reassign(&mut bench, Some(&[2, 9]), true), wrong);
    let factor = ErrorCode::INVALID_REPLICATION_FACTOR;
    assert_eq!(reassign(&mut bench, Some(&[3]), false), factor);
    assert_eq!(reassign(&mut bench, Some(&[3, 2]), false), ErrorCode::NONE);
    let moving = state(&bench);
    assert_eq!((&moving.replicas[..], &moving.adding[..]), (&[3, 2, 1][..], &[3][..]));
    assert_eq!((&moving.removing[..], moving.leader_epoch), (&[1][..], 0));
    let directories = [403, 402, 401].map(ottla_types::Uuid::of);
    assert_eq!(moving.directories, directories);
    // The change ends the move, and with it the leadership of the broker that asks.
    let request = proposal(&bench, &[1, 2, 3]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NEW_LEADER_ELECTED);
    let moved = state(&bench);
    assert_eq!((&moved.replicas[..], &moved.isr[..]), (&[3, 2][..], &[2, 3][..]));
    assert_eq!((moved.adding.len(), moved.removing.len()), (0, 0));
    assert_eq!((moved.leader, moved.leader_epoch), (3, 1));
}

#[test]
fn a_move_is_taken_back() {
    let mut bench = scene(&[1, 2]);
    let before = state(&bench);
    assert_eq!(reassign(&mut bench, Some(&[3, 2]), true), ErrorCode::NONE);
    assert_eq!(reassign(&mut bench, None, true), ErrorCode::NONE);
    let after = state(&bench);
    assert_eq!((after.leader, after.isr), (before.leader, before.isr));
    assert_eq!((after.adding.len(), after.removing.len()), (0, 0));
    assert_eq!(after.replicas, [2, 1]);
}

#[test]
fn fewer_replicas_wait_until_all_that_stay_are_in_sync() {
    let mut bench = scene(&[1, 2, 3]);
    fence(&mut bench, 3);
    assert_eq!(reassign(&mut bench, Some(&[2, 3]), true), ErrorCode::NONE);
    assert_eq!(state(&bench).removing, [1], "3 is not in sync");
    unfence(&mut bench, 3);
    let request = proposal(&bench, &[1, 2, 3]);
    assert_eq!(alter(&mut bench, request), ErrorCode::NEW_LEADER_ELECTED);
    let moved = state(&bench);
    assert_eq!((&moved.replicas[..], &moved.isr[..]), (&[2, 3][..], &[2, 3][..]));
}

#[test]
fn new_orders_of_the_replicas_are_in_force_at_once() {
    let mut bench = scene(&[1, 2, 3]);
    assert_eq!(reassign(&mut bench, Some(&[3, 1, 2]), true), ErrorCode::NONE);
    let state = state(&bench);
    assert_eq!((&state.replicas[..], state.leader_epoch), (&[3, 1, 2][..], 0));
    assert_eq!(state.adding.len() + state.removing.len(), 0);
}
