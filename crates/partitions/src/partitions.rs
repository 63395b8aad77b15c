//! All partitions of this node: find, open, close, reconcile with what the metadata says.

use ottla_locks::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ottla_clock::{Clock, Share};
use ottla_metrics::Metrics;
use ottla_replication::Assignment;
use ottla_storage::{CleanShutdown, DataDir, StorageError};
use ottla_types::{NodeId, Offset, PartitionIndex, TopicPartition, Uuid};
use tokio::sync::Notify;

use crate::bells::Bells;
use crate::dir::{Dir, Directory, FoundDir, remove_folder};
use crate::index::Index;
use crate::lanes::Lanes;
use crate::moves::Moving;
use crate::numbers::Flow;
use crate::owner::AssignedWhen;
use crate::partition::Partition;
use crate::rules::PartitionRules;
use crate::strays::OfflineSet;

/// What the metadata says of one partition of this node.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Topic and index.
    pub place: TopicPartition,
    /// The topic's id.
    pub topic_id: Uuid,
    /// In which of this node's directories it lies, if the metadata says; zero if not.
    pub directory: Uuid,
    /// Leader and in-sync replicas.
    pub assignment: Assignment,
    /// What the topic's settings mean.
    pub rules: PartitionRules,
}

/// A data directory that is being closed.
struct DirClosing<'a> {
    dir: &'a Dir,
    all: Vec<Partition>,
    /// What has come of it so far.
    done: Result<(), StorageError>,
}

/// All partitions of this node.
#[derive(Debug)]
pub struct Partitions {
    pub(crate) me: NodeId,
    pub(crate) clock: Clock,
    /// Replaced as a whole, by who holds `changing`.
    index: ArcSwap<Index>,
    pub(crate) dirs: Vec<Dir>,
    /// The directory that no new partition is placed in.
    pub(crate) closed_to_new: Option<Uuid>,
    /// Guards changes of the set and of where partitions lie: one at a time.
    pub(crate) changing: Mutex<()>,
    /// Guards what is on its way to another directory, and where to.
    pub(crate) moves: Mutex<BTreeMap<TopicPartition, Moving>>,
    /// Held while a move is carried out: one at a time.
    pub(crate) mover: Mutex<()>,
    pub(crate) bells: Arc<Bells<Partition>>,
    pub(crate) lanes: Lanes,
    pub(crate) metrics: Metrics,
    /// What goes in and out of all topics; it stays when they go.
    pub(crate) flow: Arc<Flow>,
    /// Guards the list of what could not be opened.
    pub(crate) offline: Mutex<OfflineSet>,
    /// Has the metadata been taken in once? What it names from then on is new to the disks. Written
    /// and read under `changing`.
    pub(crate) is_settled: AtomicBool,
    /// Did the last metadata find logs that were being truncated, so that it counts for them only
    /// afterwards? Written under `changing`.
    are_deferred: AtomicBool,
    /// Has there been a partition whose topic has a codec of its own? It is only ever set; who sees
    /// it late lets the partition's own turn read the batch through.
    repacks: AtomicBool,
    /// Notified when a directory has failed.
    failures: Arc<Notify>,
}

