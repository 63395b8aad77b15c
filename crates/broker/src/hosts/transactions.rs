//! The transaction coordinators of this node, in `__transaction_state`.

use ottla_coordinator::transaction::{
    TransactionCommand, TransactionMachine, TransactionRecord, TransactionSettings,
};
use ottla_records::BatchOptions;
use ottla_types::{ErrorCode, TRANSACTION_STATE, TimestampMs, TopicPartition};

use super::kind::{JournalEntry, ShardKind, StoredRecord};
use super::marker_queue::MarkerQueue;
use super::shards::{ShardHost, Shards};

/// The topic that transactional ids live in.
pub const TOPIC: &str = TRANSACTION_STATE;

/// Transactional ids.
#[derive(Debug)]
pub struct TransactionKind;

/// One coordinator.
pub type TransactionHost = ShardHost<TransactionKind>;
/// All coordinators of this node.
pub type Transactions = Shards<TransactionKind>;

impl ShardKind for TransactionKind {
    type Machine = TransactionMachine;
    type Record = TransactionRecord;
    const TOPIC: &'static str = TOPIC;

    fn machine(settings: TransactionSettings) -> TransactionMachine {
        TransactionMachine::new(settings)
    }

    fn loaded() -> TransactionCommand {
        TransactionCommand::Loaded
    }

    fn entries(
        records: &[TransactionRecord],
        _now_ms: TimestampMs,
    ) -> impl Iterator<Item = JournalEntry> {
        let records = records.iter().map(TransactionRecord::encode).collect();
        std::iter::once(JournalEntry::Batch { options: BatchOptions::default(), records })
    }

    fn decode(
        stored: StoredRecord,
        partition: &TopicPartition,
    ) -> Result<Option<TransactionRecord>, String> {
        let StoredRecord::Record { offset, key, value, .. } = stored else { return Ok(None) };
        // A transaction that cannot be decoded must not be forgotten.
        let record = TransactionRecord::decode(key, value)
            .map_err(|error| format!("offset {offset}: {error}"))?;
        if record.is_none() {
            tracing::warn!(
                %partition,
                offset,
                "record of unknown type skipped while loading transactions"
            );
        }
        Ok(record)
    }
}

impl Transactions {
    /// Fires timers, answers what has committed, and hands over the markers of what was decided;
    /// does not return.
    pub async fn tick(&self, markers: &MarkerQueue) {
        let take_decided = async {
            loop {
                for (_, host) in self.all() {
                    markers.take_from(&host);
                }
                self.decided().await;
            }
        };
        tokio::join!(biased; self.run(), markers.run(), take_decided);
    }
}

/// The error code for a client: versions before 2 know only the code of idempotent producers.
pub const fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED if version < 2 => ErrorCode::INVALID_PRODUCER_EPOCH,
        code => code,
    }
}
