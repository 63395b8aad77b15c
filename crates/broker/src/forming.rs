//! Does this node found a cluster with the others of its list, or join one that is there?
//! (`ottla.cluster`, ADR 0022)
//!
//! Nodes ask each other and hand out nothing but what is on their disks. A cluster is founded in
//! two phases. The node with the lowest id, the coordinator, proposes a cluster id and the
//! directory ids of all, once all have answered that they are blank; each node makes a promise of
//! it; when all have promised, the coordinator decides. Only then a node is formatted. A node that
//! finds one that is formatted joins its cluster, as an observer.
//!
//! Why there is never a second cluster: a decision needs the promise of every node of the list,
//! made for the disk that it has. A node whose disk is intact is formatted, or has promised, and is
//! not blank; so a cluster is founded beside another only if the disks of all nodes were replaced,
//! and then nothing of the other is left.
//!
//! This core is pure: what others say and what was written comes in, what is to be written goes
//! out.

mod file;
mod room;
mod wire;

use std::collections::BTreeMap;
use std::fmt;

use ottla_quorum::ReplicaKey;
use ottla_settings::{ClusterList, ClusterNode};
use ottla_types::{Bug, NodeId, Uuid, is_planted};

pub use room::{FormingSeams, form_cluster};

/// What a cluster is to begin with: its id, and who votes first, on which disks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Founding {
    /// Grows with each proposal of one coordinator's disk; from 1.
    pub attempt: u32,
    /// The cluster's id.
    pub cluster_id: String,
    /// All nodes of the list, by their ids, with the ids of their metadata directories.
    pub founders: Vec<ReplicaKey>,
}

impl Founding {
    /// The directory of a node.
    #[must_use]
    pub fn directory_of(&self, node: NodeId) -> Option<Uuid> {
        self.founders.iter().find(|it| it.id == node).map(|it| it.directory)
    }
}

/// How far a node is that is not formatted yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FormingStage {
    /// It has promised nothing.
    Blank,
    /// It founds no other cluster, unless the coordinator proposes one later.
    Promised(Founding),
    /// All have promised: it formats itself as a voter of this cluster.
    Decided(Founding),
    /// Another node is formatted: it formats itself as an observer of this cluster.
    Joining {
        /// The cluster's id.
        cluster_id: String,
    },
}

/// What a node that forms says of itself, and has on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FormingReport {
    /// The nodes as its settings have them.
    pub list: ClusterList,
    /// Which of them it is, and the id of its metadata directory.
    pub key: ReplicaKey,
    /// How far it is.
    pub stage: FormingStage,
}

/// What is known of another node of the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FormingPeer {
    /// It does not answer: why.
    Unreachable(String),
    /// It forms.
    Forming(FormingReport),
    /// It is formatted, and runs.
    Formatted {
        /// The id of its cluster.
        cluster_id: String,
    },
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormingStep {
    /// Ask the others again.
    Wait,
    /// Write this to the disk, and report it with [`Forming::persisted`].
    Persist(FormingStage),
    /// Format the directories as a voter of this cluster.
    Found(Founding),
    /// Format the directories as an observer of this cluster.
    Join {
        /// The cluster's id.
        cluster_id: String,
    },
}

