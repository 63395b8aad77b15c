//! The next segment, made ready beside the writer.
//!
//! A file that grows under a fast writer makes the file system look for room again and again, and
//! the writer waits for that: for the search, and for the journal that it goes through. So the
//! next segment of a log that is written fast is created and its room reserved by a thread that
//! may wait, under a name that no start takes for a segment; a roll only renames it. One that a
//! crash has left is taken over by the next start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_types::Offset;

use crate::error::StorageError;
use crate::files::{FileRef, Files, remove_if_there};
use crate::log::Log;
use crate::recovery::SPARE_SEGMENT;
use crate::segment::Segment;

/// From how many bytes a millisecond on a log is written fast: 16 MB a second.
const FAST_BYTES_PER_MS: u64 = 16_000;
/// How many times the spare must fit into what is free: it must not be what fills a disk.
const FREE_SPARES_MIN: u64 = 8;

/// A segment's file, empty, its room reserved.
#[derive(Debug)]
pub struct Spare {
    path: PathBuf,
    file: FileRef,
    bytes: u64,
}

/// A spare to be made.
#[derive(Debug)]
pub struct Preparation {
    files: Arc<dyn Files>,
    folder: PathBuf,
    bytes: u64,
}

impl Preparation {
    /// Makes it; `None` if there is not room in plenty. This takes as long as the disk does.
    ///
    /// # Errors
    /// The disk fails; nothing is lost by that yet.
    pub fn run(&self) -> Result<Option<Spare>, StorageError> {
        let free = self.files.space(&self.folder).map_or(0, |(_, free)| free);
        if free / FREE_SPARES_MIN < self.bytes {
            return Ok(None);
        }
        let path = self.folder.join(SPARE_SEGMENT);
        let make = || {
            let file = self.files.create(&path)?;
            file.reserve(0..self.bytes)?;
            Ok(file)
        };
        match make() {
            Ok(file) => Ok(Some(Spare { path, file, bytes: self.bytes })),
            Err(error) => {
                let _ = self.files.remove(&path);
                Err(StorageError::io(&path)(error))
            }
        }
    }
}

impl Spare {
    /// One that an earlier run has made.
    pub(crate) const fn found(path: PathBuf, file: FileRef, bytes: u64) -> Self {
        Self { path, file, bytes }
    }

    /// Makes it the segment that starts at `base`.
    pub(crate) fn into_segment(
        self,
        files: &dyn Files,
        folder: &Path,
        base: Offset,
    ) -> Result<Segment, StorageError> {
        let segment = Segment::of(folder, base, self.file);
        files.rename(&self.path, &segment.path).map_err(segment.io())?;
        segment.reserved.store(self.bytes, Ordering::Release);
        Ok(segment)
    }

    pub(crate) fn discard(self, files: &dyn Files) -> Result<(), StorageError> {
        remove_if_there(files, &self.path).map_err(StorageError::io(&self.path))
    }
}

impl Log {
    /// The next segment, if it should be made ready now: the log is written fast, and the active
    /// segment is half full.
    #[must_use]
    pub fn preparation(&self) -> Option<Preparation> {
        let (size, took_ms) = (self.active().size(), self.segment_took_ms());
        let is_wanted = size >= self.options.segment_bytes / 2
            && size >= took_ms.saturating_mul(FAST_BYTES_PER_MS);
        (is_wanted && self.spare.is_none() && !self.failed).then(|| Preparation {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            bytes: self.options.segment_bytes,
        })
    }

    /// The next roll takes this.
    pub fn set_spare(&mut self, spare: Spare) {
        self.spare = Some(spare);
    }
}
