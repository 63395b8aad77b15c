//! The metadata quorum: its leader, and the log end of each voter and observer.

use ottla_protocol::messages::add_raft_voter_request::{AddRaftVoterRequest, Listener};
use ottla_protocol::messages::describe_quorum_request::{
    DescribeQuorumRequest, PartitionData, TopicData,
};
use ottla_protocol::messages::describe_quorum_response::ReplicaState;
use ottla_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;
use ottla_types::{CLUSTER_METADATA, ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs, Uuid};

use super::CONTROLLER_TIMEOUT_MS;
use crate::client::Client;
use crate::error::ClientError;

/// The metadata quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumDescription {
    /// The leader; -1 if there is none.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Up to where the metadata log is committed.
    pub high_watermark: Offset,
    /// The controllers that vote.
    pub voters: Vec<QuorumReplica>,
    /// Those that only read.
    pub observers: Vec<QuorumReplica>,
}

/// A voter or an observer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumReplica {
    /// The node.
    pub id: NodeId,
    /// Its directory; all zeros if that is not known.
    pub directory: Uuid,
    /// The end of its log.
    pub log_end: Offset,
    /// When it last fetched, by the leader's clock; -1 if that is not known.
    pub last_fetch: TimestampMs,
    /// When it was last caught up, by the leader's clock; -1 if that is not known.
    pub last_caught_up: TimestampMs,
    /// Where it listens: `NAME://HOST:PORT`.
    pub endpoints: Vec<String>,
}

/// Where a controller listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub name: String,
    /// The host that others reach it by.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl From<ReplicaState> for QuorumReplica {
    fn from(replica: ReplicaState) -> Self {
        Self {
            id: replica.replica_id,
            directory: replica.replica_directory_id,
            log_end: replica.log_end_offset,
            last_fetch: replica.last_fetch_timestamp,
            last_caught_up: replica.last_caught_up_timestamp,
            endpoints: Vec::new(),
        }
    }
}

impl Client {
    /// The metadata quorum, as its leader knows it.
    ///
    /// # Errors
    /// There is no leader, or no broker answers.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ClientError> {
        let partition = PartitionData { partition_index: 0, ..Default::default() };
        let topic = TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = DescribeQuorumRequest { topics: vec![topic], ..Default::default() };
        let response = self.ask_any(&request).await?;
        let what = "the metadata quorum";
        ClientError::check_item(response.error_code, response.error_message, what)?;
        let Some(found) = response.topics.into_iter().flat_map(|it| it.partitions).next() else {
            let code = ErrorCode::UNKNOWN_SERVER_ERROR;
            let reason = "the broker does not know the quorum".to_owned();
            return Err(ClientError::RefusedBecause { code, reason });
        };
        ClientError::check_item(found.error_code, found.error_message, what)?;
        let replica = |state: ReplicaState| {
            let mut replica = QuorumReplica::from(state);
            let node = response.nodes.iter().find(|node| node.node_id == replica.id);
            let listeners = node.into_iter().flat_map(|node| &node.listeners);
            replica.endpoints =
                listeners.map(|it| format!("{}://{}:{}", it.name, it.host, it.port)).collect();
            replica
        };
        Ok(QuorumDescription {
            leader: found.leader_id,
            leader_epoch: found.leader_epoch,
            high_watermark: found.high_watermark,
            voters: found.current_voters.into_iter().map(replica).collect(),
            observers: found.observers.into_iter().map(replica).collect(),
        })
    }

    /// Makes a controller that follows the quorum one of its voters (KIP-853). Answered when the
    /// change has committed.
    ///
    /// # Errors
    /// The quorum refuses, or no node answers.
    pub async fn add_raft_voter(
        &self,
        node: NodeId,
        directory: Uuid,
        endpoints: &[VoterEndpoint],
    ) -> Result<(), ClientError> {
        let listener = |endpoint: &VoterEndpoint| Listener {
            name: endpoint.name.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            ..Default::default()
        };
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            voter_id: node,
            voter_directory_id: directory,
            listeners: endpoints.iter().map(listener).collect(),
            ack_when_committed: true,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        let what = format!("controller {node}");
        ClientError::check_item(response.error_code, response.error_message, what)
    }

    /// Takes a voter out of the quorum (KIP-853). Answered when the change has committed.
    ///
    /// # Errors
    /// The quorum refuses, or no node answers.
    pub async fn remove_raft_voter(
        &self,
        node: NodeId,
        directory: Uuid,
    ) -> Result<(), ClientError> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: node,
            voter_directory_id: directory,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        let what = format!("controller {node}");
        ClientError::check_item(response.error_code, response.error_message, what)
    }
}
