//! Threads that may wait for a disk, or compute for long, so that serving threads need not.
//!
//! A node has threads for that; a simulation lets some of its time pass, and does the work inline.
//! Work is given for a [`Share`], as a rule that of a data directory: a disk that hangs takes the
//! threads of its own share and leaves the others theirs.
//!
//! The callers bound how much work waits: a caller of [`Lane::run`] that goes away takes work
//! that has not begun with it, and [`Lane::start`] is for work that is given once per partition.

mod pool;
mod queues;
mod simulated;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::Clock;
use crate::task::{Task, TaskId};
use pool::Pool;
use queues::Queues;
use simulated::Simulated;

/// Work that is done once.
type Work = Box<dyn FnOnce() + Send>;

/// What waits for its turn.
enum LaneJob {
    /// Work, by a number that grows.
    Once(u64, Work),
    /// A round of a task.
    Round(TaskId),
}

/// The share of a lane that work belongs to: the number of a data directory, for example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub usize);

/// How much may happen at once.
#[derive(Clone, Copy, Debug)]
pub struct LaneRules {
    /// What its threads are called in `top` and in core dumps.
    pub name: &'static str,
    /// The most threads that the lane has; 0 counts as 1. Tasks run on time while all shares are
    /// busy only if this is one more than the threads of all shares: that one watches the time.
    pub threads_max: usize,
    /// The most threads that one share has; 0 counts as 1.
    pub share_max: usize,
    /// Beside the threads that serve.
    pub priority: Priority,
}

/// What a thread gets of a core for which others wait, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As much as the threads that serve: for work that mostly waits.
    Normal,
    /// What they leave, and a little more: for work that computes.
    Low,
}

/// A lane. Cheap to clone; every clone is the same lane.
#[derive(Clone, Debug)]
pub struct Lane(LaneKind);

#[derive(Clone, Debug)]
enum LaneKind {
    Threads(Arc<Pool>),
    Simulated(Arc<Simulated>),
}

/// Makes a task due. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ring {
    lane: Lane,
    task: TaskId,
}

impl Ring {
    /// Makes the task's next round due now, unless it wants to rest; if it is running, when
    /// its present round ends.
    pub fn ring(&self) {
        match &self.lane.0 {
            LaneKind::Threads(pool) => pool.ring(self.task),
            LaneKind::Simulated(simulated) => simulated.ring(self.task),
        }
    }
}

impl Lane {
    /// Threads; none is started before there is work.
    #[must_use]
    pub fn threads(rules: LaneRules) -> Self {
        Self(LaneKind::Threads(Arc::new(Pool::new(rules))))
    }

    /// A lane for simulations: work takes a random time up to `latency_max` by the clock, and runs
    /// then, inline: in [`Lane::run`] where it is awaited, all other work in [`Lane::drive`].
    #[must_use]
    pub fn simulated(clock: &Clock, latency_max: Duration) -> Self {
        Self(LaneKind::Simulated(Arc::new(Simulated::new(clock.clone(), latency_max))))
    }

    /// Sets how long all work of a share of a simulated lane takes, as on a disk that is slow or
    /// hangs for a while; `None` is a random time again. On threads this has no effect.
    pub fn set_latency(&self, share: Share, latency: Option<Duration>) {
        if let LaneKind::Simulated(simulated) = &self.0 {
            simulated.set_latency(share, latency);
        }
    }

    /// Starts a thread that stays until the lane is stopped, so that work never waits for one to be
    /// made, nor for the system to have one.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn keep_thread(&self) -> io::Result<()> {
        match &self.0 {
            LaneKind::Threads(pool) => pool.keep_thread(),
            LaneKind::Simulated(_) => Ok(()),
        }
    }

    /// Does the work after all that came before it for the same share has begun; `None` if it
    /// panics, or the lane is stopped before it begins. If the caller stops waiting before that,
    /// the work is not done.
    pub async fn run<T: Send + 'static>(
        &self,
        share: Share,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match &self.0 {
            LaneKind::Threads(pool) => {
                let (done, outcome) = oneshot::channel();
                let work = Box::new(move || {
                    // The caller may have gone away.
                    let _ = done.send(work());
                });
                let waiting = pool.enter(share, work)?;
                let outcome = outcome.await.ok();
                waiting.end();
                outcome
            }
            LaneKind::Simulated(simulated) => simulated.run(share, work).await,
        }
    }

    /// Has the work done, and does not wait for it; after [`Lane::stop`] it is not done. It may be
    /// called while locks are held that the work will take.
    pub fn start(&self, share: Share, work: impl FnOnce() + Send + 'static) {
        match &self.0 {
            LaneKind::Threads(pool) => pool.start(share, Box::new(work)),
            LaneKind::Simulated(simulated) => simulated.start(share, Box::new(work)),
        }
    }

    /// Runs a task from now on, until it ends or the lane is stopped.
    pub fn start_task(&self, share: Share, task: Task) -> Ring {
        let task = match &self.0 {
            LaneKind::Threads(pool) => pool.start_task(share, task),
            LaneKind::Simulated(simulated) => simulated.start_task(share, task),
        };
        Ring { lane: self.clone(), task }
    }

    /// Does all of the work and waits for that, in the order in which it is given as far as there
    /// are threads; `None` for what panics. The threads are this call's own, as many as the rules
    /// allow, the caller's being one. In a simulation no time passes.
    pub fn all<T: Send>(&self, work: Vec<(Share, impl FnOnce() -> T + Send)>) -> Vec<Option<T>> {
        match &self.0 {
            LaneKind::Threads(pool) => pool::run_all(&pool.rules, work),
            LaneKind::Simulated(_) => work.into_iter().map(|(_, work)| Some(work())).collect(),
        }
    }

    /// Runs what [`Lane::start`] and [`Lane::start_task`] were given to a simulated lane, when its
    /// time comes, until the lane is stopped; returns at once if the lane has threads.
    pub async fn drive(&self) {
        if let LaneKind::Simulated(simulated) = &self.0 {
            simulated.drive().await;
        }
    }

    /// How many jobs wait for a thread; in a simulation none does.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.0 {
            LaneKind::Threads(pool) => pool.lock().waiting(),
            LaneKind::Simulated(_) => 0,
        }
    }

    /// Stops the lane: what runs is waited for, what waits is not done, nor is what comes later.
    pub fn stop(&self) {
        match &self.0 {
            LaneKind::Threads(pool) => pool.stop(),
            LaneKind::Simulated(simulated) => simulated.stop(),
        }
    }
}

#[cfg(test)]
mod tests;