impl Partitions {
    /// The partitions in `dirs`; none is open yet. `clean` says of each directory whether its
    /// logs were closed cleanly.
    ///
    /// # Errors
    /// A checkpoint cannot be read.
    pub fn new(
        me: NodeId,
        clock: Clock,
        dirs: Vec<(DataDir, Uuid, bool)>,
    ) -> Result<Self, StorageError> {
        let (failures, metrics) = (Arc::<Notify>::default(), Metrics::default());
        let open = |(number, (dir, id, closed_cleanly)): (usize, (DataDir, Uuid, bool))| {
            let found = FoundDir { dir, id, closed_cleanly };
            Dir::open(found, Share(number), &metrics, &clock, &failures)
        };
        let dirs: Vec<Dir> =
            dirs.into_iter().enumerate().map(open).collect::<Result<_, StorageError>>()?;
        let index = ArcSwap::default();
        let (changing, bells) = (Mutex::new(()), Arc::new(Bells::new(dirs.len())));
        let lanes = Lanes::threads(dirs.len());
        let (moves, mover) = (Mutex::default(), Mutex::default());
        let (offline, is_settled) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self {
            me,
            clock,
            index,
            dirs,
            closed_to_new: None,
            changing,
            moves,
            mover,
            bells,
            lanes,
            flow: Arc::new(Flow::new(&metrics, None)),
            metrics,
            offline,
            is_settled,
            are_deferred: AtomicBool::new(false),
            repacks: AtomicBool::new(false),
            failures,
        })
    }

    /// Waits for disks on these lanes, a simulation's, instead of on threads. To be called before
    /// anything else.
    #[must_use]
    pub fn on_lanes(self, lanes: Lanes) -> Self {
        Self { lanes, ..self }
    }

    /// Places no new partition in this directory, as it is one for the metadata log
    /// (`metadata.log.dir`); those that lie there stay.
    #[must_use]
    pub fn with_closed(self, directory: Option<Uuid>) -> Self {
        Self { closed_to_new: directory, ..self }
    }

    /// Waits for the disk, so that the next read of the partition from `offset` on need not; other
    /// reads of its directory may have to be waited for.
    pub async fn warm(&self, partition: &Partition, offset: Offset, bytes: usize) {
        let read = partition.clone();
        let warmed = self.lanes.reading.run(partition.share(), move || read.warm(offset, bytes));
        if warmed.await.is_none() {
            tracing::error!(
                partition = %partition.name(),
                offset,
                "background read from disk was cancelled; the fetch waits for the disk itself"
            );
        }
    }

    /// The partition, if it is here.
    #[must_use]
    pub fn find(&self, topic: &str, index: PartitionIndex) -> Option<Partition> {
        self.index.load().find(topic, index).cloned()
    }

    /// May there be a partition whose topic stores batches in a codec of its own? Once there was
    /// one, there may be.
    #[must_use]
    pub fn may_repack(&self) -> bool {
        self.repacks.load(Ordering::Relaxed)
    }

    /// Is [`Partitions::reconcile`] to be called again soon, because some logs were being
    /// truncated?
    #[must_use]
    pub fn has_deferred(&self) -> bool {
        self.are_deferred.load(Ordering::Acquire)
    }

    /// The partition of the topic with this id, if it is here.
    #[must_use]
    pub fn find_by_id(&self, topic: Uuid, index: PartitionIndex) -> Option<Partition> {
        self.index.load().find_by_id(topic, index).cloned()
    }

    /// All partitions of a topic that are here.
    #[must_use]
    pub fn of_topic(&self, topic: &str) -> Vec<Partition> {
        self.index.load().of_topic(topic).cloned().collect()
    }

    /// All partitions, by topic and index.
    #[must_use]
    pub fn all(&self) -> Vec<Partition> {
        self.index.load().iter().cloned().collect()
    }

    /// The partitions in a data directory, by topic and index.
    pub(crate) fn all_in(&self, dir: &Dir) -> Vec<Partition> {
        self.index.load().iter().filter(|it| it.directory() == dir.id).cloned().collect()
    }

    pub(crate) fn each(&self, look: impl FnMut(&Partition)) {
        self.index.load().iter().for_each(look);
    }

    /// The directory that a partition lies in.
    pub(crate) fn home_of(&self, partition: &Partition) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.id == partition.directory())
    }

    /// What is here now, as one picture.
    pub(crate) fn index(&self) -> Arc<Index> {
        self.index.load_full()
    }

    pub(crate) fn bells(&self) -> &Bells<Partition> {
        &self.bells
    }

    /// The data directories; one for the metadata log is none, unless partitions lie there.
    #[must_use]
    pub fn directories(&self) -> Vec<Directory> {
        let has_partitions = |id| self.all().iter().any(|it| it.directory() == id);
        let all = self.dirs.iter().map(Dir::shown);
        all.filter(|it| Some(it.id) != self.closed_to_new || has_partitions(it.id)).collect()
    }

    /// Makes the set of partitions what the metadata says. What is new is opened, what is gone is
    /// removed with its folder; may take long, so it is not for a serving thread.
    ///
    /// Returns what could not be opened, and why, where that is news; the others are open.
    pub fn reconcile(&self, wanted: &[Assigned]) -> Vec<(TopicPartition, StorageError)> {
        let _changing = self.changing.lock();
        let mut next = Index::clone(&self.index.load());
        let mut failed = Vec::new();
        let ids: BTreeMap<&TopicPartition, Uuid> =
            wanted.iter().map(|assigned| (&assigned.place, assigned.topic_id)).collect();
        self.forget_offline(&ids);
        let stays = |it: &Partition| ids.get(it.name()) == Some(&it.topic_id());
        let gone = next.take_all_but(stays);
        self.remove_all(&gone, &mut next);
        let here = |assigned: &Assigned| {
            next.find(&assigned.place.topic, assigned.place.partition).cloned()
        };
        let given_up = self.given_up();
        let wanted: Vec<&Assigned> =
            wanted.iter().filter(|it| !given_up.contains(&it.place)).collect();
        let missing: Vec<&Assigned> =
            wanted.iter().copied().filter(|it| here(it).is_none()).collect();
        if wanted.iter().any(|it| it.rules.compression.is_some()) {
            self.repacks.store(true, Ordering::Relaxed);
        }
        let mut opened = self.open_all(&missing).into_iter();
        let all: Vec<_> = wanted
            .iter()
            .map(|assigned| match here(assigned) {
                Some(partition) => Ok(partition),
                None => opened.next().unwrap_or(Err(StorageError::Failed)),
            })
            .collect();
        let now_ms = self.clock.monotonic_ms();
        let mut are_deferred = false;
        for (assigned, opened) in wanted.iter().copied().zip(all) {
            let place = &assigned.place;
            let assign = |partition: &Partition| {
                let (assignment, rules) = (assigned.assignment.clone(), assigned.rules.clone());
                partition.assign(assignment, rules, now_ms)
            };
            match opened.and_then(|partition| assign(&partition).map(|when| (partition, when))) {
                Ok((partition, when)) => {
                    are_deferred |= when == AssignedWhen::Truncated;
                    next.insert(partition);
                    if self.lock_offline().remove(place).is_some() {
                        tracing::info!(partition = %place, "partition is online again");
                    }
                }
                Err(error) => failed.push((assigned, error)),
            }
        }
        let compacted = wanted.iter().copied().filter(|it| it.rules.compaction.is_some());
        next.set_compacted(compacted.map(|it| &it.place));
        self.publish(&mut next);
        self.is_settled.store(true, Ordering::Release);
        self.are_deferred.store(are_deferred, Ordering::Release);
        self.note_offline(failed)
    }

    /// Removes what is gone, before anything is opened: a new topic may have the name, and so the
    /// folder, of an old one.
    fn remove_all(&self, gone: &[Partition], next: &mut Index) {
        if gone.is_empty() {
            return;
        }
        self.publish(next);
        for partition in gone {
            if let Err(error) = self.remove(partition) {
                tracing::error!(
                    partition = %partition.name(),
                    %error,
                    "folder of a deleted partition cannot be removed; the next start does it"
                );
            }
        }
        // A power cut must not bring back what a new topic of the same name would take for its own.
        for dir in self.online() {
            if let Err(error) = dir.dir.files().sync_dir(dir.dir.path()) {
                let directory = dir.dir.path().display();
                tracing::error!(
                    %directory,
                    %error,
                    "directory sync failed; deleted partitions may come back after a power cut"
                );
            }
        }
    }

    /// Publishes the index of the partitions that are here.
    fn publish(&self, next: &mut Index) {
        next.settle();
        self.index.store(Arc::new(next.clone()));
    }

    fn remove(&self, partition: &Partition) -> Result<(), StorageError> {
        let _alone = partition.retire();
        let Some(home) = self.home_of(partition) else { return Ok(()) };
        remove_folder(&**home.dir.files(), &partition.folder(), partition.topic_id())
    }

    /// Removes what deletions that a crash interrupted have left. Stray folders stay.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn sweep(&self) -> Result<(), StorageError> {
        for dir in &self.dirs {
            for folder in dir.dir.deleted()? {
                let removed = dir.dir.files().remove_dir(&folder);
                removed.map_err(|source| StorageError::Io { path: folder, source })?;
            }
        }
        Ok(())
    }

    /// The directories that have not failed.
    pub(crate) fn online(&self) -> impl Iterator<Item = &Dir> {
        self.dirs.iter().filter(|dir| !dir.trouble.has_failed())
    }

    /// Closes every log so that the next start need not recover them, and marks that in each
    /// directory; one that could not be closed is marked as unclean.
    ///
    /// # Errors
    /// The first that a file system refused.
    pub fn close(&self, broker_epoch: i64) -> Result<(), StorageError> {
        let _changing = self.changing.lock();
        // One that fails keeps no other from being closed.
        let mut closing: Vec<_> = self
            .online()
            .map(|dir| DirClosing { dir, all: self.all_in(dir), done: Ok(()) })
            .collect();
        self.close_step(&mut closing, Partition::flush);
        for it in closing.iter_mut().filter(|it| it.done.is_ok()) {
            it.done = self.checkpoint_dir(it.dir);
        }
        self.close_step(&mut closing, |partition| match partition.take_owner() {
            Some(owner) => owner.log.close_clean().map(drop),
            None => Ok(()),
        });
        // Everything is durable before the mark says so.
        let mark = |DirClosing { dir, done, .. }| {
            done?;
            dir.dir.mark_clean_shutdown(CleanShutdown { broker_epoch })
        };
        closing.into_iter().map(mark).fold(Ok(()), Result::and)
    }

    /// Does one step of closing for all partitions, several at once; each waits for its disk.
    fn close_step(
        &self,
        closing: &mut [DirClosing<'_>],
        step: impl Fn(&Partition) -> Result<(), StorageError> + Sync,
    ) {
        let step = &step;
        let open = || closing.iter().filter(|it| it.done.is_ok());
        let of_dir = |it: &DirClosing<'_>| it.all.len();
        let counts: Vec<usize> = open().map(of_dir).collect();
        let work = open().flat_map(|DirClosing { dir, all, .. }| {
            let share = dir.share;
            all.iter().map(move |partition| (share, move || step(partition)))
        });
        let done = self.lanes.closing(self.dirs.len()).all(work.collect());
        let mut done = done.into_iter().map(|it| it.unwrap_or(Err(StorageError::Failed)));
        let open = closing.iter_mut().filter(|it| it.done.is_ok());
        for (it, count) in open.zip(counts) {
            it.done = done.by_ref().take(count).fold(Ok(()), Result::and);
        }
    }

    /// The data directories that have failed since the start.
    #[must_use]
    pub fn failed_directories(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.trouble.has_failed()).map(|dir| dir.id).collect()
    }

    /// Returns when more than so many data directories have failed.
    pub async fn more_failed_than(&self, known: usize) {
        self.failures_until(|| self.failed_directories().len() > known).await;
    }

    /// Returns when every data directory has failed: then there is nothing left to serve.
    pub async fn all_failed(&self) {
        self.failures_until(|| self.online().next().is_none()).await;
    }

    /// Returns when it is so; it is looked at after each failure of a directory.
    async fn failures_until(&self, is_so: impl Fn() -> bool) {
        loop {
            let told = self.failures.notified();
            if is_so() {
                return;
            }
            told.await;
        }
    }
}
