//! What a broker's coming or going means for its partitions.

use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{NodeId, Uuid};

use super::ControllerScene;
use super::partition_change::{ChangedTopic, NO_LEADER, PartitionChange, ServingBrokers};
use crate::cluster::PartitionState;

/// What has become of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerChange {
    /// It is fenced, or stops, or stopped cleanly: it keeps what it has acknowledged, and may
    /// lead again while fewer than `min.insync.replicas` are in sync.
    Left(NodeId),
    /// It has started again without a clean stop: it may have lost what it has acknowledged, so
    /// that it is no longer in sync, nor eligible.
    StoppedUncleanly(NodeId),
    /// It may serve: it leads what it may lead and no other broker leads.
    Serves(NodeId),
    /// One of its directories has failed: what lies there is as if the broker had left.
    LostDirectory(NodeId, Uuid),
}

impl BrokerChange {
    /// Does this change anything of a partition?
    fn concerns(self, state: &PartitionState) -> bool {
        match self {
            Self::Left(broker) => state.isr.contains(&broker),
            Self::StoppedUncleanly(broker) => {
                state.isr.contains(&broker) || state.elr.contains(&broker)
            }
            Self::Serves(_) => state.leader == NO_LEADER,
            Self::LostDirectory(broker, directory) => {
                state.isr.contains(&broker) && state.directory(broker) == directory
            }
        }
    }

    /// The broker that is no longer in sync.
    const fn lost(self) -> Option<NodeId> {
        match self {
            Self::Left(broker)
            | Self::StoppedUncleanly(broker)
            | Self::LostDirectory(broker, _) => Some(broker),
            Self::Serves(_) => None,
        }
    }

    const fn serving(self) -> ServingBrokers {
        let coming = if let Self::Serves(broker) = self { Some(broker) } else { None };
        ServingBrokers { coming, leaving: self.lost() }
    }
}

/// The changes of all partitions that a broker's coming or going means.
pub(super) fn partition_changes(
    scene: &ControllerScene<'_>,
    change: BrokerChange,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in scene.cluster.topics() {
        let mut concerned =
            topic.partitions.iter().filter(|(_, it)| change.concerns(it)).peekable();
        if concerned.peek().is_none() {
            continue;
        }
        let topic = ChangedTopic::new(scene, topic);
        for (index, state) in concerned {
            let mut changed = PartitionChange {
                serving: change.serving(),
                election: topic.rules.default_election(),
                ..topic.change(*index, state)
            };
            changed.target.isr.retain(|id| change.lost() != Some(*id));
            if let BrokerChange::StoppedUncleanly(broker) = change {
                changed.target.unclean = Some(broker);
            }
            records.extend(changed.build().map(MetadataRecord::from));
        }
    }
    records
}
