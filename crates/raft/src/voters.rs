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
    pub kraft_versions: KraftVersions,
}

/// The oldest and the newest level of `kraft.version` that a replica speaks.
pub type KraftVersions = (i16, i16);

impl Voter {
    /// Does it speak this level of `kraft.version`?
    #[must_use]
    pub const fn speaks(&self, version: i16) -> bool {
        self.kraft_versions.0 <= version && version <= self.kraft_versions.1
    }
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

    /// The voter of a node, whatever its directory.
    #[must_use]
    pub fn of_node(&self, id: NodeId) -> Option<&Voter> {
        self.voters.get(&id)
    }

    /// The keys of all voters but this replica.
    pub fn others(&self, own: ReplicaKey) -> impl Iterator<Item = ReplicaKey> {
        self.voters.values().map(|voter| voter.key).filter(move |key| key.id != own.id)
    }

    /// The set with this voter in it, in the place of another of the same node.
    #[must_use]
    pub fn with(&self, voter: Voter) -> Self {
        let mut voters = self.voters.clone();
        voters.insert(voter.key.id, voter);
        Self { voters }
    }

    /// The set without the voter of this node.
    #[must_use]
    pub fn without(&self, id: NodeId) -> Self {
        let mut voters = self.voters.clone();
        voters.remove(&id);
        Self { voters }
    }

    /// Does every majority of this set have a voter of every majority of the other? So it is when
    /// one voter was added, removed or replaced at most.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let lacks = |a: &Self, b: &Self| {
            a.voters
                .values()
                .filter(|voter| !b.voters.values().any(|it| it.key == voter.key))
                .count()
        };
        lacks(self, other) <= 1 && lacks(other, self) <= 1
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

    /// The offset that a majority holds, when a voter holds everything below `end(voter)`.
    #[must_use]
    pub fn held_by_majority(&self, end: impl Fn(&Voter) -> Offset) -> Option<Offset> {
        let majority = self.majority() - usize::from(is_planted(Bug::MinorityCommits));
        let mut ends: Vec<Offset> = self.voters.values().map(end).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(majority.checked_sub(1)?).copied()
    }
}
