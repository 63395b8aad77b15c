//! What to do about it: the controller as a machine.

mod assign_directory;
mod bootstrap;
mod command;
mod create_partitions;
mod create_topics;
mod credentials;
mod delete_topics;
mod elect;
mod place;
mod producer_ids;
mod quotas;
mod register;
mod set_config;
mod update_features;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::convert::Infallible;

use ottla_machine::{Machine, Turn};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::ErrorCode;

use crate::cluster::{Cluster, PartitionState};

pub use bootstrap::bootstrap_records;
pub use command::{
    AssignedDirectory, ConfigChange, ConfigRules, ControllerCommand, ControllerReply, Defaults,
};

/// Why a change is refused: Kafka's error code, and the message for the client.
type ControllerRefusal = (ErrorCode, alloc::string::String);

/// The controller.
#[derive(Debug)]
pub struct Controller {
    cluster: Cluster,
    defaults: Defaults,
    rules: Box<dyn ConfigRules>,
}

impl Controller {
    /// A controller of the cluster as it is.
    #[must_use]
    pub fn new(cluster: Cluster, defaults: Defaults, rules: Box<dyn ConfigRules>) -> Self {
        Self { cluster, defaults, rules }
    }

    /// What is true.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
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
    defaults: &'a Defaults,
    rules: &'a dyn ConfigRules,
}

impl Machine for Controller {
    type Command = ControllerCommand;
    type Record = MetadataRecord;
    type Reply = ControllerReply;
    type Timer = Infallible;
    type Volatile = ();
    /// They are in the metadata, which the controller writes itself.
    type Settings = ();

    fn set_settings(&mut self, (): ()) {}

    fn decide(&mut self, command: ControllerCommand, turn: &mut Turn<Self>) {
        let scene = &ControllerScene {
            cluster: &self.cluster,
            defaults: &self.defaults,
            rules: &*self.rules,
        };
        match command {
            ControllerCommand::Bootstrap { records } => {
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
                set_config::replace_configs(scene, request, turn)
            }
            ControllerCommand::IncrementalAlterConfigs(request) => {
                set_config::alter_configs(scene, request, turn)
            }
            ControllerCommand::AlterClientQuotas(request) => {
                quotas::alter_quotas(scene, request, turn)
            }
            ControllerCommand::AlterUserScramCredentials { request, keys } => {
                credentials::alter_credentials(scene, &request, keys, turn);
            }
            ControllerCommand::RegisterBroker(request) => {
                register::register_broker(scene, &request, turn)
            }
            ControllerCommand::Unfence { broker } => register::unfence_broker(scene, broker, turn),
            ControllerCommand::Stop { broker } => register::stop_broker(scene, broker, turn),
            ControllerCommand::AssignDirectories { broker, assigned } => {
                assign_directory::assign_directory(scene, broker, &assigned, turn);
            }
            ControllerCommand::AllocateProducerIds { broker } => {
                producer_ids::allocate_producer_ids(scene, broker, turn);
            }
            ControllerCommand::UpdateFeatures { request, version } => {
                update_features::update_features(scene, request, version, turn);
            }
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

    fn expired(timer: Infallible) -> ControllerCommand {
        match timer {}
    }

    fn volatile(&self) {}

    fn restore(&mut self, _before: ()) {}
}
