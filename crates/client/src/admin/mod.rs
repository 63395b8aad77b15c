//! Administration: one file for each intent. All of it is methods of [`crate::Client`].

mod acls;
mod active_controller;
mod cluster;
pub(crate) mod configs;
mod elections;
mod features;
pub(crate) mod group_offsets;
mod groups;
mod list_offsets;
mod log_dirs;
mod producers;
mod quorum;
mod quotas;
mod reassignments;
mod records;
mod refusal;
mod scram;
mod tokens;
mod topics;
mod transactions;

use std::time::Duration;

use ottla_protocol::Request;

use crate::client::Client;
use crate::error::ClientError;

pub use acls::{AclBinding, AclFilter};
pub use cluster::{BrokerDescription, Brokers, ClusterDescription};
pub use configs::{ConfigEntry, ConfigKind, ConfigResource, ConfigSynonym};
pub use elections::LeaderElection;
pub use features::{FeatureChange, FeatureDescription, FeatureDescriptions};
pub use groups::{GroupDescription, GroupFilter, GroupListing, MemberDescription};
pub use list_offsets::OffsetAt;
pub use log_dirs::{LogDirDescription, ReplicaDescription};
pub use producers::ProducerDescription;
pub use quorum::{QuorumDescription, QuorumReplica, VoterEndpoint};
pub use quotas::{QuotaEntity, QuotaFilter, QuotaOwner, Quotas};
pub use reassignments::{Reassignment, ReplicationFactor};
pub use refusal::ItemRefusal;
pub use scram::{ScramChange, ScramListing, ScramMechanism};
pub use tokens::TokenOwner;
pub use topics::{MorePartitions, NewTopic, PartitionDescription, TopicDescription, TopicListing};
pub use transactions::{
    HangingTransaction, TransactionDescription, TransactionFilter, TransactionListing,
};

/// Is a change to be made, or only to be checked?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeMode {
    /// It is made.
    Change,
    /// The cluster says whether it would make it (`validateOnly`).
    Check,
}

/// How long a broker may wait for what it was asked to do, in milliseconds.
const CONTROLLER_TIMEOUT_MS: i32 = 30_000;
/// How much longer its answer may take.
const ANSWER_LINGER: Duration = Duration::from_secs(5);

impl Client {
    /// How long the answer to a request with [`CONTROLLER_TIMEOUT_MS`] may take.
    fn controller_limit(&self) -> Duration {
        let waits = Duration::from_millis(u64::from(CONTROLLER_TIMEOUT_MS.unsigned_abs()));
        self.options().request_timeout.max(waits + ANSWER_LINGER)
    }

    /// Asks any broker for something that its controller decides.
    async fn ask_controller<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.ask_any_within(request, self.controller_limit()).await
    }
}
