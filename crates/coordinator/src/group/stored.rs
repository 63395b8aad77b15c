//! What the log knows.

use alloc::collections::BTreeMap;
use alloc::string::String;

use ottla_protocol::group::group_metadata_value::GroupMetadataValue;
use ottla_protocol::group::offset_commit_value::OffsetCommitValue;
use ottla_types::{LeaderEpoch, Offset, ProducerId, TimestampMs, Uuid};

use super::consumer::ConsumerGroup;
use super::record::{Record, TransactionEnd};

/// How far a group has come in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset it would read.
    pub offset: Offset,
    /// The epoch of the last record it has read; -1 if it did not say.
    pub leader_epoch: LeaderEpoch,
    /// What it put beside it.
    pub metadata: String,
    /// When.
    pub timestamp: TimestampMs,
    /// Until when, if the client said so.
    pub expires: Option<TimestampMs>,
    /// The topic's id, if it was known.
    pub topic_id: Uuid,
    /// Its place among all records: of two, the later is in force.
    pub order: u64,
}

impl Committed {
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

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<String, BTreeMap<i32, Committed>>;

/// Groups and offsets, as of one offset of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Each group as its last generation left it.
    pub groups: BTreeMap<String, GroupMetadataValue>,
    /// The offsets of each group.
    pub offsets: BTreeMap<String, Offsets>,
    /// By producer and group: what is in force as soon as the producer's transaction commits.
    pub pending: BTreeMap<ProducerId, BTreeMap<String, Offsets>>,
    /// The groups whose coordinator assigns.
    pub consumers: BTreeMap<String, ConsumerGroup>,
    /// How many records there were.
    applied: u64,
}

impl Stored {
    /// Takes one record in.
    pub fn apply(&mut self, record: &Record) {
        self.applied += 1;
        match record {
            Record::Group { group, value: Some(value) } => {
                self.groups.insert(group.clone(), value.clone());
            }
            Record::Group { group, value: None } => {
                self.groups.remove(group);
            }
            Record::Offset { group, topic, partition, value: Some(value) } => {
                let committed = Committed::of(value, self.applied);
                let offsets = self.offsets.entry(group.clone()).or_default();
                offsets.entry(topic.clone()).or_default().insert(*partition, committed);
            }
            Record::Pending { producer, group, topic, partition, value } => {
                let committed = Committed::of(value, self.applied);
                let pending = self.pending.entry(producer.0).or_default();
                let offsets = pending.entry(group.clone()).or_default();
                offsets.entry(topic.clone()).or_default().insert(*partition, committed);
            }
            Record::Ended(end) => self.end(end),
            Record::Consumer(record) => {
                let group = self.consumers.entry(String::from(record.group())).or_default();
                group.apply(record);
                if group.is_gone() {
                    self.consumers.remove(record.group());
                }
            }
            Record::Offset { group, topic, partition, value: None } => {
                self.forget(group, topic, *partition);
            }
        }
    }

    /// What was pending is in force, unless something later is, or is gone.
    fn end(&mut self, end: &TransactionEnd) {
        let Some(pending) = self.pending.remove(&end.producer.0) else { return };
        if !end.commit {
            return;
        }
        for (group, topics) in pending {
            let offsets = self.offsets.entry(group).or_default();
            for (topic, partitions) in topics {
                let there = offsets.entry(topic).or_default();
                for (partition, committed) in partitions {
                    if there.get(&partition).is_none_or(|it| it.order < committed.order) {
                        there.insert(partition, committed);
                    }
                }
            }
        }
    }

    /// Is there an offset that an open transaction may still put in force?
    #[must_use]
    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        let mut of_group = self.pending.values().filter_map(|it| it.get(group)?.get(topic));
        of_group.any(|partitions| partitions.contains_key(&partition))
    }

    /// Has an open transaction offsets of this group?
    #[must_use]
    pub fn has_pending(&self, group: &str) -> bool {
        self.pending.values().any(|it| it.contains_key(group))
    }

    fn forget(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(offsets) = self.offsets.get_mut(group) else { return };
        if let Some(partitions) = offsets.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                offsets.remove(topic);
            }
        }
        if offsets.is_empty() {
            self.offsets.remove(group);
        }
    }

    /// How far a group has come in a partition.
    #[must_use]
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.offsets.get(group)?.get(topic)?.get(&partition)
    }
}
