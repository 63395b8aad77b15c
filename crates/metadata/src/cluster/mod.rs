//! What is true: the metadata as of one offset.

mod brokers;
mod configs;
mod kept;
mod topics;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;

use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::client_quota_record::ClientQuotaRecord;
use ottla_protocol::metadata::register_controller_record::RegisterControllerRecord;
use ottla_protocol::metadata::user_scram_credential_record::UserScramCredentialRecord;
use ottla_types::{NodeId, ProducerId, Uuid};

pub(crate) use brokers::BrokerTable;
pub use brokers::{BrokerEndpoint, BrokerRegistration};
pub(crate) use configs::Configs;
pub use configs::ResourceKind;
pub(crate) use kept::Kept;
pub use kept::QuotaEntity;
pub(crate) use topics::TopicTable;
pub use topics::{PartitionState, Topic};

use crate::versions::METADATA_VERSION;

/// The metadata; a clone shares everything until one of the two changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    pub(crate) topics: Arc<TopicTable>,
    pub(crate) brokers: Arc<BrokerTable>,
    pub(crate) configs: Arc<Configs>,
    pub(crate) features: Arc<BTreeMap<String, i16>>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) next_producer_id: ProducerId,
    /// The metadata before the transaction that is open, if one is (KIP-868).
    before: Option<Arc<Cluster>>,
}

impl Cluster {
    /// Takes one record in. Records about unknown topics or brokers are facts, too, and
    /// change nothing.
    pub fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Topic(it) => Arc::make_mut(&mut self.topics).add(it),
            MetadataRecord::Partition(it) => Arc::make_mut(&mut self.topics).set(it),
            MetadataRecord::PartitionChange(it) => Arc::make_mut(&mut self.topics).change(it),
            MetadataRecord::RemoveTopic(it) => {
                if let Some(topic) = Arc::make_mut(&mut self.topics).remove(it.topic_id) {
                    Arc::make_mut(&mut self.configs).forget(ResourceKind::Topic, &topic.name);
                }
            }
            MetadataRecord::ClearElr(it) => {
                Arc::make_mut(&mut self.topics).clear_elr(&it.topic_name);
            }
            MetadataRecord::RegisterBroker(it) => Arc::make_mut(&mut self.brokers).register(it),
            MetadataRecord::UnregisterBroker(it) => {
                Arc::make_mut(&mut self.brokers).unregister(it.broker_id);
            }
            MetadataRecord::BrokerRegistrationChange(it) => {
                Arc::make_mut(&mut self.brokers).change(it);
            }
            MetadataRecord::FenceBroker(it) => {
                Arc::make_mut(&mut self.brokers).fence(it.id);
            }
            MetadataRecord::UnfenceBroker(it) => {
                Arc::make_mut(&mut self.brokers).unfence(it.id);
            }
            MetadataRecord::Config(it) => Arc::make_mut(&mut self.configs).set(it),
            MetadataRecord::FeatureLevel(it) => {
                let features = Arc::make_mut(&mut self.features);
                if it.feature_level == 0 {
                    features.remove(&it.name);
                } else {
                    features.insert(it.name.clone(), it.feature_level);
                }
            }
            MetadataRecord::BeginTransaction(_) => {
                self.before = None;
                self.before = Some(Arc::new(self.clone()));
            }
            MetadataRecord::EndTransaction(_) => self.before = None,
            MetadataRecord::AbortTransaction(_) => {
                if let Some(before) = self.before.take() {
                    self.clone_from(&before);
                }
            }
            MetadataRecord::ProducerIds(it) => self.next_producer_id = it.next_producer_id,
            // The controller writes it so that an idle quorum is seen to live.
            MetadataRecord::NoOp(_) => {}
            other => Arc::make_mut(&mut self.kept).apply(other),
        }
    }

    /// What counts: without the records of a transaction that has not ended.
    #[must_use]
    pub fn settled(&self) -> &Self {
        self.before.as_deref().unwrap_or(self)
    }

    /// Is a metadata transaction open (KIP-868)?
    #[must_use]
    pub const fn has_open_transaction(&self) -> bool {
        self.before.is_some()
    }

    /// Is nothing new since `before` was cloned from what this has come from? Looks at no topic;
    /// what was replaced by its equal is new.
    #[must_use]
    pub fn is_unchanged_since(&self, before: &Self) -> bool {
        Arc::ptr_eq(&self.topics, &before.topics)
            && Arc::ptr_eq(&self.brokers, &before.brokers)
            && Arc::ptr_eq(&self.configs, &before.configs)
            && Arc::ptr_eq(&self.features, &before.features)
            && Arc::ptr_eq(&self.kept, &before.kept)
            && self.next_producer_id == before.next_producer_id
            && self.before.is_none()
            && before.before.is_none()
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.by_name()
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.named(name)
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.by_id(id)
    }

    /// All registered brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers.all()
    }

    /// The broker of this id.
    #[must_use]
    pub fn broker(&self, id: NodeId) -> Option<&BrokerRegistration> {
        self.brokers.find(id)
    }

    /// What was set for a resource; the empty name is the default of all brokers.
    #[must_use]
    pub fn config(&self, kind: ResourceKind, name: &str) -> &BTreeMap<String, String> {
        self.configs.of(kind, name)
    }

    /// The names of the resources of a kind that something was set for.
    pub fn configured(&self, kind: ResourceKind) -> impl Iterator<Item = &str> {
        self.configs.names(kind)
    }

    /// The quotas of clients: one record for each entity and key.
    pub fn client_quotas(&self) -> impl Iterator<Item = (QuotaEntity, &ClientQuotaRecord)> {
        self.kept.quotas()
    }

    /// What is stored of users' passwords, by mechanism and name.
    pub fn credentials(&self) -> impl Iterator<Item = &UserScramCredentialRecord> {
        self.kept.credentials()
    }

    /// The controllers that have registered.
    pub fn controllers(&self) -> impl Iterator<Item = &RegisterControllerRecord> {
        self.kept.controllers()
    }

    /// The level of a feature; 0 if the cluster does not have it.
    #[must_use]
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The level of `metadata.version`: how records are written. A cluster without any record gets
    /// the newest.
    #[must_use]
    pub fn metadata_version(&self) -> i16 {
        self.features.get("metadata.version").copied().unwrap_or(METADATA_VERSION)
    }

    /// Are eligible leader replicas kept (`eligible.leader.replicas.version` 1, KIP-966)?
    #[must_use]
    pub fn keeps_eligible(&self) -> bool {
        self.feature("eligible.leader.replicas.version") > 0
    }

    /// The features that the cluster has, and their levels.
    #[must_use]
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// Has nothing ever been written?
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.features.is_empty()
    }
}
