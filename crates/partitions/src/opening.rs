//! Opening partitions: where each lies, and what was known of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_storage::{Log, OffsetCheckpoint, Opening, PartitionMetadata, StorageError};
use ottla_types::{Bug, Uuid, is_planted};

use crate::dir::Dir;
use crate::numbers::TopicFlow;
use crate::owner::Owner;
use crate::partition::{Home, Partition};
use crate::partitions::{Assigned, Partitions};

/// Up to how many partitions are opened by one thread.
const OPENED_ALONE_MAX: usize = 16;

impl Partitions {
    /// Opens partitions, on several threads if they are many; in the order of `missing`.
    pub(crate) fn open_all(&self, missing: &[&Assigned]) -> Vec<Result<Partition, StorageError>> {
        let all: Vec<(&Assigned, &Dir)> =
            missing.iter().copied().zip(self.homes(missing)).collect();
        if all.len() < OPENED_ALONE_MAX {
            return all.into_iter().map(|(assigned, home)| self.open(assigned, home)).collect();
        }
        let work = all.into_iter().map(|(assigned, home)| {
            let open = move || self.open(assigned, home);
            (home.share, open)
        });
        let opened = self.lanes.opening(self.dirs.len()).all(work.collect());
        opened.into_iter().map(|it| it.unwrap_or(Err(StorageError::Failed))).collect()
    }

    /// The directories where partitions lie; for those that lie nowhere yet, of those that take new
    /// ones the one with the fewest, the others of `missing` counted. If a crash came between the
    /// two last steps of a move a partition lies in two, which hold the same.
    fn homes(&self, missing: &[&Assigned]) -> Vec<&Dir> {
        if let [only] = &self.dirs[..] {
            return vec![only; missing.len()];
        }
        let mut held: BTreeMap<Uuid, usize> = BTreeMap::new();
        self.each(|it| *held.entry(it.directory()).or_default() += 1);
        let mut home = |assigned: &Assigned| {
            let has = |dir: &&Dir| dir.dir.files().exists(&dir.dir.folder(&assigned.place));
            // The metadata had the move before the new folder was the valid one.
            let there = self.dirs.iter().filter(has).find(|dir| dir.id == assigned.directory);
            let there = there.or_else(|| self.dirs.iter().find(has));
            let emptiest = || {
                let count = |dir: &&Dir| held.get(&dir.id).copied().unwrap_or(0);
                let takes_new = |dir: &&Dir| Some(dir.id) != self.closed_to_new;
                let open = self.online().filter(takes_new).min_by_key(count);
                open.or_else(|| self.dirs.iter().find(takes_new)).or(self.dirs.first())
            };
            let home = there.or_else(emptiest).expect("there is a data directory");
            *held.entry(home.id).or_default() += 1;
            home
        };
        missing.iter().map(|assigned| home(assigned)).collect()
    }

    /// Has the metadata named this partition only since this node runs?
    fn is_news(&self, assigned: &Assigned) -> bool {
        self.is_settled.load(Ordering::Acquire)
            && !self.lock_offline().contains_key(&assigned.place)
    }

    fn open(&self, assigned: &Assigned, home: &Dir) -> Result<Partition, StorageError> {
        if home.trouble.has_failed() {
            return Err(StorageError::Failed);
        }
        let place = &assigned.place;
        let (folder, files) = (home.dir.folder(place), home.dir.files());
        self.set_twins_aside(place, home)?;
        let known = match PartitionMetadata::read(&**files, &folder) {
            // The file of a new topic is corrupt: it cannot be this topic's.
            Err(StorageError::Corrupt { .. }) if self.is_news(assigned) => None,
            read => read?.map(|known| known.topic_id),
        };
        let is_known = known == Some(assigned.topic_id);
        if !is_known && files.exists(&folder) {
            match known {
                // A folder of a topic that had the same name is not this topic's.
                Some(_) => {
                    self.set_aside(home, &folder, place, "it belongs to another topic id")?
                }
                // A topic that was created while the node runs has no folder before it is opened.
                None if self.is_news(assigned) => {
                    self.set_aside(home, &folder, place, "it was there before its topic")?;
                }
                // A power cut came before `partition.metadata` was on the disk.
                None => {}
            }
        }
        let is_new = !is_known && !files.exists(&folder);
        if is_new {
            // What was known of a topic of the same name is not true of this one.
            home.clean.lock().0.remove(place);
        }
        let at = |points: &OffsetCheckpoint| points.0.get(place).copied().unwrap_or(0);
        let mut log = Log::open(Opening {
            files: Arc::clone(files),
            folder: folder.clone(),
            options: assigned.rules.log.clone(),
            clean: home.closed_cleanly || is_new,
            recovery_point: if is_new { 0 } else { at(&home.recovery_points) },
            log_start: if is_new { 0 } else { at(&home.log_starts) },
            has_gaps: assigned.rules.compacted,
            now_ms: self.clock.wall_ms(),
        })?;
        if !is_planted(Bug::WatermarkFalls)
            && assigned.rules.is_durable()
            && log.durable() < log.log_end()
        {
            // What recovery has found was acknowledged, and readers have seen it: they see nothing
            // that is not durable, and no high watermark that falls.
            log.flush()?;
        }
        if !is_known {
            PartitionMetadata { topic_id: assigned.topic_id }.write(&**files, &folder)?;
        }
        let watermark = if is_new { 0 } else { at(&home.high_watermarks) };
        let flow = Arc::new(TopicFlow::new(&self.metrics, &place.topic, Arc::clone(&self.flow)));
        let owner = Owner::new(self.me, log, assigned.rules.clone(), watermark, flow);
        let home = Home { folder, ..home.home() };
        let bells = Arc::clone(&self.bells);
        Ok(Partition::new(place.clone(), assigned.topic_id, home, owner, bells))
    }
}
