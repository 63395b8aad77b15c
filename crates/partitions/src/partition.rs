//! The handle on one partition: append, read, wait.

use ottla_locks::{Mutex, MutexGuard};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_clock::Share;
use ottla_replication::Assignment;
use ottla_storage::{BatchesRead, Log, LogView, ProducerEntry, ReadError, Slice, StorageError};
use ottla_types::{
    Bug, LeaderEpoch, NO_EPOCH, NO_OFFSET, NodeId, Offset, ProducerEpoch, ProducerId, TimestampMs,
    TopicPartition, Uuid, is_planted,
};

use crate::bells::{Bells, Ringer, Rung};
use crate::inspect::Inspected;
use crate::marker::{Guard, Marker};
use crate::numbers::{DiskTimes, TopicFlow};
use crate::owner::{AppendRefusal, AppendResult, AppendedBatch, AssignedWhen, Owner, Terms};
use crate::progress::{Ends, EpochRefused, Progress};
use crate::reading::{Isolation, PartitionRead, PartitionSlice, ReadRefused, ServedFrom};
use crate::rules::{PartitionRules, ThrottledRoles};
use crate::trouble::Trouble;

/// A partition of this node.
#[derive(Clone)]
pub struct Partition(Arc<PartitionInner>);

struct PartitionInner {
    place: TopicPartition,
    topic_id: Uuid,
    /// Replaced as a whole when it moves, in a turn of the owner.
    home: ArcSwap<Home>,
    /// The number of the directory it lies in. Changes with its home; a caller with the old number
    /// has work done by the threads of another disk, once.
    share: AtomicUsize,
    /// Replaced in the same turn; who reads the old one reads files that hold the same.
    view: ArcSwap<LogView>,
    progress: Arc<Progress>,
    /// Guards the owner: one turn at a time, publishing included. `None` once it is closed.
    owner: Mutex<Option<Owner>>,
    bells: Arc<Bells<Partition>>,
    rung: Rung,
    flow: Arc<TopicFlow>,
    /// Is it being copied to another directory? Then no segment is removed or rewritten. The move
    /// sets it and then passes through `cleaning` and `upkeep`: a holder of one of them has seen
    /// it, or the move waits for it.
    moving: AtomicBool,
    /// Has the topic a codec of its own? A batch that comes while that changes is read through in
    /// vain, or in the owner's turn.
    repacks: AtomicBool,
    /// In which roles is it throttled? A fetch that comes while that changes counts as it likes.
    throttled_leader: AtomicBool,
    throttled_follower: AtomicBool,
    /// Guards the files of closed segments: one who changes them at a time. Taken after `cleaning`,
    /// and before the owner's lock.
    upkeep: Mutex<()>,
    /// Guards compaction: one cleaner at a time.
    cleaning: Mutex<()>,
}

/// Where a partition lies.
pub(crate) struct Home {
    /// Its folder.
    pub folder: PathBuf,
    /// The data directory that the folder lies in.
    pub directory: Uuid,
    /// Its number, and so the share of its work in each lane.
    pub share: Share,
    /// What is known of the trouble with that.
    pub trouble: Arc<Trouble>,
    /// How long its disk takes.
    pub disk: Arc<DiskTimes>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({})", self.0.place)
    }
}

/// What it is and where it lies. None of this takes the owner's lock.
impl Partition {
    pub(crate) fn new(
        place: TopicPartition,
        topic_id: Uuid,
        home: Home,
        mut owner: Owner,
        bells: Arc<Bells<Self>>,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        progress.publish(owner.settle());
        let view = owner.log.view();
        let (repacks, throttled) = (owner.rules().compression.is_some(), owner.rules().throttled);
        let (flow, owner) = (owner.flow(), Mutex::new(Some(owner)));
        let (rung, upkeep, cleaning) = (Rung::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(PartitionInner {
            place,
            topic_id,
            share: AtomicUsize::new(home.share.0),
            home: ArcSwap::from_pointee(home),
            view: ArcSwap::from_pointee(view),
            progress,
            owner,
            bells,
            rung,
            flow,
            moving: AtomicBool::new(false),
            repacks: AtomicBool::new(repacks),
            throttled_leader: AtomicBool::new(throttled.as_leader),
            throttled_follower: AtomicBool::new(throttled.as_follower),
            upkeep,
            cleaning,
        }))
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.place.topic
    }

    /// The topic's id.
    #[must_use]
    pub fn topic_id(&self) -> Uuid {
        self.0.topic_id
    }

