//! What to do about it: the controller as a machine.

mod alter_partition;
mod assign_directory;
mod bootstrap;
mod command;
mod create_partitions;
mod create_topics;
mod credentials;
mod delete_topics;
mod elect;
mod elect_leaders;
mod heartbeat;
mod membership;
mod partition_change;
mod periodic;
mod place;
mod producer_ids;
mod quotas;
mod reassignment;
mod register;
mod sessions;
mod set_config;
mod settings;
mod update_features;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use ottla_machine::{Machine, Turn};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId};

use crate::cluster::{BrokerRegistration, Cluster, PartitionState};

pub use bootstrap::{bootstrap_records, bootstrap_records_at};
pub use command::{
    AssignedDirectory, ConfigChange, ConfigRules, ControllerCommand, ControllerReply,
    ProducerIdBlock,
};
pub use register::RegistrationRefusal;
use sessions::BrokerSessions;
pub use set_config::AlteredResource;
pub use settings::ControllerSettings;

/// Why a change is refused: Kafka's error code, and the message for the client.
type ControllerRefusal = (ErrorCode, alloc::string::String);

/// The controller.
#[derive(Debug)]
pub struct Controller {
    cluster: Cluster,
    settings: ControllerSettings,
    rules: Box<dyn ConfigRules>,
    sessions: BrokerSessions,
}

/// What only the active controller knows, and no log has.
#[derive(Clone, Debug, Default)]
pub struct ControllerMemory(BrokerSessions);

/// What the controller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControllerTimer {
    /// A broker's session ends, unless a heartbeat comes before.
    Session(NodeId),
    /// It is time to give partitions back to their preferred replicas.
    LeaderBalance,
    /// It is time to look for partitions without a leader.
    UncleanElection,
    /// The metadata log has stood still for long.
    NoOp,
}

impl Controller {
    /// A controller of the cluster as it is.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        settings: ControllerSettings,
        rules: Box<dyn ConfigRules>,
    ) -> Self {
        Self { cluster, settings, rules, sessions: BrokerSessions::default() }
    }

    /// What is true: without the records of a transaction that has not ended.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        self.cluster.settled()
    }
}

/// What comes more than once: such a request contradicts itself, so none of it is done.
fn repeated_items<'a, T: Ord + Copy + 'a>(all: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|one| !seen.insert(*one)).collect()
}

/// What a decision may look at.
#[derive(Clone, Copy)]
struct ControllerScene<'a> {
    cluster: &'a Cluster,
    settings: &'a ControllerSettings,
    rules: &'a dyn ConfigRules,
}

/// The broker that a command comes from.
#[derive(Clone, Copy)]
struct AskingBroker {
    id: NodeId,
    /// The epoch that it believes to be registered with; `None` for the broker of this process.
    epoch: Option<i64>,
}

impl AskingBroker {
    /// Its registration; `None` if the broker of this process has none yet.
    ///
    /// # Errors
    /// It is not registered with this epoch: what an earlier process of a broker has sent may still
    /// be under way.
    fn registration<'a>(
        self,
        scene: &ControllerScene<'a>,
    ) -> Result<Option<&'a BrokerRegistration>, ErrorCode> {
        let known = scene.cluster.broker(self.id);
        match self.epoch {
            Some(epoch) if known.map(|it| it.epoch) != Some(epoch) => {
                Err(ErrorCode::STALE_BROKER_EPOCH)
            }
            _ => Ok(known),
        }
    }
}

impl Machine for Controller {
    type Command = ControllerCommand;
    type Record = MetadataRecord;
    type Reply = ControllerReply;
    type Timer = ControllerTimer;
    type Volatile = ControllerMemory;
    /// They are in the metadata, which the controller writes itself.
    type Settings = ();

    fn set_settings(&mut self, (): ()) {}

