//! What happens to a replica.

use alloc::vec::Vec;

use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

use crate::fetching::{FetchAnswered, FetchAsked, SnapshotAnswered, SnapshotAsked};
use crate::membership::ChangeAsked;
use crate::quorum_log::{LogBatch, QuorumControl, SnapshotId};
use crate::voters::{KraftVersions, ReplicaKey};

/// What must survive a crash: the content of `quorum-state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The epoch; votes and leaders belong to it.
    pub epoch: LeaderEpoch,
    /// The leader of the epoch.
    pub leader: Option<NodeId>,
    /// Whom this replica voted for in the epoch.
    pub voted: Option<ReplicaKey>,
}

/// Where a log ends: compared epoch first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogEnd {
    /// The epoch of the last record.
    pub epoch: LeaderEpoch,
    /// The offset after it.
    pub offset: Offset,
}

/// The epoch of a replica, and the leader that it knows: part of every answer between replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its leader.
    pub leader: Option<NodeId>,
}

/// When a step happens, and chance for it: the core reads no clock and draws no number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Monotonic milliseconds since some start of the caller's choosing.
    pub now_ms: u64,
    /// A random number, drawn for this step; it spreads election timeouts.
    pub draw: u64,
}

/// How long a replica waits, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// `controller.quorum.election.timeout.ms`: an election may take this long, and up to twice
    /// as long by chance.
    pub election_ms: u64,
    /// `controller.quorum.fetch.timeout.ms`: a follower that gets no answer to a fetch for this
    /// long starts a pre-vote.
    pub fetch_ms: u64,
    /// `controller.quorum.election.backoff.max.ms`: how long the last of the candidates that a
    /// resigned leader names waits.
    pub backoff_max_ms: u64,
    /// `controller.quorum.request.timeout.ms`: a change of the voters that takes longer is
    /// answered with `REQUEST_TIMED_OUT`.
    pub request_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { election_ms: 1000, fetch_ms: 2000, backoff_max_ms: 1000, request_ms: 2000 }
    }
}

/// What a vote is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ballot {
    /// Whether the replica would be elected (KIP-996); promises nothing.
    PreVote,
    /// To be elected.
    Vote,
}

/// A candidate's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VoteAsked {
    /// The candidate.
    pub candidate: ReplicaKey,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// Where its log ends.
    pub log: LogEnd,
    /// What it asks for.
    pub ballot: Ballot,
}

/// A voter's answer to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VoteAnswer {
    /// The voter that answers.
    pub voter: NodeId,
    /// In which epoch it is.
    pub epoch: LeaderEpoch,
    /// What it was asked for.
    pub ballot: Ballot,
    /// Does it say yes?
    pub granted: bool,
    /// Why it says neither yes nor no: `INVALID_VOTER_KEY` where the request is for another
    /// replica of the same node, `UNSUPPORTED_VERSION` where the node knows no pre-votes.
    pub error: ErrorCode,
}

/// BeginQuorumEpoch: a leader says that it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BeginAsked {
    /// The leader.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The voter that the request is for, where the request names one.
    pub voter: Option<ReplicaKey>,
}

/// EndQuorumEpoch: a leader says that it leads no longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndAsked {
    /// The leader.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The voters that it would be followed by, the best first.
    pub preferred: Vec<ReplicaKey>,
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// It starts, with what it had made durable.
    Started(Durable),
    /// What [`Effect::Persist`](crate::Effect::Persist) asked for is on the disk.
    Persisted(Durable),
    /// The moment of the last [`Effect::Wait`](crate::Effect::Wait) has come; too early, and it
    /// is ignored.
    TimedOut,
    /// A voter has answered [`Effect::AskVotes`](crate::Effect::AskVotes).
    Voted(VoteAnswer),
    /// Another replica asks for a vote.
    Asked {
        /// Its question.
        asked: VoteAsked,
        /// The voter that the request is for, where the request names one.
        voter: Option<ReplicaKey>,
    },
    /// A message has carried an epoch, and perhaps its leader.
    Heard(Standing),
    /// A leader says that it leads.
    BeginAsked(BeginAsked),
    /// A leader says that it leads no longer.
    EndAsked(EndAsked),
    /// The connection to the leader was reset, and the leader refuses another one.
    LeaderUnreachable {
        /// The leader.
        leader: NodeId,
    },
    /// This leader has appended a batch to its log: one of its own, or one that an effect asked
    /// for. It need not be durable.
    Appended(LogBatch),
    /// The log ends here now, on this replica's disk.
    Stored(LogEnd),
    /// A replica fetches. [`Raft::fetch_verdict`](crate::Raft::fetch_verdict) has the answer.
    Fetched(FetchAsked),
    /// A fetch of this replica was answered.
    FetchAnswered(FetchAnswered),
    /// A replica fetches a part of a snapshot, and is sent it.
    SnapshotFetched(SnapshotAsked),
    /// A fetch of a part of a snapshot was answered.
    SnapshotAnswered(SnapshotAnswered),
    /// What [`Effect::FreezeSnapshot`](crate::Effect::FreezeSnapshot) asked for is on the disk.
    SnapshotFrozen {
        /// The snapshot.
        id: SnapshotId,
        /// What the snapshot says of the quorum.
        controls: Vec<QuorumControl>,
    },
    /// This replica has written a snapshot of its own.
    SnapshotTaken(SnapshotId),
    /// The log starts at this offset now: that of a snapshot.
    Cleaned {
        /// The snapshot.
        start: SnapshotId,
    },
    /// An operator, or another replica, asks for other voters.
    ChangeAsked(ChangeAsked),
    /// The node that is to become a voter has said which versions of `kraft.version` it speaks,
    /// or could not be asked.
    VersionsAnswered {
        /// The node.
        voter: NodeId,
        /// Its versions.
        versions: Result<KraftVersions, ErrorCode>,
    },
    /// The leader has answered [`Effect::AskChange`](crate::Effect::AskChange).
    ChangeAnswered {
        /// The leader.
        leader: NodeId,
        /// Its answer.
        error: ErrorCode,
    },
    /// The node shuts down, or its controller cannot go on.
    Resign,
}
