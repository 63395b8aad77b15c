//! One partition's change: every command that changes a partition builds its record here, so that
//! the rules about in-sync and eligible replicas, leaders and epochs stand in one place (KIP-966).
//!
//! The order counts: a reassignment that can end does; then who is eligible; then who leads; then
//! whether the leader's epoch grows; then what of all this differs from what is known.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{Bug, NodeId, PartitionIndex, Uuid, is_planted};

use super::{ControllerScene, place, reassignment};
use crate::cluster::{PartitionState, ResourceKind, Topic};
use crate::versions::{DIRECTORIES_SINCE, EPOCH_BUMP_ON_SHRINK_BEFORE};

/// No broker leads.
pub(super) const NO_LEADER: NodeId = -1;
/// In a change record: the leader stays, and so does its epoch.
pub(super) const LEADER_STAYS: NodeId = -2;
/// The leader was not elected cleanly, and has to recover (KIP-704).
pub(super) const RECOVERING: i8 = 1;

/// What counts for all partitions of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElectionRules {
    /// Are eligible replicas kept (`eligible.leader.replicas.version` 1)?
    keeps_eligible: bool,
    /// `min.insync.replicas`.
    in_sync_min: usize,
    /// May a replica lead that has perhaps not everything (`unclean.leader.election.enable`)?
    pub is_unclean_allowed: bool,
}

impl ElectionRules {
    fn of_topic(scene: &ControllerScene<'_>, topic: &Topic) -> Self {
        let kind = ResourceKind::Topic;
        let own = scene.cluster.config(kind, &topic.name);
        let setting = |name: &str| {
            let own = own.get(name).cloned();
            own.or_else(|| scene.rules.fallback(scene.cluster, kind, name))
        };
        let in_sync_min = setting("min.insync.replicas").and_then(|it| it.parse().ok());
        let unclean = setting("unclean.leader.election.enable");
        Self {
            keeps_eligible: scene.cluster.keeps_eligible(),
            in_sync_min: in_sync_min.unwrap_or(1),
            is_unclean_allowed: unclean.is_some_and(|it| it.eq_ignore_ascii_case("true")),
        }
    }

    /// The election that the topic's settings allow without a request for one.
    pub const fn default_election(&self) -> ElectionChoice {
        if self.is_unclean_allowed { ElectionChoice::Unclean } else { ElectionChoice::Online }
    }
}

/// Which replicas a change may make the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElectionChoice {
    /// The leader stays if it may; else the first replica that has everything.
    Online,
    /// The preferred replica, if it has everything; else as [`ElectionChoice::Online`].
    Preferred,
    /// As [`ElectionChoice::Online`], and if no replica has everything, any that serves.
    Unclean,
}

/// Which brokers count as serving while a change of their own state is being decided: the metadata
/// says what they were before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServingBrokers {
    /// This broker serves, although it is still fenced.
    pub coming: Option<NodeId>,
    /// This broker does not, although it still is not fenced.
    pub leaving: Option<NodeId>,
}

impl ServingBrokers {
    /// May this broker lead a partition that it has in `directory`?
    fn can_lead(self, scene: &ControllerScene<'_>, id: NodeId, directory: Uuid) -> bool {
        let Some(broker) = scene.cluster.broker(id) else { return false };
        let serves = self.coming == Some(id) || broker.is_active();
        self.leaving != Some(id) && serves && broker.has_online(directory)
    }
}

/// What a change makes of a partition, as far as that is asked for; the rest follows.
#[derive(Clone, Debug)]
pub(super) struct PartitionTarget {
    /// The in-sync replicas.
    pub isr: Vec<NodeId>,
    /// The replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those that a reassignment removes.
    pub removing: Vec<NodeId>,
    /// Those that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// Has the leader to recover?
    pub recovery: i8,
    /// In which directory a broker has its replica, where that changes.
    pub directory: Option<(NodeId, Uuid)>,
    /// A broker that may have lost what it had acknowledged.
    pub unclean: Option<NodeId>,
}

impl PartitionTarget {
    /// Everything as it is.
    pub fn of(state: &PartitionState) -> Self {
        Self {
            isr: state.isr.clone(),
            replicas: state.replicas.clone(),
            removing: state.removing.clone(),
            adding: state.adding.clone(),
            recovery: state.recovery,
            directory: None,
            unclean: None,
        }
    }
}

