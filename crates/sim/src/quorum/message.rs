//! What the nodes of a quorum say to each other, and what else happens to them.

use ottla_raft::{
    BeginAsked, Durable, EndAsked, FetchAsked, KraftVersions, LogEnd, MembershipChange, ReplicaKey,
    RequestId, SnapshotAsked, SnapshotId, SnapshotPart, Standing, VoteAnswer, VoteAsked,
};
use ottla_types::{ErrorCode, Offset};

use super::log::DiskLog;
use crate::log::SimRecord;

/// A request and its answer carry `life`, the requester's incarnation: like an answer on a
/// connection that its process did not survive, an answer to an earlier life is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum QuorumMessage {
    AskVote {
        asked: VoteAsked,
        voter: ReplicaKey,
        life: u32,
    },
    Vote {
        answer: VoteAnswer,
        standing: Standing,
        life: u32,
    },
    BeginEpoch {
        asked: BeginAsked,
    },
    EndEpoch {
        asked: EndAsked,
    },
    /// The answer to one of the two.
    EpochAnswer {
        standing: Standing,
        error: ErrorCode,
    },
    Fetch {
        fetch: FetchAsked,
        number: u64,
        life: u32,
    },
    Fetched {
        fetch: FetchAsked,
        standing: Standing,
        reply: FetchReply,
        number: u64,
        life: u32,
    },
    FetchSnapshot {
        fetch: SnapshotAsked,
        number: u64,
        life: u32,
    },
    SnapshotFetched {
        fetch: SnapshotAsked,
        standing: Standing,
        part: Result<SnapshotPart, ErrorCode>,
        number: u64,
        life: u32,
    },
    /// ApiVersions, of which only `kraft.version` matters here.
    AskVersions,
    Versions {
        versions: KraftVersions,
    },
    AskChange {
        change: MembershipChange,
        life: u32,
    },
    ChangeAnswer {
        error: ErrorCode,
        life: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FetchReply {
    Refused(ErrorCode),
    Diverging(LogEnd),
    Snapshot(SnapshotId),
    /// What comes next, and up to where it is committed.
    Entries {
        entries: Vec<SimRecord>,
        high_watermark: Option<Offset>,
    },
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
    /// A snapshot that was fetched is on the disk.
    Frozen {
        node: usize,
        life: u32,
        id: SnapshotId,
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
    /// A connection to a process that is gone was reset, and refused when it was tried again.
    Refused {
        node: usize,
        life: u32,
        by: usize,
    },
    /// A client proposes a record to some leader.
    Proposed,
    /// An operator asks some leader for other voters, or a node writes a snapshot.
    Operated,
    /// Something bad happens, or ends.
    Fault,
    Restarted {
        node: usize,
        life: u32,
    },
}

/// For whom a leader makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChangeRequester {
    pub request: RequestId,
    pub from: usize,
    pub life: u32,
}

/// What the restart of a node needs to know: what was on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct DiskAtRestart {
    pub promised: Durable,
    pub log: DiskLog,
    /// Was the disk formatted with the first voters?
    pub is_formatted: bool,
}
