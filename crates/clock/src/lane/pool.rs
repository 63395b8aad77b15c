//! A lane of threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_locks::{Condvar, Mutex, MutexGuard};

use super::{LaneJob, LaneRules, Priority, Queues, Work};
use crate::task::{Task, TaskId, TaskSchedule};
use crate::{Clock, Share};

/// After how long without work a thread ends.
const IDLE: Duration = Duration::from_secs(10);
/// The niceness of threads of low priority. Linux gives a thread of niceness 0 about nine times as
/// much of a busy core as one of 10.
#[cfg(target_os = "linux")]
pub(super) const NICENESS: i32 = 10;

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) rules: LaneRules,
    clock: Clock,
    /// What waits for a thread, and what the threads do.
    state: Mutex<PoolState>,
    /// There is a job that may begin, a task to watch, or the end.
    ready: Condvar,
}

pub(super) struct PoolState {
    queues: Queues<LaneJob>,
    /// When tasks are due.
    schedule: TaskSchedule,
    jobs_given: u64,
    pub(super) threads: usize,
    idle: usize,
    /// How many threads do not end when there is no work.
    kept: usize,
    handles: Vec<JoinHandle<()>>,
    stopped: bool,
}

impl std::fmt::Debug for PoolState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("queues", &self.queues)
            .field("schedule", &self.schedule)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl PoolState {
    /// How many threads must be idle: for each job that may begin, and to watch the time if a task
    /// is due later.
    fn wanted(&self) -> usize {
        self.queues.startable() + usize::from(self.schedule.next_due().is_some())
    }

    #[cfg(test)]
    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn waiting(&self) -> usize {
        self.queues.waiting()
    }

    fn queue_due_rounds(&mut self, now: Duration) {
        for (share, task) in self.schedule.take_due(now) {
            self.queues.push(share, LaneJob::Round(task));
        }
    }
}

/// Work that waits for its turn: it is taken back if its caller goes away.
pub(super) struct WaitingWork<'a> {
    pool: &'a Pool,
    share: Share,
    number: u64,
    is_done: bool,
}

impl WaitingWork<'_> {
    pub(super) fn end(mut self) {
        self.is_done = true;
    }
}

impl Drop for WaitingWork<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let is_it =
            |job: &LaneJob| matches!(job, LaneJob::Once(number, _) if *number == self.number);
        let taken = self.pool.lock().queues.take_back(self.share, is_it);
        // Not while the lock is held: what it holds may be anything.
        drop(taken);
    }
}

impl Pool {
    pub(super) fn new(rules: LaneRules) -> Self {
        let rules = LaneRules {
            threads_max: rules.threads_max.max(1),
            share_max: rules.share_max.max(1),
            ..rules
        };
        let state = PoolState {
            queues: Queues::new(rules.share_max),
            schedule: TaskSchedule::default(),
            jobs_given: 0,
            threads: 0,
            idle: 0,
            kept: 0,
            handles: Vec::new(),
            stopped: false,
        };
        let (clock, state, ready) = (Clock::real(), Mutex::new(state), Condvar::new());
        Self { rules, clock, state, ready }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock()
    }

    pub(super) fn keep_thread(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.lock();
        state.kept = 1;
        if state.threads > 0 || state.stopped {
            return Ok(());
        }
        self.spawn(&mut state)
    }

