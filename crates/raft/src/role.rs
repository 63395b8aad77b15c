//! What a replica is at the moment, and what it knows only as that.

use alloc::collections::{BTreeMap, BTreeSet};

use ottla_types::{NodeId, Offset};

/// The part a replica plays in its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Knows no leader.
    Unattached,
    /// Fetches from a leader.
    Follower {
        /// The leader.
        leader: NodeId,
        /// Has the leader answered a fetch in this epoch? Until then it may be dead, and another
        /// replica does not wait for it.
        has_fetched: bool,
    },
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
    /// The elected leader of its epoch.
    Leader {
        /// Where its epoch starts; only beyond it may anything commit. `None` until the batch
        /// that opens the epoch is in the log.
        epoch_start: Option<Offset>,
        /// Up to where each voter has the log on its disk.
        held: BTreeMap<NodeId, Offset>,
        /// Everything below is committed; `None` until something of this epoch is.
        committed: Option<Offset>,
        /// The voters that have fetched since the check of the quorum last began.
        contacts: BTreeSet<NodeId>,
    },
    /// Was the leader and is so no longer; waits for the next epoch.
    Resigned,
}

impl Role {
    /// The leader, as far as this role knows one.
    #[must_use]
    pub fn leader(&self, own: NodeId) -> Option<NodeId> {
        match self {
            Self::Follower { leader, .. } => Some(*leader),
            Self::Prospective { leader, .. } => *leader,
            Self::Leader { .. } | Self::Resigned => Some(own),
            Self::Unattached | Self::Candidate { .. } => None,
        }
    }
}
