//! What a kind of coordinator has of its own: its machine, and what its records are in the topic.

use std::fmt::Debug;

use bytes::Bytes;
use ottla_machine::Machine;
use ottla_partitions::Marker;
use ottla_records::BatchOptions;
use ottla_types::{Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};

/// A kind of coordinator.
pub trait ShardKind: Debug + Send + Sync + 'static {
    /// What runs in it.
    type Machine: Machine<
            Record = Self::Record,
            Reply: Debug + Send,
            Timer: Send,
            Settings: Clone + PartialEq + Debug + Send + Sync,
        > + Send;
    /// What it writes down.
    type Record;
    /// The topic that it lives in.
    const TOPIC: &'static str;

    /// A machine that has seen no record yet.
    fn machine(settings: ShardSettings<Self>) -> Self::Machine;

    /// The command that says that all records have been seen.
    fn loaded() -> <Self::Machine as Machine>::Command;

    /// What is appended for the records of one decision, in this order. There are several entries
    /// only if each is true without those after it.
    fn entries(records: &[Self::Record], now_ms: TimestampMs)
    -> impl Iterator<Item = JournalEntry>;

    /// The record that was read from this partition of the topic; `None` if this machine does not
    /// use it.
    ///
    /// # Errors
    /// It cannot be decoded, and must not be skipped.
    fn decode(
        stored: StoredRecord,
        partition: &TopicPartition,
    ) -> Result<Option<Self::Record>, String>;
}

/// What an operator decides about the coordinators of a kind.
pub type ShardSettings<K> = <<K as ShardKind>::Machine as Machine>::Settings;

/// The key and the value of a record; no value deletes the key.
pub type KeyValue = (Bytes, Option<Bytes>);

/// What is appended to a coordinator's topic at once.
#[derive(Debug)]
pub enum JournalEntry {
    /// Records in one batch.
    Batch {
        /// Its producer, if it belongs to a transaction.
        options: BatchOptions,
        /// The records.
        records: Vec<KeyValue>,
    },
    /// The end of a producer's transaction.
    Marker(Marker),
}

/// What is read from a coordinator's topic.
#[derive(Debug)]
pub enum StoredRecord {
    /// A record.
    Record {
        /// Where it lies.
        offset: Offset,
        /// Its key.
        key: Bytes,
        /// Its value.
        value: Option<Bytes>,
        /// The producer of the transaction that it belongs to.
        transaction: Option<(ProducerId, ProducerEpoch)>,
    },
    /// The end of a producer's transaction.
    Marker(Marker),
}
