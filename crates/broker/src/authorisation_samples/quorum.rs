//! What members of the metadata quorum send to each other, and operators to its leader.

use ottla_protocol::messages::{
    add_raft_voter_request, begin_quorum_epoch_request, end_quorum_epoch_request,
    fetch_snapshot_request, remove_raft_voter_request, update_raft_voter_request, vote_request,
};

use super::{SampleRequest, show};

/// The requests, by the names of the table. None of them is granted: they name no partition, or
/// another cluster.
pub const ALL: &[(&str, SampleRequest)] = &[
    ("Vote", |h| show(h, 2, &vote_request::VoteRequest::default())),
    ("BeginQuorumEpoch", |h| {
        show(h, 1, &begin_quorum_epoch_request::BeginQuorumEpochRequest::default())
    }),
    ("EndQuorumEpoch", |h| show(h, 1, &end_quorum_epoch_request::EndQuorumEpochRequest::default())),
    ("FetchSnapshot", |h| show(h, 1, &fetch_snapshot_request::FetchSnapshotRequest::default())),
    ("AddRaftVoter", |h| {
        let cluster_id = Some("another".to_owned());
        let request = add_raft_voter_request::AddRaftVoterRequest { cluster_id, ..super::d() };
        show(h, 1, &request)
    }),
    ("RemoveRaftVoter", |h| {
        let cluster_id = Some("another".to_owned());
        let request =
            remove_raft_voter_request::RemoveRaftVoterRequest { cluster_id, ..super::d() };
        show(h, 0, &request)
    }),
    ("UpdateRaftVoter", |h| {
        let cluster_id = Some("another".to_owned());
        let request =
            update_raft_voter_request::UpdateRaftVoterRequest { cluster_id, ..super::d() };
        show(h, 0, &request)
    }),
];
