//! Compaction: of each key only the last record stays.
//!
//! A cleaner runs beside the log's writer. It learns the last offset of each key from the dirty
//! part ([`keys`]), rewrites the segments without outdated records ([`rewrite`]), and puts the
//! new ones in the place of the old ([`Swap`]). Offsets never change; nothing after the last
//! stable offset, and nothing in the active segment, is touched.
//!
//! A tombstone stays until all consumers had time to read it: when it is first met, its batch gets
//! a delete horizon, and once that has passed it goes (KIP-534). The same holds for the markers of
//! transactions that have no record left. What a producer wrote last keeps its batch, though
//! perhaps without records, so that its sequence number is not forgotten.

mod clean;
mod keys;
mod rewrite;
mod swap;
mod transactions;

use std::sync::Arc;

use ottla_types::{Offset, TimestampMs};

pub use clean::{Cleaning, CleaningStep, CleaningTerms};
pub use swap::Swap;

use crate::error::StorageError;
use crate::segment::Segment;
use crate::view::LogView;

/// How a log is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// How many millionths of the log must be dirty (`min.cleanable.dirty.ratio`).
    pub dirty_millionths: u64,
    /// For how long a record is left alone, in milliseconds (`min.compaction.lag.ms`).
    pub min_lag_ms: i64,
    /// After how long a record must be compacted, in milliseconds (`max.compaction.lag.ms`).
    pub max_lag_ms: i64,
    /// For how long a tombstone stays, in milliseconds (`delete.retention.ms`).
    pub delete_retention_ms: i64,
}

/// What there is to clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirt {
    /// Everything below is clean.
    pub from: Offset,
    /// Nothing from here on may be cleaned yet.
    pub upto: Offset,
    /// How many bytes are clean.
    pub clean_bytes: u64,
    /// How many bytes can be cleaned.
    pub dirty_bytes: u64,
    /// The timestamp of the oldest dirty segment; -1 if it has none.
    pub oldest_ms: TimestampMs,
}

impl Dirt {
    /// How many millionths of what may be cleaned is dirty.
    #[must_use]
    pub fn millionths(&self) -> u64 {
        let all = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        let part = u128::from(self.dirty_bytes) * 1_000_000 / all.max(1);
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// Is it time to clean?
    #[must_use]
    pub fn is_due(&self, rules: &Compaction, now_ms: TimestampMs) -> bool {
        let waits_too_long =
            self.oldest_ms >= 0 && now_ms.saturating_sub(self.oldest_ms) > rules.max_lag_ms;
        self.dirty_bytes > 0 && (self.millionths() >= rules.dirty_millionths || waits_too_long)
    }
}

/// Those at the log's front that are closed, with all indexes in their files.
fn closed_segments(all: &[Arc<Segment>]) -> &[Arc<Segment>] {
    let closed = &all[..all.len() - 1];
    let unsealed = closed.iter().position(|it| !it.is_sealed());
    &closed[..unsealed.unwrap_or(closed.len())]
}

impl LogView {
    /// What there is to clean, if everything below `from` is clean and nothing from `limit` (the
    /// last stable offset) on may be touched.
    ///
    /// # Errors
    /// The disk fails.
    pub fn dirt(
        &self,
        from: Offset,
        limit: Offset,
        rules: &Compaction,
        now_ms: TimestampMs,
    ) -> Result<Dirt, StorageError> {
        let all = self.shared.segments.load_full();
        let from = from.max(self.log_start());
        let (mut clean_bytes, mut dirty_bytes, mut oldest_ms) = (0, 0, -1);
        let mut upto = from;
        for (at, segment) in closed_segments(&all).iter().enumerate() {
            let next = all.get(at + 1).map_or(limit, |next| next.base);
            if next <= from {
                clean_bytes += segment.size();
                continue;
            }
            let newest = segment.newest()?.map_or(-1, |(newest, _)| newest);
            let is_young = rules.min_lag_ms > 0 && newest > now_ms - rules.min_lag_ms;
            if next > limit || is_young {
                break;
            }
            if dirty_bytes == 0 {
                oldest_ms = newest;
            }
            dirty_bytes += segment.size();
            upto = next;
        }
        Ok(Dirt { from, upto, clean_bytes, dirty_bytes, oldest_ms })
    }
}