    /// Which of the topic's partitions.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.0.place.partition
    }

    /// Topic and index.
    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.0.place
    }

    /// Are these two handles on one partition?
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The data directory it lies in.
    #[must_use]
    pub fn directory(&self) -> Uuid {
        self.0.home.load().directory
    }

    /// The share of its data directory in lanes.
    #[must_use]
    pub fn share(&self) -> Share {
        Share(self.0.share.load(Ordering::Relaxed))
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.0.home.load().folder.clone()
    }

    pub(crate) fn disk(&self) -> Arc<DiskTimes> {
        Arc::clone(&self.0.home.load().disk)
    }

    /// How many bytes its segments have.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.view.load().size_bytes()
    }

    /// Is it on its way to another directory?
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.0.moving.load(Ordering::Acquire)
    }
}

/// What appends. Each call takes the owner's lock for one turn, on the thread of its caller; but
/// for the disk's own write none waits for a disk.
impl Partition {
    /// Checks a produced batch and appends it, on this thread.
    ///
    /// # Errors
    /// It breaks a rule, the partition is led elsewhere, or the disk fails; nothing was written.
    pub fn append(&self, batch: &Bytes, terms: &Terms) -> AppendResult {
        self.write(|owner| owner.append(batch, terms, None))
    }

    /// As [`Partition::append`], of a batch that was read through before; it is not read again.
    ///
    /// # Errors
    /// See there.
    pub fn append_inspected(
        &self,
        batch: &Bytes,
        terms: &Terms,
        inspected: Inspected,
    ) -> AppendResult {
        self.write(|owner| owner.append(batch, terms, Some(inspected)))
    }

    /// Appends batches that came together, in one write; `None` if there is something to say about
    /// one of them, so that they must come one by one. Nothing was written then.
    #[must_use]
    pub fn append_together(&self, all: &[&[u8]], terms: &Terms) -> Option<Vec<AppendedBatch>> {
        let home = self.0.home.load();
        if home.trouble.has_failed() {
            return None;
        }
        match self.turn(StorageError::Failed, |owner| owner.append_together(all, terms)) {
            Ok(appended) => appended.inspect(|_| home.trouble.note_room()),
            Err(error) => {
                self.trouble(&error, "append failed");
                None
            }
        }
    }

    /// Ends a producer's transaction here.
    ///
    /// # Errors
    /// Producer or coordinator are fenced, the partition is led elsewhere, or the disk fails.
    pub fn end_transaction(&self, marker: &Marker, now_ms: TimestampMs) -> AppendResult {
        self.write(|owner| owner.end_transaction(marker, now_ms))
    }

    /// Could a coordinator append here now, as far as is known without writing?
    #[must_use]
    pub fn accepts_own(&self) -> bool {
        !self.0.home.load().trouble.has_failed()
            && self.peek(|owner| owner.may_write_own().is_ok()).unwrap_or(false)
    }

    /// Could [`Partition::end_transaction`] be called with this?
    ///
    /// # Errors
    /// Producer or coordinator are fenced, or the partition is led elsewhere.
    pub fn may_end(&self, marker: &Marker) -> Result<(), AppendRefusal> {
        self.peek(|owner| owner.may_end(marker)).unwrap_or(Err(AppendRefusal::NotLeader))
    }

    /// What must be shown to begin a transaction here, after the coordinator was asked; `None` if
    /// the producer's transaction is known here already.
    #[must_use]
    pub fn to_verify(&self, producer: ProducerId, epoch: ProducerEpoch) -> Option<Guard> {
        self.peek(|owner| owner.to_verify(producer, epoch)).flatten()
    }

    /// Are batches stored in another codec than they may come in?
    pub(crate) fn repacks(&self) -> bool {
        self.0.repacks.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&self, turn: impl FnOnce(&mut Owner) -> AppendResult) -> AppendResult {
        if self.0.home.load().trouble.has_failed() {
            return Err(AppendRefusal::Storage(StorageError::Failed));
        }
        let appended = self.turn(AppendRefusal::NotLeader, turn);
        match &appended {
            Ok(_) => self.0.home.load().trouble.note_room(),
            Err(AppendRefusal::Storage(error)) => self.trouble(error, "append failed"),
            Err(_) => {}
        }
        appended
    }
}

