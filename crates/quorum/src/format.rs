//! Formatting a directory: what a cluster begins with (KIP-778, KIP-853).

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::metadata::MetadataRecord;
use ottla_raft::{SnapshotId, VoterSet};
use ottla_storage::{Files, StorageError};
use ottla_types::{NodeId, TimestampMs, Uuid};

use crate::FOLDER;
use crate::batch;
use crate::driver::QuorumError;
use crate::replay::Replay;
use crate::snapshot::{
    read_file, replace_file, replace_named, snapshot_bytes, snapshot_path, sync_folder,
};

const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// Who votes when the metadata directory is formatted (`kafka-storage format`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitialVoters {
    /// These, which the first snapshot names (`--standalone`, `--initial-controllers`;
    /// kraft.version 1). Each of them is formatted with the same.
    Given(VoterSet),
    /// Those that a quorum elsewhere has (`--no-initial-controllers`): there is no snapshot, and
    /// the node finds the quorum by `controller.quorum.bootstrap.servers`.
    NoneYet,
    /// Those of `controller.quorum.voters` (kraft.version 0): there is no snapshot.
    Static,
}

impl InitialVoters {
    /// The directory id with which this node is a voter; `None` if it is none, or may choose one.
    #[must_use]
    pub fn directory_of(&self, node: NodeId) -> Option<Uuid> {
        match self {
            Self::Given(voters) => Some(voters.of_node(node)?.key.directory),
            Self::NoneYet | Self::Static => None,
        }
    }
}

/// What a directory is formatted with.
pub struct FormatOptions<'a> {
    /// The records that the first controller writes, each in its version.
    pub records: &'a [(MetadataRecord, i16)],
    /// The voters of the quorum.
    pub voters: &'a InitialVoters,
    /// The time, in milliseconds; asked for each batch.
    pub now: &'a mut dyn FnMut() -> TimestampMs,
}

impl std::fmt::Debug for FormatOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Format").field("voters", &self.voters).finish_non_exhaustive()
    }
}

/// Writes `bootstrap.checkpoint` and, if the voters are given, the metadata log's first snapshot
/// into the metadata directory.
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
    if let InitialVoters::Given(voters) = format.voters {
        write_voters(&**files, &dir.join(FOLDER), voters, now)?;
    }
    // The names of both, before `meta.properties` says that they are there.
    sync_folder(&**files, dir)?;
    Ok(())
}

/// Writes the snapshot in which a dynamic quorum begins (KIP-853).
fn write_voters(
    files: &dyn Files,
    folder: &Path,
    voters: &VoterSet,
    now: &mut dyn FnMut() -> TimestampMs,
) -> Result<(), QuorumError> {
    let failed = |source| StorageError::Io { path: folder.to_owned(), source };
    files.make_dir(folder).map_err(failed)?;
    let more = [batch::kraft_version(1)?, batch::voters_record(voters)?];
    let last_contained = now();
    let snapshot = snapshot_bytes(0, now, last_contained, &more, &[])?;
    Ok(replace_file(files, &snapshot_path(SnapshotId::default(), folder), &snapshot)?)
}

/// Writes `bootstrap.checkpoint` into a data directory without the metadata log, as Apache Kafka
/// does.
///
/// # Errors
/// The disk fails, or a record has no form in its version.
pub fn write_bootstrap(
    files: &Arc<dyn Files>,
    dir: &Path,
    records: &[(MetadataRecord, i16)],
    now: &mut dyn FnMut() -> TimestampMs,
) -> Result<(), QuorumError> {
    let first = snapshot_bytes(0, now, 0, &[], records)?;
    Ok(replace_file(&**files, &dir.join(BOOTSTRAP), &first)?)
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