/// Why a node cannot form a cluster with the others, until its operator has done something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormingRefusal {
    /// The settings of the nodes differ.
    #[error(
        "ottla.cluster differs: this node has {own}, but node {peer} has {other}. Set the same list on every node, and start this one again"
    )]
    OtherList {
        /// The list of this node.
        own: ClusterList,
        /// The other node.
        peer: NodeId,
        /// Its list.
        other: ClusterList,
    },
    /// Another node answers at an address of the list.
    #[error(
        "{address} is the controller of node {listed} in ottla.cluster, but node {found} answers there. Set node.id of each node to its place in the list"
    )]
    OtherNode {
        /// The address.
        address: String,
        /// Which node the list has there.
        listed: NodeId,
        /// Which node answers.
        found: NodeId,
    },
    /// Other nodes belong to several clusters.
    #[error(
        "node {first} belongs to cluster {first_cluster}, but node {second} to cluster {second_cluster}: name nodes of one cluster in ottla.cluster"
    )]
    SeveralClusters {
        /// A node.
        first: NodeId,
        /// Its cluster.
        first_cluster: String,
        /// Another node.
        second: NodeId,
        /// Its cluster.
        second_cluster: String,
    },
    /// This node has promised to found a cluster, and another node belongs to a second one.
    #[error(
        "this node has promised to found cluster {promised}, but node {peer} belongs to cluster {other}. To let this node join that cluster, remove forming.properties from its metadata directory"
    )]
    OtherCluster {
        /// The cluster that was promised.
        promised: String,
        /// The other node.
        peer: NodeId,
        /// The cluster of the other node.
        other: String,
    },
    /// The list was changed after the promise.
    #[error(
        "this node has promised to found cluster {cluster_id} with ottla.cluster={promised}, but its settings have {own} now. Set the former list; or, if no node of it is formatted, remove forming.properties from the metadata directory of each"
    )]
    ListChanged {
        /// The cluster that was promised.
        cluster_id: String,
        /// The list at that time.
        promised: ClusterList,
        /// The list of this node.
        own: ClusterList,
    },
    /// The directory is another node's.
    #[error(
        "forming.properties in the metadata directory is of node {found}, but node.id is {own}"
    )]
    OtherDirectory {
        /// Whose the file is.
        found: NodeId,
        /// This node.
        own: NodeId,
    },
}

/// A node that is not formatted yet, among the others of its list.
#[derive(Clone, Debug)]
pub struct Forming {
    own: FormingReport,
    peers: BTreeMap<NodeId, FormingPeer>,
}

impl Forming {
    /// A node of `list` that starts. `stored` is what its disk has; without that, it is blank and
    /// takes the directory id of `key`.
    ///
    /// # Errors
    /// What is stored is another node's, or is a promise with another list.
    pub fn begin(
        list: ClusterList,
        key: ReplicaKey,
        stored: Option<FormingReport>,
    ) -> Result<Self, FormingRefusal> {
        let peers = BTreeMap::new();
        let stored = stored.filter(|_| !is_planted(Bug::PromiseForgotten));
        let Some(stored) = stored.filter(|it| it.stage != FormingStage::Blank) else {
            let own = FormingReport { list, key, stage: FormingStage::Blank };
            return Ok(Self { own, peers });
        };
        if stored.key.id != key.id {
            return Err(FormingRefusal::OtherDirectory { found: stored.key.id, own: key.id });
        }
        let promised = match &stored.stage {
            FormingStage::Promised(it) | FormingStage::Decided(it) => Some(&it.cluster_id),
            FormingStage::Blank | FormingStage::Joining { .. } => None,
        };
        if let Some(cluster_id) = promised.filter(|_| stored.list != list) {
            let (cluster_id, promised) = (cluster_id.clone(), stored.list);
            return Err(FormingRefusal::ListChanged { cluster_id, promised, own: list });
        }
        Ok(Self { own: FormingReport { list, ..stored }, peers })
    }

    /// What this node says of itself: what is on its disk, and nothing else.
    #[must_use]
    pub fn report(&self) -> &FormingReport {
        &self.own
    }

    /// The other nodes of the list.
    pub fn others(&self) -> impl Iterator<Item = &ClusterNode> {
        self.own.list.nodes().iter().filter(|it| it.id != self.own.key.id)
    }

    /// Another node of the list has answered, or not.
    pub fn heard(&mut self, from: NodeId, peer: FormingPeer) {
        self.peers.insert(from, peer);
    }

    /// A stage is on the disk.
    pub fn persisted(&mut self, stage: FormingStage) {
        self.own.stage = stage;
    }

    /// What is to be done. `fresh` becomes the id of the cluster, should this node propose one now.
    ///
    /// # Errors
    /// The nodes contradict each other.
    pub fn next_step(&self, fresh: Uuid) -> Result<FormingStep, FormingRefusal> {
        match &self.own.stage {
            FormingStage::Decided(founding) => return Ok(FormingStep::Found(founding.clone())),
            FormingStage::Joining { cluster_id } => {
                return Ok(FormingStep::Join { cluster_id: cluster_id.clone() });
            }
            FormingStage::Blank | FormingStage::Promised(_) => {}
        }
        self.check_peers()?;
        let stage = match &self.own.stage {
            FormingStage::Promised(promised) => self.after_promise(promised, fresh)?,
            _ => self.while_blank(fresh)?,
        };
        Ok(stage.map_or(FormingStep::Wait, FormingStep::Persist))
    }

