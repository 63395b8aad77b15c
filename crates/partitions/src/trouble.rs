//! Logs once that a data directory's disk is full or fails, and once that it has room again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_storage::{DataDir, StorageError};
use ottla_types::TopicPartition;
use tokio::sync::Notify;

/// What is known of the trouble with one data directory.
#[derive(Debug)]
pub(crate) struct Trouble {
    directory: PathBuf,
    /// Is room missing? Only so that its begin and its end are logged once each.
    is_short: AtomicBool,
    /// Set once, and never taken back. A thread that reads it too early gets the error from the
    /// disk, or from the failed log.
    has_failed: AtomicBool,
    /// Notified when the directory has failed.
    failures: Arc<Notify>,
}

impl Trouble {
    pub(crate) fn new(dir: &DataDir, failures: Arc<Notify>) -> Self {
        let (is_short, has_failed) = (AtomicBool::default(), AtomicBool::default());
        Self { directory: dir.path().to_owned(), is_short, has_failed, failures }
    }

    pub(crate) fn tell(&self, partition: &TopicPartition, error: &StorageError, what: &str) {
        let directory = self.directory.display();
        match error {
            // The error that came first has been logged.
            StorageError::Failed => {}
            _ if error.is_shortage() => {
                if !self.is_short.swap(true, Ordering::AcqRel) {
                    tracing::error!(
                        %directory,
                        %partition,
                        %error,
                        "disk shortage: appends to this data directory are refused until there is room"
                    );
                }
            }
            StorageError::Io { .. } => {
                if !self.has_failed.swap(true, Ordering::AcqRel) {
                    self.failures.notify_waiters();
                    tracing::error!(
                        %directory,
                        %partition,
                        %error,
                        "data directory is offline until the next start: {what}"
                    );
                }
            }
            _ => tracing::error!(%directory, %partition, %error, "{what}"),
        }
    }

    /// Has the directory failed? Then none of its partitions is served: what its files hold is
    /// unknown.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// An append has gone well.
    pub(crate) fn end_shortage(&self) {
        if self.is_short.load(Ordering::Relaxed) && self.is_short.swap(false, Ordering::AcqRel) {
            let directory = self.directory.display();
            tracing::info!(%directory, "disk shortage is over: appends are accepted again");
        }
    }
}