    #[expect(clippy::too_many_lines, reason = "a table: where each command is decided")]
    fn decide(&mut self, command: ControllerCommand, turn: &mut Turn<Self>) {
        let scene = &ControllerScene {
            cluster: self.cluster.settled(),
            settings: &self.settings,
            rules: &*self.rules,
        };
        let sessions = &mut self.sessions;
        let is_activation = matches!(command, ControllerCommand::Activate { .. });
        match command {
            ControllerCommand::Activate { records } => {
                heartbeat::grant_sessions(scene, sessions, turn);
                if self.cluster.has_open_transaction() {
                    turn.record(bootstrap::abort_record());
                }
                if scene.cluster.is_blank() && !records.is_empty() {
                    turn.records.extend(bootstrap::first_transaction(records));
                }
                turn.reply(ControllerReply::Done);
            }
            ControllerCommand::CreateTopics { request, uuids } => {
                create_topics::create_topics(scene, request, uuids, turn);
            }
            ControllerCommand::DeleteTopics { request, version } => {
                delete_topics::delete_topics(scene, request, version, turn);
            }
            ControllerCommand::CreatePartitions(request) => {
                create_partitions::create_partitions(scene, request, turn)
            }
            ControllerCommand::AlterConfigs(request) => {
                set_config::replace_configs(scene, &request, turn)
            }
            ControllerCommand::IncrementalAlterConfigs(request) => {
                set_config::alter_configs(scene, &request, turn)
            }
            ControllerCommand::AlterClientQuotas(request) => {
                quotas::alter_quotas(scene, request, turn)
            }
            ControllerCommand::AlterUserScramCredentials { request, keys } => {
                credentials::alter_credentials(scene, &request, keys, turn);
            }
            ControllerCommand::RegisterBroker(request) => {
                register::register_broker(scene, sessions, &request, turn);
            }
            ControllerCommand::Heartbeat(request) => {
                heartbeat::broker_heartbeat(scene, sessions, &request, turn);
            }
            ControllerCommand::SessionEnds { broker } => {
                heartbeat::end_session(scene, sessions, broker, turn);
            }
            ControllerCommand::AssignDirectories { broker, broker_epoch, assigned } => {
                let asking = AskingBroker { id: broker, epoch: broker_epoch };
                assign_directory::assign_directories(scene, asking, &assigned, turn);
            }
            ControllerCommand::AllocateProducerIds { broker, broker_epoch } => {
                let asking = AskingBroker { id: broker, epoch: broker_epoch };
                producer_ids::allocate_producer_ids(scene, asking, turn);
            }
            ControllerCommand::UpdateFeatures { request, version, kraft_version } => {
                let asked = update_features::AskedLevels { request, version, kraft_version };
                update_features::update_features(scene, &asked, turn);
            }
            ControllerCommand::AlterPartition { request, version } => {
                alter_partition::alter_partition(scene, &request, version, turn);
            }
            ControllerCommand::ElectLeaders(request) => {
                elect_leaders::elect_leaders(scene, &request, turn);
            }
            ControllerCommand::AlterPartitionReassignments(request) => {
                reassignment::alter_reassignments(scene, &request, turn);
            }
            ControllerCommand::RegisterController(request) => {
                membership::register_controller(scene, &request, turn);
            }
            ControllerCommand::UnregisterBroker { broker } => {
                membership::unregister_broker(scene, sessions, broker, turn);
            }
            ControllerCommand::BalanceLeaders => periodic::balance_leaders(scene, turn),
            ControllerCommand::ElectUncleanly => periodic::elect_uncleanly(scene, turn),
            ControllerCommand::WriteNoOp => periodic::write_no_op(scene, turn),
        }
        if is_activation || !turn.records.is_empty() {
            periodic::start_timers(scene, turn);
        }
    }

    fn apply(&mut self, record: &MetadataRecord) {
        self.cluster.apply(record);
    }

    fn check_turn(&self, records: &[MetadataRecord]) {
        for record in records {
            let (topic, partition) = match record {
                MetadataRecord::Partition(record) => (record.topic_id, record.partition_id),
                MetadataRecord::PartitionChange(record) => (record.topic_id, record.partition_id),
                _ => continue,
            };
            let topic = self.cluster.topic_by_id(topic);
            let state = topic.and_then(|topic| topic.partitions.get(&partition));
            // A later record of the turn may have deleted the topic.
            if let Some(broken) = state.and_then(PartitionState::broken_rule) {
                let name = topic.map_or("", |topic| &*topic.name);
                panic!("partition {name}-{partition}: {broken}");
            }
        }
    }

    fn expired(timer: ControllerTimer) -> ControllerCommand {
        match timer {
            ControllerTimer::Session(broker) => ControllerCommand::SessionEnds { broker },
            ControllerTimer::LeaderBalance => ControllerCommand::BalanceLeaders,
            ControllerTimer::UncleanElection => ControllerCommand::ElectUncleanly,
            ControllerTimer::NoOp => ControllerCommand::WriteNoOp,
        }
    }

    fn volatile(&self) -> ControllerMemory {
        ControllerMemory(self.sessions.clone())
    }

    fn restore(&mut self, before: ControllerMemory) {
        self.sessions = before.0;
    }
}
