//! What a replica is at the moment, and what it knows only as that.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use ottla_types::{NodeId, Offset};

use crate::membership::PendingChange;
use crate::quorum_log::SnapshotId;
use crate::voters::{ReplicaKey, VoterSet};

/// The part a replica plays in its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Knows no leader.
    Unattached,
    /// Fetches from a leader.
    Follower(Following),
    /// Asks whether it would be elected (KIP-996); the epoch stays.
    Prospective {
        /// Voters that would vote for it.
        granted: BTreeSet<NodeId>,
        /// Voters that would not.
        refused: BTreeSet<NodeId>,
        /// The leader it has lost sight of.
        leader: Option<NodeId>,
    },
    /// Asks to be elected.
    Candidate {
        /// Voters that voted for it.
        granted: BTreeSet<NodeId>,
        /// Voters that did not.
        refused: BTreeSet<NodeId>,
    },
    /// Was elected.
    Leader(Box<Leadership>),
    /// Was the leader and is so no longer; waits for the next epoch.
    Resigned,
}

/// What a follower knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Following {
    /// The leader.
    pub leader: NodeId,
    /// Has the leader answered a fetch in this epoch? Until then it may be dead, and another
    /// replica does not wait for it.
    pub has_fetched: bool,
    /// Does the leader know where this voter listens? Asked for in kraft.version 0 only, whose
    /// log does not say it.
    pub has_introduced: bool,
    /// The snapshot that is being fetched.
    pub download: Option<SnapshotDownload>,
}

impl Following {
    pub(crate) const fn of(leader: NodeId) -> Self {
        Self { leader, has_fetched: false, has_introduced: false, download: None }
    }
}

/// How far the fetching of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotDownload {
    /// Which.
    pub id: SnapshotId,
    /// How much of it is there, in bytes.
    pub position: u64,
    /// How large it is; 0 until the first part has come.
    pub size_bytes: u64,
}

impl SnapshotDownload {
    pub(crate) const fn of(id: SnapshotId) -> Self {
        Self { id, position: 0, size_bytes: 0 }
    }

    /// Has all of it come? Then it is being made durable.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.size_bytes > 0 && self.position >= self.size_bytes
    }
}

/// What a leader knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// Where its epoch starts; only beyond it may anything commit. `None` until the batch that
    /// opens the epoch is in the log.
    pub epoch_start: Option<Offset>,
    /// Everything below is committed; `None` until something of this epoch is.
    pub committed: Option<Offset>,
    /// How far each replica is that has fetched, and this one.
    pub(crate) replicas: BTreeMap<ReplicaKey, ReplicaProgress>,
    /// The voters that have fetched since the check of the quorum last began.
    pub(crate) contacts: BTreeSet<NodeId>,
    /// Who has elected it.
    pub(crate) granted: BTreeSet<NodeId>,
    /// The change of the voters that is under way.
    pub(crate) change: Option<PendingChange>,
    /// In kraft.version 0: the voters with what they have said of themselves.
    pub(crate) introduced: Option<VoterSet>,
}

/// How far a replica is, as its leader knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReplicaProgress {
    /// It has everything below, on its disk if it may vote.
    pub end: Offset,
    /// When it fetched last.
    pub fetched_ms: Option<u64>,
    /// When it last had all that the leader had.
    pub caught_up_ms: Option<u64>,
    /// Where the leader's log ended when it fetched last.
    pub(crate) leader_end: Offset,
}

impl Role {
    /// The leader, as far as this role knows one.
    #[must_use]
    pub fn leader(&self, own: NodeId) -> Option<NodeId> {
        match self {
            Self::Follower(following) => Some(following.leader),
            Self::Prospective { leader, .. } => *leader,
            Self::Leader(_) | Self::Resigned => Some(own),
            Self::Unattached | Self::Candidate { .. } => None,
        }
    }

    /// What a leader knows, if this is one.
    #[must_use]
    pub fn leadership(&self) -> Option<&Leadership> {
        match self {
            Self::Leader(leadership) => Some(leadership),
            _ => None,
        }
    }

    pub(crate) fn leadership_mut(&mut self) -> Option<&mut Leadership> {
        match self {
            Self::Leader(leadership) => Some(leadership),
            _ => None,
        }
    }
}
