//! Opening a log, after a clean stop or after none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::RwLock;
use std::sync::atomic::AtomicI64;

use arc_swap::ArcSwap;
use ottla_records::Batch;
use ottla_types::{Offset, TimestampMs};

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::files::{Files, remove_if_there};
use crate::index::{AbortedIndex, OffsetEntry, Table, TimeEntry};
use crate::log::{Log, LogOptions};
use crate::producers::{Producers, snapshot_path};
use crate::segment::{Segment, State, file_of, header_at};
use crate::view::Shared;

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
    /// Now, in milliseconds.
    pub now_ms: TimestampMs,
}

/// A segment and where it ends.
pub(crate) struct Opened {
    pub segment: Segment,
    pub end: Offset,
    /// Were bytes cut off that were no batch?
    pub cut: bool,
}

impl Log {
    /// Opens the log in a partition's folder, or begins one.
    ///
    /// # Errors
    /// The disk fails, or a file below the recovery point is broken.
    pub fn open(opening: Opening) -> Result<Self, StorageError> {
        let Opening { files, folder, options, clean, recovery_point, log_start, now_ms } = opening;
        files.make_dir(&folder).map_err(StorageError::io(&folder))?;
        let bases = tidy(&*files, &folder)?;
        let mut epochs = Epochs::read(&files, &folder)?;
        let first = bases.first().copied().unwrap_or(log_start);
        let interval = options.index_interval_bytes;
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        let mut end = first;
        let mut cut = false;
        for (at, &base) in bases.iter().enumerate() {
            if cut {
                // What lies behind a hole is not reachable any more.
                remove_segment(&*files, &folder, base)?;
                continue;
            }
            let next = bases.get(at + 1).copied();
            let durable = clean || next.is_some_and(|next| next <= recovery_point);
            let opened = if durable {
                open_durable(&*files, &folder, base, next, interval)?
            } else {
                rebuilt(&*files, &folder, base, interval)?
            };
            if !durable {
                learn_epochs(&opened.segment, &mut epochs)?;
            }
            (end, cut) = (opened.end.max(base), opened.cut);
            if next.is_some() && !cut {
                // Indexes that were made again; those on the disk are left alone.
                opened.segment.state_mut().seal(base, &*files)?;
            }
            segments.push(Arc::new(opened.segment));
        }
        if segments.is_empty() {
            segments.push(Arc::new(Segment::create(&*files, &folder, first)?));
        }
        let log_start = log_start.max(first).min(end);
        // An epoch that has begun, but has no record yet, stays.
        epochs.truncate_end(end + 1)?;
        if !clean {
            drop_stray_snapshots(&*files, &folder, &segments)?;
        }
        let (mut producers, snapshot) = load_producers(&*files, &folder, &segments, end)?;
        if !clean && end > 0 {
            producers.write(&*files, &snapshot_path(&folder, end))?;
        }
        producers.forget_before(now_ms.saturating_sub(options.producer_expiry_ms));
        let shared = Shared {
            segments: ArcSwap::from_pointee(segments),
            log_start: AtomicI64::new(log_start),
            log_end: AtomicI64::new(end),
            epochs: RwLock::new(epochs),
        };
        Ok(Self {
            files,
            folder,
            options,
            shared: Arc::new(shared),
            producers,
            recovery_point: if clean { end } else { recovery_point.min(end) },
            snapshot: if clean { snapshot } else { Some(end).filter(|end| *end > 0) },
            failed: false,
        })
    }
}

