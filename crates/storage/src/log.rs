//! The one writer of a log: append, roll, truncate, flush, close.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use ottla_records::{Batch, HEADER_BYTES, batches, crc32c};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::error::StorageError;
use crate::files::{Files, remove_if_there};
use crate::producers::{Producer, ProducerError, Producers, snapshot_path};
use crate::recovery::remove_segment;
use crate::segment::Segment;
use crate::spare::Spare;
use crate::view::{LogView, Shared};

/// How a log is kept. A change takes effect at the next append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The size at which a segment is full, in bytes (`segment.bytes`).
    pub segment_bytes: u64,
    /// The age at which a segment is full, in milliseconds (`segment.ms`).
    pub segment_ms: i64,
    /// How many bytes lie between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// By how much at most `segment_ms` is shortened, differently for each segment, in
    /// milliseconds (`segment.jitter.ms`).
    pub segment_jitter_ms: i64,
    /// The size at which an index, and with it its segment, is full (`segment.index.bytes`).
    pub index_bytes_max: usize,
    /// After how many records the log is made durable, if at all (`flush.messages`).
    pub flush_messages: i64,
    /// For how long a silent producer is remembered, in milliseconds (`producer.id.expiration.ms`).
    pub producer_expiry_ms: i64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_bytes_max: 10 << 20,
            flush_messages: i64::MAX,
            producer_expiry_ms: 24 * 60 * 60 * 1000,
        }
    }
}

/// What the leader writes into a batch.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The time that all records get, if the topic counts the append time.
    pub append_time: Option<TimestampMs>,
}

/// Where a batch went, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset behind its last record.
    pub end: Offset,
    /// The append time of its records; -1 if they have their own.
    pub append_time: TimestampMs,
    /// Was it there already?
    pub duplicate: bool,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Its producer may not.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The disk fails; the log takes no more.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A follower's bytes do not continue the log.
    #[error("the batch at offset {got} does not follow the log's end {end}")]
    Gap {
        /// The batch's offset.
        got: Offset,
        /// The log's end.
        end: Offset,
    },
}

impl AppendError {
    /// What a client is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Producer(error) => error.code(),
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            Self::Gap { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        }
    }
}

