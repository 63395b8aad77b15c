//! What a replica wants done.

use alloc::vec::Vec;
use core::fmt;

use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

use crate::input::{Durable, LogEnd, VoteAnswer, VoteAsked};
use crate::membership::{MembershipChange, RequestId};
use crate::quorum_log::{QuorumControl, SnapshotId};
use crate::voters::{ReplicaKey, Voter};

/// What a replica wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make this durable, then tell with [`Input::Persisted`](crate::Input::Persisted). Effects
    /// that rest on it come then.
    Persist(Durable),
    /// Ask these voters; [`Input::Voted`](crate::Input::Voted) brings each answer.
    AskVotes {
        /// The question.
        asked: VoteAsked,
        /// Whom.
        voters: Vec<ReplicaKey>,
    },
    /// Answer the one that asked.
    AnswerVote {
        /// Who asked.
        candidate: ReplicaKey,
        /// What to answer.
        answer: VoteAnswer,
    },
    /// Append the batch that opens the epoch: LeaderChange, and these; then tell with
    /// [`Input::Appended`](crate::Input::Appended).
    OpenEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The voters that have elected this leader.
        granted: Vec<NodeId>,
        /// What belongs with it into the batch.
        controls: Vec<QuorumControl>,
    },
    /// Send BeginQuorumEpoch to these voters.
    BeginEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The voters that may not know their leader.
        voters: Vec<ReplicaKey>,
    },
    /// Answer a BeginQuorumEpoch.
    AnswerBegin {
        /// Who sent it.
        leader: NodeId,
        /// The answer.
        error: ErrorCode,
    },
    /// Send EndQuorumEpoch to these voters.
    EndEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
        /// All other voters, those that have more of the log first: the preferred candidates.
        voters: Vec<ReplicaKey>,
    },
    /// Answer an EndQuorumEpoch.
    AnswerEnd {
        /// Who sent it.
        leader: NodeId,
        /// The answer.
        error: ErrorCode,
    },
    /// Append so many of the batches that the leader has sent, and none of the others.
    Append {
        /// How many.
        batches: usize,
    },
    /// Cut the log off at this offset.
    Truncate {
        /// Where the log ends then.
        end: Offset,
    },
    /// Everything below is committed.
    Committed(Offset),
    /// Write the part of the snapshot that has come at this position of its file, which is not
    /// yet one of this replica's snapshots. Position 0 begins the file.
    WriteSnapshot {
        /// The snapshot.
        id: SnapshotId,
        /// The position.
        position: u64,
    },
    /// The snapshot has come as a whole: make it durable, then tell with
    /// [`Input::SnapshotFrozen`](crate::Input::SnapshotFrozen).
    FreezeSnapshot(SnapshotId),
    /// The snapshot takes the place of the whole log, which starts and ends there now.
    ReplaceLog(SnapshotId),
    /// No longer the leader.
    StepDown,
    /// Ask this node, which is to become a voter, which versions of `kraft.version` it speaks;
    /// [`Input::VersionsAnswered`](crate::Input::VersionsAnswered) brings the answer.
    AskVersions(Voter),
    /// Append one batch with these control records; then tell with
    /// [`Input::Appended`](crate::Input::Appended).
    AppendControls(Vec<QuorumControl>),
    /// Answer a request for other voters.
    AnswerChange {
        /// The request.
        request: RequestId,
        /// The answer.
        error: ErrorCode,
    },
    /// Ask the leader for other voters; [`Input::ChangeAnswered`](crate::Input::ChangeAnswered)
    /// brings the answer.
    AskChange {
        /// The leader.
        leader: NodeId,
        /// What to ask for.
        change: MembershipChange,
    },
    /// Give [`Input::TimedOut`](crate::Input::TimedOut) at this moment, and no longer at that of
    /// an earlier `Wait`.
    Wait {
        /// When, on the clock of [`Moment`](crate::Moment); `None` is never.
        until_ms: Option<u64>,
    },
    /// The protocol is broken: stop the node. The replica takes nothing in any more.
    Fatal(FatalReason),
}

/// What cannot happen while all replicas keep their promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FatalReason {
    /// An epoch has two leaders.
    TwoLeaders {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The leader that this replica knows.
        known: NodeId,
        /// The other one.
        other: NodeId,
    },
    /// The leader says that less is committed than this replica knows to be.
    HighWatermarkFell {
        /// The high watermark of this replica.
        known: Offset,
        /// What the leader says.
        told: Offset,
    },
    /// The leader says that the logs part below what is committed.
    TruncationBelowHighWatermark {
        /// The high watermark of this replica.
        known: Offset,
        /// Where the logs are said to part.
        diverging: LogEnd,
    },
    /// The leader offers a snapshot that ends below what is committed.
    SnapshotBelowHighWatermark {
        /// The high watermark of this replica.
        known: Offset,
        /// The snapshot.
        id: SnapshotId,
    },
}

impl fmt::Display for FatalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoLeaders { epoch, known, other } => {
                write!(
                    f,
                    "epoch {epoch} of the metadata quorum has two leaders, {known} and {other}"
                )
            }
            Self::HighWatermarkFell { known, told } => {
                write!(f, "the leader's high watermark {told} is below this replica's {known}")
            }
            Self::TruncationBelowHighWatermark { known, diverging } => write!(
                f,
                "the leader asks to truncate to offset {} of epoch {}, below the high watermark \
                 {known}",
                diverging.offset, diverging.epoch
            ),
            Self::SnapshotBelowHighWatermark { known, id } => write!(
                f,
                "the leader's snapshot ends at offset {}, below the high watermark {known}",
                id.end
            ),
        }
    }
}
