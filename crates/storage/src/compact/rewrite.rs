//! Rewrites one batch for compaction: keeps it, drops it, or keeps some of its records.

use ottla_records::{Batch, BatchBuilder, BatchOptions, Compression, Record, Unpacked};
use ottla_types::{Offset, TimestampMs};

use super::keys::Keys;
use crate::error::StorageError;

/// What a batch is judged by.
#[derive(Debug)]
pub(crate) struct BatchJudge<'a> {
    pub keys: &'a Keys,
    /// The offset after the last that `keys` knows of: what is later stays.
    pub known_upto: Offset,
    pub now_ms: TimestampMs,
    pub delete_retention_ms: i64,
}

/// What is known of a batch before its records are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// It belongs to an aborted transaction, or is a marker without a transaction.
    pub void: bool,
    /// It is the last of its producer, or of the log's cleaned part.
    pub must_stay: bool,
}

/// What is written in a batch's place.
#[derive(Debug)]
pub(crate) enum Rewritten {
    /// The batch as it is.
    Same,
    /// Another.
    Other(Vec<u8>),
    /// Nothing.
    Nothing,
}

impl BatchJudge<'_> {
    /// The outcome for the batch.
    ///
    /// # Errors
    /// A record is broken.
    pub(crate) fn rewrite(
        &self,
        unpacked: &Unpacked<'_>,
        facts: Facts,
    ) -> Result<Rewritten, StorageError> {
        let batch = unpacked.batch();
        let is_over = batch.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now_ms);
        // An aborted record goes at once, a marker only after its horizon.
        let discard = facts.void && (!batch.is_control() || is_over);
        let (mut kept, mut count, mut tombstones) = (Vec::new(), 0, false);
        for record in unpacked.records() {
            let record = record?;
            count += 1;
            if !discard && (batch.is_control() || self.keeps(&record, is_over)) {
                tombstones |= record.value.is_none() && !batch.is_control();
                kept.push(record);
            }
        }
        if kept.is_empty() {
            return if !facts.must_stay {
                Ok(Rewritten::Nothing)
            } else if count == 0 {
                Ok(Rewritten::Same)
            } else {
                Ok(Rewritten::Other(emptied_batch(&batch)?))
            };
        }
        let waits = tombstones || batch.is_control() && facts.void;
        let horizon = match batch.delete_horizon_ms() {
            None if waits => Some(self.now_ms.saturating_add(self.delete_retention_ms)),
            known => known,
        };
        if kept.len() == count && horizon == batch.delete_horizon_ms() {
            return Ok(Rewritten::Same);
        }
        Ok(Rewritten::Other(thinned_batch(&batch, &kept, horizon)?))
    }

    fn keeps(&self, record: &Record<'_>, is_over: bool) -> bool {
        if record.offset >= self.known_upto {
            return true;
        }
        // A record without a key cannot be in a compacted topic, unless it was not one before.
        record.key.is_some_and(|key| {
            let has_effect = record.value.is_some() || !is_over;
            has_effect && !self.keys.is_outdated(key, record.offset)
        })
    }
}

fn last_delta(batch: &Batch<'_>) -> i32 {
    i32::try_from(batch.last_offset() - batch.base_offset()).unwrap_or(i32::MAX)
}

/// The batch with fewer records, or with a horizon; offsets and sequence numbers stay.
fn thinned_batch(
    batch: &Batch<'_>,
    kept: &[Record<'_>],
    horizon: Option<TimestampMs>,
) -> Result<Vec<u8>, StorageError> {
    let mut builder = BatchBuilder::new(BatchOptions::of(batch)?);
    if let Some(horizon) = horizon {
        builder.set_delete_horizon(horizon);
    }
    for record in kept {
        builder.push_as_it_was(record, batch.base_offset());
    }
    builder.reach(last_delta(batch), batch.max_timestamp());
    Ok(builder.build()?)
}

/// The batch without records.
fn emptied_batch(batch: &Batch<'_>) -> Result<Vec<u8>, StorageError> {
    let options = BatchOptions { compression: Compression::None, ..BatchOptions::of(batch)? };
    let mut builder = BatchBuilder::new(options);
    builder.reach(last_delta(batch), batch.max_timestamp());
    Ok(builder.build()?)
}
