//! Background work of partitions, which must not run on serving threads: a partition rings, and a
//! lane of its data directory does the work.

use ottla_clock::{Lane, Ring, Share};
use ottla_locks::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::owner::Needs;

/// What rings: a partition. This room does not know what that is, for a partition holds its bells.
pub(crate) trait Ringer: Clone + Send + 'static {
    /// The share of its data directory.
    fn share(&self) -> Share;

    /// What it has rung for.
    fn rung(&self) -> &Rung;

    /// Makes it durable, on this thread.
    fn make_durable(&self);
}

/// The bells of one node.
#[derive(Debug)]
pub(crate) struct Bells<P> {
    /// Of each data directory, in their order.
    directories: Vec<DirectoryBells<P>>,
    /// Where partitions are made durable, from when on a keeper runs; set once, under `early`.
    syncing: OnceLock<Lane>,
    /// Guards those that rang to be made durable before that.
    early: Mutex<Vec<P>>,
}

/// The bells of one data directory.
#[derive(Debug)]
pub(crate) struct DirectoryBells<P> {
    /// Recovery points are far behind.
    pub flush: Bell<P>,
    /// Cache windows are.
    pub trim: Bell<P>,
    /// Has anything changed since it was last read? It is cleared before the changes are handled: a
    /// change in between sets it again.
    changed: AtomicBool,
}

/// Which bells a partition has rung without an answer yet. Each is taken back before its work
/// begins: what needs it while that runs rings again.
#[derive(Debug, Default)]
pub(crate) struct Rung {
    sync: AtomicBool,
    flush: AtomicBool,
    trim: AtomicBool,
    /// Is a thread making it durable? Then other threads leave the work to it: it checks again at
    /// its end.
    syncing: AtomicBool,
}

impl Rung {
    /// Whether no thread was making the partition durable; the caller does, then.
    pub(crate) fn begin_sync(&self) -> bool {
        !self.syncing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_sync(&self) {
        self.syncing.store(false, Ordering::Release);
    }

    /// What the partition rang for up to now is about to be done.
    pub(crate) fn answer(&self, needs: Needs) {
        let each = [(needs.sync, &self.sync), (needs.flush, &self.flush), (needs.trim, &self.trim)];
        for (is_answered, is_rung) in each {
            if is_answered {
                is_rung.store(false, Ordering::Release);
            }
        }
    }
}

impl<P> DirectoryBells<P> {
    fn new() -> Self {
        Self { flush: Bell::new(), trim: Bell::new(), changed: AtomicBool::new(false) }
    }

    /// Something has changed, or is still to be written down.
    pub(crate) fn set_changed(&self) {
        // Only read as a rule: all appends share it.
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Has anything changed since the last [`DirectoryBells::take_changed`]?
    pub(crate) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Has anything changed since this was last asked?
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }
}

impl<P: Ringer> Bells<P> {
    pub(crate) fn new(directories: usize) -> Self {
        let directories = (0..directories).map(|_| DirectoryBells::new()).collect();
        Self { directories, syncing: OnceLock::new(), early: Mutex::default() }
    }

    /// The bells of the data directory of this number.
    pub(crate) fn of(&self, directory: Share) -> &DirectoryBells<P> {
        &self.directories[directory.0]
    }

    /// Starts the work that the partition needs. The caller may hold its owner's lock.
    pub(crate) fn ring(&self, partition: &P, needs: Needs) {
        let (directory, rung) = (self.of(partition.share()), partition.rung());
        directory.set_changed();
        if needs.sync && !rung.sync.swap(true, Ordering::AcqRel) {
            self.sync(partition.clone());
        }
        let each = [
            (needs.flush, &rung.flush, &directory.flush),
            (needs.trim, &rung.trim, &directory.trim),
        ];
        for (is_needed, is_rung, bell) in each {
            if is_needed && !is_rung.swap(true, Ordering::AcqRel) {
                bell.ring(partition.clone());
            }
        }
    }

    /// At most one such job of a partition waits, as it rings only once until it is answered.
    fn sync(&self, partition: P) {
        if self.syncing.get().is_none() {
            let mut early = self.early.lock();
            // The lane is set while this lock is held.
            if self.syncing.get().is_none() {
                early.push(partition);
                return;
            }
        }
        if let Some(lane) = self.syncing.get() {
            lane.start(partition.share(), move || partition.make_durable());
        }
    }

    /// From now on partitions are made durable when they ring, and first those that have rung.
    pub(crate) fn start_syncing(&self, lane: &Lane) {
        let mut early = self.early.lock();
        // A second keeper goes on with the lane of the first, which is the same.
        let _ = self.syncing.set(lane.clone());
        let rung = std::mem::take(&mut *early);
        drop(early);
        rung.into_iter().for_each(|partition| self.sync(partition));
    }
}

/// One bell: the partitions that have rung, and the task that answers.
#[derive(Debug)]
pub(crate) struct Bell<P> {
    /// Guards those that have rung and are not answered yet.
    waiting: Mutex<Vec<P>>,
    /// The task that answers; set once. Those that rang before wait for its first round.
    ring: OnceLock<Ring>,
}

impl<P> Bell<P> {
    const fn new() -> Self {
        Self { waiting: Mutex::new(Vec::new()), ring: OnceLock::new() }
    }

    fn ring(&self, partition: P) {
        self.waiting.lock().push(partition);
        if let Some(ring) = self.ring.get() {
            ring.ring();
        }
    }

    /// From now on this is rung.
    pub(crate) fn answer_by(&self, ring: Ring) {
        let ring = self.ring.get_or_init(|| ring);
        // For those that rang before.
        ring.ring();
    }

    /// The partitions that have rung.
    pub(crate) fn take(&self) -> Vec<P> {
        std::mem::take(&mut *self.waiting.lock())
    }
}
