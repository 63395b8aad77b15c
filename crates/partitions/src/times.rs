//! Where a partition's records are in time.

use ottla_storage::StorageError;
use ottla_types::{Offset, TimestampMs};

use crate::partition::Partition;

impl Partition {
    /// The record with the largest timestamp.
    ///
    /// # Errors
    /// The disk fails.
    pub fn latest_timestamp(&self) -> Result<Option<(TimestampMs, Offset)>, StorageError> {
        self.view().newest()
    }

    /// The first record from this time on.
    ///
    /// # Errors
    /// The disk fails.
    pub fn at_time(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<(TimestampMs, Offset)>, StorageError> {
        self.view().at_time(timestamp)
    }
}
