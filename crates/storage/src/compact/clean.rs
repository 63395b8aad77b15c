//! One cleaning of one log, group of segments by group.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_records::Batch;
use ottla_types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::keys::Keys;
use super::rewrite::{BatchJudge, Facts, Rewritten};
use super::swap::{Fresh, Swap};
use super::transactions::TransactionTracker;
use super::{Compaction, Dirt, closed_segments};
use crate::error::StorageError;
use crate::files::Files;
use crate::log::Log;
use crate::options::LogOptions;
use crate::segment::Segment;
use crate::view::LogView;

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// What a producer wrote last: data up to an offset, or only a marker.
type Last = (Option<Offset>, ProducerEpoch);

/// How a log is to be cleaned.
#[derive(Clone, Copy, Debug)]
pub struct CleaningTerms {
    /// The topic's settings.
    pub rules: Compaction,
    /// What there is to clean.
    pub dirt: Dirt,
    /// Now, in milliseconds.
    pub now_ms: TimestampMs,
    /// The memory for the table of keys, in bytes; what does not fit is for the next cleaning.
    pub memory_bytes: usize,
    /// With which keys are hashed, so that no producer can make them collide.
    pub seed: [u8; 16],
}

/// What a step of a cleaning came to.
#[derive(Debug)]
pub enum CleaningStep {
    /// There is more to do.
    More,
    /// A new segment is on the disk, ready to take the place of those it was made from.
    Swap(Swap),
    /// All is done.
    Done,
}

/// One cleaning of one log, in steps: between two of them it holds nothing but memory, and may
/// wait as long as it must.
#[derive(Debug)]
pub struct Cleaning {
    files: Arc<dyn Files>,
    folder: PathBuf,
    options: LogOptions,
    view: LogView,
    terms: CleaningTerms,
    last_of: HashMap<ProducerId, Last>,
    /// How often the log had been cut when this began; a new segment from before a cut is void.
    truncations: u64,
    keys: Keys,
    /// The offset after the last that `keys` knows of: up to here the log will be clean.
    upto: Offset,
    transactions: TransactionTracker,
    /// The segments that are to be rewritten, the first at the end.
    left: Vec<Arc<Segment>>,
    moved_bytes: u64,
    stage: CleanStage,
}

/// The state of a cleaning between two steps.
#[derive(Debug)]
enum CleanStage {
    Learning(Learning),
    /// `None` between two groups.
    Rewriting(Option<SegmentGroup>),
    Done,
}

/// The keys of the dirty part are learned.
#[derive(Debug)]
struct Learning {
    segments: Vec<Arc<Segment>>,
    /// Which of the segments is read, and from which position on; `None` if it was not begun.
    at: usize,
    position: Option<u64>,
    transactions: TransactionTracker,
}

/// Segments that are rewritten as one.
#[derive(Debug)]
struct SegmentGroup {
    segments: Vec<Arc<Segment>>,
    /// Which of the segments is read, and from which position on.
    at: usize,
    position: u64,
    fresh: Fresh,
}

impl Log {
    /// Begins a cleaning; nothing is read yet.
    #[must_use]
    pub fn begin_cleaning(&self, terms: CleaningTerms) -> Cleaning {
        let last_of = self.producers.iter().map(|(id, it)| (id, (it.last_offset(), it.epoch)));
        let (view, dirt) = (self.view(), terms.dirt);
        let all = view.shared.segments.load_full();
        let segments = closed_segments(&all).to_vec();
        let learning = Learning {
            at: segments.partition_point(|it| it.base <= dirt.from).saturating_sub(1),
            segments,
            position: None,
            transactions: TransactionTracker::new(view.aborted(dirt.from, dirt.upto)),
        };
        Cleaning {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            options: self.options.clone(),
            view,
            terms,
            last_of: last_of.collect(),
            truncations: self.truncations,
            keys: Keys::new(terms.memory_bytes, terms.seed),
            upto: dirt.from,
            transactions: TransactionTracker::default(),
            left: Vec::new(),
            moved_bytes: 0,
            stage: CleanStage::Learning(learning),
        }
    }
}

impl Cleaning {
    /// The folder of the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Up to where the log is clean when this is done; it grows while keys are learned.
    #[must_use]
    pub const fn upto(&self) -> Offset {
        self.upto
    }

