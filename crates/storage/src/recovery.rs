//! What a start makes of the files of a log, after a clean stop or after none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_records::Batch;
use ottla_types::{Bug, Offset, TimestampMs, is_planted};

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::files::{Files, LazyFile, remove_if_there};
use crate::folder::{FolderListing, remove_segment, segment_file, snapshot_file};
use crate::index::{AbortedIndex, IndexTable, OffsetEntry, Saved, TimeEntry};
use crate::options::LogOptions;
use crate::producers::Producers;
use crate::segment::{Segment, SegmentState, header_at};

/// A segment that was made ready and not used: empty, it is taken over.
pub(crate) const SPARE_SEGMENT: &str = "next-segment.tmp";
/// The largest message of an old format that is recognised, in bytes.
const OLD_BYTES_MAX: usize = 64 << 20;

/// What must be known to open a log.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The files it lies on.
    pub files: Arc<dyn Files>,
    /// The partition's folder; created if there is none.
    pub folder: PathBuf,
    /// How it is kept.
    pub options: LogOptions,
    /// Was it closed cleanly?
    pub clean: bool,
    /// Up to where it was made durable.
    pub recovery_point: Offset,
    /// Where it starts; its first segment may start before.
    pub log_start: Offset,
    /// May offsets be missing, as compaction leaves it? Where they may not, and were not durable,
    /// a segment that does not begin where the one before ends was left by a crash.
    pub has_gaps: bool,
    /// Now, in milliseconds.
    pub now_ms: TimestampMs,
}

/// A segment and where it ends.
pub(crate) struct RecoveredSegment {
    pub segment: Segment,
    pub end: Offset,
    /// Were bytes cut off that were no batch?
    pub cut: bool,
}

impl RecoveredSegment {
    /// One without a record: its file is opened by the first.
    fn empty(files: &Arc<dyn Files>, folder: &Path, base: Offset) -> Self {
        let file = LazyFile::at(files, segment_file(folder, base, "log"));
        Self { segment: Segment::of(folder, base, file), end: base, cut: false }
    }
}

/// Opens the segments that are there, up to the first that is invalid, and removes from the epochs
/// what was not durable; returns where the last one ends.
pub(crate) fn open_segments(
    opening: &Opening,
    listing: &FolderListing,
    first: Offset,
    epochs: &mut Epochs,
) -> Result<(Vec<Arc<Segment>>, Offset), StorageError> {
    let Opening { files, folder, clean, recovery_point, has_gaps, .. } = opening;
    let recovery_point = *recovery_point;
    let recovery = SegmentRecovery {
        files,
        folder,
        index_interval_bytes: opening.options.index_interval_bytes,
    };
    let bases = listing.segment_bases();
    let (mut segments, mut end, mut cut, mut removed) = (Vec::new(), first, false, false);
    for (at, &base) in bases.iter().enumerate() {
        let next = bases.get(at + 1).copied();
        let durable = *clean || next.is_some_and(|next| next <= recovery_point);
        // Where offsets may be missing, a snapshot of the producers shows that all before it was
        // durable: it is written afterwards.
        let may_be_missing = *has_gaps && listing.size_of(&snapshot_file(folder, base)).is_some();
        let is_stray = !durable && (base < end || !may_be_missing && base > end);
        if cut || is_stray {
            // What lies behind a hole, or among offsets that are taken, is not reachable.
            (cut, removed) = (true, true);
            remove_segment(&**files, folder, base)?;
            continue;
        }
        let opened = if next.is_none() && listing.is_segment_empty(base) {
            RecoveredSegment::empty(files, folder, base)
        } else if *clean || next.is_some_and(|next| next < recovery_point) {
            recovery.believe(listing, base, next)?
        } else if base < recovery_point {
            // Also if the recovery point is where the next segment begins: this one may have been
            // flushed while it was the active one, when its indexes lacked their last entries.
            recovery.resume(base, recovery_point)?
        } else {
            recovery.rebuild(base)?
        };
        if !durable {
            let from = recovery_point.max(base).min(opened.end);
            learn_epochs(&opened.segment, from, epochs)?;
        }
        (end, cut) = (opened.end.max(base), opened.cut);
        opened.segment.mark_cold();
        segments.push(Arc::new(opened.segment));
    }
    if removed {
        // Or a power cut brings them back beside what takes their offsets.
        files.sync_dir(folder).map_err(StorageError::io(folder))?;
    }
    Ok((segments, end))
}

