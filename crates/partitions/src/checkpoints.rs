//! The checkpoint files of every data directory: high watermarks, log start offsets and recovery
//! points, which a start needs.
//!
//! A file is replaced only when its content would differ from the last one that was written, so
//! an idle node writes nothing. A write that failed is due again.

use ottla_locks::Mutex;
use std::sync::{Arc, Weak};

use ottla_storage::{DataDir, OffsetCheckpoint, StorageError};
use ottla_types::{NO_OFFSET, Offset};

use crate::dir::Dir;
use crate::index::Index;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// How much may be unflushed in all logs of one directory together, in bytes: what recovery has to
/// read of each disk.
const UNFLUSHED_BYTES_MAX: u64 = 256 << 20;

/// What the files of one directory were last made to say. Each lock guards one file and what is
/// known of it, and is held while the file is written: no older content follows a newer one.
#[derive(Debug, Default)]
pub(crate) struct WrittenCheckpoints {
    high_watermarks: Mutex<CheckpointContent>,
    log_starts: Mutex<CheckpointContent>,
    recovery_points: Mutex<CheckpointContent>,
}

/// The content of one file; by default it is unknown.
#[derive(Debug, Default)]
struct CheckpointContent {
    /// The set of partitions that it is of.
    of: Weak<Index>,
    /// The offset of each, in the order of the set; -1 of those that are not in the file.
    offsets: Vec<Offset>,
}

impl Partitions {
    /// Writes down what has changed of how far each partition is: high watermark, log start,
    /// recovery point.
    ///
    /// # Errors
    /// The first that a file system refused; the other directories are written all the same.
    pub fn checkpoint(&self) -> Result<(), StorageError> {
        self.each_online(|dir| self.checkpoint_dir(dir))
    }

    /// What the keeper does for a directory every few seconds: if anything has changed since,
    /// flushes what is too much and writes the checkpoints.
    pub(crate) fn checkpoint_changes(&self, dir: &Dir) {
        if self.bells().of(dir.share).take_changed() && !dir.trouble.has_failed() {
            self.flush(&self.with_most_unflushed(dir, UNFLUSHED_BYTES_MAX));
            self.written_down(dir, self.checkpoint_dir(dir));
        }
    }

    /// Writes down from where on each partition of a directory is to be recovered, where that has
    /// changed.
    pub(crate) fn note_recovery_points(&self, dir: &Dir) {
        if !dir.trouble.has_failed() {
            self.written_down(dir, self.write_recovery_points_of(dir));
        }
    }

    /// Handles the outcome of writing checkpoints.
    fn written_down(&self, dir: &Dir, done: Result<(), StorageError>) {
        let Err(error) = done else { return };
        // Nothing else may ever change: what is not written must be due all the same.
        self.bells().of(dir.share).set_changed();
        // On a full disk appends fail too, and they log it.
        if !error.is_shortage() {
            let directory = dir.dir.path().display();
            tracing::error!(%directory, %error, "checkpoint file cannot be written; retrying");
        }
    }

    pub(crate) fn checkpoint_dir(&self, dir: &Dir) -> Result<(), StorageError> {
        let watermark = |it: &Partition| Some(it.ends().high_watermark);
        self.write(dir, &dir.written.high_watermarks, watermark, DataDir::set_high_watermarks)?;
        let started = |it: &Partition| Some(it.ends().log_start).filter(|start| *start > 0);
        self.write(dir, &dir.written.log_starts, started, DataDir::set_log_starts)?;
        self.write_recovery_points_of(dir)
    }

    fn write_recovery_points_of(&self, dir: &Dir) -> Result<(), StorageError> {
        let (said, point) = (&dir.written.recovery_points, Partition::recovery_point);
        self.write(dir, said, point, DataDir::set_recovery_points)
    }

    /// One that fails keeps no other from being written.
    fn each_online(
        &self,
        write: impl Fn(&Dir) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut first = Ok(());
        for dir in self.online() {
            let written = write(dir);
            first = first.and(written);
        }
        first
    }

    /// Writes an offset of each partition in a directory, unless that is what the file says.
    fn write(
        &self,
        dir: &Dir,
        said: &Mutex<CheckpointContent>,
        offset: impl Fn(&Partition) -> Option<Offset>,
        put: impl FnOnce(&DataDir, &OffsetCheckpoint) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        // Held to the end: no other thread may write the same file meanwhile.
        let mut said = said.lock();
        let all = self.index();
        let is_here = |it: &Partition| it.directory() == dir.id;
        // Others are not even asked: what they are busy with may take long.
        let offset = |it| if is_here(it) { offset(it).unwrap_or(NO_OFFSET) } else { NO_OFFSET };
        let offsets: Vec<Offset> = all.iter().map(offset).collect();
        if said.of.as_ptr() == Arc::as_ptr(&all) && said.offsets == offsets {
            return Ok(());
        }
        // If this fails it is not known which of the two the file says.
        *said = CheckpointContent::default();
        let named = all.iter().zip(&offsets).filter(|(_, offset)| **offset != NO_OFFSET);
        let named = named.map(|(it, offset)| (it.name().clone(), *offset));
        put(&dir.dir, &OffsetCheckpoint(named.collect()))?;
        *said = CheckpointContent { of: Arc::downgrade(&all), offsets };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
