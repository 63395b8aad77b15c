//! In-sync replicas and leaders when a broker comes or goes (KIP-966).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{Bug, NodeId, is_planted};

use super::ControllerScene;
use crate::cluster::{PartitionState, ResourceKind, Topic};

/// No broker leads.
const NO_LEADER: NodeId = -1;
/// The leader was not elected cleanly, and has to recover (KIP-704).
const RECOVERING: i8 = 1;

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
        }
    }

    /// The broker that is no longer in sync.
    const fn lost(self) -> Option<NodeId> {
        match self {
            Self::Left(broker) | Self::StoppedUncleanly(broker) => Some(broker),
            Self::Serves(_) => None,
        }
    }

    /// May this broker lead now, as far as its own state goes?
    fn can_lead(self, scene: &ControllerScene<'_>, id: NodeId) -> bool {
        // The broker that comes is still fenced while this is decided.
        let is_able = || scene.cluster.broker(id).is_some_and(|it| !it.fenced && !it.stopping);
        self.lost() != Some(id) && (self == Self::Serves(id) || is_able())
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
        let rules = ElectionRules::of_topic(scene, topic);
        for (index, state) in concerned {
            let election = PartitionElection { scene, change, rules: &rules, state };
            if let Some(made) = election.run() {
                let of = PartitionChangeRecord { partition_id: *index, topic_id: topic.id, ..made };
                records.push(of.into());
            }
        }
    }
    records
}

/// What counts for the elections of a topic.
struct ElectionRules {
    /// Are eligible replicas kept (`eligible.leader.replicas.version` 1)?
    keeps_eligible: bool,
    /// `min.insync.replicas`, at most as many as there are replicas.
    in_sync_min: usize,
    /// May a replica lead that has perhaps not everything (`unclean.leader.election.enable`)?
    is_unclean_allowed: bool,
}

impl ElectionRules {
    fn of_topic(scene: &ControllerScene<'_>, topic: &Topic) -> Self {
        let kind = ResourceKind::Topic;
        let own = scene.cluster.config(kind, &topic.name);
        let setting = |name: &str| {
            let own = own.get(name).cloned();
            own.or_else(|| scene.rules.fallback(scene.cluster, kind, name))
        };
        let replicas = topic.partitions.values().next().map_or(1, |it| it.replicas.len());
        let in_sync_min = setting("min.insync.replicas").and_then(|it| it.parse().ok());
        let unclean = setting("unclean.leader.election.enable");
        Self {
            keeps_eligible: scene.cluster.feature("eligible.leader.replicas.version") > 0,
            in_sync_min: replicas.min(in_sync_min.unwrap_or(1)),
            is_unclean_allowed: unclean.is_some_and(|it| it.eq_ignore_ascii_case("true")),
        }
    }
}

/// One partition's change.
struct PartitionElection<'a> {
    scene: &'a ControllerScene<'a>,
    change: BrokerChange,
    rules: &'a ElectionRules,
    state: &'a PartitionState,
}

/// The next leader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Elected {
    /// A replica that has everything that is committed, or none at all.
    Clean(NodeId),
    /// A replica that may lack something.
    Unclean(NodeId),
}

impl PartitionElection<'_> {
    /// The change; `None` if there is none.
    fn run(&self) -> Option<PartitionChangeRecord> {
        let state = self.state;
        let mut record = PartitionChangeRecord::default();
        let mut isr: Vec<NodeId> =
            state.isr.iter().copied().filter(|id| self.change.lost() != Some(*id)).collect();
        if is_planted(Bug::StaysInSync) {
            isr.clone_from(&state.isr);
        }
        let mut elr = self.eligible(&isr);
        let elected = self.leader(&isr, &elr);
        let (Elected::Clean(leader) | Elected::Unclean(leader)) = elected;
        if leader != state.leader {
            record.leader = leader;
            if elr.contains(&leader) {
                isr = alloc::vec![leader];
                elr.retain(|id| *id != leader);
            } else if elected == Elected::Unclean(leader) {
                isr = alloc::vec![leader];
                elr.clear();
                if state.recovery != RECOVERING {
                    record.leader_recovery_state = RECOVERING;
                }
            }
        }
        if !self.rules.keeps_eligible {
            elr.clear();
            // The last member stays, as there is no other list to remember it in.
            if isr.is_empty() {
                isr.clone_from(&state.isr);
            }
        }
        if self.rules.keeps_eligible {
            record.last_known_elr = self.last_known(record.leader);
        }
        record.eligible_leader_replicas = (elr != state.elr).then_some(elr);
        record.isr = (isr != state.isr).then_some(isr);
        (record != PartitionChangeRecord::default()).then_some(record)
    }

    /// The replicas that may lead though they are not in `isr`, the new in-sync set. As long as
    /// enough are in sync there are none: those that are then have everything.
    fn eligible(&self, isr: &[NodeId]) -> Vec<NodeId> {
        if !self.rules.keeps_eligible {
            return self.state.elr.clone();
        }
        if isr.len() >= self.rules.in_sync_min {
            return Vec::new();
        }
        let mut all: BTreeSet<NodeId> =
            self.state.isr.iter().chain(&self.state.elr).copied().collect();
        if let BrokerChange::StoppedUncleanly(broker) = self.change {
            all.remove(&broker);
        }
        all.into_iter().filter(|id| !isr.contains(id)).collect()
    }

    /// The leader stays if it may; else the first replica that may lead does.
    fn leader(&self, isr: &[NodeId], elr: &[NodeId]) -> Elected {
        let state = self.state;
        let can_lead = |id: &NodeId| self.change.can_lead(self.scene, *id);
        let is_valid = |id: &&NodeId| {
            let has_all = isr.contains(id) || isr.is_empty() && elr.contains(id);
            (has_all || is_planted(Bug::ElectedOutOfSync)) && can_lead(id)
        };
        if let Some(id) = [state.leader].iter().chain(&state.replicas).find(is_valid) {
            return Elected::Clean(*id);
        }
        let is_lost = isr.is_empty() && elr.is_empty();
        let last_known = match &state.last_known_elr[..] {
            [only] if self.rules.keeps_eligible && is_lost && can_lead(only) => Some(*only),
            _ => None,
        };
        // A partition's only replica: there is nothing else to wait for.
        let only = match &state.replicas[..] {
            [only] if is_lost && can_lead(only) => Some(*only),
            _ => None,
        };
        let unclean = || {
            let allowed = self.rules.is_unclean_allowed;
            state.replicas.iter().copied().find(|id| allowed && can_lead(id))
        };
        let found = last_known.or(only).or_else(unclean);
        found.map_or(Elected::Clean(NO_LEADER), Elected::Unclean)
    }

    /// What to remember of the leader, if that changes: it is remembered while there is none, and
    /// leads again, if it comes back before any other replica that has everything.
    fn last_known(&self, leader: NodeId) -> Option<Vec<NodeId>> {
        let is_known = !self.state.last_known_elr.is_empty();
        match leader {
            NO_LEADER if !is_known => Some(alloc::vec![self.state.leader]),
            leader if leader >= 0 && is_known => Some(Vec::new()),
            _ => None,
        }
    }
}
