//! Where one may wait for a disk, or compute for long, without holding up who serves.
//!
//! A node has threads for that; a simulation lets some of its time pass, and does the work inline.
//! Work is given for a [`Share`], as a rule that of a data directory: a disk that hangs takes the
//! threads of its own share and leaves the others theirs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ottla_locks::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::Clock;

type Job = Box<dyn FnOnce() + Send>;

/// After how long without work a thread ends.
const IDLE: Duration = Duration::from_secs(10);
/// The niceness of threads of low priority. Linux gives a thread of niceness 0 about nine times as
/// much of a busy core as one of 10.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// For whom work is done: the number of a data directory, for example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub usize);

/// How much may happen at once.
#[derive(Clone, Copy, Debug)]
pub struct LaneRules {
    /// What its threads are called in `top` and in core dumps.
    pub name: &'static str,
    /// How many threads there are at most; at least 1 counts.
    pub threads_max: usize,
    /// How many of them one share has at most; at least 1 counts.
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
pub struct Lane(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Threads(Arc<Pool>),
    Simulated { clock: Clock, latency_max: Duration },
}

#[derive(Debug)]
struct Pool {
    rules: LaneRules,
    /// What waits for a thread, and what the threads do.
    state: Mutex<State>,
    /// There is a job that may begin.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    shares: BTreeMap<Share, Queue>,
    /// The share that was served last: the next one comes first.
    last: Share,
    threads: usize,
    idle: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.shares.iter();
        let waiting: Vec<_> = shares.map(|(share, q)| (share.0, q.jobs.len(), q.running)).collect();
        f.debug_struct("State")
            .field("shares", &waiting)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl State {
    /// How many jobs could begin if there were threads enough.
    fn startable(&self, share_max: usize) -> usize {
        let room = |queue: &Queue| share_max.saturating_sub(queue.running).min(queue.jobs.len());
        self.shares.values().map(room).sum()
    }

    /// The next job, of the next share that has one and may have another thread.
    fn begin(&mut self, share_max: usize) -> Option<(Share, Job)> {
        let may = |(_, queue): &(&Share, &Queue)| {
            !queue.jobs.is_empty() && queue.running < share_max.max(1)
        };
        let after = self.shares.range(Share(self.last.0.saturating_add(1))..).find(may);
        let share = *after.or_else(|| self.shares.iter().find(may))?.0;
        let queue = self.shares.get_mut(&share)?;
        let job = queue.jobs.pop_front()?;
        queue.running += 1;
        self.last = share;
        Some((share, job))
    }

    fn end(&mut self, share: Share) {
        if let Some(queue) = self.shares.get_mut(&share) {
            queue.running -= 1;
            if queue.running == 0 && queue.jobs.is_empty() {
                self.shares.remove(&share);
            }
        }
    }
}

impl Lane {
    /// Threads; none is started before there is work.
    #[must_use]
    pub fn threads(rules: LaneRules) -> Self {
        let rules = LaneRules {
            threads_max: rules.threads_max.max(1),
            share_max: rules.share_max.max(1),
            ..rules
        };
        let pool = Pool { rules, state: Mutex::default(), ready: Condvar::new() };
        Self(Kind::Threads(Arc::new(pool)))
    }

    /// Work takes a random time up to `latency_max` by the clock, and is done then, inline.
    #[must_use]
    pub fn simulated(clock: &Clock, latency_max: Duration) -> Self {
        Self(Kind::Simulated { clock: clock.clone(), latency_max })
    }

