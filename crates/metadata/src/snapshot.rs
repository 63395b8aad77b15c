//! The metadata as records that make it again.

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::config_record::ConfigRecord;
use ottla_protocol::metadata::feature_level_record::FeatureLevelRecord;
use ottla_protocol::metadata::partition_record::PartitionRecord;
use ottla_protocol::metadata::producer_ids_record::ProducerIdsRecord;
use ottla_protocol::metadata::register_broker_record::{BrokerEndpoint, RegisterBrokerRecord};
use ottla_protocol::metadata::topic_record::TopicRecord;
use ottla_types::{Bug, is_planted};

use crate::cluster::{BrokerRegistration, Cluster, PartitionState, Topic};

impl Cluster {
    /// Records that make this metadata out of nothing, the metadata version first.
    #[must_use]
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut out: Vec<MetadataRecord> = Vec::new();
        let feature = |name: &String, level: i16| FeatureLevelRecord {
            name: name.clone(),
            feature_level: level,
            ..Default::default()
        };
        let is_version = |name: &&String| name.as_str() == "metadata.version";
        let names = self.features.keys();
        for name in names.clone().filter(is_version).chain(names.filter(|it| !is_version(it))) {
            out.push(feature(name, self.feature(name)).into());
        }
        out.extend(self.kept.all().filter(|it| it.kind() == 27).cloned());
        out.extend(self.brokers().map(|broker| broker_record(broker).into()));
        for topic in self.topics() {
            let record = TopicRecord {
                name: String::from(&*topic.name),
                topic_id: topic.id,
                ..Default::default()
            };
            out.push(record.into());
            for (index, state) in &topic.partitions {
                out.push(partition_record(topic, *index, state).into());
            }
        }
        for (kind, name, values) in self.configs.all() {
            for (key, value) in values {
                let record = ConfigRecord {
                    resource_type: kind,
                    resource_name: name.clone(),
                    name: key.clone(),
                    value: Some(value.clone()),
                    ..Default::default()
                };
                out.push(record.into());
            }
        }
        out.extend(self.kept.all().filter(|it| it.kind() != 27).cloned());
        if self.next_producer_id > 0 {
            let next_producer_id = self.next_producer_id;
            // The broker that got the last block does not matter any more.
            let record = ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id,
                ..Default::default()
            };
            out.push(record.into());
        }
        out
    }
}

fn broker_record(broker: &BrokerRegistration) -> RegisterBrokerRecord {
    RegisterBrokerRecord {
        broker_id: broker.id,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch,
        end_points: broker
            .listeners
            .iter()
            .map(|listener| BrokerEndpoint {
                name: listener.name.clone(),
                host: listener.host.clone(),
                port: listener.port,
                security_protocol: listener.security,
                ..Default::default()
            })
            .collect(),
        features: broker.features.clone(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.stopping,
        log_dirs: broker.log_dirs.clone(),
        cordoned_log_dirs: broker.cordoned.clone(),
        ..Default::default()
    }
}

fn partition_record(topic: &Topic, index: i32, state: &PartitionState) -> PartitionRecord {
    let some = |ids: &Vec<i32>| (!ids.is_empty()).then(|| ids.clone());
    PartitionRecord {
        partition_id: index,
        topic_id: topic.id,
        replicas: state.replicas.clone(),
        isr: state.isr.clone(),
        removing_replicas: state.removing.clone(),
        adding_replicas: state.adding.clone(),
        leader: state.leader,
        leader_recovery_state: state.recovery,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        directories: state.directories.clone(),
        eligible_leader_replicas: if is_planted(Bug::SnapshotForgets) {
            None
        } else {
            some(&state.elr)
        },
        last_known_elr: some(&state.last_known_elr),
        ..Default::default()
    }
}
