//! The groups and offsets of one partition of `__consumer_offsets`, as of one offset.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use ottla_protocol::group::group_metadata_value::GroupMetadataValue;
use ottla_protocol::group::offset_commit_value::OffsetCommitValue;
use ottla_types::{LeaderEpoch, Offset, ProducerId, TimestampMs, Uuid};

use super::consumer::ConsumerGroup;
use super::record::{GroupRecord, TransactionEnd};

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was read; -1 if the client did not send it.
    pub leader_epoch: LeaderEpoch,
    /// The metadata of the commit.
    pub metadata: String,
    /// The time of the commit.
    pub timestamp: TimestampMs,
    /// When it expires, if the client set a retention time (OffsetCommit versions 2 to 4).
    pub expires: Option<TimestampMs>,
    /// The topic's id, if the commit had one.
    pub topic_id: Uuid,
    /// The number of its record among all records of the partition: of a commit and a transaction's
    /// commit of one partition, the one that was written later counts.
    ///
    /// Example: a transaction writes offset 5 (record 7, pending), then the group commits offset 9
    /// (record 8). The transaction commits: 5 was written before 9, so 9 stays.
    pub order: u64,
}

impl CommittedOffset {
    fn of(value: &OffsetCommitValue, order: u64) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
            timestamp: value.commit_timestamp,
            expires: Some(value.expire_timestamp).filter(|at| *at >= 0),
            topic_id: value.topic_id,
            order,
        }
    }
}

/// A value for each partition, by topic and partition index.
pub type ByPartition<T> = BTreeMap<String, BTreeMap<i32, T>>;

/// Offsets by topic and partition.
pub type OffsetsByTopic = ByPartition<CommittedOffset>;

/// Groups and offsets, as of one offset of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredGroups {
    /// Each classic group as of its last written generation.
    pub groups: BTreeMap<String, GroupMetadataValue>,
    /// The offsets of each group.
    pub offsets: BTreeMap<String, OffsetsByTopic>,
    /// By producer and group: offsets that are committed as soon as the producer's transaction is.
    pub pending: BTreeMap<ProducerId, BTreeMap<String, OffsetsByTopic>>,
    /// The same the other way round: by group and partition, the producers that have an offset
    /// pending. No level is ever empty.
    open: BTreeMap<String, ByPartition<BTreeSet<ProducerId>>>,
    /// The consumer groups.
    pub consumers: BTreeMap<String, ConsumerGroup>,
    /// How many records were applied.
    applied: u64,
}

impl StoredGroups {
    /// Takes one record in.
    pub fn apply(&mut self, record: &GroupRecord) {
        self.applied += 1;
        match record {
            GroupRecord::Group { group, value: Some(value) } => {
                self.groups.insert(group.clone(), value.clone());
            }
            GroupRecord::Group { group, value: None } => {
                self.groups.remove(group);
            }
            GroupRecord::Offset { group, topic, partition, value: Some(value) } => {
                let committed = CommittedOffset::of(value, self.applied);
                let offsets = self.offsets.entry(group.clone()).or_default();
                offsets.entry(topic.clone()).or_default().insert(*partition, committed);
            }
            GroupRecord::Pending { producer, group, topic, partition, value } => {
                let committed = CommittedOffset::of(value, self.applied);
                let pending = self.pending.entry(producer.0).or_default();
                let offsets = pending.entry(group.clone()).or_default();
                offsets.entry(topic.clone()).or_default().insert(*partition, committed);
                let open = self.open.entry(group.clone()).or_default();
                let open = open.entry(topic.clone()).or_default();
                open.entry(*partition).or_default().insert(producer.0);
            }
            GroupRecord::Ended(end) => self.end(end),
            GroupRecord::Consumer(record) => {
                let group = self.consumers.entry(String::from(record.group())).or_default();
                group.apply(record);
                if group.is_gone() {
                    self.consumers.remove(record.group());
                }
            }
            GroupRecord::Offset { group, topic, partition, value: None } => {
                self.forget(group, topic, *partition);
            }
        }
    }

    /// The producer's transaction has ended: its pending offsets are committed, unless a later
    /// commit is there, or dropped.
    fn end(&mut self, end: &TransactionEnd) {
        // A transaction need not have committed offsets: then there is nothing to put in force.
        for (group, topics) in self.pending.remove(&end.producer.0).unwrap_or_default() {
            for (topic, partitions) in topics {
                for (partition, committed) in partitions {
                    self.close(&group, &topic, partition, end.producer.0);
                    if end.commit {
                        self.put(&group, &topic, partition, committed);
                    }
                }
            }
        }
    }

    /// Commits an offset of a transaction, unless a later one is there.
    fn put(&mut self, group: &str, topic: &str, partition: i32, committed: CommittedOffset) {
        let offsets = self.offsets.entry(String::from(group)).or_default();
        let there = offsets.entry(String::from(topic)).or_default();
        if there.get(&partition).is_none_or(|it| it.order < committed.order) {
            there.insert(partition, committed);
        }
    }

