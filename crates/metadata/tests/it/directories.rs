//! What brokers ask for themselves, with their epochs: directories (KIP-858), producer ids.

use ottla_machine::testkit::MachineBench;
use ottla_metadata::{
    AssignedDirectory, Controller, ControllerCommand, PartitionState, ProducerIdBlock,
};
use ottla_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_types::{ErrorCode, NodeId, PartitionIndex, Uuid};

use crate::{create, lifecycle, reply, topic};

/// Brokers 1 to 3, and a topic whose only partition is on the first two.
fn scene() -> MachineBench<Controller> {
    let mut bench = lifecycle::cluster();
    let assignment = CreatableReplicaAssignment {
        partition_index: 0,
        broker_ids: vec![1, 2],
        ..Default::default()
    };
    let topic = CreatableTopic { assignments: vec![assignment], ..topic("t") };
    assert_eq!(create(&mut bench, vec![topic]), [ErrorCode::NONE]);
    bench
}

fn epoch(bench: &MachineBench<Controller>, broker: NodeId) -> i64 {
    bench.machine.cluster().broker(broker).unwrap().epoch
}

fn state(bench: &MachineBench<Controller>) -> PartitionState {
    bench.machine.cluster().topic("t").unwrap().partitions[&0].clone()
}

fn assign(
    bench: &mut MachineBench<Controller>,
    broker: NodeId,
    epoch: i64,
    assigned: Vec<AssignedDirectory>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    let broker_epoch = Some(epoch);
    let command = ControllerCommand::AssignDirectories { broker, broker_epoch, assigned };
    ottla_machine::expect_reply(reply(bench, command))
}

fn assigned(topic_id: Uuid, index: PartitionIndex, directory: u64) -> AssignedDirectory {
    AssignedDirectory { topic_id, index, directory: Uuid::of(directory) }
}

#[test]
fn what_a_broker_asks_in_an_earlier_epoch_is_refused() {
    let mut bench = scene();
    let now = epoch(&bench, 1);
    let before = bench.records.len();
    // broker, epoch
    for (broker, epoch) in [(1, now - 1), (1, now + 1), (1, -1), (9, now)] {
        let command = ControllerCommand::AllocateProducerIds { broker, broker_epoch: Some(epoch) };
        let ids: Result<ProducerIdBlock, _> =
            ottla_machine::expect_reply(reply(&mut bench, command));
        assert_eq!(ids, Err(ErrorCode::STALE_BROKER_EPOCH), "broker {broker}, epoch {epoch}");
        let codes = assign(&mut bench, broker, epoch, Vec::new());
        assert_eq!(codes, Err(ErrorCode::STALE_BROKER_EPOCH), "broker {broker}, epoch {epoch}");
    }
    assert_eq!(bench.records.len(), before, "nothing is written");
    let command = ControllerCommand::AllocateProducerIds { broker: 1, broker_epoch: Some(now) };
    let ids: Result<ProducerIdBlock, ErrorCode> =
        ottla_machine::expect_reply(reply(&mut bench, command));
    assert_eq!(ids, Ok(ProducerIdBlock { first: 0, count: 1000 }));
}

#[test]
fn each_partition_of_an_assignment_has_a_code_of_its_own() {
    let mut bench = scene();
    let id = bench.machine.cluster().topic("t").unwrap().id;
    let asked = vec![assigned(Uuid::of(77), 0, 401), assigned(id, 5, 401), assigned(id, 0, 401)];
    let now = epoch(&bench, 1);
    let codes = assign(&mut bench, 1, now, asked);
    let wanted =
        [ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::NONE];
    assert_eq!(codes, Ok(wanted.to_vec()));
    assert_eq!(state(&bench).directory(1), Uuid::of(401));
    let now = epoch(&bench, 3);
    let codes = assign(&mut bench, 3, now, vec![assigned(id, 0, 403)]);
    assert_eq!(codes, Ok(vec![ErrorCode::NOT_LEADER_OR_FOLLOWER]), "it has no replica");
}

#[test]
fn a_replica_in_a_directory_that_has_failed_neither_leads_nor_is_in_sync() {
    let mut bench = scene();
    let id = bench.machine.cluster().topic("t").unwrap().id;
    assert_eq!((state(&bench).leader, state(&bench).isr), (1, vec![1, 2]));
    let now = epoch(&bench, 1);
    let codes = assign(&mut bench, 1, now, vec![assigned(id, 0, 499)]);
    assert_eq!(codes, Ok(vec![ErrorCode::NONE]));
    let state = state(&bench);
    assert_eq!((state.leader, &state.isr[..]), (2, &[2][..]), "{state:?}");
    assert_eq!(state.directory(1), Uuid::of(499));
}
