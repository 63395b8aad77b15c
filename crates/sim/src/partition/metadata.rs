//! The controller and its log. The log is committed as it is written: how that comes about is the
//! quorum's world.

use std::collections::BTreeMap;

use ottla_machine::{Machine as _, Ticket, Turn};
use ottla_metadata::{
    Cluster, ConfigChange, ConfigRules, Controller, ControllerCommand, ControllerReply,
    ControllerSettings, ControllerTimer, PartitionState, ResourceKind, bootstrap_records,
};
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
};
use ottla_protocol::messages::create_topics_response::CreatableTopicConfigs;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::message::{PartitionEvent, PartitionMessage, SimHeartbeat, SimRegistration};
use super::world::PartitionWorld;
use crate::invariant::InvariantCheck;

/// The topic of the partition.
pub(super) const TOPIC: Uuid = Uuid::of(5000);
/// After which silence a broker is fenced, in milliseconds.
pub(super) const SESSION_MS: u64 = 2000;

/// The controller, and everything that it ever wrote.
#[derive(Debug)]
pub(crate) struct ControllerJournal {
    pub controller: Controller,
    pub records: Vec<MetadataRecord>,
    /// How many controllers have been the active one.
    pub term: u32,
    /// When the active one became that.
    pub active_ms: u64,
    /// The timers that it has set.
    pub timers: BTreeMap<ControllerTimer, u64>,
    /// What it has been told of each broker.
    pub heard: Vec<HeardOf>,
    /// The last request for another in-sync set of each broker: its life, and the number in it.
    pub asked: Vec<(u32, u64)>,
    /// How many topics were created.
    topics: u64,
}

/// What heartbeats have told the controller of a broker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeardOf {
    /// When the last one came, in the broker's epoch.
    pub at_ms: u64,
    /// How many records of the metadata the broker has applied.
    pub applied: usize,
    /// Where the metadata ended when the broker began to stop.
    pub stop_end: Option<usize>,
}

/// Every setting is allowed; the one that counts is `min.insync.replicas`.
#[derive(Debug)]
struct AnyConfig {
    in_sync_min: usize,
}

impl ConfigRules for AnyConfig {
    fn check(&self, _: &ConfigChange<'_>) -> Result<(), (ErrorCode, String)> {
        Ok(())
    }

    fn is_list(&self, _: ResourceKind, _: &str) -> bool {
        false
    }

    fn fallback(&self, _: &Cluster, _: ResourceKind, name: &str) -> Option<String> {
        (name == "min.insync.replicas").then(|| self.in_sync_min.to_string())
    }

    fn describe_topic(&self, _: &Cluster, _: &[(String, String)]) -> Vec<CreatableTopicConfigs> {
        Vec::new()
    }
}

/// A controller of the cluster as it is.
pub(super) fn new_controller(cluster: Cluster, in_sync_min: usize) -> Controller {
    let settings = ControllerSettings {
        partitions: 2,
        session_ms: i64::try_from(SESSION_MS).unwrap_or(i64::MAX),
        balance_ms: Some(2500),
        unclean_ms: 2500,
        idle_ms: Some(3000),
        ..ControllerSettings::default()
    };
    Controller::new(cluster, settings, Box::new(AnyConfig { in_sync_min }))
}

impl ControllerJournal {
    pub fn new(brokers: usize, in_sync_min: usize) -> Self {
        Self {
            controller: new_controller(Cluster::default(), in_sync_min),
            records: Vec::new(),
            term: 0,
            active_ms: 0,
            timers: BTreeMap::new(),
            heard: vec![HeardOf::default(); brokers],
            asked: vec![(0, 0); brokers],
            topics: 0,
        }
    }

    /// The partition, as the controller has it.
    pub fn partition(&self) -> Option<&PartitionState> {
        partition_state(self.controller.cluster())
    }
}

/// The partition, as some broker has it.
pub(super) fn partition_state(cluster: &Cluster) -> Option<&PartitionState> {
    cluster.topic_by_id(TOPIC)?.partitions.get(&0)
}

impl PartitionWorld {
    /// The cluster begins: all brokers serve, and the topic is there.
    pub(super) fn found(&mut self) -> InvariantCheck {
        self.command(ControllerCommand::Activate { records: bootstrap_records() })?;
        for at in 0..self.brokers.len() {
            self.brokers[at].start();
            let previous_broker_epoch = -1;
            self.register(at, SimRegistration { life: 1, previous_broker_epoch, term: 0 })?;
            let applied = self.journal.records.len();
            let known = self.journal.controller.cluster().broker(self.brokers[at].id);
            let broker_epoch = known.map_or(-1, |it| it.epoch);
            let wants_stop = false;
            self.heartbeat(at, SimHeartbeat { broker_epoch, applied, wants_stop, term: 0 })?;
        }
        let mut replicas: Vec<NodeId> = self.brokers.iter().map(|broker| broker.id).collect();
        let first = self.dice.index(replicas.len());
        replicas.rotate_left(first);
        let assignment = CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: replicas,
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: "t".to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        self.command(ControllerCommand::CreateTopics { request, uuids: vec![TOPIC] }).map(|_| ())
    }