/// What reads, and what waits for records to be committed. All of it goes past the owner, by the
/// view and the progress that its last turn has published.
impl Partition {
    /// How far it has come.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.0.progress.ends()
    }

    /// To be waited for.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.0.progress)
    }

    /// Does a client that knows leader epoch `epoch` (-1: it does not say) mean this leader?
    ///
    /// # Errors
    /// It means another.
    pub fn fence(&self, epoch: LeaderEpoch) -> Result<(), EpochRefused> {
        self.ends().fence(epoch, ServedFrom::Leader)
    }

    /// As [`Partition::fence`], of a reader that these replicas may answer.
    ///
    /// # Errors
    /// See there.
    pub fn fence_reader(&self, epoch: LeaderEpoch, served: ServedFrom) -> Result<(), EpochRefused> {
        self.ends().fence(epoch, served)
    }

    /// Whole batches from the one that holds the slice's offset on.
    ///
    /// # Errors
    /// There is no such offset, the partition is led elsewhere, or the disk fails.
    pub fn read(&self, slice: PartitionSlice) -> Result<PartitionRead, ReadRefused> {
        let PartitionSlice { offset, bytes_max, at_least_one, isolation, served } = slice;
        let ends = self.ends();
        if !ends.leading && served == ServedFrom::Leader {
            return Err(ReadRefused::NotLeader);
        }
        if self.0.home.load().trouble.has_failed() {
            return Err(ReadRefused::Storage(StorageError::Failed));
        }
        if !(ends.log_start..=ends.log_end).contains(&offset) {
            return Err(ReadRefused::OutOfRange(offset));
        }
        let upper = match isolation {
            Isolation::Uncommitted if is_planted(Bug::ReadsUndurable) => ends.log_end,
            Isolation::Uncommitted => ends.high_watermark,
            Isolation::Committed if is_planted(Bug::ReadsUncommitted) => ends.high_watermark,
            Isolation::Committed => ends.last_stable,
            Isolation::LogEnd => ends.log_end,
        };
        let slice = Slice { offset, bytes_max, at_least_one, upper };
        let read = self.0.view.load().read_on(slice);
        let BatchesRead { records, next } = read.map_err(|error| match error {
            ReadError::OutOfRange { offset, .. } => ReadRefused::OutOfRange(offset),
            ReadError::Storage(error) => ReadRefused::Storage(error),
        })?;
        let aborted = (isolation == Isolation::Committed).then(|| {
            let aborted = self.view().aborted(offset, upper).into_iter();
            let mut aborted: Vec<_> = aborted.map(|it| (it.producer_id, it.first_offset)).collect();
            // Only those that begin in what is read.
            aborted.retain(|(_, first)| *first < next);
            aborted.sort_by_key(|(_, first)| *first);
            aborted
        });
        Ok(PartitionRead {
            has_more: next < upper && !records.is_empty(),
            records,
            high_watermark: ends.high_watermark,
            last_stable: ends.last_stable,
            log_start: ends.log_start,
            aborted,
        })
    }

    /// Has its disk failed?
    pub(crate) fn has_failed(&self) -> bool {
        self.0.home.load().trouble.has_failed()
    }

    /// Must the disk be waited for to read from `offset` on? Then [`Partitions::warm`] is to be
    /// awaited first.
    ///
    /// [`Partitions::warm`]: crate::Partitions::warm
    #[must_use]
    pub fn is_cold(&self, offset: Offset, bytes: usize) -> bool {
        self.0.view.load().is_cold(offset, bytes)
    }

    /// Waits for the disk, so that the next read from `offset` on need not.
    pub(crate) fn warm(&self, offset: Offset, bytes: usize) {
        // An error comes again, and is reported, at the read itself.
        let _ = self.0.view.load().warm(offset, bytes);
    }

    /// The epoch in which the record at `offset` was or will be written; -1 if it is not known.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> LeaderEpoch {
        self.0.view.load().epoch_of(offset)
    }

    /// The largest epoch up to `epoch` and where it ends; -1s if there is none.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let ends = self.ends();
        if epoch == ends.leader_epoch {
            return (epoch, ends.log_end);
        }
        self.0.view.load().end_of_epoch(epoch).unwrap_or((NO_EPOCH, NO_OFFSET))
    }

    /// Is everything below `end` committed?
    #[must_use]
    pub fn is_committed(&self, end: Offset) -> bool {
        self.ends().high_watermark >= end
    }

    /// So many bytes of it go to a consumer.
    pub fn count_fetched(&self, bytes: usize) {
        self.0.flow.fetched(bytes);
    }

    pub(crate) fn view(&self) -> Arc<LogView> {
        self.0.view.load_full()
    }
}

/// What the metadata says of it: who leads, who is in sync, under which rules. Takes the owner's
/// lock.
impl Partition {
    pub(crate) fn assign(
        &self,
        assignment: Assignment,
        rules: PartitionRules,
        now_ms: u64,
    ) -> Result<AssignedWhen, StorageError> {
        self.0.repacks.store(rules.compression.is_some(), Ordering::Relaxed);
        self.0.throttled_leader.store(rules.throttled.as_leader, Ordering::Relaxed);
        self.0.throttled_follower.store(rules.throttled.as_follower, Ordering::Relaxed);
        self.turn(StorageError::Failed, |owner| Ok(owner.assign(assignment, rules, now_ms)))
    }

    /// The leader, or -1.
    #[must_use]
    pub fn leader(&self) -> NodeId {
        self.lock().as_ref().map_or(-1, |owner| owner.assignment().leader)
    }

