//! Making a log durable, beside its writer.
//!
//! A flush is begun and ended under the writer's lock, in no time; between, it runs wherever it
//! may take long. The recovery point moves when it has ended, never before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{Bug, Offset, is_planted};

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::files::{Durability, Files, parent_of};
use crate::folder::{remove_snapshot, snapshot_file};
use crate::log::Log;
use crate::producers::Producers;
use crate::segment::{Segment, SegmentKind};

/// Makes what a log held at one moment survive a power cut: records, indexes, producers.
#[derive(Debug)]
pub struct Flush {
    files: Arc<dyn Files>,
    folder: PathBuf,
    /// Ascending; the last is still appended to.
    segments: Vec<Arc<Segment>>,
    snapshots: Vec<(Offset, Producers)>,
    epochs: Option<Epochs>,
    /// A snapshot that is older than what any start may go by.
    obsolete: Option<Offset>,
    upto: Offset,
    /// Were files created since the last flush?
    names_are_new: bool,
    /// Was the folder?
    folder_is_new: bool,
    /// Is the log closed then? Then all of it must be durable.
    is_last: bool,
    truncations: u64,
}

impl Flush {
    /// Runs the flush. This takes as long as the disk does.
    ///
    /// # Errors
    /// The disk fails: what is durable is unknown then.
    pub fn run(&self) -> Result<(), StorageError> {
        for (at, segment) in self.segments.iter().enumerate() {
            if !is_planted(Bug::FlushUnsynced) {
                segment.file.sync().map_err(segment.io())?;
            }
            let kind = match at + 1 < self.segments.len() {
                true => SegmentKind::Closed,
                false => SegmentKind::Active,
            };
            if kind == SegmentKind::Closed {
                segment.give_back()?;
            }
            segment.save_indexes(&self.files, kind)?;
        }
        for (at, producers) in &self.snapshots {
            let path = snapshot_file(&self.folder, *at);
            let is_kept = *at < self.upto || self.is_last;
            let durability = if is_kept { Durability::Synced } else { Durability::Cached };
            producers.write(&*self.files, &path, durability)?;
        }
        if let Some(epochs) = &self.epochs {
            epochs.write(&*self.files, &self.folder)?;
        }
        if let Some(obsolete) = self.obsolete {
            remove_snapshot(&*self.files, &self.folder, obsolete)?;
        }
        if self.names_are_new {
            self.files.sync_dir(&self.folder).map_err(StorageError::io(&self.folder))?;
        }
        if self.folder_is_new { sync_name(&*self.files, &self.folder) } else { Ok(()) }
    }
}

/// Makes the name of a folder survive a power cut.
fn sync_name(files: &dyn Files, folder: &Path) -> Result<(), StorageError> {
    let above = parent_of(folder);
    files.sync_dir(above).map_err(StorageError::io(above))
}

/// Makes the records that a log held at one moment survive a power cut, and only them: what a
/// waiting producer needs, and no more.
#[derive(Debug)]
pub struct Sync {
    files: Arc<dyn Files>,
    folder: PathBuf,
    segments: Vec<Arc<Segment>>,
    folder_is_new: bool,
    from: Offset,
    upto: Offset,
    truncations: u64,
}

impl Sync {
    /// Runs the sync. This takes as long as the disk does.
    ///
    /// # Errors
    /// The disk fails: what is durable is unknown then.
    pub fn run(&self) -> Result<(), StorageError> {
        if self.from >= self.upto {
            return Ok(());
        }
        for segment in &self.segments {
            if !is_planted(Bug::RecordsUnsynced) {
                segment.file.sync().map_err(segment.io())?;
            }
        }
        // A segment that was created since has a name that could be lost.
        let is_new = self.segments.len() > 1 || self.from <= self.segments[0].base;
        if is_new {
            self.files.sync_dir(&self.folder).map_err(StorageError::io(&self.folder))?;
        }
        if self.folder_is_new { sync_name(&*self.files, &self.folder) } else { Ok(()) }
    }
}

