//! What the controller is asked, and what it answers.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use ottla_protocol::messages::alter_client_quotas_request::AlterClientQuotasRequest;
use ottla_protocol::messages::alter_client_quotas_response::AlterClientQuotasResponse;
use ottla_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ottla_protocol::messages::alter_configs_response::AlterConfigsResponse;
use ottla_protocol::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use ottla_protocol::messages::alter_partition_reassignments_response::AlterPartitionReassignmentsResponse;
use ottla_protocol::messages::alter_partition_request::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_protocol::messages::alter_user_scram_credentials_request as scram;
use ottla_protocol::messages::alter_user_scram_credentials_response as scram_answer;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use ottla_protocol::messages::create_partitions_response::CreatePartitionsResponse;
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreateTopicsResponse,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::DeleteTopicsResponse;
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::ElectLeadersResponse;
use ottla_protocol::messages::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, PartitionIndex, ProducerId, Uuid};

use super::register::RegistrationRefusal;
use crate::cluster::{Cluster, ResourceKind};

/// What the controller is asked.
#[derive(Clone, Debug)]
pub enum ControllerCommand {
    /// This controller leads the metadata quorum from now on. It writes a new cluster's first
    /// records, if there are none, and gives every broker that serves a session afresh.
    Activate {
        /// What the directory was formatted with.
        records: Vec<MetadataRecord>,
    },
    /// CreateTopics.
    CreateTopics {
        /// The request.
        request: CreateTopicsRequest,
        /// A fresh id for each topic.
        uuids: Vec<Uuid>,
    },
    /// DeleteTopics.
    DeleteTopics {
        /// The request.
        request: DeleteTopicsRequest,
        /// Its version.
        version: i16,
    },
    /// CreatePartitions.
    CreatePartitions(CreatePartitionsRequest),
    /// AlterConfigs: all settings of a resource at once.
    AlterConfigs(AlterConfigsRequest),
    /// IncrementalAlterConfigs: some settings of a resource.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// AlterClientQuotas.
    AlterClientQuotas(AlterClientQuotasRequest),
    /// AlterUserScramCredentials.
    AlterUserScramCredentials {
        /// The request.
        request: scram::AlterUserScramCredentialsRequest,
        /// The stored key and the server key of each upsertion.
        keys: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// BrokerRegistration: a broker starts; it says this.
    RegisterBroker(BrokerRegistrationRequest),
    /// BrokerHeartbeat: a broker lives, and says what it has applied and what it wants.
    Heartbeat(BrokerHeartbeatRequest),
    /// A broker's session has ended: see [`super::ControllerTimer::Session`].
    SessionEnds {
        /// Which broker's.
        broker: NodeId,
    },
    /// AlterPartition: a leader wants another in-sync set.
    AlterPartition {
        /// The request.
        request: AlterPartitionRequest,
        /// Its version.
        version: i16,
    },
    /// ElectLeaders.
    ElectLeaders(ElectLeadersRequest),
    /// AlterPartitionReassignments.
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    /// ControllerRegistration.
    RegisterController(ControllerRegistrationRequest),
    /// UnregisterBroker.
    UnregisterBroker {
        /// Which.
        broker: NodeId,
    },
    /// See [`super::ControllerTimer::LeaderBalance`].
    BalanceLeaders,
    /// See [`super::ControllerTimer::UncleanElection`].
    ElectUncleanly,
    /// See [`super::ControllerTimer::NoOp`].
    WriteNoOp,
    /// AssignReplicasToDirs: a broker says in which of its directories it has partitions.
    AssignDirectories {
        /// Which broker.
        broker: NodeId,
        /// The epoch that it believes to be registered with; `None` for the broker of this process.
        broker_epoch: Option<i64>,
        /// Which partitions, and where they are.
        assigned: Vec<AssignedDirectory>,
    },
    /// AllocateProducerIds: a broker wants producer ids to give away.
    AllocateProducerIds {
        /// Which.
        broker: NodeId,
        /// As for [`ControllerCommand::AssignDirectories`].
        broker_epoch: Option<i64>,
    },
    /// UpdateFeatures.
    UpdateFeatures {
        /// The request.
        request: UpdateFeaturesRequest,
        /// Its version.
        version: i16,
        /// The level of `kraft.version` that the quorum has by now, or is about to have.
        kraft_version: i16,
    },
}

/// In which of a broker's directories a partition lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedDirectory {
    /// The topic.
    pub topic_id: Uuid,
    /// Which of its partitions.
    pub index: PartitionIndex,
    /// The directory.
    pub directory: Uuid,
}

/// Producer ids that one broker may give away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first of them.
    pub first: ProducerId,
    /// How many.
    pub count: i32,
}

