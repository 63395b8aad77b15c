//! Changes of the voters.

use ottla_protocol::messages::add_raft_voter_request::{
    AddRaftVoterRequest, Listener as AddedListener,
};
use ottla_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;
use ottla_protocol::messages::update_raft_voter_request::{
    KRaftVersionFeature, Listener as UpdatedListener, UpdateRaftVoterRequest,
};
use ottla_raft::{ReplicaKey, Voter};
use ottla_types::LeaderEpoch;

/// AddRaftVoter, for a replica that adds itself.
#[must_use]
pub fn add_request(cluster_id: &str, voter: &Voter, timeout_ms: i32) -> AddRaftVoterRequest {
    AddRaftVoterRequest {
        cluster_id: Some(cluster_id.to_owned()),
        timeout_ms,
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory,
        listeners: written_endpoints!(voter.endpoints => AddedListener),
        ack_when_committed: false,
        ..Default::default()
    }
}

/// The voter that an AddRaftVoter names; the levels of `kraft.version` that it speaks are asked.
#[must_use]
pub fn read_add(request: &AddRaftVoterRequest) -> Voter {
    Voter {
        key: ReplicaKey { id: request.voter_id, directory: request.voter_directory_id },
        endpoints: read_endpoints!(request.listeners),
        kraft_versions: (0, 0),
    }
}

/// RemoveRaftVoter.
#[must_use]
pub fn remove_request(cluster_id: &str, voter: ReplicaKey) -> RemoveRaftVoterRequest {
    RemoveRaftVoterRequest {
        cluster_id: Some(cluster_id.to_owned()),
        voter_id: voter.id,
        voter_directory_id: voter.directory,
        ..Default::default()
    }
}

/// UpdateRaftVoter.
#[must_use]
pub fn update_request(
    cluster_id: &str,
    voter: &Voter,
    epoch: LeaderEpoch,
) -> UpdateRaftVoterRequest {
    UpdateRaftVoterRequest {
        cluster_id: Some(cluster_id.to_owned()),
        current_leader_epoch: epoch,
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory,
        listeners: written_endpoints!(voter.endpoints => UpdatedListener),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..Default::default()
        },
        ..Default::default()
    }
}

/// The voter that an UpdateRaftVoter names.
#[must_use]
pub fn read_update(request: &UpdateRaftVoterRequest) -> Voter {
    let versions = &request.kraft_version_feature;
    Voter {
        key: ReplicaKey { id: request.voter_id, directory: request.voter_directory_id },
        endpoints: read_endpoints!(request.listeners),
        kraft_versions: (versions.min_supported_version, versions.max_supported_version),
    }
}