    /// The controller decides, and what it writes is in force.
    pub(super) fn command(
        &mut self,
        command: ControllerCommand,
    ) -> Result<Option<ControllerReply>, crate::invariant::Violation> {
        let now_ms = i64::try_from(self.schedule.now_ms()).unwrap_or(0);
        let mut turn = Turn::new(now_ms, Ticket(0));
        let mut twin_turn = Turn::new(now_ms, Ticket(0));
        let end = i64::try_from(self.journal.records.len()).unwrap_or(i64::MAX);
        (turn.base_offset, twin_turn.base_offset) = (end, end);
        // A controller that knows nothing but the image and the sessions must decide the same.
        let image = self.journal.controller.cluster().clone();
        let mut twin = new_controller(image, self.in_sync_min);
        twin.restore(self.journal.controller.volatile());
        twin.decide(command.clone(), &mut twin_turn);
        self.journal.controller.decide(command, &mut turn);
        self.check_decision(&turn, &twin_turn)?;
        self.write(turn.records)?;
        turn.alarms.into_iter().for_each(|alarm| self.set_alarm(alarm));
        Ok(turn.replies.pop().map(|(_, reply)| reply))
    }

    /// Writes records, and applies them.
    fn write(&mut self, records: Vec<MetadataRecord>) -> InvariantCheck {
        if records.is_empty() {
            return Ok(());
        }
        let before = self.journal.partition().cloned();
        for record in &records {
            let state = self.journal.partition().cloned();
            self.journal.controller.apply(record);
            if let (MetadataRecord::PartitionChange(change), Some(state)) = (record, state)
                && change.topic_id == TOPIC
            {
                self.check_counted(&state, change)?;
            }
        }
        self.journal.records.extend(records);
        if let (now_ms, Some(state)) = (self.schedule.now_ms(), self.journal.partition()) {
            self.trace.note(now_ms, self.brokers.len() + 1, || {
                let PartitionState { leader, leader_epoch, isr, elr, partition_epoch, .. } = state;
                format!(
                    "leader {leader} of epoch {leader_epoch}, in sync {isr:?}, eligible {elr:?}, \
                     partition epoch {partition_epoch}"
                )
            });
        }
        self.check_metadata(before.as_ref())?;
        for to in 0..self.brokers.len() {
            self.tell(to);
        }
        Ok(())
    }

    /// Sends a broker all metadata.
    pub(super) fn tell(&mut self, to: usize) {
        let (life, upto) = (self.brokers[to].life, self.journal.records.len());
        self.send(self.controller(), to, PartitionMessage::Metadata { life, upto });
    }

    /// An operator asks for the preferred leader.
    fn elect_preferred(&mut self) -> InvariantCheck {
        let topic =
            TopicPartitions { topic: "t".to_owned(), partitions: vec![0], ..Default::default() };
        let request =
            ElectLeadersRequest { topic_partitions: Some(vec![topic]), ..Default::default() };
        self.command(ControllerCommand::ElectLeaders(request)).map(|_| ())
    }

    /// An operator prefers another replica.
    fn reorder_replicas(&mut self) -> InvariantCheck {
        let Some(state) = self.journal.partition() else { return Ok(()) };
        let mut replicas = state.replicas.clone();
        let first = self.dice.index(replicas.len());
        replicas.rotate_left(first);
        let partition = ReassignablePartition {
            partition_index: 0,
            replicas: Some(replicas),
            ..Default::default()
        };
        let topic = ReassignableTopic {
            name: "t".to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request =
            AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
        self.command(ControllerCommand::AlterPartitionReassignments(request)).map(|_| ())
    }

    /// Other topics come and go, and producers get ids.
    pub(super) fn administer(&mut self) -> InvariantCheck {
        let pause_ms = self.dice.between(200, 2000);
        self.schedule.after(pause_ms, PartitionEvent::Administered);
        let broker = self.brokers[self.dice.index(self.brokers.len())].id;
        match self.dice.below(5) {
            3 => self.elect_preferred(),
            4 => self.reorder_replicas(),
            0 => {
                let command = ControllerCommand::AllocateProducerIds { broker, broker_epoch: None };
                match self.command(command)? {
                    Some(ControllerReply::ProducerIds(Ok(ids))) => self.check_producer_ids(ids),
                    _ => Ok(()),
                }
            }
            1 => {
                self.journal.topics += 1;
                let number = self.journal.topics;
                let topic = CreatableTopic {
                    name: format!("other-{number}"),
                    num_partitions: 2,
                    replication_factor: 1,
                    ..Default::default()
                };
                let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
                let uuids = vec![Uuid::of(6000 + number)];
                self.command(ControllerCommand::CreateTopics { request, uuids }).map(|_| ())
            }
            _ => {
                let number = self.dice.below(self.journal.topics + 1);
                let topic_id = Uuid::of(6000 + number);
                let topic = DeleteTopicState { topic_id, ..Default::default() };
                let request = DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
                self.command(ControllerCommand::DeleteTopics { request, version: 6 }).map(|_| ())
            }
        }
    }
}
