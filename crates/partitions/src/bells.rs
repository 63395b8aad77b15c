//! Background work of partitions, which must not run on serving threads: a partition rings, and a
//! lane of its data directory does the work.

use ottla_clock::{Lane, Ring, Share};
use ottla_locks::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::owner::Needs;
use crate::partition::Partition;

/// The bells of one node.
#[derive(Debug)]
pub(crate) struct Bells {
    /// Of each data directory, in their order.
    directories: Vec<DirectoryBells>,
    /// Where partitions are made durable, from when on a keeper runs.
    syncing: OnceLock<Lane>,
    /// Those that rang to be made durable before that.
    early: Mutex<Vec<Partition>>,
}

/// The bells of one data directory.
#[derive(Debug, Default)]
pub(crate) struct DirectoryBells {
    /// Recovery points are far behind.
    pub flush: Bell,
    /// Cache windows are.
    pub trim: Bell,
    /// Has anything changed since this was last asked?
    changed: AtomicBool,
}

/// Which bells a partition has rung without an answer yet.
#[derive(Debug, Default)]
pub(crate) struct Rung {
    sync: AtomicBool,
    flush: AtomicBool,
    trim: AtomicBool,
    /// Is a thread making it durable?
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

impl DirectoryBells {
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

impl Bells {
    pub(crate) fn new(directories: usize) -> Self {
        let directories = (0..directories).map(|_| DirectoryBells::default()).collect();
        Self { directories, syncing: OnceLock::new(), early: Mutex::default() }
    }

    /// The bells of the data directory of this number.
    pub(crate) fn of(&self, directory: Share) -> &DirectoryBells {
        &self.directories[directory.0]
    }

    /// Starts the work that the partition needs. The caller may hold its owner's lock.
    pub(crate) fn ring(&self, partition: &Partition, needs: Needs) {
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
    fn sync(&self, partition: Partition) {
        if self.syncing.get().is_none() {
            let mut early = self.early.lock();
            // The lane is set while this lock is held.
            if self.syncing.get().is_none() {
                early.push(partition);
                return;
            }
        }
        if let Some(lane) = self.syncing.get() {
            lane.start(partition.share(), move || make_durable(&partition));
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

fn make_durable(partition: &Partition) {
    if let Err(error) = partition.sync() {
        partition.trouble(&error, "records cannot be flushed");
    }
}

/// One bell: the partitions that have rung, and the task that answers.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waiting: Mutex<Vec<Partition>>,
    ring: OnceLock<Ring>,
}

impl Bell {
    fn ring(&self, partition: Partition) {
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
    pub(crate) fn take(&self) -> Vec<Partition> {
        std::mem::take(&mut *self.waiting.lock())
    }
}
