//! What a replica wants sent to others, and what it answers them.

use ottla_raft::{MembershipChange, ReplicaKey, RequestId, VoteAnswer, VoteAsked, Voter};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId};

/// A request to another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// The node.
    pub to: NodeId,
    /// The request.
    pub request: PeerRequest,
}

/// What a replica asks of another, beside fetching from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRequest {
    /// Vote; [`Quorum::voted`](crate::Quorum::voted) takes the answer.
    Vote {
        /// The question.
        asked: VoteAsked,
        /// The voter.
        voter: ReplicaKey,
    },
    /// BeginQuorumEpoch; [`Quorum::heard`](crate::Quorum::heard) takes the answer, as the next.
    BeginEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The voter.
        voter: ReplicaKey,
    },
    /// EndQuorumEpoch.
    EndEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The voters that are to stand first.
        preferred: Vec<ReplicaKey>,
    },
    /// AddRaftVoter, RemoveRaftVoter or UpdateRaftVoter;
    /// [`Quorum::change_answered`](crate::Quorum::change_answered) takes the answer.
    Change(MembershipChange),
    /// ApiVersions of a node that is to become this voter;
    /// [`Quorum::versions_answered`](crate::Quorum::versions_answered) takes the answer.
    Versions(Voter),
}

/// What one step answers to those that asked.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// To a Vote.
    pub vote: Option<VoteAnswer>,
    /// To a BeginQuorumEpoch or an EndQuorumEpoch.
    pub epoch: Option<ErrorCode>,
    /// To requests for other voters.
    pub changes: Vec<(RequestId, ErrorCode)>,
}
