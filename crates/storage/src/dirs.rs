//! A data directory: its owner, its partitions, and the mark of the last clean stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{NodeId, TopicPartition, Uuid};

use crate::checkpoint::{OffsetCheckpoint, read_lines, write_lines};
use crate::error::StorageError;
use crate::files::{Files, Lock, make_dir_durable, read_whole, remove_if_there, replace_durably};

/// What lies at the path of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirState {
    /// Nothing: the path does not exist, or cannot be looked at.
    Missing,
    /// An empty directory, as a mount point is whose volume is not mounted.
    Empty,
    /// Files, but no `meta.properties`.
    Unformatted,
    /// A formatted data directory.
    Formatted,
}

/// What a directory may hold and still be called empty: our own lock, and what `mkfs` makes.
const HELD_BY_EMPTY: [&str; 2] = [".lock", "lost+found"];

/// What `meta.properties` says (version 1, KIP-631; version 0 is read, too).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster that the directory belongs to.
    pub cluster_id: String,
    /// The node that it belongs to.
    pub node_id: NodeId,
    /// The directory itself (KIP-858); [`Uuid::ZERO`] where an older Kafka wrote none.
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
/// The directories that an operator has declared lost; beside the metadata log.
const DECLARED_LOST: &str = "declared-lost-directories";
/// How the folder of a partition ends that the metadata does not know.
const STRAY: &str = "-stray";
/// How the folder of a deleted partition ends.
const DELETED: &str = "-delete";
/// The longest name of a folder, in bytes.
const FOLDER_NAME_MAX: usize = 255;

impl DirState {
    /// Looks at the path of a data directory; nothing is opened, locked or created.
    ///
    /// # Errors
    /// The directory is there and cannot be listed.
    pub fn at(files: &dyn Files, path: &Path) -> Result<Self, StorageError> {
        if !files.exists(path) {
            return Ok(Self::Missing);
        }
        if files.exists(&path.join(META)) {
            return Ok(Self::Formatted);
        }
        let listed = files.list(path).map_err(StorageError::io(path))?;
        let is_empty = listed.iter().all(|entry| HELD_BY_EMPTY.contains(&entry.name.as_str()));
        Ok(if is_empty { Self::Empty } else { Self::Unformatted })
    }
}

/// The partition that a folder of this name belongs to.
fn partition_of(name: &str) -> Option<TopicPartition> {
    let (topic, index) = name.rsplit_once('-')?;
    let place = TopicPartition::new(topic, index.parse().ok()?);
    // `t-007` and `t-+7` are not what the folder of partition 7 is called.
    (!topic.is_empty() && place.to_string() == name).then_some(place)
}

impl DataDir {
    /// Locks the directory, creating it if need be, for good; `None` if another process has it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn open(files: Arc<dyn Files>, path: &Path) -> Result<Option<Self>, StorageError> {
        make_dir_durable(&*files, path).map_err(StorageError::io(path))?;
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

