//! One cleaning of one log, group of segments by group.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_records::Batch;
use ottla_types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::keys::Keys;
use super::rewrite::{BatchJudge, Facts, Rewritten};
use super::swap::{Fresh, Swap};
use super::transactions::TransactionTracker;
use super::{Compaction, Dirt, closed};
use crate::error::StorageError;
use crate::files::Files;
use crate::log::{Log, LogOptions};
use crate::segment::Segment;
use crate::view::LogView;

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// Is told how many bytes were read or written, and takes its time if that was too much; an error
/// ends the cleaning.
pub type Pace<'a> = dyn FnMut(u64) -> Result<(), StorageError> + 'a;

/// What a producer wrote last: data up to an offset, or only a marker.
type Last = (Option<Offset>, ProducerEpoch);

/// One cleaning of one log.
#[derive(Debug)]
pub struct Cleaning {
    files: Arc<dyn Files>,
    folder: PathBuf,
    options: LogOptions,
    view: LogView,
    rules: Compaction,
    last_of: HashMap<ProducerId, Last>,
    truncations: u64,
    now_ms: TimestampMs,
    keys: Keys,
    upto: Offset,
    transactions: TransactionTracker,
    left: Vec<Arc<Segment>>,
}

impl Log {
    /// Begins a cleaning; nothing is read yet. The memory bounds the table of keys.
    #[must_use]
    pub fn begin_cleaning(
        &self,
        rules: Compaction,
        now_ms: TimestampMs,
        (memory_bytes, seed): (usize, [u8; 16]),
    ) -> Cleaning {
        let last_of = self.producers.iter().map(|(id, it)| (id, (it.last_offset(), it.epoch)));
        Cleaning {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            options: self.options.clone(),
            view: self.view(),
            rules,
            last_of: last_of.collect(),
            truncations: self.truncations,
            now_ms,
            keys: Keys::new(memory_bytes, seed),
            upto: 0,
            transactions: TransactionTracker::default(),
            left: Vec::new(),
        }
    }
}

