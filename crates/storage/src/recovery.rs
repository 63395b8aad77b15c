//! Opening a log, after a clean stop or after none.

use ottla_locks::RwLock;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arc_swap::ArcSwap;
use ottla_records::Batch;
use ottla_types::{Bug, Offset, TimestampMs, is_planted};

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::files::{Files, LazyFile, remove_if_there};
use crate::index::{AbortedIndex, IndexTable, OffsetEntry, Saved, TimeEntry};
use crate::log::{Log, LogOptions};
use crate::producers::{Producers, snapshot_path};
use crate::retire::files_of;
use crate::segment::{Segment, SegmentState, file_of, header_at};
use crate::spare::Spare;
use crate::view::LogShared;

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
        let file = LazyFile::at(files, file_of(folder, base, "log"));
        Self { segment: Segment::of(folder, base, file), end: base, cut: false }
    }
}

impl Log {
    /// Opens the log in a partition's folder, or begins one.
    ///
    /// # Errors
    /// The disk fails, or a file below the recovery point is broken.
    pub fn open(opening: Opening) -> Result<Self, StorageError> {
        let there = tidy(&opening.files, &opening.folder)?;
        let mut epochs = there.epochs(&*opening.files, &opening.folder)?;
        let first = there.bases().first().copied().unwrap_or(opening.log_start);
        let (mut segments, end) = open_segments(&opening, &there, first, &mut epochs)?;
        let Opening { files, folder, options, clean, recovery_point, log_start, .. } = opening;
        let (first, end) = if end < log_start {
            // Offsets that were deleted are never used again, as in Kafka: what a power cut has
            // left lies below the start, and the log goes on there.
            for segment in segments.drain(..) {
                remove_segment(&*files, &folder, segment.base)?;
            }
            epochs.truncate_end(0);
            (log_start, log_start)
        } else {
            (first, end)
        };
        if segments.is_empty() {
            segments.push(Arc::new(Segment::create(&*files, &folder, first)?));
        }
        let log_start = log_start.max(first);
        // An epoch that has begun, but has no record yet, stays.
        epochs.truncate_end(end + 1);
        epochs.truncate_start(log_start);
        let mut snapshots = there.snapshots();
        let point = if clean { Offset::MAX } else { recovery_point };
        drop_stray_snapshots(&*files, &folder, &mut snapshots, (&segments, point))?;
        let (mut producers, snapshot) =
            load_producers(&*files, &folder, &snapshots, (&segments, end))?;
        let recovery_point = if clean { end } else { recovery_point.clamp(first, end) };
        let now_ms = opening.now_ms;
        producers.forget_before(now_ms.saturating_sub(options.producer_expiry_ms));
        let shared = LogShared {
            segments: ArcSwap::from_pointee(segments),
            log_start: AtomicI64::new(log_start),
            log_end: AtomicI64::new(end),
            epochs: RwLock::new(epochs),
        };
        Ok(Self {
            spare: there.spare(&files, &folder, &options),
            files,
            folder,
            options,
            shared: Arc::new(shared),
            producers,
            recovery_point,
            durable: recovery_point,
            // What made records durable has made the folder's name durable before.
            folder_is_durable: recovery_point > first,
            snapshot,
            former_snapshot: snapshots.into_iter().rfind(|at| Some(*at) < snapshot),
            snapshots_due: Vec::new(),
            truncations: 0,
            written_bytes: 0,
            flushed_bytes: 0,
            failed: false,
            segment_written_ms: (now_ms, now_ms),
        })
    }
}

