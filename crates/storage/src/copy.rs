//! A log's folder, copied to another data directory while the log is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_types::Offset;

use crate::error::StorageError;
use crate::files::{FileRef, Files};
use crate::view::LogView;

/// How much is read and written at once.
const PIECE_BYTES: u64 = 1 << 20;
/// What belongs to a log beside its segments' records.
const BESIDE: [&str; 4] = [".index", ".timeindex", ".txnindex", ".snapshot"];
const WHOLE: [&str; 2] = ["partition.metadata", "leader-epoch-checkpoint"];

/// Called with how many bytes were read or written; it waits if the rate is too high, and an
/// error ends the work.
pub type Pace<'a> = dyn FnMut(u64) -> Result<(), StorageError> + 'a;

/// A folder, and the file system that it lies in.
#[derive(Clone, Debug)]
pub struct LogFolder {
    /// The file system.
    pub files: Arc<dyn Files>,
    /// The folder.
    pub folder: PathBuf,
}

impl LogFolder {
    fn open(&self, name: &str) -> Result<FileRef, StorageError> {
        let path = self.folder.join(name);
        self.files.open(&path).map_err(StorageError::io(&path))
    }
}

/// A copy that is being made of a log.
///
/// While it is made, the log may grow and roll, but none of its segments may be removed or
/// rewritten: the caller must see to that.
#[derive(Debug)]
pub struct LogCopy {
    from: LogFolder,
    to: LogFolder,
    /// How many bytes of each segment's records are there.
    records: BTreeMap<Offset, u64>,
    /// The other files that are there, with the size they had.
    others: BTreeMap<String, u64>,
}

impl LogCopy {
    /// Begins one; what lies in the new folder is removed. The folder itself stays, if it is there:
    /// it says that the move was accepted.
    ///
    /// # Errors
    /// The disk fails.
    pub fn begin(from: LogFolder, to: LogFolder) -> Result<Self, StorageError> {
        let LogFolder { files, folder } = &to;
        if files.exists(folder) {
            for entry in files.list(folder).map_err(StorageError::io(folder))? {
                let path = folder.join(&entry.name);
                let removed =
                    if entry.is_dir { files.remove_dir(&path) } else { files.remove(&path) };
                removed.map_err(StorageError::io(&path))?;
            }
        } else {
            files.make_dir(folder).map_err(StorageError::io(folder))?;
        }
        Ok(Self { from, to, records: BTreeMap::new(), others: BTreeMap::new() })
    }

    /// Copies the records that have come since the last call; returns how many bytes that were.
    ///
    /// # Errors
    /// One of the two disks fails.
    pub fn catch_up(&mut self, view: &LogView, pace: &mut Pace<'_>) -> Result<u64, StorageError> {
        let mut copied = 0;
        for (base, size) in view.extents() {
            let done = self.records.get(&base).copied();
            if done == Some(size) {
                continue;
            }
            let name = format!("{base:020}.log");
            copied += self.piece(&name, done.unwrap_or(0)..size, pace)?;
            self.records.insert(base, size);
        }
        Ok(copied)
    }

    /// Copies what else there is of segments that are closed, as far as it is not there yet.
    ///
    /// # Errors
    /// One of the two disks fails.
    pub fn settle(&mut self, view: &LogView) -> Result<(), StorageError> {
        let active = view.extents().last().map_or(0, |(base, _)| *base);
        self.others_where(|base| base.is_some_and(|base| base < active))
    }

    /// Copies the rest and makes all of it durable; the log must not change any more, and all its
    /// indexes must be in their files.
    ///
    /// # Errors
    /// One of the two disks fails.
    pub fn finish(&mut self, view: &LogView) -> Result<(), StorageError> {
        self.catch_up(view, &mut |_| Ok(()))?;
        self.others.retain(|name, _| !WHOLE.contains(&name.as_str()));
        self.others_where(|_| true)?;
        let LogFolder { files, folder } = &self.to;
        files.sync_dir(folder).map_err(StorageError::io(folder))
    }

    fn others_where(
        &mut self,
        wanted: impl Fn(Option<Offset>) -> bool,
    ) -> Result<(), StorageError> {
        let LogFolder { files, folder } = &self.from;
        for entry in files.list(folder).map_err(StorageError::io(folder))? {
            let name = entry.name;
            let is_one = WHOLE.contains(&name.as_str())
                || BESIDE.iter().any(|ending| name.ends_with(ending));
            let base = name.split_once('.').and_then(|(base, _)| base.parse().ok());
            if !is_one || !wanted(base) || self.others.get(&name) == Some(&entry.size_bytes) {
                continue;
            }
            self.piece(&name, 0..entry.size_bytes, &mut |_| Ok(()))?;
            self.others.insert(name, entry.size_bytes);
        }
        Ok(())
    }

    /// Copies a part of a file and makes it durable.
    fn piece(
        &self,
        name: &str,
        range: std::ops::Range<u64>,
        pace: &mut Pace<'_>,
    ) -> Result<u64, StorageError> {
        let source = self.from.open(name)?;
        let LogFolder { files, folder } = &self.to;
        let path = folder.join(name);
        let target: FileRef = if range.start == 0 {
            files.create(&path).map_err(StorageError::io(&path))?
        } else {
            self.to.open(name)?
        };
        let mut buffer = vec![0; usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX)];
        let mut at = range.start;
        while at < range.end {
            let want = usize::try_from((range.end - at).min(PIECE_BYTES)).unwrap_or(buffer.len());
            let got = source.read_at(&mut buffer[..want], at).map_err(StorageError::io(&path))?;
            if got == 0 {
                let why = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(StorageError::Io { path: self.from.folder.join(name), source: why });
            }
            target.write_at(&buffer[..got], at).map_err(StorageError::io(&path))?;
            at += got as u64;
            pace(got as u64)?;
        }
        target.sync().map_err(StorageError::io(&path))?;
        // The copy is not read soon, and consumers need the page cache.
        target.let_go(range.clone());
        Ok(range.end - range.start)
    }
}