impl Cleaning {
    /// Learns the keys of the dirty part, as many as there is memory for; returns up to where the
    /// log will be clean.
    ///
    /// # Errors
    /// The disk fails, a batch is broken, or `pace` ends it.
    pub fn learn(&mut self, dirt: &Dirt, pace: &mut Pace<'_>) -> Result<Offset, StorageError> {
        let mut transactions = TransactionTracker::new(self.view.aborted(dirt.from, dirt.upto));
        let all = self.view.shared.segments.load_full();
        let segments = closed(&all);
        let first = segments.partition_point(|it| it.base <= dirt.from).saturating_sub(1);
        self.upto = dirt.from;
        'all: for segment in &segments[first..] {
            let mut scan = segment.scan(segment.look_up(dirt.from.max(segment.base))?);
            while let Some((_, batch)) = scan.next()? {
                if batch.base_offset() >= dirt.upto {
                    break 'all;
                }
                if batch.last_offset() < dirt.from {
                    continue;
                }
                let count = usize::try_from(batch.record_count()).unwrap_or(0);
                if !self.keys.has_room(count) {
                    break 'all;
                }
                self.learn_batch(&batch, &mut transactions, dirt.from)?;
                self.upto = batch.next_offset();
                pace(batch.size() as u64)?;
            }
            // What compaction took from the segment's end needs no second look.
            self.upto = self.upto.max(segment.base);
        }
        self.begin_rewriting(segments.to_vec());
        Ok(self.upto)
    }

    fn learn_batch(
        &mut self,
        batch: &Batch<'_>,
        transactions: &mut TransactionTracker,
        from: Offset,
    ) -> Result<(), StorageError> {
        let unpacked = batch.unpack(UNPACKED_BYTES_MAX)?;
        if batch.is_control() {
            transactions.is_empty_marker(&unpacked);
            return Ok(());
        }
        if transactions.is_aborted(batch) {
            return Ok(());
        }
        for record in unpacked.records() {
            let record = record?;
            if let Some(key) = record.key.filter(|_| record.offset >= from) {
                self.keys.put(key, record.offset);
            }
        }
        Ok(())
    }

    fn begin_rewriting(&mut self, mut segments: Vec<Arc<Segment>>) {
        segments.retain(|it| it.base < self.upto);
        let first = segments.first().map_or(0, |first| first.base);
        // The last segment may reach beyond what was learned; its markers are met all the same.
        self.transactions = TransactionTracker::new(self.view.aborted(first, Offset::MAX));
        segments.reverse();
        self.left = segments;
    }

    /// As many of the next segments as fit into one.
    fn next_group(&mut self) -> Vec<Arc<Segment>> {
        let mut group: Vec<Arc<Segment>> = Vec::new();
        let (mut bytes, mut index_bytes) = (0, 0);
        while let Some(next) = self.left.last() {
            let entries = next.state().offsets.len();
            bytes += next.size();
            index_bytes += entries * 12;
            let base = group.first().map_or(next.base, |first| first.base);
            let end = self.left.iter().rev().nth(1).map_or(self.upto, |behind| behind.base);
            let fits = bytes <= self.options.segment_bytes
                && index_bytes <= self.options.index_bytes_max
                && end - base <= Offset::from(i32::MAX);
            if !group.is_empty() && !fits {
                break;
            }
            group.extend(self.left.pop());
        }
        group
    }

    /// Writes the next group of segments anew; `None` when all are. The new one is on the disk,
    /// ready to take the place of the old.
    ///
    /// # Errors
    /// The disk fails, a batch is broken, or `pace` ends it.
    pub fn next(&mut self, pace: &mut Pace<'_>) -> Result<Option<Swap>, StorageError> {
        let group = self.next_group();
        let Some(first) = group.first() else { return Ok(None) };
        let mut fresh = Fresh::create(&self.files, &self.folder, first.base)?;
        for segment in &group {
            // A reader that comes late must not open the new file under the old one's name.
            segment.hold_open()?;
            let mut scan = segment.scan(0);
            while let Some((_, batch)) = scan.next()? {
                pace(batch.size() as u64)?;
                match self.judge(&batch)? {
                    Rewritten::Same => {
                        fresh.append(&batch, self.options.index_interval_bytes)?;
                        pace(batch.size() as u64)?;
                    }
                    Rewritten::Other(bytes) => {
                        let batch = Batch::first(&bytes)?;
                        fresh.append(&batch, self.options.index_interval_bytes)?;
                        pace(bytes.len() as u64)?;
                    }
                    Rewritten::Nothing => {}
                }
            }
        }
        fresh.add_aborted(self.transactions.take_kept());
        let fresh = fresh.finish()?;
        Ok(Some(Swap::new(&self.files, &self.folder, group, fresh, self.truncations)))
    }

    fn judge(&mut self, batch: &Batch<'_>) -> Result<Rewritten, StorageError> {
        let unpacked = batch.unpack(UNPACKED_BYTES_MAX)?;
        let void = if batch.is_control() {
            self.transactions.is_empty_marker(&unpacked)
        } else {
            self.transactions.is_aborted(batch)
        };
        let (id, epoch) = batch.producer();
        let is_last = batch.has_producer()
            && self.last_of.get(&id).is_some_and(|(last, last_epoch)| match last {
                Some(last) => *last == batch.last_offset(),
                None => batch.is_control() && *last_epoch == epoch,
            });
        let must_stay = is_last || batch.next_offset() == self.upto;
        let judge = BatchJudge {
            keys: &self.keys,
            known_upto: self.upto,
            now_ms: self.now_ms,
            delete_retention_ms: self.rules.delete_retention_ms,
        };
        judge.rewrite(&unpacked, Facts { void, must_stay })
    }
}
