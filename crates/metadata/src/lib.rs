//! What the cluster is, and what to do about it.
//!
//! [`Cluster`] is the metadata as of one offset: an immutable picture whose clones share what has
//! not changed. [`Controller`] is the machine that decides: commands in, records out; the records
//! change its `Cluster` as they change that of every node (KIP-631).
#![no_std]

extern crate alloc;

mod cluster;
mod controller;
mod snapshot;
mod versions;

pub use cluster::{
    BrokerEndpoint, BrokerRegistration, Cluster, PartitionState, QuotaEntity, ResourceKind, Topic,
};
pub use controller::{
    AlteredResource, AssignedDirectory, ConfigChange, ConfigRules, Controller, ControllerCommand,
    ControllerMemory, ControllerReply, ControllerSettings, ControllerTimer, ProducerIdBlock,
    RegistrationRefusal, bootstrap_records, bootstrap_records_at,
};
pub use versions::{
    FEATURES, Feature, FeatureRange, KRAFT_VERSION, METADATA_VERSION, METADATA_VERSION_FEATURE,
    METADATA_VERSION_NAME, METADATA_VERSION_OLDEST, supported_features, unbuilt_features,
    version_of, with_versions,
};
