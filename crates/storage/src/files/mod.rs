//! The seam to the disk: everything the log does to a file goes through [`Files`].
//!
//! [`DiskFiles`] are the real ones. [`SimDisk`] is a disk in memory whose power can be cut at any
//! moment; a property test holds it against the real ones. [`FaultyFiles`] puts faults on top of
//! real files. A file's handle is shared, so that a reader reads while the writer appends after
//! what the reader may see.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::TimestampMs;

mod disk;
mod faults;
mod faulty;
mod lazy;
mod sim;

pub use disk::DiskFiles;
pub use faults::Fault;
pub use faulty::FaultyFiles;
pub(crate) use lazy::LazyFile;
pub use sim::{DiskCall, DiskOperation, Fate, OnDiskCall, SimDisk};

/// What a write waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The disk: what was written survives a power cut.
    Synced,
    /// Nothing: a power cut may take what was written, or a part of it.
    Cached,
}

/// An open file, shared by its readers and its writer.
pub type FileRef = Arc<dyn File>;

/// Releases the lock when dropped.
pub type Lock = Box<dyn Debug + Send + Sync>;

/// A file system, as far as the log needs one.
pub trait Files: Debug + Send + Sync {
    /// Creates the file, or empties it if there is one.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, path: &Path) -> io::Result<FileRef>;

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if there is none, else what the file system says.
    fn open(&self, path: &Path) -> io::Result<FileRef>;

    /// What lies directly in the directory, in the order of the names.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>>;

    /// Creates the directory and those above it; it may exist.
    ///
    /// # Errors
    /// What the file system says.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or a directory, replacing a file of the new name.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles to it stay usable.
    ///
    /// # Errors
    /// `NotFound` if there is none, else what the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with everything in it.
    ///
    /// # Errors
    /// What the file system says.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes names that were created, renamed or removed in the directory survive a power cut.
    ///
    /// # Errors
    /// What the file system says; the names may or may not be safe then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks the file (created if missing) against every other process; `None` if another has it.
    ///
    /// # Errors
    /// What the file system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>>;

    /// How many bytes the file system of the directory has, and how many of them are free to use.
    fn space(&self, dir: &Path) -> Option<(u64, u64)> {
        let _ = dir;
        None
    }

    /// Is there a file or directory of this name?
    fn exists(&self, path: &Path) -> bool;
}

/// One open file.
pub trait File: Debug + Send + Sync {
    /// Reads up to `buf.len()` bytes; fewer only at the file's end.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// Appends up to `len` bytes to `out`; fewer only at the file's end.
    ///
    /// # Errors
    /// What the file system says.
    fn read_into(&self, out: &mut Vec<u8>, at: u64, len: usize) -> io::Result<()> {
        let start = out.len();
        out.resize(start + len, 0);
        match self.read_at(&mut out[start..], at) {
            Ok(read) => {
                out.truncate(start + read);
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Can these bytes be read without waiting for the disk? A guess by a few of them.
    fn is_cached(&self, range: Range<u64>) -> bool {
        let _ = range;
        true
    }

    /// Writes all of `bytes` at `at`, growing the file as needed.
    ///
    /// # Errors
    /// What the file system says; a part may have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Writes all of the parts at `at`, one after the other, in one call where there is one.
    ///
    /// # Errors
    /// What the file system says; a part may have been written.
    fn write_parts_at(&self, parts: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        for part in parts {
            self.write_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Makes sure that the file is open: some are opened when they are first needed.
    ///
    /// # Errors
    /// What the file system says; nothing was written.
    fn ready(&self) -> io::Result<()> {
        Ok(())
    }

    /// Makes the file exactly `len` bytes long.
    ///
    /// # Errors
    /// What the file system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn size(&self) -> io::Result<u64>;

    /// Makes the file's content survive a power cut.
    ///
    /// # Errors
    /// What the file system says; the content may or may not be safe then, so no caller retries.
    fn sync(&self) -> io::Result<()>;

    /// When the file was last written.
    ///
    /// # Errors
    /// What the file system says.
    fn modified_ms(&self) -> io::Result<TimestampMs>;

    /// Advises the page cache that these bytes are not needed soon: what is not yet on the disk
    /// is written there, what is there may be dropped. A hint, and no durability.
    fn let_go(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Reserves room on the disk for these bytes; the file's length stays as it is.
    ///
    /// # Errors
    /// What the file system says, above all that there is no room.
    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Ok(())
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, without the directory.
    pub name: String,
    /// Its length; 0 for a directory.
    pub size_bytes: u64,
    /// Is it a directory?
    pub is_dir: bool,
}

/// Fills `buf` from `at`.
///
/// # Errors
/// `UnexpectedEof` if the file ends before, else what the file system says.
pub(crate) fn read_exact_at(file: &dyn File, buf: &mut [u8], at: u64) -> io::Result<()> {
    if file.read_at(buf, at)? < buf.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The whole file; `None` if there is none.
///
/// # Errors
/// What the file system says.
pub(crate) fn read_whole(files: &dyn Files, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    file.read_into(&mut bytes, 0, len)?;
    Ok(Some(bytes))
}

/// Replaces the file's content so that a reader, or a start after a crash, finds the old or the
/// new and nothing between: a temporary file, written, made durable, renamed over the old one.
///
/// # Errors
/// What the file system says; the old content is still there then, or the new.
pub(crate) fn replace_durably(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_soon(files, path, bytes)?;
    path.parent().map_or(Ok(()), |dir| files.sync_dir(dir))
}

/// As [`replace_durably`], but a power cut may bring the old content back: for what may be old.
///
/// # Errors
/// What the file system says; the old content is still there then, or the new.
pub(crate) fn replace_soon(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = with_ending(path, ".tmp");
    let file = files.create(&aside)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    files.rename(&aside, path)
}

/// The directory that a path lies in.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Creates a directory, and those above it that are missing; their names survive a power cut.
///
/// # Errors
/// What the file system says.
pub(crate) fn make_dir_durable(files: &dyn Files, dir: &Path) -> io::Result<()> {
    // The last one above a relative path is empty, and no directory.
    let is_missing = |above: &&Path| !above.as_os_str().is_empty() && !files.exists(above);
    let made: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    files.make_dir(dir)?;
    made.into_iter().try_for_each(|made| files.sync_dir(parent_of(made)))
}

/// The name with something behind it.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Renames the file if there is one.
///
/// # Errors
/// What the file system says.
pub(crate) fn rename_if_there(files: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
    match files.rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the file if there is one.
///
/// # Errors
/// What the file system says.
pub(crate) fn remove_if_there(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