    /// The partitions that have a folder here, in order.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        let listed = self.files.list(&self.path).map_err(StorageError::io(&self.path))?;
        let folders = listed.iter().filter(|entry| entry.is_dir);
        let mut all: Vec<_> = folders.filter_map(|entry| partition_of(&entry.name)).collect();
        all.sort();
        Ok(all)
    }

    /// The folders of deleted partitions.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn deleted(&self) -> Result<Vec<PathBuf>, StorageError> {
        let listed = self.files.list(&self.path).map_err(StorageError::io(&self.path))?;
        let deleted = listed.iter().filter(|it| it.is_dir && it.name.ends_with(DELETED));
        Ok(deleted.map(|entry| self.path.join(&entry.name)).collect())
    }

    /// Sets a folder aside that the metadata does not know: it is renamed to
    /// `<topic>-<partition>.<id>-stray`, as Apache Kafka names such folders, and kept. Returns the
    /// new path. The rename is durable when this returns.
    ///
    /// # Errors
    /// The folder cannot be renamed; it is still under its old name.
    pub fn set_aside(
        &self,
        folder: &Path,
        place: &TopicPartition,
        id: Uuid,
    ) -> Result<PathBuf, StorageError> {
        let ending = format!("-{}.{:032x}{STRAY}", place.partition, u128::from_be_bytes(id.0));
        let length_max = FOLDER_NAME_MAX.saturating_sub(ending.len());
        // Topics have ASCII names; whatever else a folder is called is cut where it can be.
        let cut = (0..=place.topic.len().min(length_max))
            .rev()
            .find(|at| place.topic.is_char_boundary(*at))
            .unwrap_or(0);
        let aside = self.path.join(format!("{}{ending}", &place.topic[..cut]));
        self.files.rename(folder, &aside).map_err(StorageError::io(folder))?;
        self.files.sync_dir(&self.path).map_err(StorageError::io(&self.path))?;
        Ok(aside)
    }

    /// Can there be a folder in which this partition is made ready to move? Its name may be too
    /// long for a file system.
    #[must_use]
    pub fn has_future_folder(place: &TopicPartition) -> bool {
        let digits = Uuid::ZERO.0.len() * 2;
        place.to_string().len() + 1 + digits + FUTURE.len() <= FOLDER_NAME_MAX
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
            Some((partition_of(place)?, self.path.join(name)))
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
        // Version 0 has no line of its own for the version, and calls the node a broker.
        let id_name = match value("version").as_deref() {
            Some("1") => "node.id",
            None | Some("0") => "broker.id",
            Some(_) => {
                return Err(StorageError::corrupt(path, "only versions 0 and 1 are supported"));
            }
        };
        let number = |name: &str, text: String| {
            text.parse().map_err(|_| StorageError::corrupt(path, format!("{name} is {text}")))
        };
        let directory_id = match value("directory.id") {
            None => Uuid::ZERO,
            Some(id) => id
                .parse()
                .ok()
                .filter(|id: &Uuid| !id.is_reserved())
                .ok_or_else(|| StorageError::corrupt(path, format!("directory.id is {id}")))?,
        };
        Ok(Some(MetaProperties {
            cluster_id: due("cluster.id")?,
            node_id: number(id_name, due(id_name)?)?,
            directory_id,
        }))
    }

    /// Writes `meta.properties`: the directory belongs to a node from now on. A mark of a clean
    /// stop that is left in it would be wrong; its removal is as durable as what is
    /// written.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_meta(&self, meta: &MetaProperties) -> Result<(), StorageError> {
        self.remove_mark()?;
        self.rewrite_meta(meta)
    }

    /// Writes `meta.properties` of a directory that was this node's before; how it was left stays
    /// known.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn rewrite_meta(&self, meta: &MetaProperties) -> Result<(), StorageError> {
        let path = &self.path.join(META);
        let text = format!(
            "node.id={}\ndirectory.id={}\nversion=1\ncluster.id={}\n",
            meta.node_id, meta.directory_id, meta.cluster_id
        );
        replace_durably(&*self.files, path, text.as_bytes()).map_err(StorageError::io(path))
    }

    fn remove_mark(&self) -> Result<(), StorageError> {
        let path = &self.path.join(CLEAN);
        remove_if_there(&*self.files, path).map_err(StorageError::io(path))
    }

    /// What the mark of a clean stop says, which stays; `None` if there is none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn clean_shutdown(&self) -> Result<Option<CleanShutdown>, StorageError> {
        let path = &self.path.join(CLEAN);
        let bytes = read_whole(&*self.files, path).map_err(StorageError::io(path))?;
        Ok(bytes.map(|bytes| {
            // An older Kafka left the file empty.
            let text = String::from_utf8_lossy(&bytes);
            let epoch = text.split_once("\"brokerEpoch\":").map(|(_, rest)| {
                rest.trim_start().trim_end_matches(['}', ' ', '\n']).parse().unwrap_or(-1)
            });
            CleanShutdown { broker_epoch: epoch.unwrap_or(-1) }
        }))
    }

    /// Removes the mark of a clean stop and returns its content; `None` if there was none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take_clean_shutdown(&self) -> Result<Option<CleanShutdown>, StorageError> {
        let mark = self.clean_shutdown()?;
        self.remove_mark()?;
        self.files.sync_dir(&self.path).map_err(StorageError::io(&self.path))?;
        Ok(mark)
    }

    /// Marks that all logs were closed cleanly.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn mark_clean_shutdown(&self, clean: CleanShutdown) -> Result<(), StorageError> {
        let path = &self.path.join(CLEAN);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", clean.broker_epoch);
        replace_durably(&*self.files, path, text.as_bytes()).map_err(StorageError::io(path))
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

    /// The log start offsets of partitions that do not start at their first segment's base.
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

    /// The directories that an operator has declared lost, by id.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no id.
    pub fn declared_lost(&self) -> Result<Vec<Uuid>, StorageError> {
        let path = &self.path.join(DECLARED_LOST);
        let id = |line: String| {
            let parsed = line.trim().parse();
            parsed.map_err(|_| StorageError::corrupt(path, format!("{line} is not a directory id")))
        };
        read_lines(&*self.files, path)?.into_iter().map(id).collect()
    }

    /// Replaces the list of directories that an operator has declared lost; durable on return.
    ///
    /// # Errors
    /// The file system refuses; the old list is still there.
    pub fn set_declared_lost(&self, all: &[Uuid]) -> Result<(), StorageError> {
        let lines: Vec<String> = all.iter().map(Uuid::to_string).collect();
        write_lines(&*self.files, &self.path.join(DECLARED_LOST), &lines)?;
        self.files.sync_dir(&self.path).map_err(StorageError::io(&self.path))
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
