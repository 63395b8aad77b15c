//! One segment: a log file with its indexes, read by many while one appends.

use ottla_locks::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_records::{Batch, HEADER_BYTES};
use ottla_types::{Bug, Offset, TimestampMs, is_planted};

use crate::error::StorageError;
use crate::files::{Durability, FileRef, Files, parent_of, read_exact_at};
use crate::folder::segment_file;
use crate::index::{AbortedIndex, AbortedTransaction, IndexTable, OffsetEntry, TimeEntry};
use crate::places::BatchPositions;

/// How much of a log is read at once when it is read through, in bytes.
const SCAN_BYTES: usize = 1 << 20;

/// Can a segment still grow?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// The last of its log, to which is appended.
    Active,
    /// One before it.
    Closed,
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base: Offset,
    pub path: PathBuf,
    pub file: FileRef,
    /// How many bytes readers may see. Stored by the log's writer alone, after the bytes were
    /// written.
    size: AtomicU64,
    /// Guards what the indexes know; held for look-ups and changes in memory, and for the few
    /// entries of a sealed index that a look-up reads from its file.
    state: RwLock<SegmentState>,
    /// Up to here the page cache was advised to drop the file. A hint: a thread that reads an old
    /// value asks the cache about a range without effect, or drops it twice.
    pub let_go: AtomicU64,
    /// Up to here write-back was asked for. A hint, too; each range is asked for once, by the
    /// thread that has raised it.
    pub started: AtomicU64,
    /// Up to here room was reserved; 0 once it was given back, which is done once.
    pub reserved: AtomicU64,
    /// Guards the ranges that readers brought back into the cache, the oldest first.
    warmed: Mutex<VecDeque<Range<u64>>>,
    /// Where readers go on.
    pub places: BatchPositions,
}

/// How many reads of what had left the cache stay there.
const WARM_READS: usize = 16;

/// What the segment's indexes know.
#[derive(Debug)]
pub(crate) struct SegmentState {
    pub offsets: IndexTable<OffsetEntry>,
    pub times: IndexTable<TimeEntry>,
    pub aborted: AbortedIndex,
    /// The largest timestamp, and the last offset of the batch that has it.
    pub newest: Option<(TimestampMs, Offset)>,
    /// The largest timestamp of the first batch: rolling by time counts from there.
    pub first_timestamp: Option<TimestampMs>,
    /// How many bytes were appended since the last index entry.
    pub since_entry: u64,
}

impl SegmentState {
    pub(crate) fn empty(folder: &Path, base: Offset) -> Self {
        Self {
            offsets: IndexTable::empty(segment_file(folder, base, "index")),
            times: IndexTable::empty(segment_file(folder, base, "timeindex")),
            aborted: AbortedIndex::empty(segment_file(folder, base, "txnindex")),
            newest: None,
            first_timestamp: None,
            since_entry: 0,
        }
    }

    /// Takes a batch in that stands at `position`; entries come every `interval` bytes.
    pub(crate) fn add(&mut self, base: Offset, position: u64, batch: &Batch<'_>, interval: u64) {
        let timestamp = batch.max_timestamp();
        if self.newest.is_none_or(|(newest, _)| timestamp > newest) {
            self.newest = Some((timestamp, batch.last_offset()));
        }
        self.first_timestamp.get_or_insert(timestamp);
        if self.since_entry > interval {
            let offset = relative_offset(base, batch.last_offset());
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            self.offsets.push(OffsetEntry { offset, position });
            self.add_time(base);
            self.since_entry = 0;
        }
        self.since_entry += batch.size() as u64;
    }

    /// Puts the newest timestamp into the time index, if it is newer than the last there.
    pub(crate) fn add_time(&mut self, base: Offset) {
        let last = self.times.last().ok().flatten();
        if let Some((timestamp, offset)) = self.newest
            && last.map_or(-1, |last| last.timestamp) < timestamp
        {
            self.times.push(TimeEntry { timestamp, offset: relative_offset(base, offset) });
        }
    }
}

fn relative_offset(base: Offset, offset: Offset) -> u32 {
    u32::try_from(offset - base).unwrap_or(u32::MAX)
}

impl Segment {
    pub(crate) fn new(
        folder: &Path,
        base: Offset,
        file: FileRef,
        size: u64,
        state: SegmentState,
    ) -> Self {
        let path = segment_file(folder, base, "log");
        let (size, state) = (AtomicU64::new(size), RwLock::new(state));
        let none = AtomicU64::default;
        let (let_go, started, reserved, warmed) = (none(), none(), none(), Mutex::default());
        let places = BatchPositions::default();
        Self { base, path, file, size, state, let_go, started, reserved, warmed, places }
    }

    pub(crate) fn create(
        files: &dyn Files,
        folder: &Path,
        base: Offset,
    ) -> Result<Self, StorageError> {
        let path = segment_file(folder, base, "log");
        let file = files.create(&path).map_err(StorageError::io(&path))?;
        Ok(Self::of(folder, base, file))
    }

