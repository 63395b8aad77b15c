//! What a replica is told, and what it wants done.

use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::voters::{ReplicaKey, VoterSet};

/// What must survive a crash: the content of `quorum-state`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The epoch; votes and leaders belong to it.
    pub epoch: LeaderEpoch,
    /// The leader of the epoch.
    pub leader: Option<NodeId>,
    /// Whom this replica voted for in the epoch.
    pub voted: Option<ReplicaKey>,
}

/// Where a log ends: compared epoch first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// The epoch of the last record.
    pub epoch: LeaderEpoch,
    /// The offset behind it.
    pub offset: Offset,
}

/// A candidate's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteAsked {
    /// Who asks.
    pub candidate: ReplicaKey,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// Where its log ends.
    pub log: LogEnd,
    /// Only asking whether it would be elected?
    pub pre_vote: bool,
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// It starts, with what it had made durable.
    Started(Durable),
    /// What [`Effect::Persist`] asked for is on the disk.
    Persisted(Durable),
    /// The election or fetch timeout has passed.
    TimedOut,
    /// A voter answered in `epoch`.
    Voted {
        /// Who.
        voter: NodeId,
        /// In which epoch.
        epoch: LeaderEpoch,
        /// Did it say yes?
        granted: bool,
    },
    /// Another replica asks for a vote.
    Asked(VoteAsked),
    /// Some message told of an epoch and perhaps its leader.
    Heard {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its leader.
        leader: Option<NodeId>,
    },
    /// The log ends here now, on this replica's disk.
    Stored(LogEnd),
    /// A follower asked for what lies behind `end`: all below is on its disk.
    Fetched {
        /// Who.
        follower: ReplicaKey,
        /// Up to where it has the log.
        end: Offset,
    },
    /// The log says that these are the voters; in force at once, committed or not (KIP-853).
    VotersChanged(VoterSet),
    /// The node shuts down, or its controller cannot go on.
    Resign,
}

/// What a replica wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable, then tell with [`Input::Persisted`]. Effects that rest on it come then.
    Persist(Durable),
    /// Ask every other voter.
    AskVotes(VoteAsked),
    /// Answer the one that asked.
    AnswerVote {
        /// Who asked.
        candidate: ReplicaKey,
        /// In which epoch this replica is.
        epoch: LeaderEpoch,
        /// Yes?
        granted: bool,
    },
    /// Append the batch that opens the epoch: LeaderChange, and what belongs with it.
    OpenEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// Everything below is committed.
    Committed(Offset),
    /// No longer the leader.
    StepDown,
    /// Wait for an election timeout from now.
    WaitElection,
    /// Wait for a fetch timeout from now.
    WaitFetch,
}