/// A topic whose partitions change: its rules are read once for all of them.
#[derive(Clone, Copy)]
pub(super) struct ChangedTopic<'a> {
    pub scene: &'a ControllerScene<'a>,
    pub topic: &'a Topic,
    pub rules: ElectionRules,
}

impl<'a> ChangedTopic<'a> {
    pub fn new(scene: &'a ControllerScene<'a>, topic: &'a Topic) -> Self {
        Self { scene, topic, rules: ElectionRules::of_topic(scene, topic) }
    }

    /// A change of one partition that asks for nothing yet: the leader stays if it may.
    pub fn change(self, index: PartitionIndex, state: &'a PartitionState) -> PartitionChange<'a> {
        PartitionChange {
            topic: self,
            index,
            state,
            serving: ServingBrokers::default(),
            election: ElectionChoice::Online,
            target: PartitionTarget::of(state),
        }
    }
}

/// The change of one partition, to be built; [`ChangedTopic::change`] begins one.
pub(super) struct PartitionChange<'a> {
    pub topic: ChangedTopic<'a>,
    pub index: PartitionIndex,
    /// The partition as it is.
    pub state: &'a PartitionState,
    pub serving: ServingBrokers,
    pub election: ElectionChoice,
    pub target: PartitionTarget,
}

/// Who is going to lead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Elected {
    /// A replica that has everything that is committed, or none at all.
    Clean(NodeId),
    /// A replica that may lack something.
    Unclean(NodeId),
}