/// A log, to be written.
#[derive(Debug)]
pub struct Log {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) folder: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) shared: Arc<Shared>,
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

    /// The first offset of any open transaction.
    #[must_use]
    pub fn first_open(&self) -> Option<Offset> {
        self.producers.first_open()
    }

    /// A producer, if the log remembers it.
    #[must_use]
    pub fn producer(&self, id: ProducerId) -> Option<&Producer> {
        self.producers.get(id)
    }

    /// The producers that the log remembers.
    #[must_use]
    pub fn producers(&self) -> Vec<(ProducerId, Producer)> {
        self.producers.iter().map(|(id, producer)| (id, producer.clone())).collect()
    }

    /// Keeps the log another way from now on.
    pub fn set_options(&mut self, options: LogOptions) {
        self.options = options;
    }

    /// Appends one batch that was checked: patches offset, epoch and perhaps time into a copy of
    /// its header and writes that and the rest in one call.
    ///
    /// # Errors
    /// The producer may not, or the disk fails: then nothing of it is to be seen, and the log
    /// takes no more.
    pub fn append_as_leader(
        &mut self,
        bytes: &[u8],
        stamp: Stamp,
        now_ms: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let batch = Batch::first(bytes).map_err(StorageError::from)?;
        if batch.has_producer()
            && let Some(found) = self.producers.check(&batch)?
        {
            let append_time = if stamp.append_time.is_some() { found.timestamp } else { -1 };
            return Ok(Appended {
                base_offset: found.first_offset,
                end: found.last_offset + 1,
                append_time,
                duplicate: true,
            });
        }
        self.append_stamped(&batch, stamp, now_ms)
    }

    /// As [`Log::append_as_leader`], for a batch of a coordinator: it stands in no producer's
    /// sequence, though it may carry a producer's name.
    ///
    /// # Errors
    /// The disk fails.
    pub fn append_as_coordinator(
        &mut self,
        bytes: &[u8],
        stamp: Stamp,
        now_ms: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let batch = Batch::first(bytes).map_err(StorageError::from)?;
        self.append_stamped(&batch, stamp, now_ms)
    }

    fn append_stamped(
        &mut self,
        batch: &Batch<'_>,
        stamp: Stamp,
        now_ms: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let base_offset = self.log_end();
        let header = stamped(batch, base_offset, stamp);
        let stamped = Batch::header_only(&header).map_err(StorageError::from)?;
        self.write(&stamped, &header, &batch.bytes()[HEADER_BYTES..], now_ms)?;
        let append_time = stamp.append_time.unwrap_or(-1);
        Ok(Appended { base_offset, end: self.log_end(), append_time, duplicate: false })
    }

    /// Appends batches as a leader wrote them.
    ///
    /// # Errors
    /// They are broken or do not continue the log, or the disk fails.
    pub fn append_as_follower(
        &mut self,
        bytes: &[u8],
        now_ms: TimestampMs,
    ) -> Result<Offset, AppendError> {
        for batch in batches(bytes) {
            let batch = batch.map_err(StorageError::from)?;
            let (got, end) = (batch.base_offset(), self.log_end());
            if got != end {
                return Err(AppendError::Gap { got, end });
            }
            let (header, rest) = batch.bytes().split_at(HEADER_BYTES);
            self.write(&batch, header, rest, now_ms)?;
        }
        Ok(self.log_end())
    }

    fn write(
        &mut self,
        batch: &Batch<'_>,
        header: &[u8],
        rest: &[u8],
        now_ms: TimestampMs,
    ) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Failed);
        }
        let size = batch.size() as u64;
        if self.is_full(batch, size, now_ms) {
            self.roll()?;
        }
        self.assign_epoch(batch.leader_epoch(), batch.base_offset());
        let segment = self.active();
        let position = segment.size();
        if let Err(error) = segment.file.ready() {
            return Err(segment.io()(error));
        }
        if let Err(error) = segment.file.write_two_at(header, rest, position) {
            // Nothing may follow half a batch. If it can be taken back and only room was missing,
            // the next append may find some; otherwise recovery cuts it off.
            let is_whole = segment.file.truncate(position).is_ok();
            self.failed = !(is_whole && is_shortage(&error));
            return Err(segment.io()(error));
        }
        self.written_bytes += size;
        if position == 0 {
            self.segment_written_ms.0 = now_ms;
        }
        self.segment_written_ms.1 = now_ms;
        let aborted = self.took_in(batch, header, rest);
        {
            let mut state = segment.state_mut();
            state.add(segment.base, position, batch, self.options.index_interval_bytes);
            if let Some(aborted) = aborted {
                state.aborted.push(aborted);
            }
        }
        segment.publish(position + size);
        self.shared.log_end.store(batch.next_offset(), Ordering::Release);
        Ok(())
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

    /// Tells the producers of the batch; a marker is read whole, it is small.
    fn took_in(
        &mut self,
        batch: &Batch<'_>,
        header: &[u8],
        rest: &[u8],
    ) -> Option<crate::index::AbortedTransaction> {
        if batch.is_control() && batch.has_producer() {
            let whole = [header, rest].concat();
            let whole = Batch::first(&whole).ok()?;
            return self.producers.appended(&whole);
        }
        self.producers.appended(batch)
    }

    pub(crate) fn active(&self) -> Arc<Segment> {
        let segments = self.shared.segments.load();
        Arc::clone(segments.last().expect("a log has at least one segment"))
    }

    fn is_full(&self, batch: &Batch<'_>, size: u64, now_ms: TimestampMs) -> bool {
        let segment = self.active();
        let held = segment.size();
        let far = batch.last_offset() - segment.base > Offset::from(i32::MAX);
        if held == 0 {
            return far;
        }
        let state = segment.state();
        let newest = batch.max_timestamp();
        let age = match state.first_timestamp {
            Some(first) if first >= 0 => newest.saturating_sub(first),
            _ => now_ms.saturating_sub(segment.file.modified_ms().unwrap_or(now_ms)),
        };
        far || held + size > self.options.segment_bytes
            || age > self.options.segment_ms - self.jitter_ms(segment.base)
            || (state.offsets.len() + 1) * 8 > self.options.index_bytes_max
            || (state.times.len() + 2) * 12 > self.options.index_bytes_max
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
        let mut epochs = self.shared.epochs.write().unwrap_or_else(PoisonError::into_inner);
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
    /// The disk fails. What is durable is unknown then, so the log takes no more.
    pub fn flush(&mut self) -> Result<Offset, StorageError> {
        let sync = self.begin_sync()?;
        let done = sync.run();
        self.end_sync(&sync, done)?;
        Ok(self.durable)
    }

    /// Closes the log so that the next open need not look through it.
    ///
    /// # Errors
    /// The disk fails; the next open must be told that the stop was not clean.
    pub fn close_clean(mut self) -> Result<Offset, StorageError> {
        let active = self.active();
        active.state_mut().add_time(active.base);
        if let Some(spare) = self.spare.take() {
            spare.discard(&*self.files)?;
        }
        if let Some(flush) = self.begin_flush_and(true)? {
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
        let mut epochs = self.shared.epochs.write().unwrap_or_else(PoisonError::into_inner);
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

    fn cut(&mut self, offset: Offset) -> Result<(), StorageError> {
        self.truncations += 1;
        self.snapshots_due.retain(|(at, _)| *at <= offset);
        let mut segments = Vec::clone(&self.shared.segments.load());
        let mut is_shorter = false;
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
        self.drop_snapshots_behind(offset)?;
        let interval = self.options.index_interval_bytes;
        let opened = crate::recovery::rebuilt(&self.files, &self.folder, last.base, interval)?;
        let end = opened.end;
        segments.push(Arc::new(opened.segment));
        self.shared.segments.store(Arc::new(segments));
        // A batch goes as a whole, also one in which the log was made to start.
        self.shared.log_start.fetch_min(end, Ordering::AcqRel);
        self.shared.log_end.store(end, Ordering::Release);
        self.recovery_point = self.recovery_point.min(end);
        self.durable = self.durable.min(end);
        self.shared.epochs.write().unwrap_or_else(PoisonError::into_inner).truncate_end(end);
        let (producers, snapshot) = crate::recovery::load_producers(
            &*self.files,
            &self.folder,
            &crate::recovery::snapshots(&*self.files, &self.folder)?,
            (&self.shared.segments.load(), end),
        )?;
        (self.producers, self.snapshot) = (producers, snapshot);
        self.former_snapshot = self.former_snapshot.filter(|at| Some(*at) < snapshot);
        Ok(())
    }

    fn drop_snapshots_behind(&self, offset: Offset) -> Result<(), StorageError> {
        for at in crate::recovery::snapshots(&*self.files, &self.folder)? {
            if at > offset {
                let path = snapshot_path(&self.folder, at);
                remove_if_there(&*self.files, &path).map_err(StorageError::io(&path))?;
            }
        }
        Ok(())
    }
}

/// Is something used up, rather than broken: room on the disk, or files that may be open? Then it
/// may go well the next time.
pub(crate) fn is_shortage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    let is_room = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    // ENOMEM, ENFILE, EMFILE.
    is_room || matches!(error.raw_os_error(), Some(12 | 23 | 24))
}

/// The batch's header with what the leader writes into it. The checksum does not cover offset and
/// epoch; with a new time it is made again.
fn stamped(batch: &Batch<'_>, base_offset: Offset, stamp: Stamp) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&batch.bytes()[..HEADER_BYTES]);
    header[..8].copy_from_slice(&base_offset.to_be_bytes());
    header[12..16].copy_from_slice(&stamp.leader_epoch.to_be_bytes());
    if let Some(time) = stamp.append_time {
        let attributes = batch.attributes() | 0x08;
        header[21..23].copy_from_slice(&attributes.to_be_bytes());
        header[35..43].copy_from_slice(&time.to_be_bytes());
        let covered = [&header[21..], &batch.bytes()[HEADER_BYTES..]].concat();
        header[17..21].copy_from_slice(&crc32c(&covered).to_be_bytes());
    } else if batch.is_append_time() {
        // A producer may not claim an append time where the topic counts create times.
        let attributes = batch.attributes() & !0x08;
        header[21..23].copy_from_slice(&attributes.to_be_bytes());
        let covered = [&header[21..], &batch.bytes()[HEADER_BYTES..]].concat();
        header[17..21].copy_from_slice(&crc32c(&covered).to_be_bytes());
    }
    header
}
