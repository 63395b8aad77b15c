//! What must be true of nodes that form.

use std::collections::BTreeSet;

use ottla_broker::forming::Founding;
use ottla_raft::ReplicaKey;

use super::node::FormingNode;
use super::world::FormingWorld;
use crate::invariant::{Invariant, InvariantCheck, Judge};

/// What has happened, beyond what disks know.
#[derive(Debug, Default)]
pub(super) struct FormingWatch {
    /// Which disks have promised to found which cluster, ever.
    promises: BTreeSet<(ReplicaKey, String)>,
    /// The clusters that were decided.
    founded: BTreeSet<String>,
}

impl FormingWatch {
    /// A promise is on a disk.
    pub fn promised(&mut self, key: ReplicaKey, founding: &Founding) {
        self.promises.insert((key, founding.cluster_id.clone()));
    }

    /// Is this the first that is known of the decision?
    pub fn is_first(&mut self, founding: &Founding) -> bool {
        self.founded.insert(founding.cluster_id.clone())
    }

    fn has_promised(&self, key: ReplicaKey, founding: &Founding) -> bool {
        self.promises.contains(&(key, founding.cluster_id.clone()))
    }
}

impl FormingWorld {
    /// All nodes of the list are founders, and each disk among them has promised.
    pub(super) fn check_promises(&mut self, founding: &Founding) -> InvariantCheck {
        let listed = self.list.nodes().iter().map(|it| it.id);
        let are_all = listed.eq(founding.founders.iter().map(|it| it.id));
        let mut founders = founding.founders.iter();
        let have_all = founders.all(|key| self.watch.has_promised(*key, founding));
        self.demand(Invariant::PromisedByAll, are_all && have_all, |_| format!("{founding:?}"))
    }

    /// All disks that belong to a cluster belong to the same one.
    pub(super) fn check_clusters(&mut self) -> InvariantCheck {
        let clusters = self.nodes.iter().filter_map(|it| it.disk.cluster());
        let clusters: BTreeSet<&str> = clusters.collect();
        let is_one = clusters.len() <= 1;
        self.demand(Invariant::OneClusterForms, is_one, FormingWorld::picture)
    }

    /// One line on all nodes, for the report of a failure.
    pub(super) fn picture(&self) -> String {
        let one = |node: &FormingNode| {
            let state = if node.live.is_some() { "runs" } else { "is down" };
            format!("node {} {state} with {:?}", node.id, node.disk)
        };
        self.nodes.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}
