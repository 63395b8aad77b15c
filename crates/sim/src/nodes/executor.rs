//! Runs the tasks of simulated processes on one thread: of those that are ready the next one by
//! chance. Time stands still while a task is ready, and moves to the next timer when none is.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use ottla_clock::SimulatedTime;
use ottla_locks::Mutex;
use ottla_net::threads::{Executor as Executes, Spawner, ThreadJob};

use crate::random::Dice;
use crate::trace::Mixer;

/// How often tasks may be polled while the time stands still, before they count as a loop that
/// never ends.
const POLLS_AT_ONCE_MAX: u64 = 1_000_000;

/// A process of the simulation: it is killed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u32);

/// Which tasks of a process end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorEnds {
    /// All of them.
    All,
    /// Those that serve, as when a node stops cleanly.
    Serving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TaskRole {
    Serving,
    Apart,
}

/// Tasks, and the time that they live in.
pub struct SeededExecutor {
    time: SimulatedTime,
    dice: Dice,
    queue: Arc<ReadyQueue>,
    tasks: BTreeMap<u64, SimTask>,
    tasks_begun: u64,
    polls: u64,
    polls_at_once: u64,
    hash: Mixer,
}

struct SimTask {
    process: Process,
    role: TaskRole,
    future: Pin<Box<dyn Future<Output = ()>>>,
    waking: Arc<Waking>,
}

/// What is about to run. Wakers reach it from anywhere.
#[derive(Debug, Default)]
struct ReadyQueue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By number: in which order one event wakes several tasks is up to what they wait on, and
    /// tokio's `watch` draws that by chances of its own.
    ready: BTreeSet<u64>,
    jobs: Vec<(Process, ThreadJob)>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("ready", &self.ready).finish_non_exhaustive()
    }
}

/// Wakes one task.
struct Waking {
    task: u64,
    /// Is it among those that are ready? Guarded by nothing: all of it happens on one thread.
    is_ready: AtomicBool,
    queue: Arc<ReadyQueue>,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            self.queue.0.lock().ready.insert(self.task);
        }
    }
}

/// Where one process's tasks are started.
#[derive(Debug)]
struct Starts {
    process: Process,
    queue: Arc<ReadyQueue>,
}

impl Executes for Starts {
    fn start(&self, job: ThreadJob) {
        self.queue.0.lock().jobs.push((self.process, job));
    }
}

impl SeededExecutor {
    /// No task yet, at the beginning of time.
    pub fn new(dice: Dice) -> Self {
        Self {
            time: SimulatedTime::new(),
            dice,
            queue: Arc::default(),
            tasks: BTreeMap::new(),
            tasks_begun: 0,
            polls: 0,
            polls_at_once: 0,
            hash: Mixer::default(),
        }
    }

    /// The time.
    pub const fn time(&self) -> &SimulatedTime {
        &self.time
    }

    /// How often tasks were polled.
    pub const fn polls(&self) -> u64 {
        self.polls
    }

    /// The hash of which task was polled when.
    pub fn hash(&self) -> u64 {
        std::hash::Hasher::finish(&self.hash)
    }

    /// How a process starts its tasks here.
    pub fn spawner(&self, process: Process) -> Spawner {
        Spawner::simulated(Arc::new(Starts { process, queue: Arc::clone(&self.queue) }))
    }

    /// Starts a task of a process.
    pub fn start(&mut self, process: Process, future: impl Future<Output = ()> + 'static) {
        self.begin(process, TaskRole::Apart, Box::pin(future));
    }

    fn begin(
        &mut self,
        process: Process,
        role: TaskRole,
        future: Pin<Box<dyn Future<Output = ()>>>,
    ) {
        self.tasks_begun += 1;
        let task = self.tasks_begun;
        let queue = Arc::clone(&self.queue);
        let waking = Arc::new(Waking { task, is_ready: AtomicBool::new(false), queue });
        waking.wake_by_ref();
        self.tasks.insert(task, SimTask { process, role, future, waking });
    }

    /// Ends tasks of a process where they wait.
    pub fn kill(&mut self, process: Process, ends: ExecutorEnds) {
        let is_meant = |owner: Process, role: TaskRole| {
            owner == process && (ends == ExecutorEnds::All || role == TaskRole::Serving)
        };
        self.queue.0.lock().jobs.retain(|(owner, _)| !is_meant(*owner, TaskRole::Serving));
        let meant = self.tasks.iter().filter(|(_, task)| is_meant(task.process, task.role));
        let meant: Vec<u64> = meant.map(|(id, _)| *id).collect();
        for id in meant {
            // Each by itself: what one of them drops may wake another.
            drop(self.tasks.remove(&id));
        }
    }

