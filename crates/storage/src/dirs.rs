//! A data directory: who owns it, which partitions lie in it, what was said at the last stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{NodeId, TopicPartition, Uuid};

use crate::checkpoint::OffsetCheckpoint;
use crate::error::StorageError;
use crate::files::{Files, Lock, read_whole, remove_if_there, replace};

/// What `meta.properties` says (version 1, KIP-631).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster that the directory belongs to.
    pub cluster_id: String,
    /// The node that it belongs to.
    pub node_id: NodeId,
    /// The directory itself (KIP-858).
    pub directory_id: Uuid,
}

/// What `.kafka_cleanshutdown` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The broker's epoch when it stopped; -1 if it was not known.
    pub broker_epoch: i64,
}

/// An open data directory; its lock is held until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    files: Arc<dyn Files>,
    path: PathBuf,
    _lock: Lock,
}

const META: &str = "meta.properties";
const CLEAN: &str = ".kafka_cleanshutdown";
const LOCK: &str = ".lock";
/// How the folder of a partition ends that is on its way here.
const FUTURE: &str = "-future";
/// The recovery points of the partitions.
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const CLEAN_OFFSETS: &str = "cleaner-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";

impl DataDir {
    /// Locks the directory, creating it if need be; `None` if another process has it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn open(files: Arc<dyn Files>, path: &Path) -> Result<Option<Self>, StorageError> {
        files.make_dir(path).map_err(StorageError::io(path))?;
        let lock = path.join(LOCK);
        let lock = files.lock(&lock).map_err(StorageError::io(&lock))?;
        Ok(lock.map(|lock| Self { files, path: path.to_owned(), _lock: lock }))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files it lies on.
    #[must_use]
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// The folder of a partition.
    #[must_use]
    pub fn folder(&self, place: &TopicPartition) -> PathBuf {
        self.path.join(format!("{}-{}", place.topic, place.partition))
    }

