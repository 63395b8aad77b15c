//! A partition of a coordinator's topic as the journal of its machine: entries to batches and back.

use std::marker::PhantomData;

use bytes::Bytes;
use ottla_partitions::{
    AppendRefusal, Isolation, LedPartition, Marker, PartitionSlice, ReadRefused, StorageError,
    Terms,
};
use ottla_records::control::{ControlKind, coordinator_epoch};
use ottla_records::{BadRecords, Batch, BatchBuilder, BatchOptions, NewRecord, batches_in};
use ottla_types::{Bug, Offset, TimestampMs, is_planted};

use super::host::{AppendFailed, Journal};
use super::kind::{JournalEntry, KeyValue, ShardKind, StoredRecord};

/// How much of the topic is read at a time while loading, in bytes (`offsets.load.buffer.size`).
const LOAD_BYTES: usize = 5 * 1024 * 1024;
/// How much a batch may unpack to while loading, in bytes.
pub(super) const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A load that takes longer says how far it is, every so many records.
const LOGGED_EVERY: u64 = 1_000_000;

/// A partition of a coordinator's topic as a journal, in the leader epoch in which its coordinator
/// was loaded.
#[derive(Debug)]
pub struct TopicJournal<K> {
    led: LedPartition,
    kind: PhantomData<K>,
}

impl<K: ShardKind> TopicJournal<K> {
    /// The partition as a journal.
    pub const fn new(led: LedPartition) -> Self {
        Self { led, kind: PhantomData }
    }

    /// The partition, and the leader epoch.
    pub const fn led(&self) -> &LedPartition {
        &self.led
    }
}

impl<K: ShardKind> Journal<K::Record> for TopicJournal<K> {
    type Error = AppendRefusal;

    fn accepts(&self) -> bool {
        self.led.accepts()
    }

    fn append(
        &mut self,
        records: &[K::Record],
        _base: Offset,
        now_ms: TimestampMs,
    ) -> Result<Offset, AppendFailed<AppendRefusal>> {
        let start = self.end();
        if is_planted(Bug::JournalSkipped) {
            return Ok(start);
        }
        let mut end = start;
        for entry in K::entries(records, now_ms) {
            end = match append_entry(&self.led, entry, now_ms) {
                Ok(end) => end,
                // The entries before are written, and true; only the log knows which they are.
                Err(refused) if end > start => return Err(AppendFailed::Unknown(refused)),
                Err(refused) => return Err(append_failed(refused)),
            };
        }
        Ok(end)
    }

    fn end(&self) -> Offset {
        self.led.partition().ends().log_end
    }

    /// In another epoch another leader's records may lie below the same offsets.
    fn committed(&self) -> Offset {
        self.led.ends().map_or(Offset::MIN, |ends| ends.high_watermark)
    }

    fn log_refused(&self, error: &AppendRefusal) {
        tracing::warn!(
            partition = %self.led.partition().name(),
            leader_epoch = self.led.epoch(),
            %error,
            "coordinator append refused; the request fails, its group or transaction is unchanged"
        );
    }

    fn log_failed(&self, error: &AppendRefusal) {
        tracing::error!(
            partition = %self.led.partition().name(),
            leader_epoch = self.led.epoch(),
            %error,
            "coordinator append failed; shard unloaded, loading it again"
        );
    }
}

/// Appends an entry; returns the log's end after it.
fn append_entry(
    led: &LedPartition,
    entry: JournalEntry,
    now_ms: TimestampMs,
) -> Result<Offset, AppendRefusal> {
    let (options, records) = match entry {
        JournalEntry::Marker(marker) => return Ok(led.end_transaction(&marker, now_ms)?.end),
        JournalEntry::Batch { options, records } => (options, records),
    };
    let is_transactional = options.transactional;
    let batch = build_batch(options, &records, now_ms)?;
    if is_transactional {
        return Ok(led.append_own(&batch, now_ms)?.end);
    }
    match led.append(&batch, &Terms::for_all(now_ms)) {
        Ok(appended) => Ok(appended.end),
        // What the machine has decided is written, whatever `max.message.bytes` of its topic says:
        // it has refused what is too large before.
        Err(AppendRefusal::Records(BadRecords::TooLarge { .. })) => {
            Ok(led.append_own(&batch, now_ms)?.end)
        }
        Err(refused) => Err(refused),
    }
}