    /// Runs until the time is `until`.
    ///
    /// # Errors
    /// Tasks run without end while the time stands still; the text names them.
    pub fn run_until(&mut self, until: Duration) -> Result<(), String> {
        loop {
            if self.step()? {
                continue;
            }
            match self.time.next_deadline() {
                Some(next) if next <= until => self.advance_to(next),
                _ => {
                    self.advance_to(until);
                    return Ok(());
                }
            }
        }
    }

    fn advance_to(&mut self, at: Duration) {
        self.time.advance_to(at);
        self.polls_at_once = 0;
    }

    /// Polls one task that is ready; was there one?
    fn step(&mut self) -> Result<bool, String> {
        self.begin_jobs();
        let task = {
            let ready = &mut self.queue.0.lock().ready;
            let at = self.dice.index(ready.len());
            ready.iter().nth(at).copied().filter(|task| ready.remove(task))
        };
        let Some(task) = task else { return Ok(false) };
        let Some(found) = self.tasks.get_mut(&task) else { return Ok(true) };
        found.waking.is_ready.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&found.waking));
        (task, found.process).hash(&mut self.hash);
        self.polls += 1;
        self.polls_at_once += 1;
        if self.polls_at_once > POLLS_AT_ONCE_MAX {
            return Err(format!(
                "tasks of {:?} run without end, and no time passes",
                found.process
            ));
        }
        if found.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.tasks.remove(&task));
        }
        Ok(true)
    }

    fn begin_jobs(&mut self) {
        let jobs = std::mem::take(&mut self.queue.0.lock().jobs);
        for (process, job) in jobs {
            let future = job();
            self.begin(process, TaskRole::Serving, future);
        }
    }
}

impl Drop for SeededExecutor {
    fn drop(&mut self) {
        while let Some((_, task)) = self.tasks.pop_first() {
            drop(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_clock::{Clock, ClockTraits};
    use std::cell::RefCell;
    use std::rc::Rc;

    const ONE: Process = Process(1);
    const TWO: Process = Process(2);

    fn clock(executor: &SeededExecutor) -> Clock {
        Clock::simulated(executor.time(), ClockTraits { wall_ms: 0, drift_ppm: 0, seed: 1 })
    }

    /// Three tasks of two processes write down when they run, ten times each.
    fn run(seed: u64, kill: Option<Process>) -> Vec<(u32, Duration)> {
        let mut executor = SeededExecutor::new(Dice::new(seed));
        let seen = Rc::new(RefCell::new(Vec::new()));
        for (name, process) in [(1, ONE), (2, ONE), (3, TWO)] {
            let (clock, seen) = (clock(&executor), Rc::clone(&seen));
            executor.start(process, async move {
                for _ in 0..10 {
                    clock.sleep(Duration::from_millis(5)).await;
                    seen.borrow_mut().push((name, clock.monotonic()));
                }
            });
        }
        executor.run_until(Duration::from_millis(20)).expect("no loop");
        if let Some(process) = kill {
            executor.kill(process, ExecutorEnds::All);
        }
        executor.run_until(Duration::from_secs(1)).expect("no loop");
        assert_eq!(executor.time().now(), Duration::from_secs(1));
        seen.take()
    }

    #[test]
    fn the_order_comes_from_the_seed() {
        let orders: Vec<_> = (0..4).map(|seed| run(seed, None)).collect();
        assert_eq!(orders[0].len(), 30);
        assert_eq!(orders[0], run(0, None));
        assert!(orders.iter().any(|order| *order != orders[0]));
        let times: Vec<_> = orders[0].iter().map(|(_, at)| *at).collect();
        assert!(times.is_sorted());
    }

    #[test]
    fn a_process_that_is_killed_runs_no_more() {
        let seen = run(0, Some(ONE));
        assert_eq!(seen.iter().filter(|(name, _)| *name < 3).count(), 8);
        assert_eq!(seen.iter().filter(|(name, _)| *name == 3).count(), 10);
    }

    #[test]
    fn a_loop_that_takes_no_time_is_found() {
        let mut executor = SeededExecutor::new(Dice::new(0));
        executor.start(ONE, async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        executor.run_until(Duration::from_secs(1)).expect_err("a loop");
    }
}
