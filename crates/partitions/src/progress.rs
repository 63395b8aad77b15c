//! A partition's progress: its log end, high watermark and other offsets, as a watched value.
//!
//! The owner publishes, all others read or wait. A wait is a registration with a waker, so
//! an append wakes exactly the tasks that wait for it, on whichever thread they are: fetches of
//! followers wait for the log's end, those of consumers for what is committed, and producers each
//! for an offset.

use ottla_locks::Mutex;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use ottla_types::{ErrorCode, LeaderEpoch, NO_EPOCH, Offset};

use crate::reading::ServedFrom;

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
    /// Everything below would survive a power cut of this node, as far as that is waited for
    /// (`flush.messages`, `flush.ms`); else the log's end.
    pub durable: Offset,
    /// Where the log of the leader ended when its epoch began, while this node leads; else -1. All
    /// that is committed is known only when the high watermark has come there (KIP-207).
    pub epoch_start: Offset,
    /// Are as many replicas in sync as `min.insync.replicas` asks for, while this node leads?
    pub enough_in_sync: bool,
    /// The lowest log start of all live replicas, while this node leads; -1 if one of them has not
    /// said where its log starts, and while this node follows.
    pub low_watermark: Offset,
}

impl Ends {
    /// Does each end lie where the others allow it? Readers stop at the last stable offset or at
    /// the high watermark, and count on both being in the log.
    pub(crate) const fn are_in_order(&self) -> bool {
        self.log_start <= self.last_stable
            && self.last_stable <= self.high_watermark
            && self.high_watermark <= self.log_end
    }

    /// Does a client that knows leader epoch `epoch` (-1: it does not say) mean this leader, or a
    /// follower of it?
    ///
    /// # Errors
    /// The client's leader epoch is older or newer, or the node that it asks does not lead.
    pub(crate) fn fence(self, epoch: LeaderEpoch, served: ServedFrom) -> Result<(), EpochRefused> {
        if epoch != NO_EPOCH && epoch < self.leader_epoch {
            return Err(EpochRefused::Older);
        }
        if epoch > self.leader_epoch {
            return Err(EpochRefused::Newer);
        }
        if self.leading || served == ServedFrom::AnyReplica {
            Ok(())
        } else {
            Err(EpochRefused::NotLeader)
        }
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

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The high watermark and the last stable offset: what consumers may read.
    Committed,
    /// The log's end and start: what followers copy.
    LogEnd,
    /// The same and the high watermark, up to which followers serve consumers (KIP-392).
    LogEndAndWatermark,
    /// What is durable here.
    Durable,
    /// The low watermark: what all replicas have deleted.
    LowWatermark,
}

impl Interest {
    /// Is this move of the ends one of those that are waited for? A change of the leader always is.
    fn is_met(self, before: &Ends, now: &Ends) -> bool {
        let of_leader = |it: &Ends| (it.leading, it.leader_epoch);
        let of_interest = |ends: &Ends| match self {
            Self::Committed => (ends.high_watermark, ends.last_stable, ends.log_start),
            Self::LogEnd => (ends.log_end, 0, ends.log_start),
            Self::LogEndAndWatermark => (ends.log_end, ends.high_watermark, ends.log_start),
            Self::Durable => (ends.durable, 0, 0),
            Self::LowWatermark => (ends.low_watermark, 0, 0),
        };
        of_leader(before) != of_leader(now) || of_interest(before) != of_interest(now)
    }
}

/// The watched ends of one partition.
#[derive(Debug, Default)]
pub struct Progress {
    /// Guards the ends, so that they are read together. Published under the owner's lock, read by
    /// any thread; held for a copy.
    ends: Mutex<Ends>,
    /// Guards who waits. Taken after `ends` was let go: a wait that comes in between has registered
    /// before it looks at the ends, and so sees the new ones.
    watchers: Mutex<Watchers>,
}

#[derive(Debug, Default)]
struct Watchers {
    /// Waits for a move, by their number.
    moves: BTreeMap<u64, (Interest, Arc<ProgressWaiter>)>,
    /// Waits for the high watermark to come to an offset, by that and their number.
    commits: BTreeMap<(Offset, u64), Arc<ProgressWaiter>>,
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
        if before == ends {
            return;
        }
        let watchers = self.watchers.lock();
        for (interest, watch) in watchers.moves.values() {
            if interest.is_met(&before, &ends) {
                watch.wake();
            }
        }
        let terms = |it: &Ends| (it.leading, it.leader_epoch, it.enough_in_sync);
        let upto = match terms(&before) == terms(&ends) {
            true => ends.high_watermark,
            false => Offset::MAX,
        };
        for (_, watch) in watchers.commits.range(..=(upto, u64::MAX)) {
            watch.wake();
        }
    }

