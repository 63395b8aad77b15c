//! Work that must not run where records are served: a partition rings, a keeper's thread comes.

use ottla_locks::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::owner::Needs;
use crate::partition::Partition;

/// The bells of one node.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// Records are waited for to be durable.
    pub sync: Bell,
    /// Recovery points are far behind.
    pub flush: Bell,
    /// Cache windows are.
    pub trim: Bell,
    /// Has anything changed since somebody last looked?
    changed: AtomicBool,
}

/// Which bells a partition has rung that nobody has come for.
#[derive(Debug, Default)]
pub(crate) struct Rung {
    sync: AtomicBool,
    flush: AtomicBool,
    trim: AtomicBool,
    /// Is somebody making it durable?
    syncing: AtomicBool,
}

impl Rung {
    /// Whether nobody was making the partition durable; whoever asks is, then.
    pub(crate) fn begin_sync(&self) -> bool {
        !self.syncing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_sync(&self) {
        self.syncing.store(false, Ordering::Release);
    }

    /// Somebody has come for what the partition rang for up to now.
    pub(crate) fn answer(&self, needs: Needs) {
        let each = [(needs.sync, &self.sync), (needs.flush, &self.flush), (needs.trim, &self.trim)];
        for (is_answered, is_rung) in each {
            if is_answered {
                is_rung.store(false, Ordering::Release);
            }
        }
    }
}

impl Bells {
    pub(crate) fn ring(&self, partition: &Partition, needs: Needs) {
        self.set_changed();
        let rung = partition.rung();
        let each = [
            (needs.sync, &rung.sync, &self.sync),
            (needs.flush, &rung.flush, &self.flush),
            (needs.trim, &rung.trim, &self.trim),
        ];
        for (is_needed, is_rung, bell) in each {
            if is_needed && !is_rung.swap(true, Ordering::AcqRel) {
                bell.ring(partition.clone());
            }
        }
    }

    /// Something has changed, or is still to be told of.
    pub(crate) fn set_changed(&self) {
        // Only looked at as a rule: all who append share it.
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Has anything changed that [`Bells::take_changed`] has not told yet?
    pub(crate) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Has anything changed since this was last asked?
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        [&self.sync, &self.flush, &self.trim].into_iter().for_each(Bell::stop);
    }
}

/// One bell: who has rung, and a thread that waits.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waiting: Mutex<Waiting>,
    rings: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    partitions: Vec<Partition>,
    stopped: bool,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    fn ring(&self, partition: Partition) {
        self.lock().partitions.push(partition);
        self.rings.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.rings.notify_all();
    }

    /// Lets everybody wait for so long; returns early only to stop.
    pub(crate) fn rest(&self, duration: Duration) {
        let waiting = self.lock();
        let rested = self.rings.wait_timeout_while(waiting, duration, |waiting| !waiting.stopped);
        drop(rested);
    }

    /// Who has rung; waits for somebody, at most so long. `None` means stop.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<Vec<Partition>> {
        self.wait_for(usize::MAX, at_most)
    }

    /// As [`Bell::wait`], but no more than `count`, for several who share the work.
    pub(crate) fn wait_for(&self, count: usize, at_most: Duration) -> Option<Vec<Partition>> {
        let waiting = self.lock();
        let is_idle = |waiting: &mut Waiting| waiting.partitions.is_empty() && !waiting.stopped;
        let mut waiting = self.rings.wait_timeout_while(waiting, at_most, is_idle);
        if waiting.stopped {
            return None;
        }
        let count = count.min(waiting.partitions.len());
        Some(waiting.partitions.drain(..count).collect())
    }
}
