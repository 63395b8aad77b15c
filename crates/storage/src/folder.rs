//! What lies in the folder of a partition: the names of its files, and what a look finds.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ottla_types::Offset;

use crate::error::StorageError;
use crate::files::{Files, remove_if_there};

/// How the files of a segment end, but its snapshot of producers; the log first.
const SEGMENT_ENDINGS: [&str; 4] = ["log", "index", "timeindex", "txnindex"];

/// A file of a segment: its base offset in twenty digits, and the ending.
pub(crate) fn segment_file(folder: &Path, base: Offset, ending: &str) -> PathBuf {
    folder.join(format!("{base:020}.{ending}"))
}

/// All files of a segment but its snapshot of producers; the log first.
pub(crate) fn segment_files(folder: &Path, base: Offset) -> [PathBuf; 4] {
    SEGMENT_ENDINGS.map(|ending| segment_file(folder, base, ending))
}

/// Where the snapshot of producers as of `offset` lies.
pub(crate) fn snapshot_file(folder: &Path, offset: Offset) -> PathBuf {
    segment_file(folder, offset, "snapshot")
}

/// Removes the files of a segment, as far as there are any.
///
/// # Errors
/// The disk fails.
pub(crate) fn remove_segment(
    files: &dyn Files,
    folder: &Path,
    base: Offset,
) -> Result<(), StorageError> {
    for path in segment_files(folder, base) {
        remove_if_there(files, &path).map_err(StorageError::io(&path))?;
    }
    Ok(())
}

/// Removes a snapshot of producers, if it is there.
///
/// # Errors
/// The disk fails.
pub(crate) fn remove_snapshot(
    files: &dyn Files,
    folder: &Path,
    offset: Offset,
) -> Result<(), StorageError> {
    let path = snapshot_file(folder, offset);
    remove_if_there(files, &path).map_err(StorageError::io(&path))
}

/// The files of a folder, by name, and their sizes in bytes: what is not among them need not be
/// looked for, which counts where thousands of partitions are opened.
#[derive(Debug, Default)]
pub(crate) struct FolderListing(BTreeMap<String, u64>);

impl FolderListing {
    /// # Errors
    /// The folder cannot be listed, or there is none.
    pub(crate) fn read(files: &dyn Files, folder: &Path) -> Result<Self, StorageError> {
        let listed = files.list(folder).map_err(StorageError::io(folder))?;
        Ok(Self(listed.into_iter().map(|entry| (entry.name, entry.size_bytes)).collect()))
    }

    /// Of a folder that is made if there is none.
    ///
    /// # Errors
    /// The folder cannot be listed, or made.
    pub(crate) fn read_or_make(files: &dyn Files, folder: &Path) -> Result<Self, StorageError> {
        match Self::read(files, folder) {
            Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            listed => return listed,
        }
        files.make_dir(folder).map_err(StorageError::io(folder))?;
        Ok(Self::default())
    }

    /// The names of the files, and their sizes in bytes.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, u64)> {
        self.0.iter().map(|(name, size_bytes)| (name, *size_bytes))
    }

    /// The size of a file in bytes, if it is there.
    pub(crate) fn size_of(&self, path: &Path) -> Option<u64> {
        self.0.get(path.file_name()?.to_str()?).copied()
    }

    /// The base offsets of the segments, ascending.
    pub(crate) fn segment_bases(&self) -> Vec<Offset> {
        let base = |name: &String| name.strip_suffix(".log")?.parse().ok();
        self.0.keys().filter_map(base).collect()
    }

    /// The offsets of the snapshots of producers, ascending.
    pub(crate) fn snapshot_offsets(&self) -> Vec<Offset> {
        let offset = |name: &String| name.strip_suffix(".snapshot")?.parse().ok();
        let mut all: Vec<Offset> = self.0.keys().filter_map(offset).collect();
        all.sort_unstable();
        all
    }

    /// Has the segment no record, and no index that says otherwise?
    pub(crate) fn is_segment_empty(&self, base: Offset) -> bool {
        let paths = segment_files(Path::new(""), base);
        paths.iter().all(|path| self.size_of(path).unwrap_or(0) == 0)
    }
}
