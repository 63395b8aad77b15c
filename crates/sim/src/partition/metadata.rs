//! The controller and its log. The log is committed as it is written: how that comes about is the
//! quorum's world.

use ottla_machine::{Machine as _, Ticket, Turn};
use ottla_metadata::{
    Cluster, ConfigChange, ConfigRules, Controller, ControllerCommand, ControllerReply, Defaults,
    PartitionState, ResourceKind, bootstrap_records,
};
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
};
use ottla_protocol::messages::create_topics_response::CreatableTopicConfigs;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::broker::SimBroker;
use super::message::{Alter, PartitionEvent, PartitionMessage};
use super::world::PartitionWorld;
use crate::invariant::InvariantCheck;

/// The topic of the partition.
pub(super) const TOPIC: Uuid = Uuid::of(5000);
/// After which silence a broker is fenced, in milliseconds.
const SESSION_MS: u64 = 2000;
/// How often the controller looks, in milliseconds.
const CHECK_MS: u64 = 500;

/// The controller, and everything that it ever wrote.
#[derive(Debug)]
pub(crate) struct ControllerJournal {
    pub controller: Controller,
    pub records: Vec<MetadataRecord>,
    /// When each broker was heard of.
    heard_ms: Vec<u64>,
    /// How many topics were created.
    topics: u64,
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
fn controller(cluster: Cluster, in_sync_min: usize) -> Controller {
    let defaults =
        Defaults { partitions: 2, replication_factor: 1, delete_topics: true, kraft_version: 1 };
    Controller::new(cluster, defaults, Box::new(AnyConfig { in_sync_min }))
}

impl ControllerJournal {
    pub fn new(brokers: usize, in_sync_min: usize) -> Self {
        Self {
            controller: controller(Cluster::default(), in_sync_min),
            records: Vec::new(),
            heard_ms: vec![0; brokers],
            topics: 0,
        }
    }

    /// The partition, as the controller has it.
    pub fn partition(&self) -> Option<&PartitionState> {
        partition(self.controller.cluster())
    }
}

/// The partition, as some broker has it.
pub(super) fn partition(cluster: &Cluster) -> Option<&PartitionState> {
    cluster.topic_by_id(TOPIC)?.partitions.get(&0)
}

impl PartitionWorld {
    /// The cluster begins: all brokers serve, and the topic is there.
    pub(super) fn found(&mut self) -> InvariantCheck {
        self.command(ControllerCommand::Bootstrap { records: bootstrap_records() })?;
        for at in 0..self.brokers.len() {
            self.brokers[at].start();
            self.register(at, 1)?;
            self.command(ControllerCommand::Unfence { broker: self.brokers[at].id })?;
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
        // A controller that knows nothing but the image must decide the same.
        let image = self.journal.controller.cluster().clone();
        let mut twin = controller(image, self.in_sync_min);
        twin.decide(command.clone(), &mut twin_turn);
        self.journal.controller.decide(command, &mut turn);
        self.check_decision(&turn, &twin_turn)?;
        self.write(turn.records)?;
        Ok(turn.replies.pop().map(|(_, reply)| reply))
    }

    /// Writes records, and applies them.
    fn write(&mut self, records: Vec<MetadataRecord>) -> InvariantCheck {
        if records.is_empty() {
            return Ok(());
        }
        let before = self.journal.partition().cloned();
        for record in &records {
            self.journal.controller.apply(record);
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
    fn tell(&mut self, to: usize) {
        let (life, upto) = (self.brokers[to].life, self.journal.records.len());
        self.send(self.controller(), to, PartitionMessage::Metadata { life, upto });
    }

    fn register(&mut self, at: usize, life: u32) -> InvariantCheck {
        let id = self.brokers[at].id;
        let request = BrokerRegistrationRequest {
            broker_id: id,
            incarnation_id: SimBroker::incarnation(id, life),
            log_dirs: vec![Uuid::of(400 + at as u64)],
            previous_broker_epoch: self.brokers[at].clean_epoch,
            ..Default::default()
        };
        self.brokers[at].has_lost = false;
        self.command(ControllerCommand::RegisterBroker(request)).map(|_| ())
    }

    /// A broker says that it lives.
    pub(super) fn heartbeat(&mut self, at: usize, life: u32, applied: usize) -> InvariantCheck {
        // An earlier life is not heard any more.
        if life != self.brokers[at].life {
            return Ok(());
        }
        self.journal.heard_ms[at] = self.schedule.now_ms();
        let id = self.brokers[at].id;
        let known = self.journal.controller.cluster().broker(id);
        let is_known = known.is_some_and(|it| it.incarnation == SimBroker::incarnation(id, life));
        let Some(known) = known.filter(|_| is_known) else { return self.register(at, life) };
        let has_caught_up = applied > usize::try_from(known.epoch).unwrap_or(usize::MAX);
        if known.fenced && has_caught_up {
            return self.command(ControllerCommand::Unfence { broker: id }).map(|_| ());
        }
        self.tell(at);
        Ok(())
    }

    /// Fences brokers that have been silent for too long.
    pub(super) fn check_sessions(&mut self) -> InvariantCheck {
        self.schedule.after(CHECK_MS, PartitionEvent::SessionsChecked);
        for at in 0..self.brokers.len() {
            let broker = self.brokers[at].id;
            let known = self.journal.controller.cluster().broker(broker);
            let serves = known.is_some_and(|it| !it.fenced);
            if serves && self.journal.heard_ms[at] + SESSION_MS < self.schedule.now_ms() {
                self.command(ControllerCommand::Stop { broker })?;
            }
        }
        Ok(())
    }

    /// A leader wants another in-sync set: granted if it still leads, and all are fit for it.
    pub(super) fn alter(&mut self, alter: &Alter) -> InvariantCheck {
        let cluster = self.journal.controller.cluster();
        let Some(state) = partition(cluster) else { return Ok(()) };
        let is_current = state.leader == alter.leader
            && state.leader_epoch == alter.leader_epoch
            && state.partition_epoch == alter.partition_epoch;
        let is_fit = alter.in_sync.iter().all(|member| {
            cluster
                .broker(member.id)
                .is_some_and(|it| !it.fenced && !it.stopping && it.epoch == member.broker_epoch)
        });
        if !is_current || !is_fit {
            return Ok(());
        }
        self.coverage.in_sync_changes += 1;
        let isr: Vec<NodeId> = alter.in_sync.iter().map(|member| member.id).collect();
        // Those that leave while too few stay may lead still, having all that is committed.
        let mut elr: Vec<NodeId> = state.isr.iter().chain(&state.elr).copied().collect();
        elr.retain(|id| {
            !isr.contains(id) && isr.len() < self.in_sync_min.min(state.replicas.len())
        });
        let record = PartitionChangeRecord {
            partition_id: 0,
            topic_id: TOPIC,
            eligible_leader_replicas: (elr != state.elr).then_some(elr),
            leader_recovery_state: if state.recovery == 1 { 0 } else { -1 },
            isr: Some(isr),
            ..Default::default()
        };
        self.write(vec![record.into()])
    }

    /// Other topics come and go, and producers get ids.
    pub(super) fn administer(&mut self) -> InvariantCheck {
        let pause_ms = self.dice.between(200, 2000);
        self.schedule.after(pause_ms, PartitionEvent::Administered);
        let broker = self.brokers[self.dice.index(self.brokers.len())].id;
        match self.dice.below(3) {
            0 => {
                let reply = self.command(ControllerCommand::AllocateProducerIds { broker })?;
                let Some(ControllerReply::ProducerIds(first, count)) = reply else { return Ok(()) };
                self.check_producer_ids(first, count)
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
