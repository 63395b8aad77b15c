//! Folders that the metadata does not know, and partitions that cannot be opened.
//!
//! A folder of an unknown topic, or of another topic of the same name, is renamed to
//! `<topic>-<partition>.<id>-stray`, as Apache Kafka does: it is never read as the data of a topic
//! that is created later, and never deleted, since the metadata may be what is wrong.

use ottla_locks::MutexGuard;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ottla_storage::{DataDir, PartitionMetadata, StorageError};
use ottla_types::{CLUSTER_METADATA, PartitionIndex, TopicPartition, Uuid};

use crate::dir::Dir;
use crate::partitions::{Assigned, Partitions};

/// A partition of this node that could not be opened.
#[derive(Clone, Debug)]
pub(crate) struct Offline {
    topic_id: Uuid,
    why: String,
    retry: Retry,
}

/// When a partition that could not be opened is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// At the next start: what a file holds does not change by itself, nor does a directory that
    /// has failed come back.
    AtStart,
    /// Soon: the disk may recover, or get room.
    Soon,
}

impl Retry {
    fn after(error: &StorageError) -> Self {
        match error {
            StorageError::Corrupt { .. } | StorageError::Failed => Self::AtStart,
            _ => Self::Soon,
        }
    }
}

/// The partitions of this node that could not be opened.
pub(crate) type OfflineSet = BTreeMap<TopicPartition, Offline>;

/// A folder of a partition, and the topic id in its `partition.metadata`.
struct Folder<'a> {
    home: &'a Dir,
    topic_id: Option<Uuid>,
}

impl Partitions {
    /// Sets the folders aside that `topic_of`, the topic ids that the metadata has, does not know.
    /// To be called once at start, before the first partition is opened. Returns how many it were.
    ///
    /// A folder without a readable `partition.metadata` stays where the metadata has a partition
    /// of its name, unless another directory has the one with the right id.
    ///
    /// # Errors
    /// A directory cannot be listed, or a folder cannot be renamed.
    pub fn set_strays_aside(
        &self,
        topic_of: impl Fn(&TopicPartition) -> Option<Uuid>,
    ) -> Result<usize, StorageError> {
        let mut folders: BTreeMap<TopicPartition, Vec<Folder<'_>>> = BTreeMap::new();
        for home in &self.dirs {
            for place in home.dir.partitions()? {
                if &*place.topic == CLUSTER_METADATA {
                    continue;
                }
                let read = PartitionMetadata::read(&**home.dir.files(), &home.dir.folder(&place));
                // One that cannot be read takes its partition offline when that is opened.
                let topic_id = read.ok().flatten().map(|it| it.topic_id);
                folders.entry(place).or_default().push(Folder { home, topic_id });
            }
        }
        let mut count = 0;
        for (place, found) in folders {
            let known = topic_of(&place);
            let has_own = found.iter().any(|it| it.topic_id.is_some() && it.topic_id == known);
            for it in found {
                let why = match (known, it.topic_id) {
                    (None, _) => "the metadata has no such partition",
                    (Some(known), Some(id)) if id != known => "it belongs to another topic id",
                    (Some(_), None) if has_own => "another directory holds the partition",
                    (Some(_), _) => continue,
                };
                self.set_aside(it.home, &it.home.dir.folder(&place), &place, why)?;
                count += 1;
            }
        }
        for home in &self.dirs {
            for (place, folder) in home.dir.futures()? {
                if topic_of(&place).is_none() {
                    self.set_aside(home, &folder, &place, "the metadata has no such partition")?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Renames a folder that is not a partition of this node, and says so.
    pub(crate) fn set_aside(
        &self,
        home: &Dir,
        folder: &Path,
        place: &TopicPartition,
        why: &str,
    ) -> Result<(), StorageError> {
        let aside = home.dir.set_aside(folder, place, self.clock.random_uuid())?;
        tracing::warn!(
            partition = %place,
            folder = %folder.display(),
            renamed_to = %aside.display(),
            "stray folder set aside: {why}"
        );
        Ok(())
    }

    /// The partitions of `wanted` that lie in none of these directories, with the directory that
    /// the metadata names.
    #[must_use]
    pub fn without_folder<'a>(&self, wanted: &'a [Assigned]) -> Vec<&'a Assigned> {
        let has = |dir: &DataDir, it: &Assigned| dir.files().exists(&dir.folder(&it.place));
        let is_missing = |it: &&Assigned| !self.dirs.iter().any(|home| has(&home.dir, it));
        wanted.iter().filter(is_missing).collect()
    }

    /// Is this a partition of this node that could not be opened?
    #[must_use]
    pub fn is_offline(&self, topic: &str, index: PartitionIndex) -> bool {
        let offline = self.lock_offline();
        !offline.is_empty() && offline.contains_key(&TopicPartition::new(topic, index))
    }

    pub(crate) fn lock_offline(&self) -> MutexGuard<'_, OfflineSet> {
        self.offline.lock()
    }

    /// Notes which partitions could not be opened. Returns those of which that was not known.
    pub(crate) fn note_offline(
        &self,
        failed: Vec<(&Assigned, StorageError)>,
    ) -> Vec<(TopicPartition, StorageError)> {
        let mut offline = self.lock_offline();
        let mut news = Vec::new();
        for (assigned, error) in failed {
            let retry = Retry::after(&error);
            let (topic_id, why) = (assigned.topic_id, error.to_string());
            let known = offline.get(&assigned.place);
            if known.is_none_or(|it| it.why != why || it.topic_id != topic_id) {
                news.push((assigned.place.clone(), error));
            }
            offline.insert(assigned.place.clone(), Offline { topic_id, why, retry });
        }
        news
    }

    /// The partitions that are not tried again: a file of theirs says what cannot be true.
    pub(crate) fn given_up(&self) -> BTreeSet<TopicPartition> {
        let offline = self.lock_offline();
        let is_given_up = |it: &Offline| it.retry == Retry::AtStart;
        offline.iter().filter(|(_, it)| is_given_up(it)).map(|(place, _)| place.clone()).collect()
    }

    /// Is a partition offline that the next [`Partitions::reconcile`] may be able to open?
    #[must_use]
    pub fn has_retriable(&self) -> bool {
        self.lock_offline().values().any(|it| it.retry == Retry::Soon)
    }

    /// Forgets the failures of partitions that the metadata no longer has.
    pub(crate) fn forget_offline(&self, ids: &BTreeMap<&TopicPartition, Uuid>) {
        self.lock_offline().retain(|place, it| ids.get(place) == Some(&it.topic_id));
    }
}
