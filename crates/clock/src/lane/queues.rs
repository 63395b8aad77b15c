//! Which job is next: the shares take turns, and none has more jobs running than it may.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::Share;

/// What waits for a thread.
pub(super) struct Queues<J> {
    shares: BTreeMap<Share, Queue<J>>,
    /// The share that was served last: the next one comes first.
    last: Share,
    /// How many jobs of one share may run.
    share_max: usize,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    running: usize,
}

impl<J> fmt::Debug for Queues<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.shares.iter().map(|(share, q)| (share.0, (q.jobs.len(), q.running)));
        f.debug_map().entries(waiting).finish()
    }
}

impl<J> Queues<J> {
    pub(super) const fn new(share_max: usize) -> Self {
        Self { shares: BTreeMap::new(), last: Share(0), share_max }
    }

    pub(super) fn push(&mut self, share: Share, job: J) {
        let empty = || Queue { jobs: VecDeque::new(), running: 0 };
        self.shares.entry(share).or_insert_with(empty).jobs.push_back(job);
    }

    /// How many jobs could begin if there were threads enough.
    pub(super) fn startable(&self) -> usize {
        let room =
            |queue: &Queue<J>| self.share_max.saturating_sub(queue.running).min(queue.jobs.len());
        self.shares.values().map(room).sum()
    }

    /// The next job, of the next share that has one and may have another thread.
    pub(super) fn begin(&mut self) -> Option<(Share, J)> {
        let may = |(_, queue): &(&Share, &Queue<J>)| {
            !queue.jobs.is_empty() && queue.running < self.share_max
        };
        let after = self.shares.range(Share(self.last.0.saturating_add(1))..).find(may);
        let share = *after.or_else(|| self.shares.iter().find(may))?.0;
        let queue = self.shares.get_mut(&share)?;
        let job = queue.jobs.pop_front()?;
        queue.running += 1;
        self.last = share;
        Some((share, job))
    }

    pub(super) fn end(&mut self, share: Share) {
        if let Some(queue) = self.shares.get_mut(&share) {
            queue.running -= 1;
            self.remove_if_empty(share);
        }
    }

    /// Takes back what has not begun, of those of one share that are meant.
    pub(super) fn take_back(&mut self, share: Share, is_meant: impl Fn(&J) -> bool) -> Option<J> {
        let queue = self.shares.get_mut(&share)?;
        let at = queue.jobs.iter().position(is_meant)?;
        let job = queue.jobs.remove(at);
        self.remove_if_empty(share);
        job
    }

    /// Takes back all that has not begun.
    pub(super) fn take_all_back(&mut self) -> Vec<J> {
        self.shares.values_mut().flat_map(|queue| queue.jobs.drain(..)).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.shares.values().map(|queue| queue.jobs.len()).sum()
    }

    fn remove_if_empty(&mut self, share: Share) {
        if self.shares.get(&share).is_some_and(|it| it.running == 0 && it.jobs.is_empty()) {
            self.shares.remove(&share);
        }
    }
}
