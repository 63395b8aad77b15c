//! Which partitions are here, as one picture: by name, by topic id, in order.
//!
//! It is replaced as a whole when the set changes, so that readers take no lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ottla_types::{PartitionIndex, TopicPartition, Uuid};

use crate::partition::Partition;

/// Where partitions are found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    by_name: HashMap<Arc<str>, BTreeMap<PartitionIndex, Partition>>,
    by_id: HashMap<Uuid, Arc<str>>,
    /// All of them, by topic and index.
    sorted: Vec<Partition>,
    /// Those that are compacted: a cleaner looks often, and most partitions are not for it.
    compacted: Vec<Partition>,
}

impl Index {
    pub(crate) fn find(&self, topic: &str, index: PartitionIndex) -> Option<&Partition> {
        self.by_name.get(topic)?.get(&index)
    }

    /// The partition of the topic with this id.
    pub(crate) fn find_by_id(&self, topic: Uuid, index: PartitionIndex) -> Option<&Partition> {
        self.find(self.by_id.get(&topic)?, index)
    }

    /// All partitions of a topic.
    pub(crate) fn of_topic(&self, topic: &str) -> impl Iterator<Item = &Partition> {
        self.by_name.get(topic).into_iter().flat_map(BTreeMap::values)
    }

    /// All partitions, by topic and index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.sorted.iter()
    }

    /// The partitions whose topics are compacted.
    pub(crate) fn compacted(&self) -> &[Partition] {
        &self.compacted
    }

    /// Takes a partition in, in the place of one that has its name.
    pub(crate) fn insert(&mut self, partition: Partition) {
        let topic = Arc::clone(&partition.name().topic);
        self.by_name.entry(topic).or_default().insert(partition.index(), partition);
    }

    /// Keeps those that stay; the others, by topic and index.
    pub(crate) fn take_all_but(&mut self, stays: impl Fn(&Partition) -> bool) -> Vec<Partition> {
        let gone: Vec<Partition> = self.iter().filter(|it| !stays(it)).cloned().collect();
        for partition in &gone {
            if let Some(all) = self.by_name.get_mut(partition.topic()) {
                all.remove(&partition.index());
            }
        }
        // any order: each is looked at by itself.
        self.by_name.retain(|_, all| !all.is_empty());
        self.compacted.retain(stays);
        gone
    }

    /// These are the partitions whose topics are compacted.
    pub(crate) fn set_compacted<'a>(&mut self, places: impl Iterator<Item = &'a TopicPartition>) {
        let found = |place: &TopicPartition| self.find(&place.topic, place.partition).cloned();
        self.compacted = places.filter_map(found).collect();
    }

    /// Brings the rest in line with `by_name`.
    pub(crate) fn settle(&mut self) {
        // any order: it is sorted below.
        self.sorted = self.by_name.values().flat_map(BTreeMap::values).cloned().collect();
        self.sorted.sort_by(|a, b| (a.topic(), a.index()).cmp(&(b.topic(), b.index())));
        let ids = self.sorted.iter();
        self.by_id = ids.map(|it| (it.topic_id(), Arc::clone(&it.name().topic))).collect();
    }
}
