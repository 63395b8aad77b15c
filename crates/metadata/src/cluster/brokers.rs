//! The brokers that have registered.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::metadata::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::metadata::register_broker_record::{BrokerFeature, RegisterBrokerRecord};
use ottla_types::{NodeId, Uuid};

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// The listener's name.
    pub name: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the security protocol; 0 is PLAINTEXT.
    pub security: i16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerRegistration {
    /// Its id.
    pub id: NodeId,
    /// Which of its lives this is, as the controller counts.
    pub epoch: i64,
    /// Which of its lives this is, as it says itself.
    pub incarnation: Uuid,
    /// Where it listens.
    pub listeners: Vec<BrokerEndpoint>,
    /// The features that it supports, with their levels.
    pub features: Vec<BrokerFeature>,
    /// Its rack.
    pub rack: Option<String>,
    /// May it not serve?
    pub fenced: bool,
    /// Is it about to stop?
    pub stopping: bool,
    /// Its data directories.
    pub log_dirs: Vec<Uuid>,
    /// Those that take no new partitions.
    pub cordoned: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    /// May it lead partitions, and be in sync? It serves, and is not about to stop.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        !self.fenced && !self.stopping
    }

    /// Can it serve what lies in this directory (KIP-858)? It has said so when it registered; what
    /// it has not placed yet it can. One that registered before there were such ids has none.
    #[must_use]
    pub fn has_online(&self, directory: Uuid) -> bool {
        match directory {
            Uuid::ZERO | Uuid::ONE => true,
            Uuid::LOST => false,
            other => self.log_dirs.is_empty() || self.log_dirs.contains(&other),
        }
    }

    /// Where it listens under this listener's name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&BrokerEndpoint> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BrokerTable(BTreeMap<NodeId, BrokerRegistration>);

impl BrokerTable {
    pub fn all(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.0.values()
    }

    pub fn find(&self, id: NodeId) -> Option<&BrokerRegistration> {
        self.0.get(&id)
    }

    pub fn register(&mut self, record: &RegisterBrokerRecord) {
        let listeners = record.end_points.iter().map(|endpoint| BrokerEndpoint {
            name: endpoint.name.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            security: endpoint.security_protocol,
        });
        let broker = BrokerRegistration {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation: record.incarnation_id,
            listeners: listeners.collect(),
            features: record.features.clone(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            stopping: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            cordoned: record.cordoned_log_dirs.clone(),
        };
        self.0.insert(record.broker_id, broker);
    }

    pub fn unregister(&mut self, id: NodeId) {
        self.0.remove(&id);
    }

    pub fn fence(&mut self, id: NodeId) {
        if let Some(broker) = self.0.get_mut(&id) {
            broker.fenced = true;
        }
    }

    pub fn unfence(&mut self, id: NodeId) {
        if let Some(broker) = self.0.get_mut(&id) {
            broker.fenced = false;
        }
    }

    pub fn change(&mut self, record: &BrokerRegistrationChangeRecord) {
        if let Some(broker) = self.0.get_mut(&record.broker_id) {
            broker.take_change(record);
        }
    }
}

impl BrokerRegistration {
    /// Takes in what a change record says; fields that are not in it stay as they are.
    fn take_change(&mut self, record: &BrokerRegistrationChangeRecord) {
        match record.fenced {
            -1 => self.fenced = false,
            1 => self.fenced = true,
            _ => {}
        }
        if record.in_controlled_shutdown == 1 {
            self.stopping = true;
        }
        if !record.log_dirs.is_empty() {
            self.log_dirs.clone_from(&record.log_dirs);
        }
        if record.cordoned_log_dirs.is_some() {
            self.cordoned.clone_from(&record.cordoned_log_dirs);
        }
    }
}