    /// Waits until the high watermark has come to `end`, or the leader or the number of replicas in
    /// sync has changed. Make it *before* looking at the ends, so that no move is missed.
    pub(crate) fn wait_for_commit(self: &Arc<Self>, end: Offset) -> CommitWait {
        let watch = Arc::new(ProgressWaiter::new());
        self.watchers.lock().commits.insert((end, watch.id), Arc::clone(&watch));
        CommitWait { watch, end, progress: Arc::clone(self) }
    }

    fn register(&self, interest: Interest, watch: &Arc<ProgressWaiter>) {
        self.watchers.lock().moves.insert(watch.id, (interest, Arc::clone(watch)));
    }

    fn leave(&self, id: u64) {
        self.watchers.lock().moves.remove(&id);
    }

    /// How many wait; for tests and metrics.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let watchers = self.watchers.lock();
        watchers.moves.len() + watchers.commits.len()
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
    fn new() -> Self {
        let id = NEXT_WATCH.fetch_add(1, Ordering::Relaxed);
        Self { id, rung: AtomicBool::new(false), waker: Mutex::new(None) }
    }

    /// Waits until it was rung since the last call.
    async fn rung(&self) {
        poll_fn(|cx| {
            let mut waker = self.waker.lock();
            if self.rung.swap(false, Ordering::SeqCst) {
                return Poll::Ready(());
            }
            *waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

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
        Self { watch: Arc::new(ProgressWaiter::new()), watched: Vec::new() }
    }

    /// Watches `progress` too, for such moves.
    pub fn add(&mut self, progress: Arc<Progress>, interest: Interest) {
        progress.register(interest, &self.watch);
        self.watched.push(progress);
    }

    /// Waits until any of the partitions has moved since the last call (or since it was added).
    pub async fn moved(&self) {
        self.watch.rung().await;
    }
}

/// A wait for one offset to be committed; dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct CommitWait {
    watch: Arc<ProgressWaiter>,
    end: Offset,
    progress: Arc<Progress>,
}

impl CommitWait {
    /// Waits until the ends are to be looked at again.
    pub async fn moved(&self) {
        self.watch.rung().await;
    }
}

impl Drop for CommitWait {
    fn drop(&mut self) {
        self.progress.watchers.lock().commits.remove(&(self.end, self.watch.id));
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
        wait.add(Arc::clone(&a), Interest::Committed);
        wait.add(Arc::clone(&b), Interest::LogEnd);
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
        wait.add(Arc::clone(&progress), Interest::LogEnd);
        progress.publish(at(1));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(wait.moved()).poll(&mut cx).is_ready());
    }

    #[test]
    fn what_does_not_move_wakes_nobody_and_a_dropped_wait_leaves_nothing() {
        let progress = Arc::new(Progress::default());
        let mut wait = Wait::new();
        wait.add(Arc::clone(&progress), Interest::LogEnd);
        progress.publish(Ends::default());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(wait.moved()).poll(&mut cx).is_pending());
        assert_eq!(progress.waiting(), 1);
        drop(wait);
        assert_eq!(progress.waiting(), 0);
    }

    #[test]
    fn a_wait_for_an_offset_is_woken_when_it_is_committed_and_not_before() {
        let progress = Arc::new(Progress::default());
        let [early, late] = [5, 9].map(|end| progress.wait_for_commit(end));
        let mut cx = Context::from_waker(Waker::noop());
        let is_woken = |wait: &CommitWait, cx: &mut Context<'_>| {
            let mut moved = pin!(wait.moved());
            moved.as_mut().poll(cx).is_ready()
        };
        progress.publish(Ends { high_watermark: 4, log_end: 20, ..Ends::default() });
        assert!(!is_woken(&early, &mut cx));
        progress.publish(Ends { high_watermark: 5, log_end: 20, ..Ends::default() });
        assert!(is_woken(&early, &mut cx) && !is_woken(&late, &mut cx));
        progress.publish(Ends { leader_epoch: 3, high_watermark: 5, ..Ends::default() });
        assert!(is_woken(&early, &mut cx) && is_woken(&late, &mut cx), "another leader");
        drop((early, late));
        assert_eq!(progress.waiting(), 0);
    }

    #[test]
    fn a_consumer_waits_for_commits_and_a_follower_for_appends() {
        let progress = Arc::new(Progress::default());
        let wait = |interest| {
            let mut wait = Wait::new();
            wait.add(Arc::clone(&progress), interest);
            wait
        };
        let [consumer, follower] = [Interest::Committed, Interest::LogEnd].map(wait);
        let mut cx = Context::from_waker(Waker::noop());
        progress.publish(at(7));
        assert!(pin!(consumer.moved()).poll(&mut cx).is_pending());
        assert!(pin!(follower.moved()).poll(&mut cx).is_ready());
        progress.publish(Ends { high_watermark: 7, ..at(7) });
        assert!(pin!(consumer.moved()).poll(&mut cx).is_ready());
        assert!(pin!(follower.moved()).poll(&mut cx).is_pending());
    }
}