    /// An empty one.
    pub(crate) fn of(folder: &Path, base: Offset, file: FileRef) -> Self {
        Self::new(folder, base, file, 0, SegmentState::empty(folder, base))
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Lets readers see this many bytes.
    pub(crate) fn publish(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, SegmentState> {
        self.state.read()
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, SegmentState> {
        self.state.write()
    }

    /// Takes a batch in that stands at `position`, and the transaction that it aborts.
    pub(crate) fn take_in(
        &self,
        position: u64,
        batch: &Batch<'_>,
        aborted: Option<AbortedTransaction>,
        index_interval_bytes: u64,
    ) {
        let mut state = self.state_mut();
        state.add(self.base, position, batch, index_interval_bytes);
        if let Some(aborted) = aborted {
            state.aborted.push(aborted);
        }
    }

    /// A position at or before the batch that holds `offset`.
    pub(crate) fn look_up(&self, offset: Offset) -> Result<u64, StorageError> {
        if offset <= self.base {
            // Between two segments of a compacted log there may be offsets that no batch holds.
            return Ok(0);
        }
        let wanted = relative_offset(self.base, offset);
        let found = self.state().offsets.last_where(|entry| entry.offset <= wanted)?;
        Ok(found.map_or(0, |entry| u64::from(entry.position)))
    }

    /// An offset at or before the first batch with a timestamp from `timestamp` on.
    pub(crate) fn look_up_time(&self, timestamp: TimestampMs) -> Result<Offset, StorageError> {
        let found = self.state().times.last_where(|entry| entry.timestamp < timestamp)?;
        Ok(self.base + found.map_or(0, |entry| Offset::from(entry.offset)))
    }

    /// Brings the index files up to date, while appends go on. A closed segment's are made
    /// durable, and not kept in memory any longer. An open one's need not be, but for the aborted
    /// transactions: what a power cut leaves of the others is checked, and used only as far
    /// as it makes sense.
    pub(crate) fn save_indexes(
        &self,
        files: &Arc<dyn Files>,
        kind: SegmentKind,
    ) -> Result<(), StorageError> {
        let durability = match kind {
            SegmentKind::Closed => Durability::Synced,
            SegmentKind::Active => Durability::Cached,
        };
        let (offsets, times, aborted) = {
            let state = self.state();
            (state.offsets.unsaved(), state.times.unsaved(), state.aborted.unsaved())
        };
        for unsaved in offsets.iter().chain(&times) {
            unsaved.write(&**files, durability)?;
        }
        if let Some(aborted) = &aborted {
            // No batch is read again for it where a snapshot of the producers is newer.
            let durability =
                if is_planted(Bug::AbortedUnsynced) { durability } else { Durability::Synced };
            aborted.write(&**files, durability)?;
            if !is_planted(Bug::AbortedUnsynced) {
                let folder = parent_of(&self.path);
                files.sync_dir(folder).map_err(StorageError::io(folder))?;
            }
        }
        let mut state = self.state_mut();
        if let Some(offsets) = &offsets {
            state.offsets.saved(offsets);
        }
        if let Some(times) = &times {
            state.times.saved(times);
        }
        if let Some(aborted) = &aborted {
            state.aborted.saved(aborted);
        }
        if kind == SegmentKind::Closed {
            state.offsets.seal(files);
            state.times.seal(files);
        }
        Ok(())
    }

    /// A reader brought this range back; returns those that may go for it.
    pub(crate) fn warmed(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut warmed = self.warmed.lock();
        warmed.push_back(range);
        let excess = warmed.len().saturating_sub(WARM_READS);
        warmed.drain(..excess).collect()
    }

    /// Ends it at `position`, where its last batch before `end` ends, for good: it takes no more
    /// batches. Readers that look for more meanwhile find nothing.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn cut(
        &self,
        files: &dyn Files,
        position: u64,
        end: Offset,
    ) -> Result<(), StorageError> {
        self.publish(position);
        let upto = relative_offset(self.base, end);
        {
            let mut state = self.state_mut();
            state.offsets.cut(files, |it| it.offset < upto)?;
            state.times.cut(files, |it| it.offset < upto)?;
            state.aborted.truncate(end);
            state.newest = None;
        }
        self.file.truncate(position).map_err(self.io())?;
        self.reserved.store(0, Ordering::Release);
        self.let_go.fetch_min(position, Ordering::AcqRel);
        self.started.fetch_min(position, Ordering::AcqRel);
        // What the time index has not got yet.
        let newest = self.newest()?;
        let indexed = self.state().offsets.last()?;
        let mut scan = self.scan(indexed.map_or(0, |it| u64::from(it.position)));
        let mut found = newest;
        while let Some((_, batch)) = scan.next()? {
            let timestamp = batch.max_timestamp();
            if found.is_none_or(|(newest, _)| timestamp > newest) {
                found = Some((timestamp, batch.last_offset()));
            }
        }
        self.state_mut().newest = found;
        Ok(())
    }

    /// Gives back what was reserved beyond its end.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn give_back(&self) -> Result<(), StorageError> {
        let size = self.size();
        if self.reserved.swap(0, Ordering::AcqRel) > size {
            self.file.truncate(size).map_err(self.io())?;
        }
        Ok(())
    }

    /// Its pages may not be in the cache: they were not just written.
    pub(crate) fn mark_cold(&self) {
        self.let_go.store(self.size(), Ordering::Release);
        self.started.store(self.size(), Ordering::Release);
    }

    /// Opens what has not been opened: its names will soon be another's.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn hold_open(&self) -> Result<(), StorageError> {
        self.file.size().map_err(self.io())?;
        let state = self.state();
        state.offsets.last()?;
        state.times.last().map(|_| ())
    }

