//! What happens to a replica, and what it wants done.

use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::voters::{ReplicaKey, VoterSet};

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
}

impl Default for Timing {
    fn default() -> Self {
        Self { election_ms: 1000, fetch_ms: 2000 }
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
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// It starts, with what it had made durable.
    Started(Durable),
    /// What [`Effect::Persist`] asked for is on the disk.
    Persisted(Durable),
    /// The moment of the last [`Effect::Wait`] has come; too early, and it is ignored.
    TimedOut,
    /// A voter has answered [`Effect::AskVotes`].
    Voted(VoteAnswer),
    /// Another replica asks for a vote.
    Asked(VoteAsked),
    /// A message has carried an epoch, and perhaps its leader.
    Heard {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its leader.
        leader: Option<NodeId>,
    },
    /// The log ends here now, on this replica's disk.
    Stored(LogEnd),
    /// What [`Effect::OpenEpoch`] asked for is in the log, on the disk or not.
    EpochOpened {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The offset of the batch that opens it.
        start: Offset,
    },
    /// The leader answered this follower's fetch.
    FetchAnswered {
        /// The leader.
        leader: NodeId,
        /// Its epoch.
        epoch: LeaderEpoch,
    },
    /// A follower fetches in this leader's epoch, from a place where the logs agree: all below
    /// `end` is on its disk.
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make this durable, then tell with [`Input::Persisted`]. Effects that rest on it come then.
    Persist(Durable),
    /// Ask every other voter; [`Input::Voted`] brings each answer.
    AskVotes(VoteAsked),
    /// Answer the one that asked.
    AnswerVote {
        /// The candidate.
        candidate: ReplicaKey,
        /// What to answer.
        answer: VoteAnswer,
    },
    /// Append the batch that opens the epoch: LeaderChange, and what belongs with it; then tell
    /// with [`Input::EpochOpened`].
    OpenEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// Everything below is committed.
    Committed(Offset),
    /// No longer the leader.
    StepDown,
    /// Give [`Input::TimedOut`] at this moment, and no longer at that of an earlier `Wait`.
    Wait {
        /// When, on the clock of [`Moment`]; `None` is never.
        until_ms: Option<u64>,
    },
}
