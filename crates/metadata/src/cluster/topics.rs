//! Topics and their partitions.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_protocol::metadata::partition_record::PartitionRecord;
use ottla_protocol::metadata::topic_record::TopicRecord;
use ottla_types::{Bug, LeaderEpoch, NodeId, PartitionIndex, Uuid, is_planted};

/// The partition has no leader.
const NO_LEADER: NodeId = -1;
/// In a change record: the leader stays.
const LEADER_STAYS: NodeId = -2;

/// What is true of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// The brokers with a replica, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The log directory of each replica, in the same order (KIP-858); unassigned where not known.
    pub directories: Vec<Uuid>,
    /// The in-sync replicas (ISR): they have every committed record.
    pub isr: Vec<NodeId>,
    /// The eligible leader replicas (ELR, KIP-966): out of sync, but with every committed record.
    /// Never in the ISR at the same time.
    ///
    /// Example with `min.insync.replicas=2` and replicas 1, 2, 3: 3 leaves the ISR: ISR 1, 2, ELR
    /// empty. 2 leaves: ISR 1, ELR 2; nothing commits from now on, so 2 has all that is committed.
    pub elr: Vec<NodeId>,
    /// The last leader before the ISR and the ELR became empty.
    pub last_known_elr: Vec<NodeId>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// The leader, or -1.
    pub leader: NodeId,
    /// 1 after an unclean election, until the leader says it has recovered.
    pub recovery: i8,
    /// How often the leader changed.
    pub leader_epoch: LeaderEpoch,
    /// How often anything changed.
    pub partition_epoch: i32,
}

impl PartitionState {
    /// What is wrong with a partition whose state the controller has just decided.
    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let is_replica = |id: &NodeId| self.replicas.contains(id);
        if !self.isr.iter().all(is_replica) {
            return Some("the ISR has a broker that is not a replica");
        }
        if self.leader != NO_LEADER && !self.isr.contains(&self.leader) {
            return Some("the leader is not in the ISR");
        }
        if !self.elr.iter().all(is_replica) {
            return Some("the ELR has a broker that is not a replica");
        }
        let in_both = |id: &NodeId| self.isr.contains(id);
        self.elr.iter().any(in_both).then_some("a broker is in the ISR and in the ELR")
    }

    /// In which directory a broker has its replica; MIGRATING where no record has said so.
    #[must_use]
    pub fn directory(&self, broker: NodeId) -> Uuid {
        let at = self.replicas.iter().position(|id| *id == broker);
        at.and_then(|at| self.directories.get(at)).copied().unwrap_or(Uuid::ZERO)
    }

    /// The directory of each replica, in their order; see [`PartitionState::directory`].
    pub(crate) fn replica_directories(&self) -> impl Iterator<Item = Uuid> {
        let known = self.directories.iter().copied();
        known.chain(core::iter::repeat(Uuid::ZERO)).take(self.replicas.len())
    }

    /// Takes in what a change record says; fields that are not in it stay as they are.
    pub(crate) fn take_change(&mut self, record: &PartitionChangeRecord) {
        let take = |from: &Option<Vec<NodeId>>, to: &mut Vec<NodeId>| {
            if let Some(from) = from {
                to.clone_from(from);
            }
        };
        take(&record.isr, &mut self.isr);
        take(&record.replicas, &mut self.replicas);
        take(&record.removing_replicas, &mut self.removing);
        take(&record.adding_replicas, &mut self.adding);
        take(&record.eligible_leader_replicas, &mut self.elr);
        take(&record.last_known_elr, &mut self.last_known_elr);
        if let Some(directories) = &record.directories {
            self.directories.clone_from(directories);
        }
        if record.leader != LEADER_STAYS {
            self.leader = record.leader;
            self.leader_epoch += LeaderEpoch::from(!is_planted(Bug::EpochStays));
        }
        if record.leader_recovery_state >= 0 {
            self.recovery = record.leader_recovery_state;
        }
        self.partition_epoch += 1;
    }
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: BTreeMap<PartitionIndex, PartitionState>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TopicTable {
    ids: BTreeMap<Uuid, Arc<Topic>>,
    names: BTreeMap<Arc<str>, Uuid>,
}

impl TopicTable {
    pub fn by_name(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values().filter_map(|id| self.ids.get(id))
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.ids.get(self.names.get(name)?)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.ids.get(&id)
    }

    pub fn add(&mut self, record: &TopicRecord) {
        let name: Arc<str> = Arc::from(record.name.as_str());
        let topic = Topic { name: Arc::clone(&name), id: record.topic_id, ..Topic::default() };
        self.names.insert(name, record.topic_id);
        self.ids.insert(record.topic_id, Arc::new(topic));
    }

    pub fn remove(&mut self, id: Uuid) -> Option<Arc<Topic>> {
        let topic = self.ids.remove(&id)?;
        if self.names.get(&topic.name) == Some(&id) {
            self.names.remove(&topic.name);
        }
        Some(topic)
    }

    /// Adds a partition. A record of a topic that the log does not have changes nothing, here and
    /// in [`TopicTable::change`]: what is in the log is a fact.
    pub fn set(&mut self, record: &PartitionRecord) {
        let state = PartitionState {
            replicas: record.replicas.clone(),
            directories: record.directories.clone(),
            isr: record.isr.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
            removing: record.removing_replicas.clone(),
            adding: record.adding_replicas.clone(),
            leader: record.leader,
            recovery: record.leader_recovery_state,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        };
        if let Some(topic) = self.ids.get_mut(&record.topic_id) {
            Arc::make_mut(topic).partitions.insert(record.partition_id, state);
        }
    }

    pub fn change(&mut self, record: &PartitionChangeRecord) {
        let topic = self.ids.get_mut(&record.topic_id).map(Arc::make_mut);
        if let Some(state) = topic.and_then(|topic| topic.partitions.get_mut(&record.partition_id))
        {
            state.take_change(record);
        }
    }

    /// Clears the eligible leader replicas of one topic or of all (the empty name).
    pub fn clear_elr(&mut self, name: &str) {
        let wanted = |topic: &Topic| name.is_empty() || *topic.name == *name;
        let has =
            |state: &PartitionState| !state.elr.is_empty() || !state.last_known_elr.is_empty();
        for topic in self.ids.values_mut() {
            if wanted(topic) && topic.partitions.values().any(has) {
                for state in Arc::make_mut(topic).partitions.values_mut().filter(|it| has(it)) {
                    state.elr.clear();
                    state.last_known_elr.clear();
                    state.partition_epoch += 1;
                }
            }
        }
    }

    /// Names that would fall onto the same metric as `name`, `.` and `_` being one.
    pub fn colliding(&self, name: &str) -> Option<String> {
        let found = self.names.keys().find(|known| ottla_types::topic_names_collide(known, name));
        found.map(|known| String::from(&**known))
    }
}