    /// Takes the producer's pending offset of this partition out of `open`.
    fn close(&mut self, group: &str, topic: &str, partition: i32, producer: ProducerId) {
        let open = self.open.get_mut(group).and_then(|it| it.get_mut(topic));
        let producers = open.and_then(|it| it.get_mut(&partition));
        let producers = producers.expect("open mirrors pending");
        producers.remove(&producer);
        if producers.is_empty() {
            remove_partition(&mut self.open, group, topic, partition);
        }
    }

    /// Asserts that `open` mirrors `pending`, and that no level of either is empty.
    pub(super) fn check_pending(&self) {
        let mut open: BTreeMap<String, ByPartition<BTreeSet<ProducerId>>> = BTreeMap::new();
        for (producer, groups) in &self.pending {
            for (group, topics) in groups {
                for (topic, partitions) in topics {
                    let open = open.entry(group.clone()).or_default();
                    let open = open.entry(topic.clone()).or_default();
                    for partition in partitions.keys() {
                        open.entry(*partition).or_default().insert(*producer);
                    }
                }
            }
        }
        assert_eq!(open, self.open, "offsets pending by producer and by partition");
    }

    /// May an open transaction still commit an offset of this partition?
    #[must_use]
    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        let open = self.open.get(group).and_then(|it| it.get(topic));
        open.is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Has an open transaction offsets of this group?
    #[must_use]
    pub fn has_pending(&self, group: &str) -> bool {
        self.open.contains_key(group)
    }

    /// Has the group offsets, in force or pending?
    #[must_use]
    pub fn has_offsets(&self, group: &str) -> bool {
        self.offsets.contains_key(group) || self.open.contains_key(group)
    }

    /// The groups that have offsets, in force or pending.
    pub fn groups_with_offsets(&self) -> BTreeSet<&String> {
        self.offsets.keys().chain(self.open.keys()).collect()
    }

    /// The partitions of which a group has an offset, in force or pending.
    #[must_use]
    pub fn partitions_of(&self, group: &str) -> BTreeSet<(&String, i32)> {
        let mut all = BTreeSet::new();
        for (topic, partitions) in self.offsets.get(group).into_iter().flatten() {
            all.extend(partitions.keys().map(|partition| (topic, *partition)));
        }
        for (topic, partitions) in self.open.get(group).into_iter().flatten() {
            all.extend(partitions.keys().map(|partition| (topic, *partition)));
        }
        all
    }

    /// The partitions of a topic of which a group has an offset, in force or pending, without
    /// those offsets that say the id of another topic of the same name.
    #[must_use]
    pub fn offsets_of_topic(&self, group: &str, topic: &str, id: Uuid) -> BTreeSet<i32> {
        let is_same = |it: &CommittedOffset| it.topic_id.is_zero() || it.topic_id == id;
        let committed = self.offsets.get(group).and_then(|it| it.get(topic)).into_iter().flatten();
        let mut all: BTreeSet<i32> =
            committed.filter(|(_, it)| is_same(it)).map(|(partition, _)| *partition).collect();
        let open = self.open.get(group).and_then(|it| it.get(topic)).into_iter().flatten();
        for (partition, producers) in open {
            let pending = |producer| {
                self.pending.get(producer)?.get(group)?.get(topic)?.get(partition).map(is_same)
            };
            if producers.iter().any(|producer| pending(producer).unwrap_or(false)) {
                all.insert(*partition);
            }
        }
        all
    }

    /// Has the group an offset of this partition, in force or pending?
    #[must_use]
    pub fn has_offset(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.committed(group, topic, partition).is_some()
            || self.is_unstable(group, topic, partition)
    }

    /// The offset is deleted, and with it what open transactions have written for this partition
    /// so far: a commit later on must not bring back what belonged to a deleted topic or group.
    fn forget(&mut self, group: &str, topic: &str, partition: i32) {
        remove_partition(&mut self.offsets, group, topic, partition);
        let producers =
            remove_partition(&mut self.open, group, topic, partition).unwrap_or_default();
        for producer in producers {
            let pending = self.pending.get_mut(&producer).expect("pending mirrors open");
            remove_partition(pending, group, topic, partition);
            if pending.is_empty() {
                self.pending.remove(&producer);
            }
        }
    }

    /// The committed offset of a group in a partition.
    #[must_use]
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.offsets.get(group)?.get(topic)?.get(&partition)
    }
}

/// Takes a partition's value out, and each level that is empty then.
fn remove_partition<T>(
    all: &mut BTreeMap<String, ByPartition<T>>,
    group: &str,
    topic: &str,
    partition: i32,
) -> Option<T> {
    let topics = all.get_mut(group)?;
    let partitions = topics.get_mut(topic)?;
    let removed = partitions.remove(&partition);
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        all.remove(group);
    }
    removed
}
