//! Deleting what is too old or too much, segment by segment, from the front.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{Offset, TimestampMs};

use crate::error::StorageError;
use crate::files::{Files, remove_if_there, rename_if_there, with_ending};
use crate::folder::{segment_files, snapshot_file};
use crate::log::Log;
use crate::segment::Segment;
use crate::view::LogView;

/// How much of a log is kept. Segments below the log's start go in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For how long, in milliseconds (`retention.ms`); `None` is unlimited.
    pub ms: Option<i64>,
    /// How many bytes (`retention.bytes`); `None` is all.
    pub bytes: Option<u64>,
}

/// Files that belong to the log no longer. Readers that still use them can read on.
#[derive(Debug)]
pub struct Retired {
    files: Arc<dyn Files>,
    folder: PathBuf,
    names: Vec<PathBuf>,
}

impl Retired {
    pub(crate) fn new(files: &Arc<dyn Files>, folder: &Path, names: Vec<PathBuf>) -> Self {
        Self { files: Arc::clone(files), folder: folder.to_owned(), names }
    }

    fn aside(path: &Path) -> PathBuf {
        with_ending(path, ".deleted")
    }

    /// Gives them names under which no start takes them for the log's.
    ///
    /// # Errors
    /// The disk fails; after a restart those that kept their names are the log's again.
    pub fn mark(&self) -> Result<(), StorageError> {
        for path in &self.names {
            let renamed = rename_if_there(&*self.files, path, &Self::aside(path));
            renamed.map_err(StorageError::io(path))?;
        }
        self.files.sync_dir(&self.folder).map_err(StorageError::io(&self.folder))
    }

    /// Removes them.
    ///
    /// # Errors
    /// The disk fails; the next start removes them.
    pub fn remove(&self) -> Result<(), StorageError> {
        for path in self.names.iter().map(|path| Self::aside(path)) {
            remove_if_there(&*self.files, &path).map_err(StorageError::io(&path))?;
        }
        Ok(())
    }
}

impl LogView {
    /// Where the log should start by its retention, if not where it does: at the base of a
    /// segment, or at the log's end. Nothing from `limit` on is given up.
    ///
    /// # Errors
    /// The disk fails.
    pub fn expired(
        &self,
        retention: Retention,
        limit: Offset,
        now_ms: TimestampMs,
    ) -> Result<Option<Offset>, StorageError> {
        let segments = self.shared.segments.load_full();
        let end = self.log_end();
        let next = |at: usize| segments.get(at + 1).map_or(end, |next| next.base);
        let may_go = |at: usize| {
            segments.get(at).is_some_and(|segment| {
                let is_empty = at + 1 == segments.len() && segment.size() == 0;
                next(at) <= limit && !is_empty
            })
        };
        let mut gone = 0;
        while gone + 1 < segments.len() && next(gone) <= self.log_start() {
            gone += 1;
        }
        if let Some(ms) = retention.ms {
            while may_go(gone) && now_ms.saturating_sub(written_ms(&segments[gone])?) > ms {
                gone += 1;
            }
        }
        if let Some(bytes) = retention.bytes {
            let kept: u64 = segments[gone..].iter().map(|it| it.size()).sum();
            let mut excess = kept.saturating_sub(bytes);
            while may_go(gone) && excess >= segments[gone].size() && excess > 0 {
                excess -= segments[gone].size();
                gone += 1;
            }
        }
        Ok((gone > 0).then(|| next(gone - 1)))
    }
}

/// When the newest record of a segment was written, by its timestamps if they can be.
fn written_ms(segment: &Segment) -> Result<TimestampMs, StorageError> {
    match segment.newest()? {
        Some((newest, _)) if newest >= 0 => Ok(newest),
        _ => segment.file.modified_ms().map_err(segment.io()),
    }
}

impl Log {
    /// Gives up all segments below `offset`, which is one's base or the log's end; none while the
    /// log is truncated.
    ///
    /// # Errors
    /// The disk fails; the log stays as it was.
    pub fn retire_before(&mut self, offset: Offset) -> Result<Option<Retired>, StorageError> {
        if self.truncating {
            return Ok(None);
        }
        if offset == self.log_end() {
            self.roll()?;
        }
        let mut segments = Vec::clone(&self.shared.segments.load());
        let gone = segments.partition_point(|it| it.base < offset).min(segments.len() - 1);
        if gone == 0 {
            return Ok(None);
        }
        let mut names = Vec::new();
        for segment in segments.drain(..gone) {
            names.extend(segment_files(&self.folder, segment.base));
            names.push(snapshot_file(&self.folder, segment.base));
        }
        let first = segments[0].base;
        self.shared.segments.store(Arc::new(segments));
        self.advance_log_start(first);
        self.recovery_point = self.recovery_point.max(first);
        self.snapshots_due.retain(|(at, _)| *at >= first);
        Ok(Some(Retired::new(&self.files, &self.folder, names)))
    }
}