    /// Those that answer are those of the list, and have the same list.
    fn check_peers(&self) -> Result<(), FormingRefusal> {
        for (node, report) in self.reports() {
            if report.key.id != node.id {
                return Err(FormingRefusal::OtherNode {
                    address: node.controller_address(),
                    listed: node.id,
                    found: report.key.id,
                });
            }
            if report.list != self.own.list {
                return Err(FormingRefusal::OtherList {
                    own: self.own.list.clone(),
                    peer: node.id,
                    other: report.list.clone(),
                });
            }
        }
        Ok(())
    }

    fn while_blank(&self, fresh: Uuid) -> Result<Option<FormingStage>, FormingRefusal> {
        if let Some(cluster_id) = self.formatted_cluster()? {
            let cluster_id = cluster_id.to_owned();
            return Ok(Some(FormingStage::Joining { cluster_id }));
        }
        if !self.is_coordinator() {
            let proposed = self.proposed().filter(|it| self.is_meant(it));
            return Ok(proposed.cloned().map(FormingStage::Promised));
        }
        let are_all_blank = self.reports().all(|(_, report)| report.stage == FormingStage::Blank);
        let proposed = self.propose(1, fresh).filter(|_| are_all_blank);
        Ok(proposed.map(FormingStage::Promised))
    }

    fn after_promise(
        &self,
        promised: &Founding,
        fresh: Uuid,
    ) -> Result<Option<FormingStage>, FormingRefusal> {
        let decided = || Some(FormingStage::Decided(promised.clone()));
        if let Some(other) = self.formatted_cluster()? {
            if other == promised.cluster_id {
                return Ok(decided());
            }
            let peer = self.formatted().next().map_or(-1, |(peer, _)| peer);
            let (promised, other) = (promised.cluster_id.clone(), other.to_owned());
            return Err(FormingRefusal::OtherCluster { promised, peer, other });
        }
        let mut stages = self.reports().map(|(_, report)| &report.stage);
        if stages.any(|it| matches!(it, FormingStage::Decided(it) if it == promised)) {
            return Ok(decided());
        }
        if !self.is_coordinator() {
            let is_later = |founding: &&Founding| {
                founding.attempt > promised.attempt
                    && self.coordinator_of(founding) == self.coordinator_of(promised)
                    && self.is_meant(founding)
            };
            let later = self.proposed().filter(is_later);
            return Ok(later.cloned().map(FormingStage::Promised));
        }
        let has_promised = |report: &FormingReport| {
            report.stage == FormingStage::Promised(promised.clone())
                || is_planted(Bug::DecidedEarly)
        };
        let has_all = self.others().count() == self.reports().count();
        if has_all && self.reports().all(|(_, report)| has_promised(report)) {
            return Ok(decided());
        }
        // A node came back with another disk before it had promised: nothing was decided, and only
        // this node decides, so that the former proposal is void when the next is on this disk.
        let is_lost = |(node, report): (&ClusterNode, &FormingReport)| {
            promised.directory_of(node.id) != Some(report.key.directory)
        };
        let is_ours = |report: &FormingReport| match &report.stage {
            FormingStage::Blank => true,
            FormingStage::Promised(it) => {
                self.coordinator_of(it) == Some(self.own.key.directory)
                    && it.attempt <= promised.attempt
            }
            FormingStage::Decided(_) | FormingStage::Joining { .. } => false,
        };
        let may_propose =
            self.reports().any(is_lost) && self.reports().all(|(_, report)| is_ours(report));
        let attempt = promised.attempt.saturating_add(1);
        let proposed = self.propose(attempt, fresh).filter(|_| may_propose);
        Ok(proposed.map(FormingStage::Promised))
    }

    /// A proposal with the disks that all nodes have now; `None` as long as one is not heard of.
    fn propose(&self, attempt: u32, fresh: Uuid) -> Option<Founding> {
        let mut founders = Vec::new();
        for node in self.own.list.nodes() {
            let key = match self.peers.get(&node.id) {
                _ if node.id == self.own.key.id => self.own.key,
                Some(FormingPeer::Forming(report)) => report.key,
                _ if is_planted(Bug::FoundedWithoutAll) => continue,
                _ => return None,
            };
            founders.push(key);
        }
        Some(Founding { attempt, cluster_id: fresh.to_string(), founders })
    }

