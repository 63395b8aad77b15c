//! Says once that a disk is full or fails, and once that it is well again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_storage::StorageError;
use ottla_types::TopicPartition;
use tokio::sync::Notify;

/// What is known of the trouble with one data directory.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Is room missing? Only so that its begin and its end are logged once each.
    is_short: AtomicBool,
    /// Set once, and never taken back. Who sees it late meets the broken disk, or the failed log,
    /// itself.
    has_failed: AtomicBool,
    /// Told when it has failed.
    failures: Arc<Notify>,
}

impl Trouble {
    pub(crate) fn new(failures: Arc<Notify>) -> Self {
        Self { failures, ..Self::default() }
    }

    pub(crate) fn tell(&self, partition: &TopicPartition, error: &StorageError, what: &str) {
        match error {
            // It was told when it began.
            StorageError::Failed => {}
            _ if error.is_shortage() => {
                if !self.is_short.swap(true, Ordering::AcqRel) {
                    tracing::error!(
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
                        %partition,
                        %error,
                        "data directory is offline until the next start: {what}"
                    );
                }
            }
            _ => tracing::error!(%partition, %error, "{what}"),
        }
    }

    /// Has the directory failed? Then nothing of it is served: nobody knows what is true of it.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// An append has gone well.
    pub(crate) fn end_shortage(&self) {
        if self.is_short.load(Ordering::Relaxed) && self.is_short.swap(false, Ordering::AcqRel) {
            tracing::info!("disk shortage is over: appends are accepted again");
        }
    }
}
