//! In-sync replicas, eligible replicas and leaders as brokers stop, crash and come back (KIP-966).

use ottla_machine::testkit::MachineBench;
use ottla_metadata::{
    AssignedDirectory, Controller, ControllerCommand, ControllerReply, PartitionState,
    bootstrap_records,
};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{NodeId, Uuid};

/// Three brokers, and a topic with a replica on each; two are to be in sync.
struct Scene {
    bench: MachineBench<Controller>,
    registrations: i64,
}

impl Scene {
    fn new(records: Vec<MetadataRecord>, configs: &[(&str, &str)]) -> Self {
        let bench = MachineBench::new(crate::controller(), 0);
        let mut scene = Self { bench, registrations: 0 };
        scene.bench.run(ControllerCommand::Activate { records });
        for broker in 1..=3 {
            scene.crashed(broker);
            scene.serves(broker);
        }
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            ..Default::default()
        };
        let assignment = CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: vec![1, 2, 3],
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: "t".to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        scene.bench.run(ControllerCommand::CreateTopics { request, uuids: vec![Uuid::of(1000)] });
        assert_eq!(scene.state().isr, [1, 2, 3]);
        scene
    }

    fn with_eligible() -> Self {
        Self::new(bootstrap_records(), &[("min.insync.replicas", "2")])
    }

    fn register(&mut self, broker: NodeId, previous_broker_epoch: i64) {
        let directory = Uuid::of(400 + u64::try_from(broker).unwrap());
        self.register_with(broker, previous_broker_epoch, vec![directory]);
    }

    fn register_with(&mut self, broker: NodeId, previous_broker_epoch: i64, log_dirs: Vec<Uuid>) {
        self.registrations += 10;
        let request = BrokerRegistrationRequest {
            broker_id: broker,
            incarnation_id: Uuid::of(u64::try_from(self.registrations).unwrap()),
            features: crate::features(),
            log_dirs,
            previous_broker_epoch,
            ..Default::default()
        };
        let epoch = self.bench.records.len() as i64;
        let (_, mut replies) = self.bench.run(ControllerCommand::RegisterBroker(request));
        assert_eq!(replies.pop().unwrap().1, ControllerReply::Registered(Ok(epoch)));
    }

    /// It starts again, and does not know how it has stopped.
    fn crashed(&mut self, broker: NodeId) {
        self.register(broker, -1);
    }

    /// It starts again after a clean stop.
    fn restarted(&mut self, broker: NodeId) {
        let epoch = self.bench.machine.cluster().broker(broker).unwrap().epoch;
        self.register(broker, epoch);
    }

    fn restarted_with(&mut self, broker: NodeId, log_dirs: Vec<Uuid>) {
        let epoch = self.bench.machine.cluster().broker(broker).unwrap().epoch;
        self.register_with(broker, epoch, log_dirs);
    }

    fn serves(&mut self, broker: NodeId) {
        crate::unfence(&mut self.bench, broker);
    }

    fn stops(&mut self, broker: NodeId) {
        let request =
            BrokerHeartbeatRequest { want_fence: true, ..crate::heartbeat(&self.bench, broker) };
        self.bench.run(ControllerCommand::Heartbeat(request));
    }

    fn state(&self) -> PartitionState {
        self.bench.machine.cluster().topic("t").unwrap().partitions[&0].clone()
    }

    #[track_caller]
    fn expect(&self, leader: NodeId, isr: &[NodeId], elr: &[NodeId]) {
        let state = self.state();
        assert_eq!((state.leader, &state.isr[..], &state.elr[..]), (leader, isr, elr));
    }
}

#[test]
fn a_broker_that_stops_stays_eligible_while_too_few_are_in_sync() {
    let mut scene = Scene::with_eligible();
    scene.stops(3);
    scene.expect(1, &[1, 2], &[]);
    scene.stops(1);
    scene.expect(2, &[2], &[1]);
    scene.stops(2);
    scene.expect(-1, &[], &[1, 2]);
    assert_eq!(scene.state().last_known_elr, [2]);
    // Broker 3 had left while enough others were in sync: it may lack committed records.
    scene.restarted(3);
    scene.serves(3);
    scene.expect(-1, &[], &[1, 2]);
    scene.restarted(1);
    scene.expect(-1, &[], &[1, 2]);
    scene.serves(1);
    scene.expect(1, &[1], &[2]);
    assert_eq!((scene.state().recovery, scene.state().last_known_elr.len()), (0, 0));
}

