//! What is wrong with a disk, directory by directory; for tests.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ottla_locks::{Condvar, Mutex};

/// What is wrong with a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room: a write is cut off in its middle (ENOSPC).
    Full,
    /// No more files can be opened or created (EMFILE).
    NoHandles,
    /// Reads fail (EIO).
    Reads,
    /// Writes fail (EIO).
    Writes,
    /// The file system was mounted read-only after an error (EROFS).
    ReadOnly,
    /// Making durable fails (EIO).
    Syncs,
    /// What makes durable, writes back or reserves room does not end until the fault is gone.
    Hangs,
}

/// The faults of a disk.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    /// By directory; everything below it has the fault. Guards nothing else.
    under: Mutex<BTreeMap<PathBuf, Fault>>,
    /// Notified when `under` changes, for the threads that hang.
    changed: Condvar,
}

impl FaultPlan {
    pub(super) fn set(&self, dir: &Path, fault: Option<Fault>) {
        let mut under = self.under.lock();
        match fault {
            Some(fault) => under.insert(dir.to_owned(), fault),
            None => under.remove(dir),
        };
        self.changed.notify_all();
    }

    /// The fault of this path, if it has one.
    pub(super) fn at(&self, path: &Path) -> Option<Fault> {
        let under = self.under.lock();
        under.iter().find(|(dir, _)| path.starts_with(dir)).map(|(_, fault)| *fault)
    }

    /// Returns the fault that is there when it does not hang, or no longer.
    pub(super) fn wait_while_hanging(&self, path: &Path) -> Option<Fault> {
        let mut under = self.under.lock();
        loop {
            let found = under.iter().find(|(dir, _)| path.starts_with(dir));
            match found.map(|(_, fault)| *fault) {
                Some(Fault::Hangs) => under = self.changed.wait(under),
                fault => return fault,
            }
        }
    }

    /// # Errors
    /// The fault is one of opening files.
    pub(super) fn check_open(&self, path: &Path) -> io::Result<()> {
        match self.at(path) {
            Some(Fault::NoHandles) => Err(io::Error::from_raw_os_error(EMFILE)),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// The fault is one of reading.
    pub(super) fn check_read(&self, path: &Path) -> io::Result<()> {
        match self.at(path) {
            Some(Fault::Reads) => Err(made_to_fail()),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// The fault is one of writing bytes; `StorageFull` is one where some may have been written.
    pub(super) fn check_write(&self, path: &Path) -> io::Result<()> {
        match self.at(path) {
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Writes) => Err(made_to_fail()),
            _ => self.check_change(path),
        }
    }

    /// # Errors
    /// The fault keeps even names and lengths from being changed.
    pub(super) fn check_change(&self, path: &Path) -> io::Result<()> {
        match self.at(path) {
            Some(Fault::ReadOnly) => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            _ => Ok(()),
        }
    }

    /// Waits while the disk hangs.
    ///
    /// # Errors
    /// The fault is one of making durable.
    pub(super) fn check_sync(&self, path: &Path) -> io::Result<()> {
        match self.wait_while_hanging(path) {
            Some(Fault::Syncs) => Err(made_to_fail()),
            _ => Ok(()),
        }
    }
}

fn made_to_fail() -> io::Error {
    io::Error::other("made to fail")
}

/// "Too many open files", on Linux and elsewhere.
const EMFILE: i32 = 24;
