//! A partition's progress: its log end, high watermark and other offsets, as a watched value.
//!
//! The owner publishes, all others read or wait. A wait is a registration with a waker, so
//! an append wakes exactly the tasks that wait for it, on whichever thread they are.

use ottla_locks::Mutex;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use ottla_types::{ErrorCode, LeaderEpoch, NO_EPOCH, Offset};

/// The ends of a partition, as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The first offset that may still be read.
    pub log_start: Offset,
    /// Where the next record goes.
    pub log_end: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// Everything below belongs to no open transaction.
    pub last_stable: Offset,
    /// The epoch of the leader that wrote this.
    pub leader_epoch: LeaderEpoch,
    /// Does this node lead the partition now?
    pub leading: bool,
}

impl Ends {
    /// Does each end lie where the others allow it? Readers stop at the last stable offset or at
    /// the high watermark, and count on both being in the log.
    pub(crate) const fn are_in_order(&self) -> bool {
        self.log_start <= self.last_stable
            && self.last_stable <= self.high_watermark
            && self.high_watermark <= self.log_end
    }

    /// Does a client that knows leader epoch `epoch` (-1: it does not say) mean this leader?
    ///
    /// # Errors
    /// The client's leader epoch is older or newer.
    pub(crate) fn fence(self, epoch: LeaderEpoch) -> Result<(), EpochRefused> {
        if epoch != NO_EPOCH && epoch < self.leader_epoch {
            return Err(EpochRefused::Older);
        }
        if epoch > self.leader_epoch {
            return Err(EpochRefused::Newer);
        }
        if self.leading { Ok(()) } else { Err(EpochRefused::NotLeader) }
    }
}

/// Why a client's leader epoch is refused (KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochRefused {
    /// The partition is led elsewhere.
    NotLeader,
    /// The client knows less than this node.
    Older,
    /// The client knows more than this node.
    Newer,
}

impl EpochRefused {
    /// The error code in the answer to the client.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::Older => ErrorCode::FENCED_LEADER_EPOCH,
            Self::Newer => ErrorCode::UNKNOWN_LEADER_EPOCH,
        }
    }
}

/// The watched ends of one partition.
#[derive(Debug, Default)]
pub struct Progress {
    /// Guards the ends, so that they are read together. Published under the owner's lock, read by
    /// any thread; held for a copy.
    ends: Mutex<Ends>,
    /// Guards who waits, by the number of the wait. Taken after `ends` was let go: a wait that
    /// comes in between has registered before it looks at the ends, and so sees the new ones.
    watchers: Mutex<BTreeMap<u64, Arc<ProgressWaiter>>>,
}

impl Progress {
    /// The ends now.
    #[must_use]
    pub fn ends(&self) -> Ends {
        *self.ends.lock()
    }

    /// The ends have moved: wakes the tasks that wait for that.
    pub fn publish(&self, ends: Ends) {
        let before = {
            let mut now = self.ends.lock();
            std::mem::replace(&mut *now, ends)
        };
        if before != ends {
            for watch in self.watchers.lock().values() {
                watch.wake();
            }
        }
    }

    fn register(&self, watch: &Arc<ProgressWaiter>) {
        let mut watchers = self.watchers.lock();
        watchers.insert(watch.id, Arc::clone(watch));
    }

    fn leave(&self, id: u64) {
        self.watchers.lock().remove(&id);
    }

    /// How many wait; for tests and metrics.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.watchers.lock().len()
    }
}

/// One waiter's bell.
#[derive(Debug)]
struct ProgressWaiter {
    id: u64,
    /// Has a partition moved since the last look? Set before `waker` is taken, and looked at after
    /// it is put there, so that no move is missed.
    rung: AtomicBool,
    /// Guards the task to wake; there is one while it waits.
    waker: Mutex<Option<Waker>>,
}

impl ProgressWaiter {
    fn wake(&self) {
        self.rung.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A wait over many partitions. Make it *before* looking at the ends, so that no move is missed;
/// dropping it ends the watch.
#[derive(Debug)]
pub struct Wait {
    watch: Arc<ProgressWaiter>,
    watched: Vec<Arc<Progress>>,
}

static NEXT_WATCH: AtomicU64 = AtomicU64::new(0);

impl Wait {
    /// A wait that watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let id = NEXT_WATCH.fetch_add(1, Ordering::Relaxed);
        let watch = ProgressWaiter { id, rung: AtomicBool::new(false), waker: Mutex::new(None) };
        Self { watch: Arc::new(watch), watched: Vec::new() }
    }

    /// Watches `progress` too.
    pub fn add(&mut self, progress: Arc<Progress>) {
        progress.register(&self.watch);
        self.watched.push(progress);
    }

    /// Waits until any of the partitions has moved since the last call (or since it was added).
    pub async fn moved(&self) {
        poll_fn(|cx| {
            let mut waker = self.watch.waker.lock();
            if self.watch.rung.swap(false, Ordering::SeqCst) {
                return Poll::Ready(());
            }
            *waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        for progress in &self.watched {
            progress.leave(self.watch.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct TestWaker(AtomicUsize);

    impl Wake for TestWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn at(log_end: Offset) -> Ends {
        Ends { log_end, ..Ends::default() }
    }

    #[test]
    fn a_wait_wakes_at_the_first_move_of_any_partition() {
        let (a, b) = (Arc::new(Progress::default()), Arc::new(Progress::default()));
        let mut wait = Wait::new();
        wait.add(Arc::clone(&a));
        wait.add(Arc::clone(&b));
        let bell = Arc::new(TestWaker::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut cx = Context::from_waker(&waker);
        let mut moved = pin!(wait.moved());
        assert!(moved.as_mut().poll(&mut cx).is_pending());
        b.publish(at(5));
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(moved.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn a_move_between_looking_and_waiting_is_not_missed() {
        let progress = Arc::new(Progress::default());
        let mut wait = Wait::new();
        wait.add(Arc::clone(&progress));
        progress.publish(at(1));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(wait.moved()).poll(&mut cx).is_ready());
    }

    #[test]
    fn what_does_not_move_wakes_nobody_and_a_dropped_wait_leaves_nothing() {
        let progress = Arc::new(Progress::default());
        let mut wait = Wait::new();
        wait.add(Arc::clone(&progress));
        progress.publish(Ends::default());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(wait.moved()).poll(&mut cx).is_pending());
        assert_eq!(progress.waiting(), 1);
        drop(wait);
        assert_eq!(progress.waiting(), 0);
    }
}
