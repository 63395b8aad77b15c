//! Why the log could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use ottla_records::BadBatch;

/// A file that could not be written or read, or holds what it should not.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// A file holds what it should not.
    #[error("{}: {why}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Bytes that should be batches are not.
    #[error("invalid record batch: {0}")]
    Batch(#[from] BadBatch),
    /// A write failed before; the log must be opened again.
    #[error("an earlier write to the log failed; it accepts no appends until the next start")]
    Failed,
    /// The log is being truncated; an append may be tried again afterwards.
    #[error("the log is being truncated; it accepts no appends until that is done")]
    Truncating,
    /// No log can be truncated to a negative offset; nothing was done.
    #[error("a log cannot be truncated to offset {0}")]
    NegativeOffset(i64),
    /// The node stops: the work was left as far as it had come.
    #[error("the node stops")]
    Stopped,
}

impl StorageError {
    /// Is something used up, rather than broken: room on the disk, or files that may be open?
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_shortage(source))
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn corrupt(path: &Path, why: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), why: why.into() }
    }
}

/// Is something used up, rather than broken: room on the disk, or files that may be open? Then it
/// may go well the next time.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    use std::io::ErrorKind;
    let is_room = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    // ENOMEM, ENFILE, EMFILE.
    is_room || matches!(error.raw_os_error(), Some(12 | 23 | 24))
}