    /// What the coordinator proposes.
    fn proposed(&self) -> Option<&Founding> {
        match self.peers.get(&self.coordinator()) {
            Some(FormingPeer::Forming(report)) => match &report.stage {
                FormingStage::Promised(founding) => Some(founding),
                _ => None,
            },
            _ => None,
        }
    }

    /// Is it a proposal for the nodes of the list, and for the disk that this node has?
    fn is_meant(&self, founding: &Founding) -> bool {
        let listed = self.own.list.nodes().iter().map(|it| it.id);
        let founders = founding.founders.iter().map(|it| it.id);
        let are_all = listed.eq(founders) || is_planted(Bug::FoundedWithoutAll);
        are_all && founding.directory_of(self.own.key.id) == Some(self.own.key.directory)
    }

    fn coordinator_of(&self, founding: &Founding) -> Option<Uuid> {
        founding.directory_of(self.coordinator())
    }

    /// The cluster of those that are formatted.
    fn formatted_cluster(&self) -> Result<Option<&str>, FormingRefusal> {
        let mut all = self.formatted();
        let Some((first, cluster_id)) = all.next() else { return Ok(None) };
        match all.find(|(_, other)| *other != cluster_id) {
            None => Ok(Some(cluster_id)),
            Some((second, other)) => Err(FormingRefusal::SeveralClusters {
                first,
                first_cluster: cluster_id.to_owned(),
                second,
                second_cluster: other.to_owned(),
            }),
        }
    }

    fn formatted(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.peers.iter().filter_map(|(id, peer)| match peer {
            FormingPeer::Formatted { cluster_id } => Some((*id, cluster_id.as_str())),
            FormingPeer::Unreachable(_) | FormingPeer::Forming(_) => None,
        })
    }

    /// The other nodes that form, as far as they were heard of.
    fn reports(&self) -> impl Iterator<Item = (&ClusterNode, &FormingReport)> {
        self.others().filter_map(|node| match self.peers.get(&node.id)? {
            FormingPeer::Forming(report) => Some((node, report)),
            FormingPeer::Unreachable(_) | FormingPeer::Formatted { .. } => None,
        })
    }

    /// The node that proposes and decides: the one with the lowest id.
    fn coordinator(&self) -> NodeId {
        self.own.list.nodes().first().map_or(self.own.key.id, |it| it.id)
    }

    fn is_coordinator(&self) -> bool {
        self.coordinator() == self.own.key.id
    }

    /// What this node waits for: each of the other nodes that is not where it has to be.
    #[must_use]
    pub fn missing(&self) -> Vec<MissingNode> {
        self.others()
            .filter_map(|node| {
                let why = match self.peers.get(&node.id) {
                    None => "not asked yet".to_owned(),
                    Some(FormingPeer::Unreachable(why)) => why.clone(),
                    Some(FormingPeer::Formatted { .. }) => return None,
                    Some(FormingPeer::Forming(report)) => self.why_waiting(report)?,
                };
                Some(MissingNode { node: node.clone(), why })
            })
            .collect()
    }

    /// What keeps a node that forms from going on with this one.
    fn why_waiting(&self, report: &FormingReport) -> Option<String> {
        const REMEDY: &str = "if no node of the cluster is formatted, remove forming.properties from the metadata directory of that node";
        match (&self.own.stage, &report.stage) {
            (FormingStage::Blank, FormingStage::Promised(it) | FormingStage::Decided(it))
                if it.directory_of(self.own.key.id) != Some(self.own.key.directory) =>
            {
                Some(format!(
                    "it has promised to found cluster {} with another disk of this node, whose disk was replaced; {REMEDY}",
                    it.cluster_id
                ))
            }
            (FormingStage::Promised(it), _)
                if report.key.id == self.coordinator()
                    && self.coordinator_of(it) != Some(report.key.directory) =>
            {
                Some(format!(
                    "its disk was replaced after this node had promised to found cluster {} with it; if no node of the cluster is formatted, remove forming.properties from the metadata directory of this node",
                    it.cluster_id
                ))
            }
            _ => None,
        }
    }
}

/// A node that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingNode {
    node: ClusterNode,
    why: String,
}

impl fmt::Display for MissingNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({}): {}", self.node.id, self.node.controller_address(), self.why)
    }
}

#[cfg(test)]
#[path = "forming/core_tests.rs"]
mod tests;