    /// In which roles it is throttled (KIP-73).
    #[must_use]
    pub fn throttled(&self) -> ThrottledRoles {
        ThrottledRoles {
            as_leader: self.0.throttled_leader.load(Ordering::Relaxed),
            as_follower: self.0.throttled_follower.load(Ordering::Relaxed),
        }
    }

    /// Is this broker's replica in sync, as far as the metadata says?
    #[must_use]
    pub fn is_in_sync(&self, broker: NodeId) -> bool {
        self.peek(|owner| owner.assignment().in_sync.contains(&broker)).unwrap_or(false)
    }

    /// What its topic's settings mean to it.
    #[must_use]
    pub fn rules(&self) -> PartitionRules {
        self.lock().as_ref().map(|owner| owner.rules().clone()).unwrap_or_default()
    }
}

/// What maintains it, on lanes. Files change under the guards of `upkeep` and `cleaning`; the
/// owner's lock is taken only for the turns at the beginning and at the end, so that appends go on
/// between.
impl Partition {
    /// The disk has not done what it should.
    pub(crate) fn trouble(&self, error: &StorageError, what: &str) {
        self.0.home.load().trouble.tell(&self.0.place, error, what);
    }

    pub(crate) fn begin_upkeep(&self) -> MutexGuard<'_, ()> {
        self.0.upkeep.lock()
    }

    pub(crate) fn try_upkeep(&self) -> Option<MutexGuard<'_, ()>> {
        self.0.upkeep.try_lock()
    }

    pub(crate) fn begin_cleaning(&self) -> MutexGuard<'_, ()> {
        self.0.cleaning.lock()
    }

    pub(crate) fn begin_move(&self) {
        self.0.moving.store(true, Ordering::Release);
    }

    pub(crate) fn end_move(&self) {
        self.0.moving.store(false, Ordering::Release);
    }

    /// Puts another log in the place of this one, which has the same records in another folder.
    /// Writers wait meanwhile, and then find the new log; so do the next readers.
    pub(crate) fn replace(
        &self,
        make: impl FnOnce(&mut Owner) -> Result<(Log, Home), StorageError>,
    ) -> Result<(), StorageError> {
        self.turn(StorageError::Failed, |owner| {
            let (log, home) = make(owner)?;
            self.0.view.store(Arc::new(log.view()));
            self.0.share.store(home.share.0, Ordering::Relaxed);
            self.0.home.store(Arc::new(home));
            owner.log = log;
            Ok(())
        })
    }

    /// Records below `offset` may no longer be read.
    ///
    /// # Errors
    /// The disk fails.
    pub fn delete_before(&self, offset: Offset) -> Result<Offset, StorageError> {
        self.turn(StorageError::Failed, |owner| {
            owner.log.advance_log_start(offset);
            Ok(owner.log.log_start())
        })
    }

    pub(crate) fn recovery_point(&self) -> Option<Offset> {
        self.lock().as_ref().map(|owner| owner.log.recovery_point())
    }

    /// The producers it remembers.
    #[must_use]
    pub fn producers(&self) -> Vec<(ProducerId, ProducerEntry)> {
        self.lock().as_ref().map(|owner| owner.log.producers()).unwrap_or_default()
    }

    pub(crate) fn take_owner(&self) -> Option<Owner> {
        let owner = self.lock().take();
        if owner.is_some() {
            self.0.progress.publish(Ends { leading: false, ..self.ends() });
        }
        owner
    }

    /// Ends it for good; no other thread uses its folder while the guards are held, nor later.
    pub(crate) fn retire(&self) -> [MutexGuard<'_, ()>; 2] {
        drop(self.take_owner());
        [self.begin_cleaning(), self.begin_upkeep()]
    }
}

/// What rings its data directory's bells.
impl Ringer for Partition {
    fn share(&self) -> Share {
        Self::share(self)
    }

    fn rung(&self) -> &Rung {
        &self.0.rung
    }

    fn make_durable(&self) {
        if let Err(error) = self.sync() {
            self.trouble(&error, "records cannot be made durable");
        }
    }
}

/// The owner's turns, which all of the above is made of.
impl Partition {
    /// Runs a turn of the owner, then publishes the new ends and rings for what it needs.
    pub(crate) fn turn<T, E>(
        &self,
        closed: E,
        turn: impl FnOnce(&mut Owner) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut owner = self.lock();
        let Some(owner) = owner.as_mut() else { return Err(closed) };
        let done = turn(owner);
        let needs = owner.needs();
        self.0.progress.publish(owner.settle());
        self.0.bells.ring(self, needs);
        done
    }

    /// Looks at the owner; `None` if there is none any more.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Owner) -> T) -> Option<T> {
        self.lock().as_ref().map(look)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Owner>> {
        self.0.owner.lock()
    }
}
