//! Opening a log: what recovery finds becomes a writer.

use ottla_locks::RwLock;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arc_swap::ArcSwap;
use ottla_types::Offset;

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::files::Files;
use crate::folder::{FolderListing, remove_segment, remove_snapshot};
use crate::log::Log;
use crate::options::LogOptions;
use crate::recovery::{
    Opening, SPARE_SEGMENT, Segments, clear_unfinished, load_producers, open_segments,
};
use crate::segment::Segment;
use crate::spare::Spare;
use crate::view::LogShared;

impl Log {
    /// Opens the log in a partition's folder, or begins one.
    ///
    /// # Errors
    /// The disk fails, or a file below the recovery point is broken.
    pub fn open(opening: Opening) -> Result<Self, StorageError> {
        let listing = clear_unfinished(&opening.files, &opening.folder)?;
        let mut epochs = read_epochs(&listing, &*opening.files, &opening.folder)?;
        let first = listing.segment_bases().first().copied().unwrap_or(opening.log_start);
        let (mut segments, end) = open_segments(&opening, &listing, first, &mut epochs)?;
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
        let mut snapshots = listing.snapshot_offsets();
        let point = if clean { Offset::MAX } else { recovery_point };
        let is_stray = |at| at > point && !segments.iter().any(|segment| segment.base == at);
        drop_stray_snapshots(&*files, &folder, &mut snapshots, is_stray)?;
        let (mut producers, snapshot) =
            load_producers(&*files, &folder, &snapshots, Segments { all: &segments, end })?;
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
            spare: find_spare(&listing, &files, &folder, &options),
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
            truncating: false,
            segment_written_ms: (now_ms, now_ms),
        })
    }
}

/// The epochs that the folder's checkpoint names.
fn read_epochs(
    listing: &FolderListing,
    files: &dyn Files,
    folder: &Path,
) -> Result<Epochs, StorageError> {
    if listing.size_of(Path::new(Epochs::FILE)).is_some() {
        Epochs::read(files, folder)
    } else {
        Ok(Epochs::default())
    }
}

/// The next segment, which was made ready and not used: removing it would give its room back, for
/// which a start would wait.
fn find_spare(
    listing: &FolderListing,
    files: &Arc<dyn Files>,
    folder: &Path,
    options: &LogOptions,
) -> Option<Spare> {
    let path = folder.join(SPARE_SEGMENT);
    // Opened now: its name will be another.
    let file = (listing.size_of(&path)? == 0).then(|| files.open(&path).ok())??;
    Some(Spare::found(path, file, options.segment_bytes))
}

/// Removes the snapshots of producers that vouch for nothing. Those of what was not durable do not
/// after an unclean stop, unless they were taken when a segment was closed: those are written when
/// its records are safe.
fn drop_stray_snapshots(
    files: &dyn Files,
    folder: &Path,
    snapshots: &mut Vec<Offset>,
    is_stray: impl Fn(Offset) -> bool,
) -> Result<(), StorageError> {
    let strays = snapshots.extract_if(.., |at| is_stray(*at)).collect::<Vec<_>>();
    strays.iter().try_for_each(|at| remove_snapshot(files, folder, *at))?;
    if !strays.is_empty() {
        // Or a power cut brings them back when the recovery point is beyond them.
        files.sync_dir(folder).map_err(StorageError::io(folder))?;
    }
    Ok(())
}
