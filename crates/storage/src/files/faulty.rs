//! A disk with faults, for tests: full, failing, or slow, directory by directory.

use ottla_locks::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::TimestampMs;

use super::{File, FileRef, Files, Listed, Lock};

/// What is wrong with a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room: a write is cut off in its middle (ENOSPC).
    Full,
    /// No more files can be opened or created (EMFILE).
    NoHandles,
    /// Writes fail (EIO).
    Writes,
    /// The file system was mounted read-only after an error (EROFS).
    ReadOnly,
    /// Making durable fails (EIO).
    Syncs,
    /// What makes durable, writes back or reserves room does not end until the fault is gone.
    Hangs,
}

/// Files on another disk, with faults.
#[derive(Clone, Debug)]
pub struct FaultyFiles {
    files: Arc<dyn Files>,
    faults: Arc<FaultPlan>,
}

#[derive(Debug, Default)]
struct FaultPlan {
    under: Mutex<BTreeMap<PathBuf, Fault>>,
    changed: Condvar,
}

impl FaultPlan {
    fn of(&self, path: &Path) -> Option<Fault> {
        let under = self.under.lock();
        under.iter().find(|(dir, _)| path.starts_with(dir)).map(|(_, fault)| *fault)
    }

    /// Returns the fault that is there when it does not hang, or no longer.
    fn wait_while_hanging(&self, path: &Path) -> Option<Fault> {
        let mut under = self.under.lock();
        loop {
            let found = under.iter().find(|(dir, _)| path.starts_with(dir));
            match found.map(|(_, fault)| *fault) {
                Some(Fault::Hangs) => under = self.changed.wait(under),
                fault => return fault,
            }
        }
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        match self.wait_while_hanging(path) {
            Some(Fault::Syncs) => Err(io::Error::other("made to fail")),
            _ => Ok(()),
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        match self.of(path) {
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Writes) => Err(io::Error::other("made to fail")),
            Some(Fault::ReadOnly) => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            _ => Ok(()),
        }
    }
}

impl FaultyFiles {
    /// Files that lie on `files`, without faults as yet.
    #[must_use]
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files, faults: Arc::default() }
    }

    /// From now on everything under `dir` has this fault, or none.
    pub fn set(&self, dir: &Path, fault: Option<Fault>) {
        let mut under = self.faults.under.lock();
        match fault {
            Some(fault) => under.insert(dir.to_owned(), fault),
            None => under.remove(dir),
        };
        self.faults.changed.notify_all();
    }

    fn open_or_not(&self, path: &Path) -> io::Result<()> {
        match self.faults.of(path) {
            Some(Fault::NoHandles) => Err(io::Error::from_raw_os_error(24)),
            _ => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: FileRef) -> FileRef {
        Arc::new(FaultyFile { file, path: path.to_owned(), faults: Arc::clone(&self.faults) })
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<FileRef> {
        self.open_or_not(path)?;
        self.faults.write(path)?;
        self.files.create(path).map(|file| self.wrap(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<FileRef> {
        self.open_or_not(path)?;
        self.files.open(path).map(|file| self.wrap(path, file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        self.files.list(dir)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.write(dir)?;
        self.files.make_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.sync(dir)?;
        self.files.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.files.lock(path)
    }

    fn space(&self, dir: &Path) -> Option<(u64, u64)> {
        self.files.space(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: FileRef,
    path: PathBuf,
    faults: Arc<FaultPlan>,
}

impl File for FaultyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(error) = self.faults.write(&self.path) {
            if error.kind() == io::ErrorKind::StorageFull {
                self.file.write_at(&bytes[..bytes.len() / 2], at)?;
            }
            return Err(error);
        }
        self.file.write_at(bytes, at)
    }

    fn write_parts_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        // As one: what is cut off is the end of all together.
        let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.write_at(&all, at)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.sync(&self.path)?;
        self.file.sync()
    }

    fn modified_ms(&self) -> io::Result<TimestampMs> {
        self.file.modified_ms()
    }

    fn let_go(&self, range: Range<u64>) {
        self.faults.wait_while_hanging(&self.path);
        self.file.let_go(range);
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        self.faults.wait_while_hanging(&self.path);
        self.file.reserve(range)
    }
}
