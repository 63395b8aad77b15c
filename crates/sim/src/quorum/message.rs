//! What the nodes of a quorum say to each other, and what else happens to them.

use ottla_raft::{Durable, LogEnd, ReplicaKey, VoteAnswer, VoteAsked};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::log::SimRecord;

/// A request and its answer carry `life`, the requester's incarnation: like an answer on a
/// connection that its process did not survive, an answer to an earlier life is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum QuorumMessage {
    AskVote { asked: VoteAsked, life: u32 },
    Vote { answer: VoteAnswer, leader: Option<NodeId>, life: u32 },
    BeginEpoch { leader: NodeId, epoch: LeaderEpoch },
    BeginEpochAnswer { standing: Standing },
    Fetch { fetch: QuorumFetch, life: u32 },
    Fetched { answer: QuorumFetchAnswer, number: u64, life: u32 },
}

/// The epoch of a replica, and the leader that it knows: part of every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    pub epoch: LeaderEpoch,
    pub leader: Option<NodeId>,
}

/// A fetch from where the follower's durable log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QuorumFetch {
    pub follower: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub end: LogEnd,
    pub high_watermark: Offset,
    /// Which of the follower's fetches this is; its answer says so.
    pub number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum QuorumFetchAnswer {
    /// The one that was asked does not lead in this epoch.
    NotLeader(Standing),
    /// The logs part at `at`.
    Diverging { leader: Standing, at: LogEnd },
    /// What comes next, and up to where it is committed.
    Entries { leader: Standing, entries: Vec<SimRecord>, high_watermark: Offset },
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum QuorumEvent {
    Arrives {
        from: usize,
        to: usize,
        message: QuorumMessage,
    },
    /// The moment for which a replica waits.
    Woken {
        node: usize,
        life: u32,
        at_ms: u64,
    },
    /// The oldest write of the quorum state is on the disk.
    Persisted {
        node: usize,
        life: u32,
    },
    /// The log up to `end`, as of this generation, is on the disk.
    Flushed {
        node: usize,
        life: u32,
        generation: u32,
        end: usize,
    },
    /// A node looks what it has to send.
    Polled {
        node: usize,
        life: u32,
    },
    /// The longest wait of a parked fetch is over.
    Unparked {
        node: usize,
        life: u32,
        follower: usize,
        number: u64,
    },
    /// A client proposes a record to some leader.
    Proposed,
    /// Something bad happens, or ends.
    Fault,
    Restarted {
        node: usize,
        life: u32,
    },
}

/// What the restart of a node needs to know: what was on its disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskAtRestart {
    pub promised: Durable,
    pub log: Vec<SimRecord>,
}
