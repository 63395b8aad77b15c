//! Opening the log of the metadata for its writer.

use std::path::Path;
use std::sync::Arc;

use ottla_storage::{Files, Log, LogOptions, Opening, PartitionMetadata, StorageError};
use ottla_types::{TimestampMs, Uuid};

/// How the metadata log is to be opened.
pub(crate) struct LogOpening<'a> {
    /// The files it lies on.
    pub files: &'a Arc<dyn Files>,
    /// Its folder.
    pub folder: &'a Path,
    /// Was it closed cleanly?
    pub clean: bool,
    /// When a segment is full, in bytes.
    pub segment_bytes: u64,
    /// The time.
    pub now_ms: TimestampMs,
}

/// Opens the log; `partition.metadata` is made if it is missing.
pub(crate) fn open_log(opening: LogOpening<'_>) -> Result<Log, StorageError> {
    let LogOpening { files, folder, clean, segment_bytes, now_ms } = opening;
    let log = Log::open(Opening {
        files: Arc::clone(files),
        folder: folder.to_owned(),
        options: LogOptions { segment_bytes, ..LogOptions::default() },
        clean,
        recovery_point: 0,
        log_start: 0,
        has_gaps: false,
        now_ms,
    })?;
    if PartitionMetadata::read(&**files, folder)?.is_none() {
        PartitionMetadata { topic_id: Uuid::ONE }.write(&**files, folder)?;
    }
    Ok(log)
}
