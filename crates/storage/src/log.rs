//! The one writer of a log: append, roll, truncate, flush, close.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_records::{Batch, crc32c};
use ottla_types::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::files::Files;
use crate::folder::{FolderListing, remove_segment, remove_snapshot};
use crate::options::LogOptions;
use crate::producers::{ProducerEntry, Producers};
use crate::recovery::{SegmentRecovery, Segments, load_producers};
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
    /// The next segment, made ready.
    pub(crate) spare: Option<Spare>,
    /// When the active segment got its first batch, and its last, in milliseconds.
    pub(crate) segment_written_ms: (TimestampMs, TimestampMs),
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
        self.log_end() - self.durable >= self.options.flush_messages
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

    /// Must a new segment begin before the batch, which comes with others: so many, of so many
    /// bytes, together with it?
    pub(crate) fn is_full(
        &self,
        batch: &Batch<'_>,
        count: usize,
        bytes: u64,
        now_ms: TimestampMs,
    ) -> bool {
        let segment = self.active();
        let held = segment.size();
        let far = batch.last_offset() - segment.base > Offset::from(i32::MAX);
        if held == 0 {
            // A single batch may be larger than a segment.
            return far || count > 1 && bytes > self.options.segment_bytes;
        }
        let state = segment.state();
        let newest = batch.max_timestamp();
        let age = match state.first_timestamp {
            Some(first) if first >= 0 => newest.saturating_sub(first),
            _ => now_ms.saturating_sub(segment.file.modified_ms().unwrap_or(now_ms)),
        };
        far || held + bytes > self.options.segment_bytes
            || age > self.options.segment_ms - self.jitter_ms(segment.base)
            || (state.offsets.len() + count) * 8 > self.options.index_bytes_max
            || (state.times.len() + count + 1) * 12 > self.options.index_bytes_max
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
        let base = self.log_end();
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

    /// Records below `offset` may no longer be read (DeleteRecords, retention).
    pub fn advance_log_start(&mut self, offset: Offset) {
        if offset <= self.log_start() {
            return;
        }
        self.shared.log_start.store(offset, Ordering::Release);
        let mut epochs = self.shared.epochs.write();
        epochs.truncate_start(offset);
    }

    /// Cuts everything from `offset` on off, for good. The recovery point that is written down must
    /// be no higher before this is called, or a start after a power cut believes what is gone.
    ///
    /// # Errors
    /// The disk fails; the log takes no more then.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), StorageError> {
        if offset >= self.log_end() {
            return Ok(());
        }
        let cut = self.cut(offset);
        self.failed |= cut.is_err();
        cut
    }

    /// Throws everything away, for good: the log starts and ends at `offset` from now on, behind a
    /// record of `epoch` that it does not have. For a log that a snapshot takes the place of.
    ///
    /// # Errors
    /// The disk fails; the log takes no more then.
    pub fn reset_to(&mut self, offset: Offset, epoch: LeaderEpoch) -> Result<(), StorageError> {
        let done = self.reset(offset, epoch);
        self.failed |= done.is_err();
        done
    }

    fn reset(&mut self, offset: Offset, epoch: LeaderEpoch) -> Result<(), StorageError> {
        self.truncations += 1;
        self.snapshots_due.clear();
        self.drop_snapshots_behind(-1)?;
        let gone = Vec::clone(&self.shared.segments.load());
        let fresh = match gone.iter().any(|segment| segment.base == offset) {
            // What it holds is of another history, or comes again.
            true => {
                for segment in &gone {
                    remove_segment(&*self.files, &self.folder, segment.base)?;
                }
                Segment::create(&*self.files, &self.folder, offset)?
            }
            // The new one first: a log without any segment would begin at 0 again.
            false => {
                let fresh = Segment::create(&*self.files, &self.folder, offset)?;
                self.files.sync_dir(&self.folder).map_err(StorageError::io(&self.folder))?;
                for segment in &gone {
                    remove_segment(&*self.files, &self.folder, segment.base)?;
                }
                fresh
            }
        };
        self.files.sync_dir(&self.folder).map_err(StorageError::io(&self.folder))?;
        self.shared.segments.store(Arc::new(vec![Arc::new(fresh)]));
        *self.shared.epochs.write() = Epochs::default();
        self.assign_epoch(epoch, offset);
        self.producers = Producers::default();
        self.shared.log_start.store(offset, Ordering::Release);
        self.shared.log_end.store(offset, Ordering::Release);
        self.recovery_point = offset;
        self.durable = offset;
        self.written_bytes = 0;
        Ok(())
    }

    fn cut(&mut self, offset: Offset) -> Result<(), StorageError> {
        self.truncations += 1;
        self.snapshots_due.retain(|(at, _)| *at <= offset);
        let mut segments = Vec::clone(&self.shared.segments.load());
        let mut is_shorter = self.drop_snapshots_behind(offset)?;
        while segments.len() > 1 && segments.last().is_some_and(|last| last.base >= offset) {
            let gone = segments.pop().expect("just looked at");
            remove_segment(&*self.files, &self.folder, gone.base)?;
            is_shorter = true;
        }
        if is_shorter {
            // Or a power cut brings them back beside what takes their offsets.
            self.files.sync_dir(&self.folder).map_err(StorageError::io(&self.folder))?;
        }
        let last = segments.pop().expect("a log has at least one segment");
        let mut scan = last.scan(last.look_up(offset)?);
        let mut position = scan.position();
        while let Some((at, batch)) = scan.next()? {
            if batch.last_offset() >= offset {
                break;
            }
            position = at + batch.size() as u64;
        }
        last.file.truncate(position).map_err(last.io())?;
        // Before anything takes the offsets, perhaps in another file.
        last.file.sync().map_err(last.io())?;
        let recovery = SegmentRecovery {
            files: &self.files,
            folder: &self.folder,
            index_interval_bytes: self.options.index_interval_bytes,
        };
        let opened = recovery.rebuild(last.base)?;
        let end = opened.end;
        segments.push(Arc::new(opened.segment));
        self.shared.segments.store(Arc::new(segments));
        // A batch goes as a whole, also one in which the log was made to start.
        self.shared.log_start.fetch_min(end, Ordering::AcqRel);
        self.shared.log_end.store(end, Ordering::Release);
        self.recovery_point = self.recovery_point.min(end);
        self.durable = self.durable.min(end);
        self.shared.epochs.write().truncate_end(end);
        let snapshots = FolderListing::read(&*self.files, &self.folder)?.snapshot_offsets();
        let all = self.shared.segments.load();
        let segments = Segments { all: &all, end };
        let (producers, snapshot) =
            load_producers(&*self.files, &self.folder, &snapshots, segments)?;
        (self.producers, self.snapshot) = (producers, snapshot);
        self.former_snapshot = self.former_snapshot.filter(|at| Some(*at) < snapshot);
        Ok(())
    }

    /// Removes the snapshots of producers as of later offsets; were there any?
    fn drop_snapshots_behind(&self, offset: Offset) -> Result<bool, StorageError> {
        let listing = FolderListing::read(&*self.files, &self.folder)?;
        let mut dropped = false;
        for at in listing.snapshot_offsets().into_iter().filter(|at| *at > offset) {
            remove_snapshot(&*self.files, &self.folder, at)?;
            dropped = true;
        }
        Ok(dropped)
    }
}