/// Opens the segments that are there, up to the first that cannot be believed, and tells the epochs
/// of what was not durable; says where the last one ends.
fn open_segments(
    opening: &Opening,
    there: &There,
    first: Offset,
    epochs: &mut Epochs,
) -> Result<(Vec<Arc<Segment>>, Offset), StorageError> {
    let Opening { files, folder, clean, recovery_point, has_gaps, .. } = opening;
    let (recovery_point, interval) = (*recovery_point, opening.options.index_interval_bytes);
    let bases = there.bases();
    let (mut segments, mut end, mut cut, mut removed) = (Vec::new(), first, false, false);
    for (at, &base) in bases.iter().enumerate() {
        let next = bases.get(at + 1).copied();
        let durable = *clean || next.is_some_and(|next| next <= recovery_point);
        let is_stray = !durable && (base < end || !has_gaps && base > end);
        if cut || is_stray {
            // What lies behind a hole, or among offsets that are taken, is not reachable.
            (cut, removed) = (true, true);
            remove_segment(&**files, folder, base)?;
            continue;
        }
        let opened = if next.is_none() && there.is_empty(base) {
            RecoveredSegment::empty(files, folder, base)
        } else if durable {
            open_durable(files, folder, there, (base, next), interval)?
        } else if base < recovery_point {
            resumed(files, folder, base, recovery_point, interval)?
        } else {
            rebuilt(files, folder, base, interval)?
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

/// The files of a folder, by name, and their sizes in bytes: what is not among them need not be
/// looked for, which counts where thousands of partitions are opened.
struct There(BTreeMap<String, u64>);

impl There {
    fn list(files: &dyn Files, folder: &Path) -> Result<Self, StorageError> {
        let listed = files.list(folder).map_err(StorageError::io(folder))?;
        Ok(Self(listed.into_iter().map(|entry| (entry.name, entry.size_bytes)).collect()))
    }

    /// Of a folder that is made if there is none.
    fn list_or_make(files: &dyn Files, folder: &Path) -> Result<Self, StorageError> {
        match Self::list(files, folder) {
            Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            listed => return listed,
        }
        files.make_dir(folder).map_err(StorageError::io(folder))?;
        Ok(Self(BTreeMap::new()))
    }

    fn epochs(&self, files: &dyn Files, folder: &Path) -> Result<Epochs, StorageError> {
        if self.0.contains_key(Epochs::FILE) {
            Epochs::read(files, folder)
        } else {
            Ok(Epochs::default())
        }
    }

    /// The offsets of the snapshots, ascending.
    fn snapshots(&self) -> Vec<Offset> {
        snapshots_of(self.0.keys())
    }

    /// The next segment, which was made ready and not used: removing it would give its room back,
    /// for which a start would wait.
    fn spare(&self, files: &Arc<dyn Files>, folder: &Path, options: &LogOptions) -> Option<Spare> {
        let path = folder.join(Spare::NAME);
        // Opened now: its name will be another.
        let file = (self.size(&path)? == 0).then(|| files.open(&path).ok())??;
        Some(Spare::found(path, file, options.segment_bytes))
    }

    /// Has the segment no record, and no index that says otherwise?
    fn is_empty(&self, base: Offset) -> bool {
        let size = |ending| self.size(&file_of(Path::new(""), base, ending)).unwrap_or(0);
        ["log", "index", "timeindex", "txnindex"].into_iter().all(|ending| size(ending) == 0)
    }

    fn bases(&self) -> Vec<Offset> {
        let base = |name: &String| name.strip_suffix(".log")?.parse().ok();
        self.0.keys().filter_map(base).collect()
    }

    fn size(&self, path: &Path) -> Option<u64> {
        self.0.get(path.file_name()?.to_str()?).copied()
    }
}

/// Clears away what half-done work left, and says what is there then.
///
/// A cleaner writes `.cleaned`, which is worth nothing until all of it is called `.swap`; from
/// then on the new segment takes the place of those that it was made from.
fn tidy(files: &Arc<dyn Files>, folder: &Path) -> Result<There, StorageError> {
    let there = There::list_or_make(&**files, folder)?;
    let endings = [".deleted", ".cleaned", ".tmp", ".swap"];
    let is_spare = |(name, size): (&String, &u64)| name == Spare::NAME && *size == 0;
    let odd = there.0.iter().filter(|it| !is_spare(*it)).map(|(name, _)| name);
    let odd: Vec<&String> =
        odd.filter(|name| endings.iter().any(|ending| name.ends_with(ending))).collect();
    if odd.is_empty() {
        return Ok(there);
    }
    let base_of = |name: &str| name.split('.').next().and_then(|it| it.parse::<Offset>().ok());
    let cleaned = there.0.keys().filter(|name| name.ends_with(".cleaned"));
    let half_done = cleaned.filter_map(|name| base_of(name)).min().unwrap_or(Offset::MAX);
    for name in odd {
        let is_swap = name.ends_with(".swap");
        if !is_swap || base_of(name).is_none_or(|base| base >= half_done) {
            let path = folder.join(name);
            remove_if_there(&**files, &path).map_err(StorageError::io(&path))?;
        }
    }
    finish_swap(files, folder)?;
    There::list(&**files, folder)
}

/// Puts new segments in the place of those they were made from.
fn finish_swap(files: &Arc<dyn Files>, folder: &Path) -> Result<(), StorageError> {
    let there = There::list(&**files, folder)?;
    let swaps: Vec<&str> = there.0.keys().filter_map(|name| name.strip_suffix(".swap")).collect();
    for name in swaps.iter().filter(|name| name.ends_with(".log")) {
        let Some(base) = name.strip_suffix(".log").and_then(|it| it.parse::<Offset>().ok()) else {
            continue;
        };
        let path = folder.join(format!("{name}.swap"));
        let file = LazyFile::at(files, path.clone());
        let size = file.size().map_err(StorageError::io(&path))?;
        let segment = Segment::new(folder, base, file, size, SegmentState::empty(folder, base));
        let end = end_of(&segment, 0, base)?;
        for old in there.bases().into_iter().filter(|old| (base..end).contains(old)) {
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

pub(crate) fn remove_segment(
    files: &dyn Files,
    folder: &Path,
    base: Offset,
) -> Result<(), StorageError> {
    for path in files_of(folder, base) {
        remove_if_there(files, &path).map_err(StorageError::io(&path))?;
    }
    Ok(())
}

/// A segment that needs no looking through, unless an index is missing. `next` is the base of the
/// segment behind it; the last one's end is found from its last index entry on.
fn open_durable(
    files: &Arc<dyn Files>,
    folder: &Path,
    there: &There,
    (base, next): (Offset, Option<Offset>),
    interval: u64,
) -> Result<RecoveredSegment, StorageError> {
    let path = file_of(folder, base, "log");
    let size = there.size(&path).unwrap_or(0);
    let (by_offset, by_time) = (file_of(folder, base, "index"), file_of(folder, base, "timeindex"));
    if next.is_none() {
        return resumed(files, folder, base, Offset::MAX, interval);
    }
    let offsets = IndexTable::on_disk(files, by_offset.clone(), there.size(&by_offset));
    let times = IndexTable::on_disk(files, by_time.clone(), there.size(&by_time));
    let (Some(offsets), Some(times)) = (offsets, times) else {
        return rebuilt(files, folder, base, interval);
    };
    // A segment of some size has entries in both, or its indexes were lost.
    if size > interval.saturating_mul(64) && offsets.len() == 0 || size > 0 && times.len() == 0 {
        return rebuilt(files, folder, base, interval);
    }
    let by_abort = file_of(folder, base, "txnindex");
    let aborted = if there.size(&by_abort).is_some() {
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

/// A segment of which everything below `recovery_point` is durable, its indexes too: it is looked
/// through from the last index entry on that can be believed.
fn resumed(
    files: &Arc<dyn Files>,
    folder: &Path,
    base: Offset,
    recovery_point: Offset,
    interval: u64,
) -> Result<RecoveredSegment, StorageError> {
    let path = file_of(folder, base, "log");
    let file = files.open(&path).map_err(StorageError::io(&path))?;
    let size = file.size().map_err(StorageError::io(&path))?;
    let (by_offset, by_time) = (file_of(folder, base, "index"), file_of(folder, base, "timeindex"));
    let loaded = IndexTable::<OffsetEntry>::load(&**files, &by_offset)?
        .zip(IndexTable::<TimeEntry>::load(&**files, &by_time)?);
    let Some((mut offsets, mut times)) = loaded else {
        return rebuilt(files, folder, base, interval);
    };
    let held_by_files = (offsets.len(), times.len());
    let durable = |offset: u32| base + Offset::from(offset) < recovery_point;
    let good = 1 + offsets.windows(2).take_while(|it| it[0].position < it[1].position).count();
    offsets.truncate(good);
    offsets.retain(|it| durable(it.offset) && u64::from(it.position) < size);
    let last = offsets.last().copied();
    let (at, held) = (last.map_or(0, |it| u64::from(it.position)), last.map_or(0, |it| it.offset));
    let known_end = recovery_point == Offset::MAX;
    let good = 1 + times.windows(2).take_while(|it| it[0].timestamp < it[1].timestamp).count();
    times.truncate(good);
    times.retain(|it| it.offset <= held || known_end);
    let state = SegmentState::empty(folder, base);
    let segment = Segment::new(folder, base, file, size, state);
    if let Some(last) = last {
        let header = header_at(&segment, at).ok();
        let header = header.as_ref().and_then(|header| Batch::header_only(header).ok());
        if header.is_none_or(|it| it.last_offset() != base + Offset::from(last.offset)) {
            return rebuilt(files, folder, base, interval);
        }
    }
    let first = header_at(&segment, 0).ok();
    let first = first.as_ref().and_then(|header| Batch::header_only(header).ok());
    let first = first.map(|first| first.max_timestamp());
    if size > 0 && first.is_none() {
        return rebuilt(files, folder, base, interval);
    }
    {
        let mut state = segment.state_mut();
        state.newest = times.last().map(|it| (it.timestamp, base + Offset::from(it.offset)));
        let (kept, timed) = (offsets.len(), times.len());
        // A file with more than is believed must not keep what lies behind.
        let saved = |kept, held| if kept == held { Saved::First(kept) } else { Saved::Untrue };
        state.offsets = IndexTable::in_memory(by_offset, offsets, saved(kept, held_by_files.0));
        state.times = IndexTable::in_memory(by_time, times, saved(timed, held_by_files.1));
        state.aborted = AbortedIndex::read(&**files, &file_of(folder, base, "txnindex"))?;
        state.first_timestamp = first;
    }
    // A closed log is believed: only its end is looked for.
    if known_end {
        let end = end_of(&segment, at, base)?;
        return Ok(RecoveredSegment { segment, end, cut: false });
    }
    look_through(files, segment, (at, last.is_some()), interval)
}

fn end_of(segment: &Segment, from: u64, base: Offset) -> Result<Offset, StorageError> {
    let mut end = base;
    let mut scan = segment.scan(from);
    while let Some((_, batch)) = scan.next()? {
        end = batch.next_offset();
    }
    Ok(end)
}

/// Reads a segment through, cuts it at the first batch that is none, makes its indexes again.
pub(crate) fn rebuilt(
    files: &Arc<dyn Files>,
    folder: &Path,
    base: Offset,
    interval: u64,
) -> Result<RecoveredSegment, StorageError> {
    let path = file_of(folder, base, "log");
    let file = files.open(&path).map_err(StorageError::io(&path))?;
    let size = file.size().map_err(StorageError::io(&path))?;
    let segment = Segment::new(folder, base, file, size, SegmentState::empty(folder, base));
    // Aborted transactions are found again when the producers are replayed.
    let aborted = AbortedIndex::read(&**files, &file_of(folder, base, "txnindex"))?;
    segment.state_mut().aborted = aborted;
    look_through(files, segment, (0, false), interval)
}

/// What is no batch may be a message of the formats before Kafka 0.11: then the log is older than
/// anything that is read here, and must not be cut as if a crash had left it.
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

/// Reads a segment from `at` on and cuts it at the first batch that is none; `indexed` says
/// whether the first batch there has its index entry already.
fn look_through(
    files: &Arc<dyn Files>,
    segment: Segment,
    (at, indexed): (u64, bool),
    interval: u64,
) -> Result<RecoveredSegment, StorageError> {
    let (base, size) = (segment.base, segment.size());
    let mut end = base;
    let mut good = at;
    let mut scan = segment.scan(at);
    loop {
        match scan.next() {
            Ok(Some((position, batch))) => {
                let is_right = batch.crc_is_right() || is_planted(Bug::ChecksumsBelieved);
                if !is_right || batch.base_offset() < end {
                    break;
                }
                let mut state = segment.state_mut();
                if position == at && indexed {
                    state.since_entry = batch.size() as u64;
                } else {
                    state.add(base, position, &batch, interval);
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
        // Before a new segment takes the offsets behind: were the rest to come back, that segment
        // would lie behind a hole.
        segment.file.sync().map_err(segment.io())?;
        segment.publish(good);
    }
    let mut state = segment.state_mut();
    state.add_time(base);
    state.offsets.compare(&**files)?;
    state.times.compare(&**files)?;
    state.aborted.truncate(end);
    drop(state);
    Ok(RecoveredSegment { segment, end, cut })
}

fn learn_epochs(segment: &Segment, from: Offset, epochs: &mut Epochs) -> Result<(), StorageError> {
    let mut scan = segment.scan(segment.look_up(from)?);
    while let Some((_, batch)) = scan.next()? {
        epochs.assign(batch.leader_epoch(), batch.base_offset());
    }
    Ok(())
}

/// The offsets of the snapshots in a folder, ascending.
pub(crate) fn snapshots(files: &dyn Files, folder: &Path) -> Result<Vec<Offset>, StorageError> {
    let listed = files.list(folder).map_err(StorageError::io(folder))?;
    Ok(snapshots_of(listed.iter().map(|entry| &entry.name)))
}

fn snapshots_of<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Offset> {
    let offset = |name: &String| name.strip_suffix(".snapshot")?.parse().ok();
    let mut all: Vec<Offset> = names.filter_map(offset).collect();
    all.sort_unstable();
    all
}

/// Snapshots of what was not durable vouch for nothing after an unclean stop, unless they were
/// taken when a segment was closed: those are written when its records are safe.
fn drop_stray_snapshots(
    files: &dyn Files,
    folder: &Path,
    snapshots: &mut Vec<Offset>,
    (segments, recovery_point): (&[Arc<Segment>], Offset),
) -> Result<(), StorageError> {
    let is_stray =
        |at: Offset| at > recovery_point && !segments.iter().any(|segment| segment.base == at);
    let strays = snapshots.extract_if(.., |at| is_stray(*at)).collect::<Vec<_>>();
    for at in &strays {
        let path = snapshot_path(folder, *at);
        remove_if_there(files, &path).map_err(StorageError::io(&path))?;
    }
    if !strays.is_empty() {
        // Or a power cut brings them back when the recovery point is beyond them.
        files.sync_dir(folder).map_err(StorageError::io(folder))?;
    }
    Ok(())
}

/// The producers as of `end`: the newest of the `snapshots` that can be read, and the batches
/// behind it.
pub(crate) fn load_producers(
    files: &dyn Files,
    folder: &Path,
    snapshots: &[Offset],
    (segments, end): (&[Arc<Segment>], Offset),
) -> Result<(Producers, Option<Offset>), StorageError> {
    let mut found = None;
    for at in snapshots.iter().copied().rev().filter(|at| *at <= end) {
        if let Some(producers) = Producers::read(files, &snapshot_path(folder, at))? {
            found = Some((at, producers));
            break;
        }
    }
    let snapshot = found.as_ref().map(|(at, _)| *at);
    let (from, mut producers) = found
        .unwrap_or_else(|| (segments.first().map_or(0, |first| first.base), Producers::default()));
    if from >= end {
        return Ok((producers, snapshot));
    }
    let behind = segments.partition_point(|segment| segment.base <= from);
    for segment in &segments[behind.saturating_sub(1)..] {
        let mut scan = segment.scan(segment.look_up(from)?);
        let mut aborted = Vec::new();
        while let Some((_, batch)) = scan.next()? {
            if batch.base_offset() >= from && !is_planted(Bug::ProducersForgotten) {
                aborted.extend(producers.appended(&batch));
            }
        }
        segment.state_mut().aborted.set_from(from, aborted);
    }
    Ok((producers, snapshot))
}
