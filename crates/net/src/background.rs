//! Threads for work that takes long and may not hold up connections.
//!
//! They have a lower priority than the threads that serve: all cores may compute, and a request
//! that arrives meanwhile is served at once. A thread starts when there is work for it, and ends
//! after a while without.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// After how long without work a thread ends.
const IDLE: Duration = Duration::from_secs(10);
/// The niceness of the threads. The scheduler of Linux gives a thread of niceness 0 about nine
/// times as much of a core as one of 10.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Threads of lower priority.
#[derive(Debug)]
pub struct Background {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    threads_max: usize,
    /// What waits for a thread, and how many threads there are.
    state: Mutex<State>,
    /// A job has come.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { jobs, threads, idle } = self;
        f.debug_struct("State")
            .field("jobs", &jobs.len())
            .field("threads", threads)
            .field("idle", idle)
            .finish()
    }
}

impl Background {
    /// Up to `threads_max` threads, and at least one; none is started yet.
    #[must_use]
    pub fn new(threads_max: usize) -> Self {
        let state = Mutex::default();
        let pool = Pool { threads_max: threads_max.max(1), state, arrived: Condvar::new() };
        Self { pool: Arc::new(pool) }
    }

    /// Does the work on one of the threads, after all that came before it has begun; `None` if it
    /// panics. If the caller stops waiting, the work is still done.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        self.start(Box::new(move || {
            // The caller may have gone away.
            let _ = done.send(work());
        }));
        outcome.await.ok()
    }

    fn start(&self, job: Job) {
        let mut state = self.pool.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() || state.threads == self.pool.threads_max {
            self.pool.arrived.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let pool = Arc::clone(&self.pool);
        let thread = std::thread::Builder::new().name("ottla-background".to_owned());
        if thread.spawn(move || pool.work()).is_err() {
            // The system gives no thread: the jobs go to the others, or are done here.
            let mut state = self.pool.lock();
            state.threads -= 1;
            if state.threads == 0 {
                while let Some(job) = state.jobs.pop_front() {
                    drop(state);
                    job();
                    state = self.pool.lock();
                }
            }
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn work(self: Arc<Self>) {
        // Without it the work is done as well; only the neighbours feel it more.
        let _ = lower_priority();
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // A job that panics has dropped its answer, which its caller sees.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.arrived.wait_timeout(state, IDLE);
            let (found, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = found;
            state.idle -= 1;
            if state.jobs.is_empty() && timeout.timed_out() {
                state.threads -= 1;
                return;
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn as_many_jobs_run_at_once_as_there_may_be_threads() {
        let background = Background::new(2);
        let (arrived, arrivals) = mpsc::sync_channel(3);
        let gates: Vec<_> = (0..3)
            .map(|index| {
                let (open, gate) = mpsc::sync_channel::<()>(1);
                let arrived = arrived.clone();
                background.start(Box::new(move || {
                    arrived.send(index).expect("awaited");
                    gate.recv().expect("opened");
                }));
                open
            })
            .collect();
        let mut first = [arrivals.recv().expect("a job"), arrivals.recv().expect("a job")];
        first.sort_unstable();
        assert_eq!(first, [0, 1]);
        {
            let state = background.pool.lock();
            assert_eq!((state.threads, state.jobs.len()), (2, 1));
        }
        gates[0].send(()).expect("a job waits");
        assert_eq!(arrivals.recv(), Ok(2));
        gates[1].send(()).expect("a job waits");
        gates[2].send(()).expect("a job waits");
    }

    #[test]
    fn a_job_that_panics_answers_and_leaves_room_for_the_next() {
        let background = Background::new(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (broken, whole) = runtime.block_on(async {
            (background.run(|| panic!("expected")).await, background.run(|| 7).await)
        });
        assert_eq!((broken, whole), (None::<()>, Some(7)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_threads_have_a_lower_priority_than_their_starter() {
        let background = Background::new(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let niceness = || rustix::process::getpriority_process(None).expect("a priority");
        let own = niceness();
        assert_eq!(runtime.block_on(background.run(niceness)), Some(NICENESS));
        assert_eq!(niceness(), own);
    }
}