    /// The partitions that have a folder here, and the folders of deleted ones.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn partitions(&self) -> Result<(Vec<TopicPartition>, Vec<PathBuf>), StorageError> {
        let listed = self.files.list(&self.path).map_err(StorageError::io(&self.path))?;
        let (mut live, mut deleted) = (Vec::new(), Vec::new());
        for entry in listed.into_iter().filter(|entry| entry.is_dir) {
            if entry.name.ends_with("-delete") || entry.name.ends_with("-stray") {
                deleted.push(self.path.join(&entry.name));
            } else if let Some((topic, index)) = entry.name.rsplit_once('-')
                && let Ok(index) = index.parse()
            {
                live.push(TopicPartition::new(topic, index));
            }
        }
        Ok((live, deleted))
    }

    /// The folder in which a partition is made ready that is to move here.
    #[must_use]
    pub fn future_folder(&self, place: &TopicPartition, id: Uuid) -> PathBuf {
        let id = id.to_string().replace('-', "");
        self.path.join(format!("{}-{}.{id}{FUTURE}", place.topic, place.partition))
    }

    /// The partitions that were on their way here, with the folders of what had arrived.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn futures(&self) -> Result<Vec<(TopicPartition, PathBuf)>, StorageError> {
        let listed = self.files.list(&self.path).map_err(StorageError::io(&self.path))?;
        let future = |name: &str| {
            let (place, _) = name.strip_suffix(FUTURE)?.rsplit_once('.')?;
            let (topic, index) = place.rsplit_once('-')?;
            Some((TopicPartition::new(topic, index.parse().ok()?), self.path.join(name)))
        };
        Ok(listed.iter().filter(|it| it.is_dir).filter_map(|it| future(&it.name)).collect())
    }

    /// Reads `meta.properties`; `None` if the directory is not formatted.
    ///
    /// # Errors
    /// The file cannot be read, or lacks something.
    pub fn meta(&self) -> Result<Option<MetaProperties>, StorageError> {
        let path = &self.path.join(META);
        let Some(bytes) = read_whole(&*self.files, path).map_err(StorageError::io(path))? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let value = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let mut found = lines.filter(|(key, _)| key.trim() == name);
            found.next().map(|(_, value)| value.trim().to_owned())
        };
        let due = |name: &str| {
            value(name).ok_or_else(|| StorageError::corrupt(path, format!("{name} is missing")))
        };
        if due("version")? != "1" {
            return Err(StorageError::corrupt(path, "only version 1 is known"));
        }
        let number = |name: &str, text: String| {
            text.parse().map_err(|_| StorageError::corrupt(path, format!("{name} is {text}")))
        };
        let directory_id = value("directory.id").and_then(|id| id.parse().ok()).unwrap_or_default();
        Ok(Some(MetaProperties {
            cluster_id: due("cluster.id")?,
            node_id: number("node.id", due("node.id")?)?,
            directory_id,
        }))
    }

    /// Writes `meta.properties`: the directory belongs to a node from now on. A mark of a clean
    /// stop that somebody left in it would say nothing; that it is gone is as durable as what is
    /// written.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_meta(&self, meta: &MetaProperties) -> Result<(), StorageError> {
        self.remove_mark()?;
        let path = &self.path.join(META);
        let text = format!(
            "node.id={}\ndirectory.id={}\nversion=1\ncluster.id={}\n",
            meta.node_id, meta.directory_id, meta.cluster_id
        );
        replace(&*self.files, path, text.as_bytes()).map_err(StorageError::io(path))
    }

    fn remove_mark(&self) -> Result<(), StorageError> {
        let path = &self.path.join(CLEAN);
        remove_if_there(&*self.files, path).map_err(StorageError::io(path))
    }

    /// Takes the mark of a clean stop away and says what it said; `None` if there was none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take_clean_shutdown(&self) -> Result<Option<CleanShutdown>, StorageError> {
        let path = &self.path.join(CLEAN);
        let bytes = read_whole(&*self.files, path).map_err(StorageError::io(path))?;
        self.remove_mark()?;
        self.files.sync_dir(&self.path).map_err(StorageError::io(&self.path))?;
        Ok(bytes.map(|bytes| {
            // An older Kafka left the file empty.
            let text = String::from_utf8_lossy(&bytes);
            let epoch = text.split_once("\"brokerEpoch\":").map(|(_, rest)| {
                rest.trim_start().trim_end_matches(['}', ' ', '\n']).parse().unwrap_or(-1)
            });
            CleanShutdown { broker_epoch: epoch.unwrap_or(-1) }
        }))
    }

    /// Marks that all logs were closed cleanly.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn mark_clean_shutdown(&self, clean: CleanShutdown) -> Result<(), StorageError> {
        let path = &self.path.join(CLEAN);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", clean.broker_epoch);
        replace(&*self.files, path, text.as_bytes()).map_err(StorageError::io(path))
    }

    /// Up to where each partition was made durable.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recovery_points(&self) -> Result<OffsetCheckpoint, StorageError> {
        OffsetCheckpoint::read(&*self.files, &self.path.join(RECOVERY_POINTS))
    }

    /// The high watermark of each partition.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn high_watermarks(&self) -> Result<OffsetCheckpoint, StorageError> {
        OffsetCheckpoint::read(&*self.files, &self.path.join(HIGH_WATERMARKS))
    }

    /// Where partitions start that start later than their first segment.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log_starts(&self) -> Result<OffsetCheckpoint, StorageError> {
        OffsetCheckpoint::read(&*self.files, &self.path.join(LOG_STARTS))
    }

    /// Up to where each compacted partition is clean; empty too if the file is broken, as then
    /// cleaning only starts over.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn clean_offsets(&self) -> Result<OffsetCheckpoint, StorageError> {
        match OffsetCheckpoint::read(&*self.files, &self.path.join(CLEAN_OFFSETS)) {
            Err(StorageError::Corrupt { .. }) => Ok(OffsetCheckpoint::default()),
            read => read,
        }
    }

    /// Replaces the offsets up to which partitions are clean.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_clean_offsets(&self, all: &OffsetCheckpoint) -> Result<(), StorageError> {
        all.write(&*self.files, &self.path.join(CLEAN_OFFSETS))
    }

    /// Replaces the recovery points.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_recovery_points(&self, all: &OffsetCheckpoint) -> Result<(), StorageError> {
        all.write(&*self.files, &self.path.join(RECOVERY_POINTS))
    }

    /// Replaces the high watermarks.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_high_watermarks(&self, all: &OffsetCheckpoint) -> Result<(), StorageError> {
        all.write(&*self.files, &self.path.join(HIGH_WATERMARKS))
    }

    /// Replaces the log starts.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_log_starts(&self, all: &OffsetCheckpoint) -> Result<(), StorageError> {
        all.write(&*self.files, &self.path.join(LOG_STARTS))
    }
}
