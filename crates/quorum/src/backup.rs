//! A copy of the metadata of a node, whole and on the disk, whether the node runs or not.

use std::io;
use std::path::{Path, PathBuf};

use ottla_raft::VoterSet;
use ottla_storage::{FileRef, Files, Listed, StorageError};

use crate::FOLDER;
use crate::driver::QuorumError;
use crate::snapshot::{sync_folder, with_suffix};
use crate::survey::{BreakKind, LogSurvey};

/// How much is copied at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;
/// How often a copy is begun again because a running node has removed what was to be copied.
const ATTEMPTS: usize = 5;
/// The files of a data directory that belong to the metadata, beside its log.
const BESIDE: [&str; 2] = ["meta.properties", "bootstrap.checkpoint"];

/// Which files are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupOf {
    /// All, as they are: of a directory that no node uses.
    Everything,
    /// What the metadata is restored from, up to the last whole batch: a node may write meanwhile.
    /// A start makes indexes and the like again.
    Records,
}

/// Copies the metadata of the data directory `from` to `to`, which must not exist: a folder that
/// can take the place of a data directory. It is whole, and on the disk, as soon as it has its
/// name. Returns what it holds; `static_voters` are those of `controller.quorum.voters`.
///
/// # Errors
/// There is something at `to`, a file cannot be read or written, or the log is broken.
pub fn back_up_metadata(
    files: &dyn Files,
    [from, to]: [&Path; 2],
    kind: BackupOf,
    static_voters: &VoterSet,
) -> Result<LogSurvey, QuorumError> {
    let failed = |source| StorageError::Io { path: to.to_owned(), source };
    if files.exists(to) {
        return Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)).into());
    }
    let aside = &with_suffix(to, ".part");
    if let Some(parent) = to.parent().filter(|it| !it.as_os_str().is_empty()) {
        files.make_dir(parent).map_err(failed)?;
    }
    let mut attempt = 0;
    let survey = loop {
        attempt += 1;
        let copied = copy_files(files, from, aside, kind).map_err(QuorumError::from);
        let read = copied.and_then(|()| read_copy(files, aside, kind, static_voters.clone()));
        match read {
            Ok(survey) => break survey,
            // Snapshots and segments go while they are copied, when newer ones stand in for them.
            Err(_) if attempt < ATTEMPTS && kind == BackupOf::Records => {}
            Err(error) => return Err(error),
        }
    };
    files.rename(aside, to).map_err(failed)?;
    if let Some(parent) = to.parent() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        sync_folder(files, parent)?;
    }
    Ok(survey)
}

/// Reads a copy. A running node may not have ended its last write when that was copied: the copy
/// ends before it.
fn read_copy(
    files: &dyn Files,
    copy: &Path,
    kind: BackupOf,
    static_voters: VoterSet,
) -> Result<LogSurvey, QuorumError> {
    let mut survey = LogSurvey::read(files, copy, static_voters)?;
    let Some(broken) = survey.broken.take_if(|_| kind == BackupOf::Records) else {
        return Ok(survey);
    };
    if broken.kind == BreakKind::Damaged {
        return Err(QuorumError::Corrupt(broken.to_string()));
    }
    let failed = |source| StorageError::Io { path: broken.file.clone(), source };
    let file = files.open(&broken.file).map_err(failed)?;
    file.truncate(broken.position).and_then(|()| file.sync()).map_err(failed)?;
    Ok(survey)
}

fn copy_files(
    files: &dyn Files,
    from: &Path,
    to: &Path,
    kind: BackupOf,
) -> Result<(), StorageError> {
    let failed = |path: &Path, source| StorageError::Io { path: path.to_owned(), source };
    if files.exists(to) {
        files.remove_dir(to).map_err(|source| failed(to, source))?;
    }
    let (log, log_copy) = (from.join(FOLDER), to.join(FOLDER));
    files.make_dir(&log_copy).map_err(|source| failed(&log_copy, source))?;
    for name in BESIDE.iter().filter(|name| files.exists(&from.join(name))) {
        copy_file(files, &from.join(name), &to.join(name))?;
    }
    let listed = files.list(&log).map_err(|source| failed(&log, source))?;
    let is_wanted = |entry: &&Listed| match kind {
        BackupOf::Everything => !entry.is_dir,
        BackupOf::Records => is_record_file(&entry.name),
    };
    for it in listed.iter().filter(is_wanted) {
        copy_file(files, &log.join(&it.name), &log_copy.join(&it.name))?;
    }
    sync_folder(files, &log_copy)?;
    sync_folder(files, to)
}

/// Does a file of the metadata log's folder hold what cannot be made again?
fn is_record_file(name: &str) -> bool {
    let endings = [".log", ".checkpoint"];
    let whole = ["quorum-state", "partition.metadata"];
    endings.iter().any(|ending| name.ends_with(ending)) || whole.contains(&name)
}

fn copy_file(files: &dyn Files, from: &Path, to: &Path) -> Result<(), StorageError> {
    let failed = |path: &Path, source| StorageError::Io { path: path.to_owned(), source };
    let source_file: FileRef = files.open(from).map_err(|source| failed(from, source))?;
    // As much as there is now: a log may grow.
    let size = source_file.size().map_err(|source| failed(from, source))?;
    let copy = files.create(to).map_err(|source| failed(to, source))?;
    let (mut at, mut buffer) = (0, Vec::new());
    while at < size {
        buffer.clear();
        let piece = usize::try_from(size - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        source_file.read_into(&mut buffer, at, piece).map_err(|source| failed(from, source))?;
        if buffer.is_empty() {
            break;
        }
        copy.write_at(&buffer, at).map_err(|source| failed(to, source))?;
        at += buffer.len() as u64;
    }
    copy.sync().map_err(|source| failed(to, source))
}

/// Where a backup of a directory lies if its operator names no other place: beside it.
#[must_use]
pub fn default_backup_path(dir: &Path, time: &str) -> PathBuf {
    // Without a slash at the end.
    let dir: PathBuf = dir.components().collect();
    with_suffix(&dir, &format!("-metadata-{time}"))
}