/// Clears away what half-done work left, and says what is there then.
///
/// A cleaner writes `.cleaned`, which is worth nothing until all of it is called `.swap`; from
/// then on the new segment takes the place of those that it was made from.
pub(crate) fn clear_unfinished(
    files: &Arc<dyn Files>,
    folder: &Path,
) -> Result<FolderListing, StorageError> {
    let listing = FolderListing::read_or_make(&**files, folder)?;
    let endings = [".deleted", ".cleaned", ".tmp", ".swap"];
    let is_unfinished = |(name, size): (&String, u64)| {
        let is_spare = name == SPARE_SEGMENT && size == 0;
        !is_spare && endings.iter().any(|ending| name.ends_with(ending))
    };
    let unfinished: Vec<&String> =
        listing.entries().filter(|it| is_unfinished(*it)).map(|(name, _)| name).collect();
    if unfinished.is_empty() {
        return Ok(listing);
    }
    let base_of = |name: &str| name.split('.').next().and_then(|it| it.parse::<Offset>().ok());
    let names = listing.entries().map(|(name, _)| name);
    let cleaned = names.filter(|name| name.ends_with(".cleaned"));
    let half_done = cleaned.filter_map(|name| base_of(name)).min().unwrap_or(Offset::MAX);
    for name in unfinished {
        let is_swap = name.ends_with(".swap");
        if !is_swap || base_of(name).is_none_or(|base| base >= half_done) {
            let path = folder.join(name);
            remove_if_there(&**files, &path).map_err(StorageError::io(&path))?;
        }
    }
    finish_swap(files, folder)?;
    FolderListing::read(&**files, folder)
}

/// Puts new segments in the place of those they were made from.
fn finish_swap(files: &Arc<dyn Files>, folder: &Path) -> Result<(), StorageError> {
    let listing = FolderListing::read(&**files, folder)?;
    let names = listing.entries().map(|(name, _)| name);
    let swaps: Vec<&str> = names.filter_map(|name| name.strip_suffix(".swap")).collect();
    for name in swaps.iter().filter(|name| name.ends_with(".log")) {
        let Some(base) = name.strip_suffix(".log").and_then(|it| it.parse::<Offset>().ok()) else {
            continue;
        };
        let path = folder.join(format!("{name}.swap"));
        let file = LazyFile::at(files, path.clone());
        let size = file.size().map_err(StorageError::io(&path))?;
        let segment = Segment::new(folder, base, file, size, SegmentState::empty(folder, base));
        let end = end_of(&segment, 0, base)?;
        for old in listing.segment_bases().into_iter().filter(|old| (base..end).contains(old)) {
            remove_segment(&**files, folder, old)?;
        }
    }
    files.sync_dir(folder).map_err(StorageError::io(folder))?;
    // The log last: while it is a swap, all of this is done again.
    let (logs, others): (Vec<&str>, Vec<&str>) =
        swaps.into_iter().partition(|name| name.ends_with(".log"));
    for name in others.into_iter().chain(logs) {
        let (from, to) = (folder.join(format!("{name}.swap")), folder.join(name));
        files.rename(&from, &to).map_err(StorageError::io(&from))?;
    }
    files.sync_dir(folder).map_err(StorageError::io(folder))
}

/// From where on a segment is read through.
#[derive(Clone, Copy, Debug)]
struct ReadFrom {
    /// In bytes.
    position: u64,
    /// Has the batch there its index entry already?
    is_indexed: bool,
}

/// Recovers the segments of one folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentRecovery<'a> {
    pub files: &'a Arc<dyn Files>,
    pub folder: &'a Path,
    /// How many bytes lie between two entries of an index that is made again.
    pub index_interval_bytes: u64,
}

