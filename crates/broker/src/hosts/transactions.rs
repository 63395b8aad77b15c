//! The transaction coordinators of this node, in `__transaction_state`.

use std::pin::pin;
use std::time::Duration;

use ottla_coordinator::transaction::{
    TransactionCommand, TransactionMachine, TransactionRecord, TransactionSettings,
};
use ottla_records::BatchOptions;
use ottla_types::{Bug, ErrorCode, TRANSACTION_STATE, TimestampMs, TopicPartition, is_planted};

use super::kind::{JournalEntry, ShardKind, StoredRecord};
use super::markers::{MARKER_WAIT, Markers};
use super::shards::{ShardHost, Shards};

/// The topic that transactional ids live in.
pub const TOPIC: &str = TRANSACTION_STATE;

/// After how long a marker that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(100);

const _: () = assert!(RETRY.as_millis() < MARKER_WAIT.as_millis());

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
    /// Fires timers and writes the markers that are left; does not return.
    pub async fn tick(&self, markers: &Markers) {
        let write_markers = async |index, host: &TransactionHost| {
            self.while_committing(markers.work_off(index, host)).await
        };
        self.look_after(RETRY, write_markers).await;
    }

    /// Waits for work that asks coordinators, and lets their answers go as their records commit:
    /// the work may wait for one of them, and no other task looks.
    async fn while_committing<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.commit_pause(), if !is_planted(Bug::CommitsUnseen) => {
                    for (_, host) in self.all() {
                        host.committed();
                    }
                }
            }
        }
    }
}

/// The error code for a client: versions before 2 know only the code of idempotent producers.
pub const fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED if version < 2 => ErrorCode::INVALID_PRODUCER_EPOCH,
        code => code,
    }
}