/// What the controller answers.
#[derive(Clone, Debug, PartialEq)]
pub enum ControllerReply {
    /// It is done.
    Done,
    /// To [`ControllerCommand::CreateTopics`].
    CreateTopics(CreateTopicsResponse),
    /// To [`ControllerCommand::DeleteTopics`].
    DeleteTopics(DeleteTopicsResponse),
    /// To [`ControllerCommand::CreatePartitions`].
    CreatePartitions(CreatePartitionsResponse),
    /// To [`ControllerCommand::AlterConfigs`].
    AlterConfigs(AlterConfigsResponse),
    /// To [`ControllerCommand::IncrementalAlterConfigs`].
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    /// To [`ControllerCommand::AlterClientQuotas`].
    AlterClientQuotas(AlterClientQuotasResponse),
    /// To [`ControllerCommand::AlterUserScramCredentials`].
    AlterUserScramCredentials(scram_answer::AlterUserScramCredentialsResponse),
    /// To [`ControllerCommand::RegisterBroker`]: the broker's epoch, or why not.
    Registered(Result<i64, RegistrationRefusal>),
    /// To [`ControllerCommand::Heartbeat`].
    Heartbeat(BrokerHeartbeatResponse),
    /// To [`ControllerCommand::AlterPartition`].
    AlterPartition(AlterPartitionResponse),
    /// To [`ControllerCommand::ElectLeaders`].
    ElectLeaders(ElectLeadersResponse),
    /// To [`ControllerCommand::AlterPartitionReassignments`].
    AlterPartitionReassignments(AlterPartitionReassignmentsResponse),
    /// To [`ControllerCommand::RegisterController`].
    ControllerRegistered(ControllerRegistrationResponse),
    /// To [`ControllerCommand::UnregisterBroker`].
    BrokerUnregistered(UnregisterBrokerResponse),
    /// To [`ControllerCommand::AssignDirectories`]: the code of each partition, in their order; an
    /// error if the broker may assign none.
    Assigned(Result<Vec<ErrorCode>, ErrorCode>),
    /// To [`ControllerCommand::AllocateProducerIds`].
    ProducerIds(Result<ProducerIdBlock, ErrorCode>),
    /// To [`ControllerCommand::UpdateFeatures`].
    UpdateFeatures(UpdateFeaturesResponse),
}

ottla_machine::answers! {
    ControllerReply {
        Done => () = ();
        CreateTopics(it) => CreateTopicsResponse = it;
        DeleteTopics(it) => DeleteTopicsResponse = it;
        CreatePartitions(it) => CreatePartitionsResponse = it;
        AlterConfigs(it) => AlterConfigsResponse = it;
        IncrementalAlterConfigs(it) => IncrementalAlterConfigsResponse = it;
        AlterClientQuotas(it) => AlterClientQuotasResponse = it;
        AlterUserScramCredentials(it) => scram_answer::AlterUserScramCredentialsResponse = it;
        Registered(it) => Result<i64, RegistrationRefusal> = it;
        Heartbeat(it) => BrokerHeartbeatResponse = it;
        AlterPartition(it) => AlterPartitionResponse = it;
        ElectLeaders(it) => ElectLeadersResponse = it;
        AlterPartitionReassignments(it) => AlterPartitionReassignmentsResponse = it;
        ControllerRegistered(it) => ControllerRegistrationResponse = it;
        BrokerUnregistered(it) => UnregisterBrokerResponse = it;
        Assigned(it) => Result<Vec<ErrorCode>, ErrorCode> = it;
        ProducerIds(it) => Result<ProducerIdBlock, ErrorCode> = it;
        UpdateFeatures(it) => UpdateFeaturesResponse = it;
    }
}

/// The settings of one resource, as they are and as they are asked to be.
#[derive(Clone, Copy, Debug)]
pub struct ConfigChange<'a> {
    /// The cluster as it is.
    pub cluster: &'a Cluster,
    /// What kind of resource it is.
    pub kind: ResourceKind,
    /// Its name; empty is the default of all brokers.
    pub resource: &'a str,
    /// What is set for it; nothing, for a topic that is to be created.
    pub before: &'a BTreeMap<String, String>,
    /// What would be set for it.
    pub after: &'a BTreeMap<String, String>,
}

/// Which settings there are, and which values they take: the broker's table of settings knows.
pub trait ConfigRules: Debug + Send + Sync {
    /// May a resource have these settings? All of them are checked, since one that is allowed
    /// can contradict another.
    ///
    /// # Errors
    /// Kafka's code, and the message for the client.
    fn check(&self, change: &ConfigChange<'_>) -> Result<(), (ErrorCode, String)>;

    /// Is the value a list, so that something can be appended to it?
    fn is_list(&self, kind: ResourceKind, name: &str) -> bool;

    /// The value in force if nothing is set for the resource itself.
    fn fallback(&self, cluster: &Cluster, kind: ResourceKind, name: &str) -> Option<String>;

    /// The settings of a topic that has these of its own, for the answer to its creation.
    fn describe_topic(
        &self,
        cluster: &Cluster,
        own: &[(String, String)],
    ) -> Vec<CreatableTopicConfigs>;
}
