//! Snapshots: `<end offset>-<epoch>.checkpoint`.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::shared::snapshot_header_record::SnapshotHeaderRecord;
use ottla_protocol::{Decoder, Message};
use ottla_raft::SnapshotId;
use ottla_records::batches_in;
use ottla_records::control::ControlKind;
use ottla_storage::{FileRef, Files, StorageError};
use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use crate::batch::{self, BatchPlace, Control};
use crate::driver::QuorumError;

/// How many records a snapshot's batch has at most.
const BATCH_RECORDS: usize = 1000;
/// More bytes than a snapshot's first batch has, in which its header and the voters are.
const HEADER_BATCH_BYTES: usize = 64 << 10;

/// Where a snapshot lies.
pub(crate) fn snapshot_path(id: SnapshotId, folder: &Path) -> PathBuf {
    folder.join(format!("{:020}-{:010}.checkpoint", id.end, id.epoch))
}

/// The snapshot that a file of this name holds.
fn parse_name(name: &str) -> Option<SnapshotId> {
    let (end, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    Some(SnapshotId { end: end.parse().ok()?, epoch: epoch.parse().ok()? })
}

/// The newest snapshot of a folder.
pub(crate) fn newest_snapshot(
    files: &dyn Files,
    folder: &Path,
) -> Result<Option<SnapshotId>, StorageError> {
    let listed = files.list(folder);
    let listed = listed.map_err(|source| StorageError::Io { path: folder.to_owned(), source })?;
    Ok(listed.iter().filter_map(|entry| parse_name(&entry.name)).max())
}

/// The bytes of a snapshot: a header, control records, records, a footer.
pub(crate) fn snapshot_bytes(
    leader_epoch: LeaderEpoch,
    now: &mut dyn FnMut() -> TimestampMs,
    last_contained: TimestampMs,
    more: &[Control],
    records: &[(MetadataRecord, i16)],
) -> Result<Vec<u8>, QuorumError> {
    let mut at = BatchPlace { base_offset: 0, leader_epoch, now_ms: now() };
    let mut first = vec![batch::snapshot_header(last_contained)?];
    first.extend_from_slice(more);
    let mut out = batch::of_controls(at, &first)?;
    at.base_offset += count_to_offset(first.len());
    for records in records.chunks(BATCH_RECORDS) {
        at.now_ms = now();
        out.extend(batch::of_records(at, records)?);
        at.base_offset += count_to_offset(records.len());
    }
    at.now_ms = now();
    out.extend(batch::of_controls(at, &[batch::snapshot_footer()?])?);
    Ok(out)
}

fn count_to_offset(count: usize) -> Offset {
    Offset::try_from(count).unwrap_or(Offset::MAX)
}

/// The whole file; `None` if there is none.
pub(crate) fn read_file(files: &dyn Files, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let failed = |source| StorageError::Io { path: path.to_owned(), source };
    let file = match files.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let size = file.size().map_err(failed)?;
    let mut bytes = Vec::new();
    file.read_into(&mut bytes, 0, usize::try_from(size).unwrap_or(usize::MAX)).map_err(failed)?;
    Ok(Some(bytes))
}

/// How large a snapshot is, in bytes; `None` if there is none.
pub(crate) fn snapshot_size(files: &dyn Files, path: &Path) -> Result<Option<u64>, StorageError> {
    let failed = |source| StorageError::Io { path: path.to_owned(), source };
    match files.open(path) {
        Ok(file) => file.size().map(Some).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The time of what a snapshot holds, as its header says it; `None` if it cannot be read.
pub(crate) fn snapshot_time(
    files: &dyn Files,
    path: &Path,
) -> Result<Option<TimestampMs>, StorageError> {
    let bytes = read_part(files, path, 0, HEADER_BATCH_BYTES)?;
    Ok(header_time(&bytes))
}

fn header_time(bytes: &[u8]) -> Option<TimestampMs> {
    let batch = batches_in(bytes).next()?.ok()?;
    let unpacked = batch.unpack(HEADER_BATCH_BYTES).ok()?;
    let record = unpacked.records().next()?.ok()?;
    if ControlKind::of(&record) != Some(ControlKind::SnapshotHeader) {
        return None;
    }
    let mut d = Decoder::new(Bytes::copy_from_slice(record.value?));
    Some(SnapshotHeaderRecord::decode(&mut d, 0).ok()?.last_contained_log_timestamp)
}

/// Removes a snapshot; there may be none.
pub(crate) fn remove_snapshot(files: &dyn Files, path: &Path) -> Result<(), StorageError> {
    match files.remove(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A part of a snapshot, from this byte on; as much as there is.
pub(crate) fn read_part(
    files: &dyn Files,
    path: &Path,
    position: u64,
    bytes_max: usize,
) -> Result<Bytes, StorageError> {
    let failed = |source| StorageError::Io { path: path.to_owned(), source };
    let file = files.open(path).map_err(failed)?;
    let left = file.size().map_err(failed)?.saturating_sub(position);
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes_max);
    let mut bytes = Vec::new();
    file.read_into(&mut bytes, position, most).map_err(failed)?;
    Ok(bytes.into())
}

/// A snapshot that comes in parts, in a file aside.
#[derive(Debug)]
pub(crate) struct Download {
    pub id: SnapshotId,
    path: PathBuf,
    aside: PathBuf,
    file: FileRef,
}

impl Download {
    /// Begins the file.
    pub fn begin(files: &dyn Files, folder: &Path, id: SnapshotId) -> Result<Self, StorageError> {
        let path = snapshot_path(id, folder);
        let aside = with_suffix(&path, ".part");
        let failed = |source| StorageError::Io { path: aside.clone(), source };
        let file = files.create(&aside).map_err(failed)?;
        Ok(Self { id, path, aside, file })
    }

    /// Writes a part.
    pub fn write(&self, bytes: &[u8], position: u64) -> Result<(), StorageError> {
        let failed = |source| StorageError::Io { path: self.aside.clone(), source };
        self.file.write_at(bytes, position).map_err(failed)
    }

    /// Makes it a snapshot, durable under its name; returns its bytes.
    pub fn finish(self, files: &dyn Files) -> Result<Vec<u8>, StorageError> {
        let failed = |source| StorageError::Io { path: self.aside.clone(), source };
        self.file.sync().map_err(failed)?;
        files.rename(&self.aside, &self.path).map_err(failed)?;
        self.path.parent().map_or(Ok(()), |folder| sync_folder(files, folder))?;
        Ok(read_file(files, &self.path)?.unwrap_or_default())
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut named = path.as_os_str().to_owned();
    named.push(suffix);
    PathBuf::from(named)
}

/// Replaces the file's content as a whole; on the disk before this returns.
pub(crate) fn replace_file(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
) -> Result<(), StorageError> {
    replace_named(files, path, bytes)?;
    path.parent().map_or(Ok(()), |folder| sync_folder(files, folder))
}

/// As [`replace_file`], but a power cut may bring the old content back until the folder is synced.
pub(crate) fn replace_named(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
) -> Result<(), StorageError> {
    let failed = |source| StorageError::Io { path: path.to_owned(), source };
    let aside = with_suffix(path, ".tmp");
    let file = files.create(&aside).map_err(failed)?;
    file.write_at(bytes, 0).and_then(|()| file.sync()).map_err(failed)?;
    files.rename(&aside, path).map_err(failed)
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(files: &dyn Files, folder: &Path) -> Result<(), StorageError> {
    let failed = |source| StorageError::Io { path: folder.to_owned(), source };
    files.sync_dir(folder).map_err(failed)
}