impl Log {
    /// What must be done to make the records appended so far durable.
    ///
    /// # Errors
    /// An earlier write failed.
    pub fn begin_sync(&self) -> Result<Sync, StorageError> {
        if self.failed {
            return Err(StorageError::Failed);
        }
        let segments = self.shared.segments.load();
        let behind = segments.partition_point(|segment| segment.base <= self.durable);
        Ok(Sync {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            segments: segments[behind.saturating_sub(1)..].to_vec(),
            folder_is_new: !self.folder_is_durable,
            from: self.durable,
            upto: self.log_end(),
            truncations: self.truncations,
        })
    }

    /// A sync has been done, or has failed: then the log accepts no more appends, as it is unknown
    /// what is on the disk.
    ///
    /// # Errors
    /// Those of the sync.
    pub fn end_sync(
        &mut self,
        sync: &Sync,
        done: Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.failed |= done.is_err();
        if done.is_ok() {
            self.folder_is_durable |= sync.from < sync.upto;
            if sync.truncations == self.truncations {
                self.durable = self.durable.max(sync.upto);
            }
        }
        done
    }

    /// What must be done to make the log durable up to its end now; `None` if it is already, or is
    /// being truncated.
    ///
    /// # Errors
    /// An earlier write failed.
    pub fn begin_flush(&mut self) -> Result<Option<Flush>, StorageError> {
        if self.failed {
            return Err(StorageError::Failed);
        }
        if self.truncating {
            return Ok(None);
        }
        let upto = self.log_end();
        let all = self.shared.segments.load_full();
        let behind = all.partition_point(|segment| segment.base <= self.recovery_point);
        let (active, closed) = all.split_last().expect("a log has at least one segment");
        let unsealed = closed.iter().position(|it| !it.is_sealed());
        let from = unsealed.unwrap_or(closed.len()).min(behind.saturating_sub(1));
        let mut snapshots = std::mem::take(&mut self.snapshots_due);
        let is_new = upto > 0 && self.snapshot != Some(upto);
        if is_new && snapshots.last().is_none_or(|(at, _)| *at < upto) {
            snapshots.push((upto, self.producers.clone()));
        }
        let is_saved = unsealed.is_none() && (active.size() == 0 || active.is_saved());
        if upto == self.recovery_point && snapshots.is_empty() && is_saved {
            return Ok(None);
        }
        let mut epochs = self.shared.epochs.write();
        let epochs = epochs.take_changed();
        let epochs_changed = epochs.is_some();
        let stands_alone = |at: &Offset| *at < upto && all.iter().all(|it| it.base != *at);
        self.flushed_bytes = self.written_bytes;
        Ok(Some(Flush {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            segments: all[from..].to_vec(),
            snapshots,
            epochs,
            obsolete: self.former_snapshot.filter(stands_alone),
            upto,
            names_are_new: epochs_changed || self.recovery_point <= active.base,
            folder_is_new: !self.folder_is_durable,
            is_last: false,
            truncations: self.truncations,
        }))
    }

    /// As [`Log::begin_flush`], of a log that is closed: nothing may wait for a later flush.
    pub(crate) fn begin_last_flush(&mut self) -> Result<Option<Flush>, StorageError> {
        let flush = self.begin_flush()?;
        Ok(flush.map(|flush| Flush { is_last: true, names_are_new: true, ..flush }))
    }

    /// A flush has been done, or has failed. If only room was missing, it can be tried again;
    /// else the log accepts no more appends, as it is unknown what is on the disk.
    ///
    /// # Errors
    /// Those of the flush.
    pub fn end_flush(
        &mut self,
        flush: Flush,
        done: Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        if let Err(error) = &done {
            self.failed |= !error.is_shortage();
            if flush.epochs.is_some() {
                let mut epochs = self.shared.epochs.write();
                epochs.put_back_changed();
            }
            let mut snapshots = flush.snapshots;
            snapshots.retain(|(at, _)| *at < flush.upto);
            snapshots.append(&mut self.snapshots_due);
            self.snapshots_due = snapshots;
            return done;
        }
        self.folder_is_durable = true;
        if flush.truncations == self.truncations {
            self.recovery_point = self.recovery_point.max(flush.upto);
            self.durable = self.durable.max(flush.upto);
            if let Some((at, _)) = flush.snapshots.last() {
                self.former_snapshot = self.snapshot.replace(*at);
            }
        }
        Ok(())
    }
}