    /// Does the work after all that came before it for the same share has begun; `None` if it
    /// panics. If the caller stops waiting, the work is still done, unless in a simulation.
    pub async fn run<T: Send + 'static>(
        &self,
        share: Share,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match &self.0 {
            Kind::Threads(pool) => {
                let (done, outcome) = oneshot::channel();
                pool.start(
                    share,
                    Box::new(move || {
                        // The caller may have gone away.
                        let _ = done.send(work());
                    }),
                );
                outcome.await.ok()
            }
            Kind::Simulated { clock, latency_max } => {
                let most = u64::try_from(latency_max.as_micros()).unwrap_or(u64::MAX);
                let takes = Duration::from_micros(clock.random_below(most.saturating_add(1)));
                clock.sleep(takes).await;
                Some(work())
            }
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn start(self: &Arc<Self>, share: Share, job: Job) {
        let mut state = self.lock();
        state.shares.entry(share).or_default().jobs.push_back(job);
        let startable = state.startable(self.rules.share_max);
        if state.idle >= startable || state.threads == self.rules.threads_max {
            // Threads that are busy look for the next job by themselves.
            self.ready.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let pool = Arc::clone(self);
        let thread = std::thread::Builder::new().name(self.rules.name.to_owned());
        if thread.spawn(move || pool.work()).is_err() {
            self.start_without_thread();
        }
    }

    /// The system gives no thread: jobs wait for those that there are, or are done by the caller.
    fn start_without_thread(&self) {
        let mut state = self.lock();
        state.threads -= 1;
        if state.threads > 0 {
            return;
        }
        while let Some((share, job)) = state.begin(self.rules.share_max) {
            drop(state);
            job();
            state = self.lock();
            state.end(share);
        }
    }

    /// What a thread does.
    fn work(&self) {
        if self.rules.priority == Priority::Low {
            // Without it the work is done as well; only the neighbours feel it more.
            let _ = lower_priority();
        }
        let mut state = self.lock();
        loop {
            if let Some((share, job)) = state.begin(self.rules.share_max) {
                drop(state);
                // A job that panics has dropped its answer, which its caller sees.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.end(share);
                continue;
            }
            state.idle += 1;
            let (found, timeout) = self.ready.wait_timeout(state, IDLE);
            state = found;
            state.idle -= 1;
            if timeout.timed_out() && state.startable(self.rules.share_max) == 0 {
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
    use crate::{ClockTraits, SimulatedTime};

    fn rules(threads_max: usize, share_max: usize) -> LaneRules {
        LaneRules { name: "test-lane", threads_max, share_max, priority: Priority::Low }
    }

    fn wait<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
    }

    /// Jobs that say when they begin, and end when they are let go.
    struct Gated {
        pool: Arc<Pool>,
        begun: mpsc::SyncSender<usize>,
        begins: mpsc::Receiver<usize>,
        gates: Vec<mpsc::SyncSender<()>>,
    }

    impl Gated {
        fn new(rules: LaneRules) -> Self {
            let Lane(Kind::Threads(pool)) = Lane::threads(rules) else { panic!("threads") };
            let (begun, begins) = mpsc::sync_channel(16);
            Self { pool, begun, begins, gates: Vec::new() }
        }

        fn start(&mut self, share: usize) {
            let (open, gate) = mpsc::sync_channel(1);
            let (begun, name) = (self.begun.clone(), self.gates.len());
            self.pool.start(
                Share(share),
                Box::new(move || {
                    begun.send(name).expect("listened to");
                    gate.recv().expect("opened");
                }),
            );
            self.gates.push(open);
        }

        fn begun(&self, count: usize) -> Vec<usize> {
            let mut names: Vec<_> = self.begins.iter().take(count).collect();
            names.sort_unstable();
            names
        }

        fn let_go(&self, name: usize) {
            self.gates[name].send(()).expect("a job waits");
        }
    }

    #[test]
    fn as_many_jobs_run_at_once_as_there_may_be_threads() {
        let mut lane = Gated::new(rules(2, 2));
        (0..3).for_each(|_| lane.start(0));
        assert_eq!(lane.begun(2), [0, 1]);
        assert_eq!(lane.pool.lock().threads, 2);
        lane.let_go(0);
        assert_eq!(lane.begun(1), [2]);
        lane.let_go(1);
        lane.let_go(2);
    }

    #[test]
    fn a_share_that_hangs_leaves_the_others_their_threads() {
        let mut lane = Gated::new(rules(3, 2));
        (0..5).for_each(|_| lane.start(7));
        assert_eq!(lane.begun(2), [0, 1]);
        lane.start(8);
        assert_eq!(lane.begun(1), [5], "the third thread is not for what hangs");
        lane.start(9);
        lane.let_go(5);
        assert_eq!(lane.begun(1), [6]);
        (0..2).chain([6]).for_each(|name| lane.let_go(name));
        assert_eq!(lane.begun(2), [2, 3]);
        (2..4).for_each(|name| lane.let_go(name));
        assert_eq!(lane.begun(1), [4]);
        lane.let_go(4);
    }

    #[test]
    fn a_job_that_panics_answers_and_costs_no_thread() {
        let lane = Lane::threads(rules(1, 1));
        let broken = wait(lane.run(Share(0), || panic!("expected")));
        let whole = wait(lane.run(Share(0), || 7));
        assert_eq!((broken, whole), (None::<()>, Some(7)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_of_low_priority_are_nice() {
        let niceness = || rustix::process::getpriority_process(None).expect("a priority");
        let own = niceness();
        let low = Lane::threads(rules(1, 1));
        assert_eq!(wait(low.run(Share(0), niceness)), Some(NICENESS));
        let normal = Lane::threads(LaneRules { priority: Priority::Normal, ..rules(1, 1) });
        assert_eq!(wait(normal.run(Share(0), niceness)), Some(own));
        assert_eq!(niceness(), own);
    }

    #[test]
    fn simulated_work_takes_simulated_time() {
        let time = SimulatedTime::new();
        let clock = Clock::simulated(&time, ClockTraits { wall_ms: 0, drift_ppm: 0, seed: 3 });
        let lane = Lane::simulated(&clock, Duration::from_millis(20));
        let mut work = std::pin::pin!(lane.run(Share(0), || 5));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(work.as_mut().poll(&mut context).is_pending());
        let done = time.next_deadline().expect("it waits");
        assert!(done <= Duration::from_millis(20), "{done:?}");
        time.advance_to(done);
        assert_eq!(work.as_mut().poll(&mut context), std::task::Poll::Ready(Some(5)));
    }
}
