//! What has committed, read in the order of the log.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::metadata::MetadataRecord;
use ottla_raft::SnapshotId;
use ottla_storage::{BatchesRead, Files, LogView, Slice};
use ottla_types::Offset;

use crate::driver::{Quorum, QuorumError};
use crate::replay::Replay;
use crate::snapshot::{read_file, snapshot_path};

/// How much of the log is read at a time, in bytes.
const READ_BYTES: usize = 8 << 20;

/// The committed part of a member's log as of one moment, to be read beside its writer.
#[derive(Debug)]
pub struct CommittedLog {
    files: Arc<dyn Files>,
    folder: PathBuf,
    view: LogView,
    newest_snapshot: Option<SnapshotId>,
    /// Everything below is committed.
    pub committed: Offset,
}

/// What lies between two offsets of the log.
#[derive(Debug)]
pub enum CommittedRecords {
    /// The next part of the log.
    Next {
        /// The records, in order; those that begin and end metadata transactions among them.
        records: Vec<MetadataRecord>,
        /// How many bytes of the log it has.
        bytes: u64,
    },
    /// The log does not reach back to there any more. These records are all there is, and take the
    /// place of what was known before.
    Snapshot(Vec<MetadataRecord>),
}

impl CommittedLog {
    /// What was committed from `next` on; moves `next` behind it. It may take several calls to read
    /// all of it: as long as `next` is less than [`CommittedLog::committed`].
    ///
    /// # Errors
    /// [`QuorumError::Moved`] if a snapshot has taken the place of the log meanwhile: it is to be
    /// asked for again. Or the disk fails, or the log is broken.
    pub fn read(&self, next: &mut Offset) -> Result<CommittedRecords, QuorumError> {
        if let Some(id) = self.newest_snapshot
            && *next < self.view.log_start().min(id.end)
        {
            let bytes = read_file(&*self.files, &snapshot_path(id, &self.folder))?;
            let mut replay = Replay::default();
            replay.take_snapshot(id, &bytes.unwrap_or_default())?;
            *next = id.end;
            return Ok(CommittedRecords::Snapshot(replay.records));
        }
        let mut replay = Replay::default();
        let found = read_some(&self.view, *next, self.committed);
        let found = found.map_err(|error| match *next < self.view.log_start() {
            true => QuorumError::Moved,
            false => error,
        })?;
        replay.take_log(&found.records)?;
        *next = found.next;
        let bytes = found.records.len() as u64;
        Ok(CommittedRecords::Next { records: replay.records, bytes })
    }
}

impl Quorum {
    /// The committed part of the log.
    #[must_use]
    pub fn committed_log(&self) -> CommittedLog {
        CommittedLog {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            view: self.log.view(),
            newest_snapshot: self.raft.log().snapshots().last().copied(),
            committed: self.committed(),
        }
    }
}

/// Hands all batches of a part of the log to `take`, some at a time.
pub(crate) fn read_batches(
    view: &LogView,
    part: Range<Offset>,
    mut take: impl FnMut(&[u8]) -> Result<(), QuorumError>,
) -> Result<(), QuorumError> {
    let mut at = part.start;
    while at < part.end {
        let found = read_some(view, at, part.end)?;
        take(&found.records)?;
        at = found.next;
    }
    Ok(())
}

/// Some whole batches from `offset` on, at least one.
fn read_some(view: &LogView, offset: Offset, upper: Offset) -> Result<BatchesRead, QuorumError> {
    let slice = Slice { offset, bytes_max: READ_BYTES, at_least_one: true, upper };
    let found = view.read_on(slice).map_err(|error| QuorumError::Corrupt(error.to_string()))?;
    if found.next == offset {
        return Err(QuorumError::Corrupt(format!("no batch can be read at offset {offset}")));
    }
    Ok(found)
}
