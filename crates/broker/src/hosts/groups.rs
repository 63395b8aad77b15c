//! The group coordinators of this node, in `__consumer_offsets`.

use ottla_coordinator::group::{
    DeletedTopic, GroupCommand, GroupMachine, GroupRecord, GroupSettings, TransactionEnd,
};
use ottla_partitions::Marker;
use ottla_records::BatchOptions;
use ottla_types::{Bug, CONSUMER_OFFSETS, TimestampMs, TopicPartition, is_planted};

use super::kind::{JournalEntry, ShardKind, StoredRecord};
use super::shards::{ShardHost, Shards};
use super::topic_journal::UNPACKED_BYTES_MAX;

pub use super::shards::ask_coordinator;

/// The topic that groups and their offsets live in.
pub const TOPIC: &str = CONSUMER_OFFSETS;

/// Groups and their offsets.
#[derive(Debug)]
pub struct GroupKind;

/// One coordinator.
pub type GroupHost = ShardHost<GroupKind>;
/// All coordinators of this node.
pub type Groups = Shards<GroupKind>;

impl ShardKind for GroupKind {
    type Machine = GroupMachine;
    type Record = GroupRecord;
    const TOPIC: &'static str = TOPIC;

    fn machine(settings: GroupSettings) -> GroupMachine {
        GroupMachine::new(settings)
    }

    fn loaded() -> GroupCommand {
        GroupCommand::Loaded
    }

    fn entries(records: &[GroupRecord], now_ms: TimestampMs) -> impl Iterator<Item = JournalEntry> {
        let options = match records.first() {
            // The coordinator is in no producer's sequence, but Kafka's batches start at 0.
            Some(GroupRecord::Pending { producer, .. }) => BatchOptions {
                producer_id: producer.0,
                producer_epoch: producer.1,
                base_sequence: 0,
                transactional: true,
                ..BatchOptions::default()
            },
            _ => BatchOptions::default(),
        };
        offset_parts(records).map(move |part| match part {
            [GroupRecord::Ended(end)] => JournalEntry::Marker(end_marker(end)),
            part => JournalEntry::Batch {
                options: options.clone(),
                records: part.iter().map(|it| it.encode(now_ms)).collect(),
            },
        })
    }

    fn decode(
        stored: StoredRecord,
        partition: &TopicPartition,
    ) -> Result<Option<GroupRecord>, String> {
        let (offset, key, value, transaction) = match stored {
            StoredRecord::Marker(marker) => {
                return Ok(Some(GroupRecord::Ended(transaction_end(&marker))));
            }
            StoredRecord::Record { offset, key, value, transaction } => {
                (offset, key, value, transaction)
            }
        };
        match GroupRecord::decode(key, value) {
            Ok(Some(record)) => Ok(Some(match transaction {
                Some((id, epoch)) => record.in_transaction(id, epoch),
                None => record,
            })),
            // Another kind of group has written it, for example a share group.
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::warn!(
                    %partition,
                    offset,
                    %error,
                    "record cannot be decoded; skipped while loading groups"
                );
                Ok(None)
            }
        }
    }
}

/// How many bytes of offsets are written as one batch.
const PART_BYTES: usize = 512 << 10;

const _: () = assert!(PART_BYTES < UNPACKED_BYTES_MAX, "what is written can be loaded");

/// The records in parts that may each be a batch of its own. Only offsets are parted, for each of
/// them is true by itself: a request about very many, or a group with very many to be deleted,
/// need not fit a batch.
fn offset_parts(records: &[GroupRecord]) -> impl Iterator<Item = &[GroupRecord]> {
    let mut bytes = 0;
    records.split_inclusive(move |record| {
        bytes += record.size_bytes();
        let is_offset = matches!(record, GroupRecord::Offset { .. } | GroupRecord::Pending { .. });
        let ends = is_offset && bytes >= PART_BYTES;
        if ends {
            bytes = 0;
        }
        ends
    })
}

/// The marker of an end.
#[must_use]
pub fn end_marker(end: &TransactionEnd) -> Marker {
    Marker {
        producer_id: end.producer.0,
        epoch: end.producer.1,
        commit: end.commit || is_planted(Bug::AbortCommits),
        coordinator_epoch: end.coordinator_epoch,
        is_bumped: end.is_bumped,
    }
}

/// The end that a marker stands for.
const fn transaction_end(marker: &Marker) -> TransactionEnd {
    TransactionEnd {
        producer: (marker.producer_id, marker.epoch),
        commit: marker.commit,
        coordinator_epoch: marker.coordinator_epoch,
        is_bumped: marker.is_bumped,
    }
}

impl Groups {
    /// These topics no longer exist: their offsets go too.
    pub fn topics_deleted(&self, gone: &[DeletedTopic]) {
        for (_, host) in self.all() {
            // A coordinator that is lost finds out when it is loaded again.
            let _ = host.tell(GroupCommand::TopicsDeleted(gone.to_vec()));
        }
    }

    /// Fires the groups' timers and answers what has committed; does not return.
    pub async fn tick(&self) {
        self.run().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tombstone(partition: i32) -> GroupRecord {
        let (group, topic) = ("g".repeat(1000), "t".to_owned());
        GroupRecord::Offset { group, topic, partition, value: None }
    }

    fn last() -> GroupRecord {
        GroupRecord::Group { group: "g".to_owned(), value: None }
    }

    #[test]
    fn many_offsets_are_written_in_parts_and_in_order() {
        let mut records: Vec<GroupRecord> = (0..2_000).map(tombstone).collect();
        records.push(last());
        let found: Vec<&[GroupRecord]> = offset_parts(&records).collect();
        assert!(found.len() > 3, "{} parts", found.len());
        let bytes = |part: &[GroupRecord]| part.iter().map(GroupRecord::size_bytes).sum::<usize>();
        assert!(found.iter().all(|part| !part.is_empty() && bytes(part) < PART_BYTES + 2_000));
        assert_eq!(found.concat(), records);
        // What belongs together stays together.
        let together: Vec<GroupRecord> = (0..10_000).map(|_| last()).collect();
        assert_eq!(offset_parts(&together).count(), 1);
    }

    #[test]
    fn a_record_is_not_larger_than_it_says() {
        let value = ottla_protocol::group::offset_commit_value::OffsetCommitValue {
            metadata: "m".repeat(300),
            ..Default::default()
        };
        let offset = GroupRecord::Offset {
            group: "group".to_owned(),
            topic: "topic".to_owned(),
            partition: 7,
            value: Some(value),
        };
        for record in [offset, tombstone(1), last()] {
            let (key, value) = record.encode(0);
            let bytes = key.len() + value.map_or(0, |it| it.len());
            assert!(bytes <= record.size_bytes(), "{bytes} bytes of {record:?}");
        }
    }
}
