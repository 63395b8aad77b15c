//! The voter set: a voter is its key, the node id with the directory id.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use ottla_types::{Bug, NodeId, Offset, Uuid, is_planted};

/// A replica of the metadata log. The same node with another directory is another replica: its
/// disk was replaced, and with it what it promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// The node.
    pub id: NodeId,
    /// Its metadata directory; zero where kraft.version 0 knows none.
    pub directory: Uuid,
}

impl ReplicaKey {
    /// Is this the replica that was meant by `self`? Without directory ids the node id decides.
    #[must_use]
    pub(crate) fn is(&self, other: Self) -> bool {
        self.id == other.id && (self.directory.is_zero() || self.directory == other.directory)
    }
}

/// Where a voter's controller listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    /// Its node id and directory id.
    pub key: ReplicaKey,
    /// Where its controller listens.
    pub endpoints: Vec<Endpoint>,
    /// The oldest and the newest kraft.version that it speaks.
    pub kraft_versions: (i16, i16),
}

/// All voters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VoterSet {
    voters: BTreeMap<NodeId, Voter>,
}

impl VoterSet {
    /// A set of these voters; of two with the same id, the last.
    pub fn of(voters: impl IntoIterator<Item = Voter>) -> Self {
        Self { voters: voters.into_iter().map(|voter| (voter.key.id, voter)).collect() }
    }

    /// The voters by id.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// How many make a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Does this replica vote? Without directory ids (kraft.version 0) the node id decides.
    #[must_use]
    pub fn has(&self, key: ReplicaKey) -> bool {
        self.voters.get(&key.id).is_some_and(|voter| {
            voter.key.directory == key.directory || voter.key.directory.is_zero()
        })
    }

    /// Is this replica the only voter?
    #[must_use]
    pub fn is_only(&self, key: ReplicaKey) -> bool {
        self.len() == 1 && self.has(key)
    }

    /// Do these replicas make a majority?
    #[must_use]
    pub fn is_majority(&self, ids: &BTreeSet<NodeId>) -> bool {
        self.voters.keys().filter(|id| ids.contains(id)).count() >= self.majority()
    }

    /// Can no majority be reached without these replicas?
    #[must_use]
    pub fn is_blocked_by(&self, ids: &BTreeSet<NodeId>) -> bool {
        if is_planted(Bug::RefusalsByMajority) {
            return self.is_majority(ids);
        }
        self.voters.keys().filter(|id| !ids.contains(id)).count() < self.majority()
    }

    /// The offset that a majority holds, when voter `id` holds everything below `end(id)`.
    #[must_use]
    pub fn held_by_majority(&self, end: impl Fn(NodeId) -> Offset) -> Option<Offset> {
        let majority = self.majority() - usize::from(is_planted(Bug::MinorityCommits));
        let mut ends: Vec<Offset> = self.voters.keys().map(|id| end(*id)).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(majority.checked_sub(1)?).copied()
    }
}