impl SegmentRecovery<'_> {
    /// A segment that needs no looking through, unless an index is missing. `next` is the base of
    /// the segment behind it; the last one's end is found from its last index entry on.
    fn believe(
        &self,
        listing: &FolderListing,
        base: Offset,
        next: Option<Offset>,
    ) -> Result<RecoveredSegment, StorageError> {
        let Self { files, folder, index_interval_bytes } = *self;
        let path = segment_file(folder, base, "log");
        let size = listing.size_of(&path).unwrap_or(0);
        let (by_offset, by_time) =
            (segment_file(folder, base, "index"), segment_file(folder, base, "timeindex"));
        if next.is_none() {
            return self.resume(base, Offset::MAX);
        }
        let offsets = IndexTable::on_disk(files, by_offset.clone(), listing.size_of(&by_offset));
        let times = IndexTable::on_disk(files, by_time.clone(), listing.size_of(&by_time));
        let (Some(offsets), Some(times)) = (offsets, times) else {
            return self.rebuild(base);
        };
        // A segment of some size has entries in both, or its indexes were lost.
        if size > index_interval_bytes.saturating_mul(64) && offsets.len() == 0
            || size > 0 && times.len() == 0
        {
            return self.rebuild(base);
        }
        let by_abort = segment_file(folder, base, "txnindex");
        let aborted = if listing.size_of(&by_abort).is_some() {
            AbortedIndex::read(&**files, &by_abort)?
        } else {
            AbortedIndex::empty(by_abort)
        };
        let state = SegmentState {
            offsets,
            times,
            aborted,
            newest: None,
            first_timestamp: None,
            since_entry: 0,
        };
        let file = LazyFile::at(files, path);
        let segment = Segment::new(folder, base, file, size, state);
        Ok(RecoveredSegment { segment, end: next.unwrap_or(base), cut: false })
    }

    /// A segment of which everything below `recovery_point` is durable, its indexes too: it is
    /// read from its last valid index entry on.
    fn resume(
        &self,
        base: Offset,
        recovery_point: Offset,
    ) -> Result<RecoveredSegment, StorageError> {
        let Self { files, folder, .. } = *self;
        let path = segment_file(folder, base, "log");
        let file = files.open(&path).map_err(StorageError::io(&path))?;
        let size = file.size().map_err(StorageError::io(&path))?;
        let (by_offset, by_time) =
            (segment_file(folder, base, "index"), segment_file(folder, base, "timeindex"));
        let loaded =
            IndexTable::<OffsetEntry>::load(&**files, &by_offset)?
                .zip(IndexTable::<TimeEntry>::load(&**files, &by_time)?);
        let Some((mut offsets, mut times)) = loaded else {
            return self.rebuild(base);
        };
        let held_by_files = (offsets.len(), times.len());
        let durable = |offset: u32| base + Offset::from(offset) < recovery_point;
        let good = 1 + offsets.windows(2).take_while(|it| it[0].position < it[1].position).count();
        offsets.truncate(good);
        offsets.retain(|it| durable(it.offset) && u64::from(it.position) < size);
        let held = offsets.last().map_or(0, |it| it.offset);
        let known_end = recovery_point == Offset::MAX;
        let good = 1 + times.windows(2).take_while(|it| it[0].timestamp < it[1].timestamp).count();
        times.truncate(good);
        times.retain(|it| it.offset <= held || known_end);
        if !known_end {
            // A power cut may have taken the end of one index and left the other: which batches
            // behind the last of the time index have a newer timestamp is read from them.
            let timed = times.last().map(|it| it.offset);
            offsets.retain(|it| Some(it.offset) <= timed);
        }
        let last = offsets.last().copied();
        let at = last.map_or(0, |it| u64::from(it.position));
        let state = SegmentState::empty(folder, base);
        let segment = Segment::new(folder, base, file, size, state);
        if let Some(last) = last {
            let header = header_at(&segment, at).ok();
            let header = header.as_ref().and_then(|header| Batch::header_only(header).ok());
            if header.is_none_or(|it| it.last_offset() != base + Offset::from(last.offset)) {
                return self.rebuild(base);
            }
        }
        let first = header_at(&segment, 0).ok();
        let first = first.as_ref().and_then(|header| Batch::header_only(header).ok());
        let first = first.map(|first| first.max_timestamp());
        if size > 0 && first.is_none() {
            return self.rebuild(base);
        }
        {
            let mut state = segment.state_mut();
            state.newest = times.last().map(|it| (it.timestamp, base + Offset::from(it.offset)));
            let (kept, timed) = (offsets.len(), times.len());
            // A file with more than the valid entries must not keep the rest.
            let saved = |kept, held| if kept == held { Saved::First(kept) } else { Saved::Untrue };
            state.offsets = IndexTable::in_memory(by_offset, offsets, saved(kept, held_by_files.0));
            state.times = IndexTable::in_memory(by_time, times, saved(timed, held_by_files.1));
            state.aborted = AbortedIndex::read(&**files, &segment_file(folder, base, "txnindex"))?;
            state.first_timestamp = first;
        }
        // A cleanly closed log is trusted: only its end is searched.
        if known_end {
            let end = end_of(&segment, at, base)?;
            return Ok(RecoveredSegment { segment, end, cut: false });
        }
        self.look_through(segment, ReadFrom { position: at, is_indexed: last.is_some() })
    }

    /// Reads a segment through, cuts it at the first invalid batch, makes its indexes again.
    pub(crate) fn rebuild(&self, base: Offset) -> Result<RecoveredSegment, StorageError> {
        let Self { files, folder, .. } = *self;
        let path = segment_file(folder, base, "log");
        let file = files.open(&path).map_err(StorageError::io(&path))?;
        let size = file.size().map_err(StorageError::io(&path))?;
        let segment = Segment::new(folder, base, file, size, SegmentState::empty(folder, base));
        // Aborted transactions are found again when the producers are replayed.
        let aborted = AbortedIndex::read(&**files, &segment_file(folder, base, "txnindex"))?;
        segment.state_mut().aborted = aborted;
        self.look_through(segment, ReadFrom { position: 0, is_indexed: false })
    }

    /// Reads a segment on and cuts it at the first invalid batch.
    fn look_through(
        &self,
        segment: Segment,
        from: ReadFrom,
    ) -> Result<RecoveredSegment, StorageError> {
        let (base, size) = (segment.base, segment.size());
        let mut end = base;
        let mut good = from.position;
        let mut scan = segment.scan(from.position);
        loop {
            match scan.next() {
                Ok(Some((position, batch))) => {
                    let is_right = batch.crc_is_right() || is_planted(Bug::ChecksumsBelieved);
                    if !is_right || batch.base_offset() < end {
                        break;
                    }
                    let mut state = segment.state_mut();
                    if position == from.position && from.is_indexed {
                        state.since_entry = batch.size() as u64;
                    } else {
                        state.add(base, position, &batch, self.index_interval_bytes);
                    }
                    end = batch.next_offset();
                    good = position + batch.size() as u64;
                }
                Ok(None) => break,
                Err(StorageError::Batch(_)) => {
                    refuse_old(&segment, good)?;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let cut = good < size;
        if cut {
            if !is_planted(Bug::HalfBatchStays) {
                segment.file.truncate(good).map_err(segment.io())?;
            }
            // Before a new segment takes the offsets behind: were the rest to come back, that
            // segment would lie behind a hole.
            segment.file.sync().map_err(segment.io())?;
            segment.publish(good);
        }
        let mut state = segment.state_mut();
        state.add_time(base);
        state.offsets.compare(&**self.files)?;
        state.times.compare(&**self.files)?;
        state.aborted.truncate(end);
        drop(state);
        Ok(RecoveredSegment { segment, end, cut })
    }
}

fn end_of(segment: &Segment, from: u64, base: Offset) -> Result<Offset, StorageError> {
    let mut end = base;
    let mut scan = segment.scan(from);
    while let Some((_, batch)) = scan.next()? {
        end = batch.next_offset();
    }
    Ok(end)
}

/// Bytes that are not a batch may be a message of the formats before Kafka 0.11: then the log is
/// older than anything that is read here, and must not be cut as if a crash had left it.
fn refuse_old(segment: &Segment, at: u64) -> Result<(), StorageError> {
    let left = usize::try_from(segment.size() - at).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    segment.file.read_into(&mut bytes, at, left.min(OLD_BYTES_MAX)).map_err(segment.io())?;
    if ottla_records::legacy::is_message(&bytes) {
        let why =
            "it has messages of format 0 or 1; a Kafka from 0.11 to 3.9 must rewrite it first";
        return Err(StorageError::corrupt(&segment.path, why));
    }
    Ok(())
}

fn learn_epochs(segment: &Segment, from: Offset, epochs: &mut Epochs) -> Result<(), StorageError> {
    let mut scan = segment.scan(segment.look_up(from)?);
    while let Some((_, batch)) = scan.next()? {
        epochs.found(batch.leader_epoch(), batch.base_offset());
    }
    Ok(())
}

/// The segments of a log, and where it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments<'a> {
    pub all: &'a [Arc<Segment>],
    pub end: Offset,
}

/// The producers as of the log's end, and as of which offset the newest of the `snapshots` is that
/// can be read: the batches after it are replayed. What they say of aborted transactions replaces
/// what the index says.
///
/// # Errors
/// The disk fails, or a batch is broken.
pub(crate) fn load_producers(
    files: &dyn Files,
    folder: &Path,
    snapshots: &[Offset],
    segments: Segments<'_>,
) -> Result<(Producers, Option<Offset>), StorageError> {
    let Segments { all: segments, end } = segments;
    let first = segments.first().map_or(0, |first| first.base);
    let mut found = None;
    // A snapshot below the first segment is of no use: what came between is deleted, such as the
    // marker of a transaction that was open then.
    for at in snapshots.iter().copied().rev().filter(|at| (first..=end).contains(at)) {
        if let Some(producers) = Producers::read(files, &snapshot_file(folder, at))? {
            found = Some((at, producers));
            break;
        }
    }
    let snapshot = found.as_ref().map(|(at, _)| *at);
    let (from, mut producers) = found.unwrap_or_else(|| (first, Producers::default()));
    if from >= end {
        return Ok((producers, snapshot));
    }
    let behind = segments.partition_point(|segment| segment.base <= from);
    for segment in &segments[behind.saturating_sub(1)..] {
        let mut scan = segment.scan(segment.look_up(from)?);
        let mut aborted = Vec::new();
        while let Some((_, batch)) = scan.next()? {
            // The first batch of a follower's log may begin below a snapshot of the empty log.
            if batch.last_offset() >= from && !is_planted(Bug::ProducersForgotten) {
                aborted.extend(producers.appended(&batch));
            }
        }
        segment.state_mut().aborted.set_from(from, aborted);
    }
    Ok((producers, snapshot))
}