    /// Are all its indexes in their files, for good?
    pub(crate) fn is_sealed(&self) -> bool {
        self.state().offsets.is_sealed()
    }

    /// Are its indexes in their files as they are now?
    pub(crate) fn is_saved(&self) -> bool {
        let state = self.state();
        state.offsets.is_saved() && state.times.is_saved() && state.aborted.is_saved()
    }

    /// The largest timestamp, and the last offset of the batch that has it.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn newest(&self) -> Result<Option<(TimestampMs, Offset)>, StorageError> {
        let state = self.state();
        if state.newest.is_some() {
            return Ok(state.newest);
        }
        // A closed segment's is read when it is first needed: its last entry is the largest.
        let last = state.times.last()?;
        Ok(last.map(|last| (last.timestamp, self.base + Offset::from(last.offset))))
    }

    pub(crate) fn aborted(&self) -> Vec<AbortedTransaction> {
        self.state().aborted.all().to_vec()
    }

    /// Reads the batches from `position` on.
    pub(crate) fn scan(&self, position: u64) -> Scan<'_> {
        Scan { segment: self, position, buffer: Vec::new(), at: 0, end: self.size() }
    }

    pub(crate) fn io(&self) -> impl FnOnce(std::io::Error) -> StorageError {
        StorageError::io(&self.path)
    }
}

/// Reads a segment through, batch by batch.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    segment: &'a Segment,
    /// Where the buffer starts in the file.
    position: u64,
    buffer: Vec<u8>,
    at: usize,
    end: u64,
}

impl Scan<'_> {
    /// Where the next batch starts.
    pub(crate) fn position(&self) -> u64 {
        self.position + self.at as u64
    }

    /// The next batch and where it starts; `None` at the end, also where the log is truncated
    /// meanwhile.
    ///
    /// # Errors
    /// The bytes there are not a complete batch, or the file cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Batch<'_>)>, StorageError> {
        let position = self.position();
        match self.find_next(position) {
            Err(_) if self.segment.size() < self.end => Ok(None),
            Err(error) => Err(error),
            Ok(false) => Ok(None),
            Ok(true) => {
                let batch = Batch::first(&self.buffer[self.at..])?;
                self.at += batch.bytes().len();
                Ok(Some((position, batch)))
            }
        }
    }

    /// Brings the batch at `position` into the buffer, whole; `false` at the end.
    fn find_next(&mut self, position: u64) -> Result<bool, StorageError> {
        let left = self.end.saturating_sub(position);
        if left == 0 {
            return Ok(false);
        }
        let need = match Batch::first(&self.buffer[self.at..]) {
            Ok(_) => 0,
            Err(ottla_records::BadBatch::Truncated { due, .. }) if due as u64 <= left => due,
            Err(error) => return Err(error.into()),
        };
        if need > 0 {
            self.fill(position, need, left)?;
            // The length was not to be seen before; now it is.
            if let Err(ottla_records::BadBatch::Truncated { due, .. }) = Batch::first(&self.buffer)
                && due as u64 <= left
            {
                self.fill(position, due, left)?;
            }
        }
        Batch::first(&self.buffer[self.at..])?;
        Ok(true)
    }

    fn fill(&mut self, position: u64, need: usize, left: u64) -> Result<(), StorageError> {
        let length = need.max(SCAN_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.buffer.clear();
        (self.position, self.at) = (position, 0);
        self.segment.file.read_into(&mut self.buffer, position, length).map_err(self.segment.io())
    }
}

/// The header of the batch at `position`.
pub(crate) fn header_at(
    segment: &Segment,
    position: u64,
) -> Result<[u8; HEADER_BYTES], StorageError> {
    let mut header = [0; HEADER_BYTES];
    read_exact_at(&*segment.file, &mut header, position).map_err(segment.io())?;
    Ok(header)
}
