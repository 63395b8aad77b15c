//! One data directory of this node: what lies in it, what is known of its disk.

use std::path::Path;
use std::sync::Arc;

use ottla_clock::{Clock, Share};
use ottla_locks::Mutex;
use ottla_metrics::Metrics;
use ottla_storage::{DataDir, Files, OffsetCheckpoint, StorageError};
use ottla_types::Uuid;
use tokio::sync::Notify;

use crate::bin::Bin;
use crate::checkpoints::WrittenCheckpoints;
use crate::numbers::DiskTimes;
use crate::partition::Home;
use crate::trouble::Trouble;

/// A data directory, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: String,
    /// Its id.
    pub id: Uuid,
    /// Is what lies in it served?
    pub is_online: bool,
    /// The bytes of its file system, and those free to use.
    pub space: Option<(u64, u64)>,
}

/// A data directory that was found and locked, with its id.
pub(crate) struct FoundDir {
    pub dir: DataDir,
    pub id: Uuid,
    /// Were its logs closed cleanly?
    pub closed_cleanly: bool,
}

/// One data directory, and what its checkpoints said when it was opened.
#[derive(Debug)]
pub(crate) struct Dir {
    pub(crate) dir: DataDir,
    pub(crate) id: Uuid,
    /// Its number among the directories.
    pub(crate) share: Share,
    pub(crate) closed_cleanly: bool,
    pub(crate) recovery_points: OffsetCheckpoint,
    pub(crate) high_watermarks: OffsetCheckpoint,
    pub(crate) log_starts: OffsetCheckpoint,
    /// Guards up to where each compacted partition is clean; held while the file is written.
    pub(crate) clean: Mutex<OffsetCheckpoint>,
    /// What the checkpoints were made to say since.
    pub(crate) written: WrittenCheckpoints,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) disk: Arc<DiskTimes>,
    pub(crate) bin: Bin,
}

impl Dir {
    /// The directory as it is found at a start. `closed_cleanly` says whether its logs were.
    ///
    /// # Errors
    /// A checkpoint cannot be read.
    pub(crate) fn open(
        found: FoundDir,
        share: Share,
        metrics: &Metrics,
        clock: &Clock,
        failures: &Arc<Notify>,
    ) -> Result<Self, StorageError> {
        let FoundDir { dir, id, closed_cleanly } = found;
        Ok(Self {
            share,
            bin: Bin::default(),
            recovery_points: or_none(dir.recovery_points())?,
            high_watermarks: or_none(dir.high_watermarks())?,
            log_starts: or_none(dir.log_starts())?,
            clean: Mutex::new(dir.clean_offsets()?),
            written: WrittenCheckpoints::default(),
            trouble: Arc::new(Trouble::new(&dir, Arc::clone(failures), clock.clone())),
            disk: DiskTimes::new(metrics, clock, dir.path()).into(),
            dir,
            id,
            closed_cleanly,
        })
    }

    /// What operators see of it.
    pub(crate) fn shown(&self) -> Directory {
        Directory {
            path: self.dir.path().display().to_string(),
            id: self.id,
            is_online: !self.trouble.has_failed(),
            space: self.dir.files().space(self.dir.path()),
        }
    }

    /// What is true of all partitions in the directory; its own path stands for their folders.
    pub(crate) fn home(&self) -> Home {
        let (folder, trouble) = (self.dir.path().to_owned(), Arc::clone(&self.trouble));
        let (directory, disk) = (self.id, Arc::clone(&self.disk));
        Home { folder, directory, share: self.share, trouble, disk }
    }
}

/// A corrupt checkpoint file is ignored: logs are checked from their start then, and what was
/// deleted within a segment can be read again.
fn or_none(read: Result<OffsetCheckpoint, StorageError>) -> Result<OffsetCheckpoint, StorageError> {
    match read {
        Err(error @ StorageError::Corrupt { .. }) => {
            tracing::warn!(
                %error,
                "checkpoint file is corrupt; it is rebuilt, and logs are checked from their start"
            );
            Ok(OffsetCheckpoint::default())
        }
        read => read,
    }
}

/// Removes a partition's folder. It is renamed first: a crash in the middle must not leave half a
/// partition under its name.
pub(crate) fn remove_folder(
    files: &dyn Files,
    folder: &Path,
    topic: Uuid,
) -> Result<(), StorageError> {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{topic}-delete"));
    let aside = folder.with_file_name(name);
    let io = |source| StorageError::Io { path: folder.to_owned(), source };
    files.rename(folder, &aside).map_err(io)?;
    files.remove_dir(&aside).map_err(io)
}
