//! A disk with faults, for tests: full, failing, or slow, directory by directory.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::TimestampMs;

use super::faults::{Fault, FaultPlan};
use super::{File, FileRef, Files, Listed, Lock};

/// Files on another disk, with faults.
#[derive(Clone, Debug)]
pub struct FaultyFiles {
    files: Arc<dyn Files>,
    faults: Arc<FaultPlan>,
}

impl FaultyFiles {
    /// Files that lie on `files`, without faults as yet.
    #[must_use]
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files, faults: Arc::default() }
    }

    /// From now on everything under `dir` has this fault, or none.
    pub fn set(&self, dir: &Path, fault: Option<Fault>) {
        self.faults.set(dir, fault);
    }

    fn wrap(&self, path: &Path, file: FileRef) -> FileRef {
        Arc::new(FaultyFile { file, path: path.to_owned(), faults: Arc::clone(&self.faults) })
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<FileRef> {
        self.faults.check_open(path)?;
        self.faults.check_write(path)?;
        self.files.create(path).map(|file| self.wrap(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<FileRef> {
        self.faults.check_open(path)?;
        self.files.open(path).map(|file| self.wrap(path, file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        self.files.list(dir)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.check_write(dir)?;
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
        self.faults.check_sync(dir)?;
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
        self.faults.check_read(&self.path)?;
        self.file.read_at(buf, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(error) = self.faults.check_write(&self.path) {
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
        self.faults.check_sync(&self.path)?;
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