#[test]
fn a_broker_that_crashed_is_neither_in_sync_nor_eligible() {
    let mut scene = Scene::with_eligible();
    scene.crashed(3);
    scene.expect(1, &[1, 2], &[]);
    scene.crashed(2);
    scene.expect(1, &[1], &[]);
    scene.serves(2);
    scene.stops(1);
    scene.expect(-1, &[], &[1]);
    scene.serves(3);
    scene.expect(-1, &[], &[1]);
    scene.restarted(1);
    scene.serves(1);
    scene.expect(1, &[1], &[]);
}

#[test]
fn a_broker_that_crashes_while_it_is_eligible_is_so_no_longer() {
    let mut scene = Scene::with_eligible();
    scene.stops(3);
    scene.stops(2);
    scene.expect(1, &[1], &[2]);
    scene.crashed(2);
    scene.expect(1, &[1], &[]);
    scene.stops(1);
    scene.serves(2);
    scene.expect(-1, &[], &[1]);
}

#[test]
fn a_copy_of_an_earlier_clean_stop_is_no_clean_stop() {
    let mut scene = Scene::with_eligible();
    let earlier = scene.bench.machine.cluster().broker(2).unwrap().epoch;
    scene.stops(3);
    scene.stops(2);
    scene.restarted(2);
    scene.expect(1, &[1], &[2]);
    scene.register(2, earlier);
    scene.expect(1, &[1], &[]);
}

#[test]
fn when_all_have_crashed_the_last_leader_leads_and_has_to_recover() {
    let mut scene = Scene::with_eligible();
    scene.stops(3);
    scene.stops(2);
    scene.crashed(2);
    scene.crashed(1);
    scene.expect(-1, &[], &[]);
    assert_eq!(scene.state().last_known_elr, [1]);
    scene.serves(2);
    scene.expect(-1, &[], &[]);
    scene.serves(1);
    scene.expect(1, &[1], &[]);
    assert_eq!((scene.state().recovery, scene.state().last_known_elr.len()), (1, 0));
}

#[test]
fn where_unclean_elections_are_allowed_any_replica_leads() {
    let configs = [("min.insync.replicas", "2"), ("unclean.leader.election.enable", "true")];
    let mut scene = Scene::new(bootstrap_records(), &configs);
    scene.crashed(3);
    scene.crashed(2);
    scene.serves(2);
    scene.crashed(1);
    scene.expect(2, &[2], &[]);
    assert_eq!(scene.state().recovery, 1);
}

#[test]
fn without_eligible_replicas_the_last_one_stays_in_sync() {
    let is_other = |record: &MetadataRecord| match record {
        MetadataRecord::FeatureLevel(it) => it.name != "eligible.leader.replicas.version",
        _ => true,
    };
    let records = bootstrap_records().into_iter().filter(is_other).collect();
    let mut scene = Scene::new(records, &[("min.insync.replicas", "2")]);
    scene.stops(3);
    scene.crashed(2);
    scene.expect(1, &[1], &[]);
    scene.crashed(1);
    scene.expect(-1, &[1], &[]);
    scene.serves(2);
    scene.expect(-1, &[1], &[]);
    scene.serves(1);
    scene.expect(1, &[1], &[]);
    assert_eq!(scene.state().recovery, 0);
}

#[test]
fn a_broker_leads_only_what_lies_in_its_directories() {
    let mut scene = Scene::with_eligible();
    scene.stops(3);
    scene.stops(2);
    // Its only directory was replaced: what lay in the old one is not there. The session of the
    // process that had it must end first.
    scene.bench.pass(9000);
    scene.restarted_with(1, vec![Uuid::of(499)]);
    scene.serves(1);
    scene.expect(-1, &[], &[1, 2]);
    let assigned =
        vec![AssignedDirectory { topic_id: Uuid::of(1000), index: 0, directory: Uuid::of(499) }];
    scene.bench.run(ControllerCommand::AssignDirectories {
        broker: 1,
        broker_epoch: None,
        assigned,
    });
    scene.expect(1, &[1], &[2]);
    assert_eq!(scene.state().directories, [499, 402, 403].map(Uuid::of));
}