fn build_batch(
    options: BatchOptions,
    records: &[KeyValue],
    now_ms: TimestampMs,
) -> Result<Bytes, AppendRefusal> {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        let value = value.as_deref();
        builder.push(&NewRecord { timestamp: now_ms, key: Some(key), value, headers: &[] });
    }
    let batch =
        builder.build().map_err(|error| AppendRefusal::Records(BadRecords::Broken(error)))?;
    Ok(Bytes::from(batch))
}

/// Was nothing written, or is that unknown?
fn append_failed(refused: AppendRefusal) -> AppendFailed<AppendRefusal> {
    match refused {
        // Where only room was missing, the log has taken back what it had begun.
        AppendRefusal::Storage(error) if !error.is_shortage() => {
            AppendFailed::Unknown(AppendRefusal::Storage(error))
        }
        refused => AppendFailed::Refused(refused),
    }
}

/// Why a coordinator's records could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read now: the disk may recover.
    #[error("the log cannot be read: {0}")]
    Read(ReadRefused),
    /// The partition's leader epoch has ended.
    #[error("its leader epoch has ended")]
    Moved,
    /// The log has what must not be skipped: that does not change.
    #[error("{0}")]
    Content(String),
}

/// Reads the partition from its start to `end`, which has committed; `apply` gets each record that
/// is for the machine.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay_partition<K: ShardKind>(
    led: &LedPartition,
    end: Offset,
    mut apply: impl FnMut(&K::Record),
) -> Result<(), ReplayError> {
    let partition = led.partition();
    let mut at = partition.ends().log_start;
    let mut applied: u64 = 0;
    while at < end {
        let slice = PartitionSlice::new(at, LOAD_BYTES, Isolation::Uncommitted);
        let read = partition.read(slice).map_err(|refused| match &refused {
            ReadRefused::Storage(StorageError::Io { .. }) => ReplayError::Read(refused),
            ReadRefused::NotLeader => ReplayError::Moved,
            _ => ReplayError::Content(refused.to_string()),
        })?;
        if read.records.is_empty() {
            // Compaction has removed the last batches; what comes next begins at the log end.
            break;
        }
        let before = at;
        for batch in batches_in(&read.records) {
            let Ok(batch) = batch else { break };
            each_stored(&batch, |stored| {
                let Some(record) = K::decode(stored, partition.name())? else { return Ok(()) };
                apply(&record);
                applied += 1;
                if applied.is_multiple_of(LOGGED_EVERY) {
                    let name = partition.name();
                    tracing::info!(partition = %name, offset = at, end, "coordinator loading");
                }
                Ok(())
            })
            .map_err(ReplayError::Content)?;
            at = batch.next_offset();
        }
        if at == before {
            let why = format!("no whole batch at offset {at}, before the log end {end}");
            return Err(ReplayError::Content(why));
        }
    }
    Ok(())
}

/// Takes a batch of the topic apart.
fn each_stored(
    batch: &Batch<'_>,
    mut take: impl FnMut(StoredRecord) -> Result<(), String>,
) -> Result<(), String> {
    if batch.is_control() {
        return stored_marker(batch).map_or(Ok(()), |marker| take(StoredRecord::Marker(marker)));
    }
    let producer = (batch.producer_id(), batch.producer_epoch());
    let transaction = batch.is_transactional().then_some(producer);
    let unpacked = batch.unpack(UNPACKED_BYTES_MAX).map_err(|error| error.to_string())?;
    for record in unpacked.records() {
        let record = record.map_err(|error| error.to_string())?;
        let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
        let value = record.value.map(Bytes::copy_from_slice);
        take(StoredRecord::Record { offset: record.offset, key, value, transaction })?;
    }
    Ok(())
}

/// What a marker says; `None` if the batch is another kind of control batch.
fn stored_marker(batch: &Batch<'_>) -> Option<Marker> {
    let unpacked = batch.unpack(batch.bytes().len()).ok()?;
    let record = unpacked.records().next()?.ok()?;
    let commit = match ControlKind::of(&record)? {
        ControlKind::Commit => true,
        ControlKind::Abort => false,
        _ => return None,
    };
    Some(Marker {
        producer_id: batch.producer_id(),
        epoch: batch.producer_epoch(),
        commit,
        coordinator_epoch: coordinator_epoch(&record).unwrap_or(-1),
        is_bumped: false,
    })
}
