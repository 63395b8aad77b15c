//! `forming.properties` in the metadata directory: how far a node is that is not formatted yet
//! (`ottla.cluster`). It is there from the first promise until the node is formatted.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ottla_storage::{Files, StorageError};

use crate::snapshot::{read_file, replace_file, sync_folder};

/// The file's name.
pub const FORMING: &str = "forming.properties";

/// What the file of a directory says; `None` if there is none.
///
/// # Errors
/// The file cannot be read.
pub fn read_forming(files: &Arc<dyn Files>, dir: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    read_file(&**files, &dir.join(FORMING))
}

/// Replaces the file; it survives a power cut when this returns.
///
/// # Errors
/// The disk fails; the former file is there still.
pub fn write_forming(files: &Arc<dyn Files>, dir: &Path, text: &str) -> Result<(), StorageError> {
    replace_file(&**files, &dir.join(FORMING), text.as_bytes())
}

/// Removes the file, if it is there.
///
/// # Errors
/// The disk fails.
pub fn remove_forming(files: &Arc<dyn Files>, dir: &Path) -> Result<(), StorageError> {
    let path = dir.join(FORMING);
    match files.remove(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StorageError::Io { path, source }),
        Ok(()) => sync_folder(&**files, dir),
    }
}
