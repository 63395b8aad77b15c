//! The one writer of a log: roll, flush, close, and what its other parts share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_records::{Batch, crc32c};
use ottla_types::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::error::StorageError;
use crate::files::Files;
use crate::options::LogOptions;
use crate::producers::{ProducerEntry, Producers};
use crate::segment::Segment;
use crate::spare::Spare;
use crate::view::{LogShared, LogView};

/// A log, to be written.
#[derive(Debug)]
pub struct Log {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) folder: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) shared: Arc<LogShared>,
    pub(crate) producers: Producers,
    /// Everything below need not be looked at after a crash.
    pub(crate) recovery_point: Offset,
    /// The records below survive a power cut; what was made of them perhaps not.
    pub(crate) durable: Offset,
    /// As of which offset the newest snapshot is.
    pub(crate) snapshot: Option<Offset>,
    /// And the one before, if it is no segment's: it stays until the next flush, as the recovery
    /// point that is written down may be the one before, too.
    pub(crate) former_snapshot: Option<Offset>,
    /// Producers as of segments' ends, not yet in a file.
    pub(crate) snapshots_due: Vec<(Offset, Producers)>,
    /// Is the folder's name in the data directory for good? As long as nothing in the folder ever
    /// was, a power cut may take the folder with all that is in it.
    pub(crate) folder_is_durable: bool,
    /// How often something was cut off: what was begun before is void then.
    pub(crate) truncations: u64,
    /// How many bytes were appended since the log was opened.
    pub(crate) written_bytes: u64,
    /// How many of them were there when the last flush began.
    pub(crate) flushed_bytes: u64,
    pub(crate) failed: bool,
    /// Is it being truncated? Then nothing is appended.
    pub(crate) truncating: bool,
    /// The next segment, made ready.
    pub(crate) spare: Option<Spare>,
    /// When the active segment got its first batch, and its last, in milliseconds.
    pub(crate) segment_written_ms: (TimestampMs, TimestampMs),
}

/// What goes into the active segment before a batch, in the same write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingBatches {
    pub bytes: u64,
    /// How many index entries they may get.
    pub index_entries: usize,
    /// The timestamp by which the segment's age is counted, if they begin it.
    pub first_timestamp: Option<TimestampMs>,
}

impl Log {
    /// For readers.
    #[must_use]
    pub fn view(&self) -> LogView {
        LogView { shared: Arc::clone(&self.shared) }
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.shared.log_start.load(Ordering::Acquire)
    }