/// Clears away what half-done work left, and says which segments there are.
fn tidy(files: &dyn Files, folder: &Path) -> Result<Vec<Offset>, StorageError> {
    let listed = files.list(folder).map_err(StorageError::io(folder))?;
    let mut bases = Vec::new();
    for entry in &listed {
        if [".deleted", ".cleaned", ".tmp"].iter().any(|ending| entry.name.ends_with(ending)) {
            let path = folder.join(&entry.name);
            remove_if_there(files, &path).map_err(StorageError::io(&path))?;
        } else if let Some(base) = entry.name.strip_suffix(".log") {
            let base = base.parse().map_err(|_| {
                StorageError::corrupt(&folder.join(&entry.name), "the name is no offset")
            })?;
            bases.push(base);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

fn remove_segment(files: &dyn Files, folder: &Path, base: Offset) -> Result<(), StorageError> {
    for ending in ["log", "index", "timeindex", "txnindex"] {
        let path = file_of(folder, base, ending);
        remove_if_there(files, &path).map_err(StorageError::io(&path))?;
    }
    Ok(())
}

/// A segment that needs no looking through, unless an index is missing. `next` is the base of the
/// segment behind it; the last one's end is found from its last index entry on.
fn open_durable(
    files: &dyn Files,
    folder: &Path,
    base: Offset,
    next: Option<Offset>,
    interval: u64,
) -> Result<Opened, StorageError> {
    let path = file_of(folder, base, "log");
    let file = files.open(&path).map_err(StorageError::io(&path))?;
    let size = file.size().map_err(StorageError::io(&path))?;
    let (by_offset, by_time) = (file_of(folder, base, "index"), file_of(folder, base, "timeindex"));
    let tables = if next.is_some() {
        let offsets: Option<Table<OffsetEntry>> = Table::on_disk(files, by_offset)?;
        offsets.zip(Table::<TimeEntry>::on_disk(files, by_time)?)
    } else {
        // More will be appended to these.
        let offsets = Table::load(files, &by_offset)?;
        let times = Table::load(files, &by_time)?;
        offsets.zip(times).map(|(offsets, times)| {
            (Table::in_memory(by_offset, offsets), Table::in_memory(by_time, times))
        })
    };
    let Some((offsets, times)) = tables else { return rebuilt(files, folder, base, interval) };
    let last_entry = offsets.last()?;
    let newest = times.last()?.map(|last| (last.timestamp, base + Offset::from(last.offset)));
    let believable = last_entry.is_none_or(|last| u64::from(last.position) < size)
        && (size == 0 || newest.is_some() || last_entry.is_none());
    if !believable {
        return rebuilt(files, folder, base, interval);
    }
    let aborted = AbortedIndex::read(files, &file_of(folder, base, "txnindex"))?;
    let state = State { offsets, times, aborted, newest, first_timestamp: None, since_entry: 0 };
    let segment = Segment::new(folder, base, file, size, state);
    let end = match next {
        Some(next) => next,
        None => end_of(&segment, last_entry.map_or(0, |last| last.position.into()), base)?,
    };
    if next.is_none() && size > 0 {
        let header = header_at(&segment, 0)?;
        let first = Batch::header_only(&header)?.max_timestamp();
        segment.state_mut().first_timestamp = Some(first);
    }
    Ok(Opened { segment, end, cut: false })
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
    files: &dyn Files,
    folder: &Path,
    base: Offset,
    interval: u64,
) -> Result<Opened, StorageError> {
    let path = file_of(folder, base, "log");
    let file = files.open(&path).map_err(StorageError::io(&path))?;
    let size = file.size().map_err(StorageError::io(&path))?;
    let mut state = State::empty(folder, base);
    let segment = Segment::new(folder, base, file, size, State::empty(folder, base));
    let mut end = base;
    let mut good = 0;
    let mut scan = segment.scan(0);
    loop {
        match scan.next() {
            Ok(Some((position, batch))) => {
                if !batch.crc_is_right() || batch.base_offset() < end {
                    break;
                }
                state.add(base, position, &batch, interval);
                end = batch.next_offset();
                good = position + batch.size() as u64;
            }
            Ok(None) => break,
            Err(StorageError::Batch(_)) => break,
            Err(error) => return Err(error),
        }
    }
    let cut = good < size;
    if cut {
        segment.file.truncate(good).map_err(segment.io())?;
        segment.publish(good);
    }
    state.add_time(base);
    // Aborted transactions are found when the producers are replayed.
    state.aborted = AbortedIndex::read(files, &file_of(folder, base, "txnindex"))?;
    *segment.state_mut() = state;
    Ok(Opened { segment, end, cut })
}

fn learn_epochs(segment: &Segment, epochs: &mut Epochs) -> Result<(), StorageError> {
    let mut scan = segment.scan(0);
    while let Some((_, batch)) = scan.next()? {
        epochs.assign(batch.leader_epoch(), batch.base_offset())?;
    }
    Ok(())
}

/// The offsets of the snapshots in a folder, ascending.
pub(crate) fn snapshots(files: &dyn Files, folder: &Path) -> Result<Vec<Offset>, StorageError> {
    let listed = files.list(folder).map_err(StorageError::io(folder))?;
    let offset = |name: &str| name.strip_suffix(".snapshot")?.parse().ok();
    let mut all: Vec<Offset> = listed.iter().filter_map(|entry| offset(&entry.name)).collect();
    all.sort_unstable();
    Ok(all)
}

/// Snapshots that stand at no segment's base were taken at a stop; after an unclean one they
/// vouch for nothing.
fn drop_stray_snapshots(
    files: &dyn Files,
    folder: &Path,
    segments: &[Arc<Segment>],
) -> Result<(), StorageError> {
    for at in snapshots(files, folder)? {
        if !segments.iter().any(|segment| segment.base == at) {
            let path = snapshot_path(folder, at);
            remove_if_there(files, &path).map_err(StorageError::io(&path))?;
        }
    }
    Ok(())
}

/// The producers as of `end`: the newest snapshot that can be read, and the batches behind it.
pub(crate) fn load_producers(
    files: &dyn Files,
    folder: &Path,
    segments: &[Arc<Segment>],
    end: Offset,
) -> Result<(Producers, Option<Offset>), StorageError> {
    let mut found = None;
    for at in snapshots(files, folder)?.into_iter().rev().filter(|at| *at <= end) {
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
            if batch.base_offset() >= from {
                aborted.extend(producers.appended(&batch));
            }
        }
        let mut state = segment.state_mut();
        let known = state.aborted.all().last().map_or(-1, |last| last.last_offset);
        aborted.into_iter().filter(|it| it.last_offset > known).for_each(|it| {
            state.aborted.push(it);
        });
    }
    Ok((producers, snapshot))
}