    /// Work for a caller that waits; `None` if the lane is stopped.
    pub(super) fn enter(self: &Arc<Self>, share: Share, work: Work) -> Option<WaitingWork<'_>> {
        let number = self.push(share, work)?;
        self.work_without_thread();
        Some(WaitingWork { pool: self, share, number, is_done: false })
    }

    pub(super) fn start(self: &Arc<Self>, share: Share, work: Work) {
        // If the system cannot start a thread, the work waits for one; the lane's owner keeps one.
        let _ = self.push(share, work);
    }

    fn push(self: &Arc<Self>, share: Share, work: Work) -> Option<u64> {
        let mut state = self.lock();
        if state.stopped {
            drop(state);
            drop(work);
            return None;
        }
        state.jobs_given += 1;
        let number = state.jobs_given;
        state.queues.push(share, LaneJob::Once(number, work));
        self.wake(&mut state);
        Some(number)
    }

    pub(super) fn start_task(self: &Arc<Self>, share: Share, task: Task) -> TaskId {
        let mut state = self.lock();
        if state.stopped {
            drop(state);
            drop(task);
            return TaskId::default();
        }
        let now = self.clock.monotonic();
        let id = state.schedule.add(share, task, now);
        state.queue_due_rounds(now);
        self.wake(&mut state);
        id
    }

    pub(super) fn ring(self: &Arc<Self>, task: TaskId) {
        let mut state = self.lock();
        let now = self.clock.monotonic();
        state.schedule.ring(task, now);
        state.queue_due_rounds(now);
        if state.queues.startable() > 0 {
            self.wake(&mut state);
        }
    }

    /// Wakes a thread for a job, and starts one if none is idle for it.
    fn wake(self: &Arc<Self>, state: &mut PoolState) {
        self.ready.notify_one();
        if state.idle < state.wanted() && state.threads < self.rules.threads_max {
            // Without it the job waits for one of those that there are.
            let _ = self.spawn(state);
        }
    }

    fn spawn(self: &Arc<Self>, state: &mut PoolState) -> io::Result<()> {
        let pool = Arc::clone(self);
        let thread = std::thread::Builder::new().name(self.rules.name.to_owned());
        let handle = thread.spawn(move || pool.work())?;
        state.handles.retain(|handle| !handle.is_finished());
        state.handles.push(handle);
        state.threads += 1;
        Ok(())
    }

    /// If the system can start no thread at all, a caller that waits does the work itself.
    fn work_without_thread(self: &Arc<Self>) {
        let mut state = self.lock();
        while state.threads == 0 {
            let Some((share, job)) = state.queues.begin() else { return };
            drop(state);
            self.execute(job);
            state = self.lock();
            state.queues.end(share);
        }
    }

    fn execute(&self, job: LaneJob) {
        match job {
            LaneJob::Once(_, work) => {
                // A job that panics has dropped its answer, which its caller sees.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
            LaneJob::Round(id) => {
                let Some(mut task) = self.lock().schedule.begin(id) else { return };
                let next = catch_unwind(AssertUnwindSafe(|| task.round()));
                let mut state = self.lock();
                match next {
                    Ok(next) => state.schedule.end(id, task, next, self.clock.monotonic()),
                    Err(_) => state.schedule.remove(id),
                }
            }
        }
    }

    /// What a thread does.
    fn work(self: &Arc<Self>) {
        if self.rules.priority == Priority::Low {
            // Without it the work is done as well; only the neighbours feel it more.
            let _ = lower_priority();
        }
        let mut idle_since = self.clock.monotonic();
        let mut state = self.lock();
        while !state.stopped {
            state.queue_due_rounds(self.clock.monotonic());
            if let Some((share, job)) = state.queues.begin() {
                if state.schedule.next_due().is_some() {
                    // The thread that watches the time may not know yet when the next round is due.
                    self.ready.notify_one();
                }
                if state.idle < state.wanted() && state.threads < self.rules.threads_max {
                    // Without it the next job waits for one of those that there are.
                    let _ = self.spawn(&mut state);
                }
                drop(state);
                self.execute(job);
                idle_since = self.clock.monotonic();
                state = self.lock();
                state.queues.end(share);
                continue;
            }
            let now = self.clock.monotonic();
            let due = state.schedule.next_due();
            let is_needed = state.threads <= state.kept || due.is_some() && state.idle == 0;
            if !is_needed && now >= idle_since + IDLE {
                break;
            }
            let rest = due.map_or(IDLE, |due| due.saturating_sub(now).min(IDLE));
            state.idle += 1;
            state = self.ready.wait_timeout(state, rest).0;
            state.idle -= 1;
        }
        state.threads -= 1;
    }

    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let waiting = state.queues.take_all_back();
        let tasks = std::mem::take(&mut state.schedule);
        let handles = std::mem::take(&mut state.handles);
        self.ready.notify_all();
        drop(state);
        // Not while the lock is held: what they hold may be anything.
        drop((waiting, tasks));
        let me = std::thread::current().id();
        for handle in handles.into_iter().filter(|handle| handle.thread().id() != me) {
            // What panics on a thread is caught there.
            let _ = handle.join();
        }
    }
}

/// See [`super::Lane::all`].
pub(super) fn run_all<T: Send, W: FnOnce() -> T + Send>(
    rules: &LaneRules,
    work: Vec<(Share, W)>,
) -> Vec<Option<T>> {
    let mut queues = Queues::new(rules.share_max);
    let mut done: Vec<Option<T>> = Vec::new();
    done.resize_with(work.len(), || None);
    for (at, (share, work)) in work.into_iter().enumerate() {
        queues.push(share, (at, work));
    }
    let helpers = queues.startable().min(rules.threads_max).saturating_sub(1);
    let state = Mutex::new((queues, done));
    let work = || {
        let mut guard = state.lock();
        while let Some((share, (at, work))) = guard.0.begin() {
            drop(guard);
            let outcome = catch_unwind(AssertUnwindSafe(work)).ok();
            guard = state.lock();
            guard.0.end(share);
            guard.1[at] = outcome;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // Without a helper there is less at once.
            let thread = std::thread::Builder::new().name(rules.name.to_owned());
            let _ = thread.spawn_scoped(scope, work);
        }
        work();
    });
    std::mem::take(&mut state.lock().1)
}

#[cfg(target_os = "linux")]
fn lower_priority() -> io::Result<()> {
    // Linux keeps a niceness for each thread; that of no process is that of the calling thread.
    Ok(rustix::process::setpriority_process(None, NICENESS)?)
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() -> io::Result<()> {
    // Elsewhere the niceness is that of the whole process.
    Ok(())
}