    /// How many bytes were read and written so far.
    #[must_use]
    pub const fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Reads and writes about so many bytes, at least a batch. First the keys of the dirty part are
    /// learned, as many as there is memory for; then the segments are rewritten, group by group.
    ///
    /// # Errors
    /// The disk fails, or a batch is broken; the cleaning is over then.
    pub fn step(&mut self, bytes_max: u64) -> Result<CleaningStep, StorageError> {
        let limit = self.moved_bytes.saturating_add(bytes_max);
        match std::mem::replace(&mut self.stage, CleanStage::Done) {
            CleanStage::Learning(mut learning) => {
                self.stage = if self.learn(&mut learning, limit)? {
                    self.begin_rewriting(learning.segments);
                    CleanStage::Rewriting(None)
                } else {
                    CleanStage::Learning(learning)
                };
                Ok(CleaningStep::More)
            }
            CleanStage::Rewriting(begun) => {
                let Some(mut group) = begun.map_or_else(|| self.next_group(), |it| Ok(Some(it)))?
                else {
                    return Ok(CleaningStep::Done);
                };
                if !self.rewrite(&mut group, limit)? {
                    self.stage = CleanStage::Rewriting(Some(group));
                    return Ok(CleaningStep::More);
                }
                self.stage = CleanStage::Rewriting(None);
                let SegmentGroup { segments, mut fresh, .. } = group;
                fresh.add_aborted(self.transactions.take_kept());
                let fresh = fresh.finish()?;
                let swap = Swap::new(&self.files, &self.folder, segments, fresh, self.truncations);
                Ok(CleaningStep::Swap(swap))
            }
            CleanStage::Done => Ok(CleaningStep::Done),
        }
    }

    /// Learns keys until `limit` bytes were moved; is that all?
    fn learn(&mut self, learning: &mut Learning, limit: u64) -> Result<bool, StorageError> {
        let Dirt { from, upto, .. } = self.terms.dirt;
        while let Some(segment) = learning.segments.get(learning.at).map(Arc::clone) {
            let position = match learning.position {
                Some(position) => position,
                None => segment.look_up(from.max(segment.base))?,
            };
            let mut scan = segment.scan(position);
            while let Some((position, batch)) = scan.next()? {
                if batch.base_offset() >= upto {
                    return Ok(true);
                }
                if batch.last_offset() < from {
                    continue;
                }
                if self.moved_bytes >= limit {
                    learning.position = Some(position);
                    return Ok(false);
                }
                let count = usize::try_from(batch.record_count()).unwrap_or(0);
                if !self.keys.has_room(count) {
                    return Ok(true);
                }
                self.learn_batch(&batch, &mut learning.transactions, from)?;
                self.upto = batch.next_offset();
                self.moved_bytes += batch.size() as u64;
            }
            // What compaction took from the segment's end needs no second look.
            self.upto = self.upto.max(segment.base);
            (learning.at, learning.position) = (learning.at + 1, None);
        }
        Ok(true)
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

    /// As many of the next segments as fit into one; `None` when all have been rewritten.
    fn next_group(&mut self) -> Result<Option<SegmentGroup>, StorageError> {
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        let (mut bytes, mut index_bytes) = (0, 0);
        while let Some(next) = self.left.last() {
            let entries = next.state().offsets.len();
            bytes += next.size();
            index_bytes += entries * 12;
            let base = segments.first().map_or(next.base, |first| first.base);
            let end = self.left.iter().rev().nth(1).map_or(self.upto, |behind| behind.base);
            let fits = bytes <= self.options.segment_bytes
                && index_bytes <= self.options.index_bytes_max
                && end - base <= Offset::from(i32::MAX);
            if !segments.is_empty() && !fits {
                break;
            }
            segments.extend(self.left.pop());
        }
        let Some(first) = segments.first() else { return Ok(None) };
        let fresh = Fresh::create(&self.files, &self.folder, first.base)?;
        Ok(Some(SegmentGroup { segments, at: 0, position: 0, fresh }))
    }

    /// Rewrites a group until `limit` bytes were moved; is that all of it?
    fn rewrite(&mut self, group: &mut SegmentGroup, limit: u64) -> Result<bool, StorageError> {
        let interval = self.options.index_interval_bytes;
        while let Some(segment) = group.segments.get(group.at).map(Arc::clone) {
            // A reader that comes late must not open the new file under the old one's name.
            segment.hold_open()?;
            let mut scan = segment.scan(group.position);
            while let Some((position, batch)) = scan.next()? {
                if self.moved_bytes >= limit {
                    group.position = position;
                    return Ok(false);
                }
                self.moved_bytes += batch.size() as u64;
                match self.judge(&batch)? {
                    Rewritten::Same => {
                        group.fresh.append(&batch, interval)?;
                        self.moved_bytes += batch.size() as u64;
                    }
                    Rewritten::Other(bytes) => {
                        group.fresh.append(&Batch::first(&bytes)?, interval)?;
                        self.moved_bytes += bytes.len() as u64;
                    }
                    Rewritten::Nothing => {}
                }
            }
            (group.at, group.position) = (group.at + 1, 0);
        }
        Ok(true)
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
            now_ms: self.terms.now_ms,
            delete_retention_ms: self.terms.rules.delete_retention_ms,
        };
        judge.rewrite(&unpacked, Facts { void, must_stay })
    }
}
