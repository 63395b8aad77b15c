//! The transaction coordinators of this node, in `__transaction_state`.

use std::time::Duration;

use ottla_coordinator::transaction::{
    TransactionCommand, TransactionMachine, TransactionRecord, TransactionSettings,
};
use ottla_partitions::{AppendRefusal, Partition};
use ottla_records::{Batch, BatchOptions};
use ottla_types::{ErrorCode, Offset, TRANSACTION_STATE, TimestampMs};

use super::groups;
use super::host::AppendFailed;
use super::markers::{MARKER_WAIT, Markers};
use super::shards::{Kind, ShardHost, Shards, batch_of, each_record, failed};

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

impl Kind for TransactionKind {
    type Machine = TransactionMachine;
    type Record = TransactionRecord;
    type Settings = TransactionSettings;
    const TOPIC: &'static str = TOPIC;

    fn machine(settings: TransactionSettings) -> TransactionMachine {
        TransactionMachine::new(settings)
    }

    fn loaded() -> TransactionCommand {
        TransactionCommand::Loaded
    }

    fn changed(settings: TransactionSettings) -> TransactionCommand {
        TransactionCommand::Settings(settings)
    }

    fn read(batch: &Batch<'_>, take: &mut dyn FnMut(&TransactionRecord)) -> Result<(), String> {
        if batch.is_control() {
            return Ok(());
        }
        each_record(batch, |offset, key, value| {
            // A transaction that is not understood must not be forgotten.
            match TransactionRecord::decode(key, value)
                .map_err(|error| format!("offset {offset}: {error}"))?
            {
                Some(record) => take(&record),
                None => tracing::warn!(
                    offset,
                    "__transaction_state holds a record that is not a transaction's; it is skipped"
                ),
            }
            Ok(())
        })
    }

    fn write(
        partition: &Partition,
        records: &[TransactionRecord],
        now_ms: TimestampMs,
    ) -> Result<Offset, AppendFailed<AppendRefusal>> {
        let options = BatchOptions::default();
        let batch = batch_of(options, records.iter().map(TransactionRecord::encode), now_ms);
        batch.and_then(|batch| groups::append(partition, &batch, now_ms)).map_err(failed)
    }
}

impl Transactions {
    /// Fires timers and writes what markers are left, for ever.
    pub async fn tick(&self, markers: &Markers) {
        loop {
            self.load_again();
            let (mut next_ms, mut is_done) = (TimestampMs::MAX, true);
            for (index, host) in self.all() {
                next_ms = next_ms.min(host.fire().unwrap_or(TimestampMs::MAX));
                is_done &= !host.committed();
                is_done &= markers.work_off(index, &host).await;
            }
            self.rest(next_ms, (!is_done).then_some(RETRY)).await;
        }
    }
}

/// What a client is told: those of before version 2 know only the code of idempotent producers.
pub const fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED if version < 2 => ErrorCode::INVALID_PRODUCER_EPOCH,
        code => code,
    }
}
