//! Formatting a directory: what a cluster begins with (KIP-778, KIP-853).

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::metadata::MetadataRecord;
use ottla_raft::{SnapshotId, Voter, VoterSet};
use ottla_storage::{Files, StorageError};
use ottla_types::TimestampMs;

use crate::FOLDER;
use crate::batch;
use crate::driver::QuorumError;
use crate::replay::Replay;
use crate::snapshot::{
    read_file, replace_file, replace_named, snapshot_bytes, snapshot_path, sync_folder,
};

const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// What a directory is formatted with.
pub struct FormatOptions<'a> {
    /// The records that the first controller writes, each in its version.
    pub records: &'a [(MetadataRecord, i16)],
    /// The only voter of a new quorum.
    pub voter: Voter,
    /// The time, in milliseconds; asked for each batch.
    pub now: &'a mut dyn FnMut() -> TimestampMs,
}

impl std::fmt::Debug for FormatOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Format").field("voter", &self.voter).finish_non_exhaustive()
    }
}

/// Writes `bootstrap.checkpoint` and the metadata log's first snapshot into a data directory.
///
/// # Errors
/// The disk fails, or a record has no form in its version.
pub fn format_directory(
    files: &Arc<dyn Files>,
    dir: &Path,
    format: FormatOptions<'_>,
) -> Result<(), QuorumError> {
    let now = format.now;
    let first = snapshot_bytes(0, now, 0, &[], format.records)?;
    replace_named(&**files, &dir.join(BOOTSTRAP), &first)?;
    let folder = dir.join(FOLDER);
    let failed = |source| StorageError::Io { path: folder.clone(), source };
    files.make_dir(&folder).map_err(failed)?;
    let voters = VoterSet::of([format.voter.clone()]);
    let more = [batch::kraft_version(1)?, batch::voters_record(&voters)?];
    let last_contained = now();
    let snapshot = snapshot_bytes(0, now, last_contained, &more, &[])?;
    let path = snapshot_path(SnapshotId::default(), &folder);
    replace_file(&**files, &path, &snapshot)?;
    // The names of both, before `meta.properties` says that they are there.
    sync_folder(&**files, dir)?;
    Ok(())
}

/// What a directory's `bootstrap.checkpoint` says; nothing if there is none.
///
/// # Errors
/// The file cannot be read.
pub fn read_bootstrap(
    files: &Arc<dyn Files>,
    dir: &Path,
) -> Result<Vec<MetadataRecord>, QuorumError> {
    let Some(bytes) = read_file(&**files, &dir.join(BOOTSTRAP))? else { return Ok(Vec::new()) };
    let mut replay = Replay::default();
    replay.take_snapshot(SnapshotId::default(), &bytes)?;
    Ok(replay.records)
}
