//! What brokers and the controller say to each other, and what else happens.

use ottla_metadata::ControllerTimer;
use ottla_raft::LogEnd;
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

use crate::log::SimRecord;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PartitionMessage {
    /// To the controller: a broker's process registers.
    Register(SimRegistration),
    /// To the controller: a broker lives.
    Heartbeat(SimHeartbeat),
    /// To a broker: its process is registered, in this epoch.
    Registered {
        life: u32,
        broker_epoch: i64,
    },
    /// To a broker: the epoch of its heartbeat is over.
    StaleEpoch {
        life: u32,
        broker_epoch: i64,
    },
    /// To a broker: it may stop.
    MayStop {
        life: u32,
    },
    /// To a broker: the metadata log up to there.
    Metadata {
        life: u32,
        upto: usize,
    },
    /// To the controller: a leader wants another in-sync set.
    AlterPartition(ProposedInSync),
    /// To a broker: what the controller has made of its request.
    Altered {
        life: u32,
        answer: InSyncAnswer,
    },
    Fetch {
        fetch: ReplicaFetch,
        life: u32,
    },
    Fetched {
        answer: ReplicaFetchAnswer,
        number: u64,
        life: u32,
    },
}

/// A follower asks for what comes after its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReplicaFetch {
    pub follower: NodeId,
    /// Of the follower's registration (KIP-903).
    pub broker_epoch: i64,
    pub leader_epoch: LeaderEpoch,
    pub end: LogEnd,
    pub number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReplicaFetchAnswer {
    pub leader_epoch: LeaderEpoch,
    /// Where the logs part; then there are no entries.
    pub diverging: Option<LogEnd>,
    pub entries: Vec<SimRecord>,
    pub high_watermark: Offset,
}

/// A member of an in-sync set, in which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IncarnatedMember {
    pub id: NodeId,
    pub broker_epoch: i64,
}

/// A broker's process says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SimRegistration {
    pub life: u32,
    /// The epoch that its last life wrote down when it stopped cleanly.
    pub previous_broker_epoch: i64,
    /// The active controller that it was sent to; the next one does not get it.
    pub term: u32,
}

/// A broker lives, and has applied that many records of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SimHeartbeat {
    pub broker_epoch: i64,
    pub applied: usize,
    pub wants_stop: bool,
    /// See [`SimRegistration::term`].
    pub term: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProposedInSync {
    pub leader: NodeId,
    pub broker_epoch: i64,
    /// See [`SimRegistration::term`].
    pub term: u32,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub in_sync: Vec<IncarnatedMember>,
    /// The life of the leader's process, and how many requests it has sent in it.
    pub life: u32,
    pub number: u64,
}

/// What the controller answers to a leader that wants another in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InSyncAnswer {
    /// See [`ProposedInSync::number`].
    pub number: u64,
    pub code: ErrorCode,
    /// Upon which state of the partition the set was made.
    pub asked_epoch: i32,
    /// The state of the partition now.
    pub partition_epoch: i32,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PartitionEvent {
    Arrives {
        from: usize,
        to: usize,
        message: PartitionMessage,
    },
    /// A broker sends a heartbeat to the controller, and fetches metadata and records.
    Polled {
        broker: usize,
        life: u32,
    },
    /// A timer of the controller is due.
    TimerDue {
        timer: ControllerTimer,
        at_ms: u64,
    },
    /// It is checked that brokers that are silent are fenced.
    SessionsChecked,
    /// A producer sends to some leader.
    Produced,
    /// An administrator changes other topics.
    Administered,
    Fault,
    Restarted {
        broker: usize,
        life: u32,
    },
}
