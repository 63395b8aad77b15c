//! What the log knows.

use alloc::collections::BTreeMap;
use alloc::string::String;

use ottla_protocol::group::group_metadata_value::GroupMetadataValue;
use ottla_types::{LeaderEpoch, Offset, TimestampMs, Uuid};

use super::record::Record;

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
}

impl Stored {
    /// Takes one record in.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Group { group, value: Some(value) } => {
                self.groups.insert(group.clone(), value.clone());
            }
            Record::Group { group, value: None } => {
                self.groups.remove(group);
            }
            Record::Offset { group, topic, partition, value: Some(value) } => {
                let committed = Committed {
                    offset: value.offset,
                    leader_epoch: value.leader_epoch,
                    metadata: value.metadata.clone(),
                    timestamp: value.commit_timestamp,
                    expires: Some(value.expire_timestamp).filter(|at| *at >= 0),
                    topic_id: value.topic_id,
                };
                let offsets = self.offsets.entry(group.clone()).or_default();
                offsets.entry(topic.clone()).or_default().insert(*partition, committed);
            }
            Record::Offset { group, topic, partition, value: None } => {
                self.forget(group, topic, *partition);
            }
        }
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