impl PartitionChange<'_> {
    /// The record; `None` if nothing changes.
    pub fn build(mut self) -> Option<PartitionChangeRecord> {
        let state = self.state;
        let mut record = PartitionChangeRecord::default();
        self.complete_reassignment();
        if is_planted(Bug::StaysInSync) {
            self.target.isr.clone_from(&state.isr);
        }
        let mut elr = self.target_eligible();
        let elected = self.elect_leader(&elr);
        let (Elected::Clean(leader) | Elected::Unclean(leader)) = elected;
        if leader != state.leader {
            record.leader = leader;
            if elr.contains(&leader) {
                self.target.isr = alloc::vec![leader];
                elr.retain(|id| *id != leader);
            } else if elected == Elected::Unclean(leader) {
                self.target.isr = alloc::vec![leader];
                elr.clear();
                self.target.recovery = RECOVERING;
            }
        }
        self.bump_epoch_for_removed_replica(&mut record);
        self.set_in_sync(&mut record, elr);
        self.bump_epoch_for_shrunk_isr(&mut record);
        if self.topic.rules.keeps_eligible {
            record.last_known_elr = self.last_known(record.leader);
        }
        self.set_assignment(&mut record);
        if self.target.recovery != state.recovery {
            record.leader_recovery_state = self.target.recovery;
        }
        (record != PartitionChangeRecord::default()).then(|| PartitionChangeRecord {
            topic_id: self.topic.topic.id,
            partition_id: self.index,
            ..record
        })
    }

    /// Ends the reassignment, if the replicas that it adds are in sync.
    fn complete_reassignment(&mut self) {
        if let Some(done) = reassignment::completed_reassignment(&self.target) {
            self.target.isr = done.isr;
            self.target.replicas = done.replicas;
            self.target.removing.clear();
            self.target.adding.clear();
        }
    }

    /// The replicas that may lead though they are not in the new in-sync set. As long as enough
    /// are in sync there are none: those that are then have everything.
    fn target_eligible(&self) -> Vec<NodeId> {
        let (state, isr) = (self.state, &self.target.isr);
        if !self.topic.rules.keeps_eligible {
            return state.elr.clone();
        }
        let required = self.topic.rules.in_sync_min.min(self.target.replicas.len());
        if isr.len() >= required && !is_planted(Bug::EligibleStays)
            || is_planted(Bug::EligibleForgotten)
        {
            return Vec::new();
        }
        let all: BTreeSet<NodeId> = state.isr.iter().chain(&state.elr).copied().collect();
        let stays = |id: &NodeId| {
            !isr.contains(id)
                && self.target.unclean != Some(*id)
                // A replica that is removed from the partition cannot lead it.
                && self.target.replicas.contains(id)
        };
        all.into_iter().filter(stays).collect()
    }

    /// Elects: the leader stays if it may, else the first replica that may lead does.
    fn elect_leader(&self, elr: &[NodeId]) -> Elected {
        let (state, target) = (self.state, &self.target);
        let can_lead = |id: &NodeId| self.can_lead(*id);
        let is_valid = |id: &&NodeId| {
            let has_all = target.isr.contains(id) || target.isr.is_empty() && elr.contains(id);
            (has_all || is_planted(Bug::ElectedOutOfSync)) && can_lead(id)
        };
        let preferred = match self.election {
            ElectionChoice::Preferred => target.replicas.first(),
            ElectionChoice::Online | ElectionChoice::Unclean => None,
        };
        let in_order = preferred.into_iter().chain([&state.leader]).chain(&target.replicas);
        if let Some(id) = in_order.copied().find(|id| is_valid(&id)) {
            return Elected::Clean(id);
        }
        let is_lost = target.isr.is_empty() && elr.is_empty();
        let last_known = match &state.last_known_elr[..] {
            [only] if self.topic.rules.keeps_eligible && is_lost && can_lead(only) => Some(*only),
            _ => None,
        };
        // A partition's only replica: there is nothing else to wait for.
        let only = match &target.replicas[..] {
            [only] if is_lost && can_lead(only) => Some(*only),
            _ => None,
        };
        let unclean = || {
            let is_allowed = self.election == ElectionChoice::Unclean;
            target.replicas.iter().copied().find(|id| is_allowed && can_lead(id))
        };
        let found = last_known.or(only).or_else(unclean);
        found.map_or(Elected::Clean(NO_LEADER), Elected::Unclean)
    }

    fn can_lead(&self, id: NodeId) -> bool {
        // A directory that the change itself names counts.
        let directory = match self.target.directory {
            Some((broker, directory)) if broker == id => directory,
            _ => self.state.directory(id),
        };
        self.serving.can_lead(self.topic.scene, id, directory)
    }

    /// A replica that leaves the partition must not be taken for a follower any more.
    fn bump_epoch_for_removed_replica(&self, record: &mut PartitionChangeRecord) {
        let stays = |id: &NodeId| self.target.replicas.contains(id);
        let has_leader = self.state.leader != NO_LEADER;
        if record.leader == LEADER_STAYS && has_leader && !self.state.replicas.iter().all(stays) {
            record.leader = self.state.leader;
        }
    }

    /// Brokers of old metadata versions count on a later epoch when the in-sync set shrinks.
    fn bump_epoch_for_shrunk_isr(&self, record: &mut PartitionChangeRecord) {
        let stays = |id: &NodeId| record.isr.as_ref().is_none_or(|isr| isr.contains(id));
        let is_shrunk = !self.state.isr.iter().all(stays);
        let is_old = self.topic.scene.cluster.metadata_version() < EPOCH_BUMP_ON_SHRINK_BEFORE;
        let has_leader = self.state.leader != NO_LEADER;
        if record.leader == LEADER_STAYS && has_leader && is_old && is_shrunk {
            record.leader = self.state.leader;
        }
    }

    fn set_in_sync(&mut self, record: &mut PartitionChangeRecord, mut elr: Vec<NodeId>) {
        let state = self.state;
        if !self.topic.rules.keeps_eligible {
            elr.clear();
            // The last member stays, as there is no other list to remember it in.
            if self.target.isr.is_empty() {
                self.target.isr.clone_from(&state.isr);
            }
        }
        record.eligible_leader_replicas = (elr != state.elr).then_some(elr);
        record.isr = (self.target.isr != state.isr).then(|| self.target.isr.clone());
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

    fn set_assignment(&self, record: &mut PartitionChangeRecord) {
        let (state, target) = (self.state, &self.target);
        if self.topic.scene.cluster.metadata_version() >= DIRECTORIES_SINCE {
            let mut known: BTreeMap<NodeId, Uuid> =
                state.replicas.iter().map(|id| (*id, state.directory(*id))).collect();
            known.extend(target.directory);
            let directory = |id: &NodeId| {
                known
                    .get(id)
                    .copied()
                    .unwrap_or_else(|| place::new_directory(self.topic.scene, *id))
            };
            let directories: Vec<Uuid> = target.replicas.iter().map(directory).collect();
            let is_same = directories.iter().copied().eq(state.replica_directories());
            record.directories = (!is_same).then_some(directories);
        }
        let changed =
            |now: &Vec<NodeId>, wanted: &Vec<NodeId>| (now != wanted).then(|| wanted.clone());
        record.replicas = changed(&state.replicas, &target.replicas);
        record.removing_replicas = changed(&state.removing, &target.removing);
        record.adding_replicas = changed(&state.adding, &target.adding);
    }
}
