//! A new segment takes the place of those that it was made from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_records::Batch;
use ottla_types::Offset;

use crate::error::StorageError;
use crate::files::{Durability, FileRef, Files, remove_if_there, rename_if_there, with_ending};
use crate::folder::{segment_files, snapshot_file};
use crate::index::AbortedTransaction;
use crate::log::Log;
use crate::retire::Retired;
use crate::segment::{Segment, SegmentState};

/// How much is written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A segment in the making, in files called `.cleaned`.
#[derive(Debug)]
pub(crate) struct Fresh {
    files: Arc<dyn Files>,
    folder: PathBuf,
    base: Offset,
    log: FileRef,
    state: SegmentState,
    written: u64,
    buffer: Vec<u8>,
}

impl Fresh {
    pub(crate) fn create(
        files: &Arc<dyn Files>,
        folder: &Path,
        base: Offset,
    ) -> Result<Self, StorageError> {
        let [path, ..] = segment_files(folder, base);
        let path = with_ending(&path, ".cleaned");
        let log = files.create(&path).map_err(StorageError::io(&path))?;
        let state = SegmentState::empty(folder, base);
        let (files, folder) = (Arc::clone(files), folder.to_owned());
        Ok(Self { files, folder, base, log, state, written: 0, buffer: Vec::new() })
    }

    fn io(&self) -> impl FnOnce(std::io::Error) -> StorageError {
        StorageError::io(&self.folder)
    }

    pub(crate) fn append(&mut self, batch: &Batch<'_>, interval: u64) -> Result<(), StorageError> {
        let position = self.written + self.buffer.len() as u64;
        self.state.add(self.base, position, batch, interval);
        self.buffer.extend_from_slice(batch.bytes());
        if self.buffer.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StorageError> {
        self.log.write_at(&self.buffer, self.written).map_err(self.io())?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn add_aborted(&mut self, aborted: Vec<AbortedTransaction>) {
        aborted.into_iter().for_each(|it| self.state.aborted.push(it));
    }

    /// Makes it durable and calls its files `.swap`, the log last: from then on a start puts it
    /// in the place of the old ones.
    pub(crate) fn finish(mut self) -> Result<Segment, StorageError> {
        self.write()?;
        self.log.sync().map_err(self.io())?;
        self.state.add_time(self.base);
        let paths = segment_files(&self.folder, self.base);
        let mut made = vec![];
        let unsaved = [self.state.offsets.unsaved(), self.state.times.unsaved()];
        for mut unsaved in unsaved.into_iter().flatten().chain(self.state.aborted.unsaved()) {
            made.push(unsaved.path.clone());
            unsaved.path = with_ending(&unsaved.path, ".cleaned");
            unsaved.write(&*self.files, Durability::Synced)?;
        }
        self.files.sync_dir(&self.folder).map_err(self.io())?;
        made.push(paths[0].clone());
        for path in made {
            let (from, to) = (with_ending(&path, ".cleaned"), with_ending(&path, ".swap"));
            self.files.rename(&from, &to).map_err(StorageError::io(&from))?;
        }
        self.files.sync_dir(&self.folder).map_err(self.io())?;
        Ok(Segment::new(&self.folder, self.base, self.log, self.written, self.state))
    }
}

/// A new segment and the old ones whose place it is to take.
#[derive(Debug)]
pub struct Swap {
    files: Arc<dyn Files>,
    folder: PathBuf,
    old: Vec<Arc<Segment>>,
    fresh: Arc<Segment>,
    truncations: u64,
}

impl Swap {
    pub(crate) fn new(
        files: &Arc<dyn Files>,
        folder: &Path,
        old: Vec<Arc<Segment>>,
        fresh: Segment,
        truncations: u64,
    ) -> Self {
        let (files, folder) = (Arc::clone(files), folder.to_owned());
        Self { files, folder, old, fresh: Arc::new(fresh), truncations }
    }

    /// How many bytes the log has become smaller by.
    #[must_use]
    pub fn saved_bytes(&self) -> u64 {
        let old: u64 = self.old.iter().map(|it| it.size()).sum();
        old.saturating_sub(self.fresh.size())
    }

    /// Brings the files where the log has them: the old ones go aside, the new ones get their
    /// names. Returns the old, to be removed when no reader uses them.
    ///
    /// # Errors
    /// The disk fails: the next start finishes it.
    pub fn finish(&self) -> Result<Retired, StorageError> {
        let mut names: Vec<PathBuf> =
            self.old.iter().flat_map(|it| segment_files(&self.folder, it.base)).collect();
        // Producer snapshots are named by segments' base offsets; these segments are gone.
        names.extend(self.old.iter().skip(1).map(|it| snapshot_file(&self.folder, it.base)));
        let retired = Retired::new(&self.files, &self.folder, names);
        retired.mark()?;
        let io = || StorageError::io(&self.folder);
        let [log, others @ ..] = segment_files(&self.folder, self.fresh.base);
        for path in others.iter().chain([&log]) {
            let from = with_ending(path, ".swap");
            rename_if_there(&*self.files, &from, path).map_err(io())?;
        }
        self.files.sync_dir(&self.folder).map_err(io())?;
        let mut state = self.fresh.state_mut();
        state.offsets.all_saved();
        state.times.all_saved();
        state.aborted.all_saved();
        state.offsets.seal(&self.files);
        state.times.seal(&self.files);
        Ok(retired)
    }

    /// Removes the new files: the log has changed too much meanwhile.
    ///
    /// # Errors
    /// The disk fails.
    pub fn abandon(&self) -> Result<(), StorageError> {
        for path in segment_files(&self.folder, self.fresh.base) {
            let path = with_ending(&path, ".swap");
            remove_if_there(&*self.files, &path).map_err(StorageError::io(&path))?;
        }
        Ok(())
    }
}

impl Log {
    /// Puts the new segment in the place of the old ones; `false` if they are not all there any
    /// more, then nothing has happened.
    pub fn replace(&mut self, swap: &Swap) -> bool {
        if self.truncating {
            return false;
        }
        let segments = self.shared.segments.load_full();
        let Some(first) = swap.old.first() else { return false };
        let at = segments.iter().position(|it| Arc::ptr_eq(it, first));
        let Some(at) = at.filter(|_| swap.truncations == self.truncations) else { return false };
        let there = segments[at..].iter().zip(&swap.old).all(|(a, b)| Arc::ptr_eq(a, b));
        if !there || segments.len() < at + swap.old.len() + 1 {
            return false;
        }
        let mut all = segments[..at].to_vec();
        all.push(Arc::clone(&swap.fresh));
        all.extend_from_slice(&segments[at + swap.old.len()..]);
        self.shared.segments.store(Arc::new(all));
        true
    }
}