    /// Where the next record goes.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.shared.log_end.load(Ordering::Acquire)
    }

    /// Everything below survives a power cut and need not be looked at after one.
    #[must_use]
    pub const fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// The first offset of any transaction that is open, or whose marker is not below
    /// `high_watermark`.
    #[must_use]
    pub fn first_unstable(&self, high_watermark: Offset) -> Option<Offset> {
        self.producers.first_unstable(high_watermark)
    }

    /// Everything below `high_watermark` is replicated: transactions whose marker is there have
    /// ended for good.
    pub fn replicated(&mut self, high_watermark: Offset) {
        self.producers.replicated(high_watermark);
    }

    /// A producer, if the log remembers it.
    #[must_use]
    pub fn producer(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(id)
    }

    /// The marker that was appended last for this producer does not count among the ends of its
    /// transactions: its epoch is that of the next one, which may have been verified before.
    pub fn keep_verified(&mut self, id: ProducerId) {
        self.producers.keep_verified(id);
    }

    /// The producers that the log remembers.
    #[must_use]
    pub fn producers(&self) -> Vec<(ProducerId, ProducerEntry)> {
        self.producers.iter().map(|(id, producer)| (id, producer.clone())).collect()
    }

    /// Keeps the log another way from now on.
    pub fn set_options(&mut self, options: LogOptions) {
        self.options = options;
    }

    /// Has the log more records that a power cut would take than `flush.messages` allows?
    #[must_use]
    pub fn sync_is_due(&self) -> bool {
        !self.truncating && self.log_end() - self.durable >= self.options.flush_messages
    }

    /// Everything below survives a power cut.
    #[must_use]
    pub const fn durable(&self) -> Offset {
        self.durable
    }

    /// For how long the active segment has been written, in milliseconds.
    pub(crate) fn segment_took_ms(&self) -> u64 {
        let (first, last) = self.segment_written_ms;
        u64::try_from(last.saturating_sub(first)).unwrap_or(0)
    }

    /// How many bytes were appended since the last flush began.
    #[must_use]
    pub const fn unflushed_bytes(&self) -> u64 {
        self.written_bytes - self.flushed_bytes
    }

    /// How many bytes were appended since the log was opened.
    #[must_use]
    pub const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Was a segment closed whose indexes and producers are not in their files yet?
    #[must_use]
    pub const fn has_rolled(&self) -> bool {
        !self.snapshots_due.is_empty()
    }

    /// Ends a turn of the log's writer: what must be true of it whatever has happened.
    ///
    /// # Panics
    /// It is not: whatever is written from now on would make it worse.
    pub fn assert_sound(&self) {
        let (start, end) = (self.log_start(), self.log_end());
        assert!(start <= end, "log start {start} behind the log's end {end}");
        let (durable, point) = (self.durable, self.recovery_point);
        assert!(durable <= end, "durable up to {durable}, behind the log's end {end}");
        assert!(point <= end, "recovery point {point} behind the log's end {end}");
        assert!(self.flushed_bytes <= self.written_bytes, "more was flushed than written");
        debug_assert!(self.snapshot.is_none_or(|at| at <= end), "a snapshot of what is not there");
        debug_assert!(self.active().base <= end, "the active segment begins behind the end");
        debug_assert!(
            self.shared.segments.load().is_sorted_by(|one, next| one.base < next.base),
            "segments are not in order"
        );
    }

    pub(crate) fn active(&self) -> Arc<Segment> {
        let segments = self.shared.segments.load();
        Arc::clone(segments.last().expect("a log has at least one segment"))
    }

    /// Must a new segment begin before the batch, behind `others` that are written with it?
    pub(crate) fn is_full(
        &self,
        batch: &Batch<'_>,
        others: PendingBatches,
        now_ms: TimestampMs,
    ) -> bool {
        let segment = self.active();
        let held = segment.size();
        let far = batch.last_offset() - segment.base > Offset::from(i32::MAX);
        if held + others.bytes == 0 {
            // A single batch may be larger than a segment.
            return far;
        }
        let state = segment.state();
        let newest = batch.max_timestamp();
        let age = match state.first_timestamp.or(others.first_timestamp) {
            Some(first) if first >= 0 => newest.saturating_sub(first),
            _ if held == 0 => 0,
            _ => now_ms.saturating_sub(segment.file.modified_ms().unwrap_or(now_ms)),
        };
        let entries = others.index_entries + 1;
        far || held + others.bytes + batch.size() as u64 > self.options.segment_bytes
            || age > self.options.segment_ms - self.jitter_ms(segment.base)
            || (state.offsets.len() + entries) * 8 > self.options.index_bytes_max
            || (state.times.len() + entries + 1) * 12 > self.options.index_bytes_max
    }

    /// Which part of `segment.jitter.ms` a segment gets: any, but always the same.
    fn jitter_ms(&self, base: Offset) -> i64 {
        let most = self.options.segment_jitter_ms.min(self.options.segment_ms);
        if most <= 0 {
            return 0;
        }
        let name = self.folder.as_os_str().as_encoded_bytes();
        let mixed = crc32c(&[name, &base.to_be_bytes()].concat());
        i64::from(mixed) % most
    }

    /// An epoch begins at `start`.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        let mut epochs = self.shared.epochs.write();
        epochs.assign(epoch, start);
    }

    /// Starts a new segment at the log's end. Nothing is made durable here: that is for the next
    /// flush, which need not run on this thread.
    ///
    /// # Errors
    /// The disk fails; the log stays as it was.
    pub fn roll(&mut self) -> Result<(), StorageError> {
        if self.truncating {
            return Err(StorageError::Truncating);
        }
        self.roll_at(self.log_end())
    }

    /// Starts a new segment at `base`, which is the log's end or lies behind it.
    pub(crate) fn roll_at(&mut self, base: Offset) -> Result<(), StorageError> {
        let active = self.active();
        if active.size() == 0 && active.base == base {
            return Ok(());
        }
        let fresh = match self.spare.take() {
            Some(spare) => spare.into_segment(&*self.files, &self.folder, base)?,
            None => Segment::create(&*self.files, &self.folder, base)?,
        };
        active.state_mut().add_time(active.base);
        self.snapshots_due.push((base, self.producers.clone()));
        let mut segments = Vec::clone(&self.shared.segments.load());
        segments.push(Arc::new(fresh));
        self.shared.segments.store(Arc::new(segments));
        Ok(())
    }

    /// Makes all records appended so far survive a power cut, on this thread; returns up to where
    /// that is.
    ///
    /// # Errors
    /// The disk fails. What is durable is unknown then, so the log accepts no more appends.
    pub fn flush(&mut self) -> Result<Offset, StorageError> {
        let sync = self.begin_sync()?;
        let done = sync.run();
        self.end_sync(&sync, done)?;
        Ok(self.durable)
    }

    /// Closes the log so that the next open needs no recovery.
    ///
    /// # Errors
    /// The disk fails; the next open must treat the stop as unclean.
    pub fn close_clean(mut self) -> Result<Offset, StorageError> {
        self.check_writable()?;
        let active = self.active();
        active.state_mut().add_time(active.base);
        if let Some(spare) = self.spare.take() {
            spare.discard(&*self.files)?;
        }
        if let Some(flush) = self.begin_last_flush()? {
            let done = flush.run();
            self.end_flush(flush, done)?;
        }
        active.give_back()?;
        Ok(self.log_end())
    }

    /// Records below `offset` may no longer be read (DeleteRecords, retention; of a follower, what
    /// its leader says). The log never starts behind its end.
    pub fn advance_log_start(&mut self, offset: Offset) {
        let offset = offset.min(self.log_end());
        if offset <= self.log_start() {
            return;
        }
        self.shared.log_start.store(offset, Ordering::Release);
        let mut epochs = self.shared.epochs.write();
        epochs.truncate_start(offset);
    }

    /// May anything be appended?
    pub(crate) const fn check_writable(&self) -> Result<(), StorageError> {
        match (self.failed, self.truncating) {
            (true, _) => Err(StorageError::Failed),
            (_, true) => Err(StorageError::Truncating),
            _ => Ok(()),
        }
    }
}
