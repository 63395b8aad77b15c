//! A lane of a simulation: work takes some of its time, and is done inline.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ottla_locks::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::{LaneJob, Work};
use crate::task::{Task, TaskId, TaskSchedule};
use crate::{Clock, Share};

#[derive(Debug)]
pub(super) struct Simulated {
    clock: Clock,
    latency_max: Duration,
    state: Mutex<SimulatedLane>,
    /// There is something that is due earlier than what was known.
    news: Notify,
}

#[derive(Default)]
struct SimulatedLane {
    /// By when they are done, and in the order in which they came.
    jobs: BTreeMap<(Duration, u64), LaneJob>,
    jobs_given: u64,
    /// Of shares whose work does not take a random time.
    latencies: BTreeMap<Share, Duration>,
    schedule: TaskSchedule,
    stopped: bool,
}

impl fmt::Debug for SimulatedLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.jobs.keys()).finish()
    }
}

impl Simulated {
    pub(super) fn new(clock: Clock, latency_max: Duration) -> Self {
        Self { clock, latency_max, state: Mutex::default(), news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, SimulatedLane> {
        self.state.lock()
    }

    pub(super) fn set_latency(&self, share: Share, latency: Option<Duration>) {
        let mut state = self.lock();
        match latency {
            Some(latency) => state.latencies.insert(share, latency),
            None => state.latencies.remove(&share),
        };
    }

    /// How long the disk of a share takes this time.
    fn latency(&self, state: &SimulatedLane, share: Share) -> Duration {
        if let Some(latency) = state.latencies.get(&share) {
            return *latency;
        }
        let most = u64::try_from(self.latency_max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.clock.random_below(most.saturating_add(1)))
    }

    pub(super) async fn run<T>(&self, share: Share, work: impl FnOnce() -> T) -> Option<T> {
        let latency = self.latency(&self.lock(), share);
        self.clock.sleep(latency).await;
        let stopped = self.lock().stopped;
        (!stopped).then(work)
    }

    pub(super) fn start(&self, share: Share, work: Work) {
        let mut state = self.lock();
        if !state.stopped {
            self.push(&mut state, share, |number| LaneJob::Once(number, work));
            self.news.notify_one();
        }
    }

    fn push(&self, state: &mut SimulatedLane, share: Share, job: impl FnOnce(u64) -> LaneJob) {
        state.jobs_given += 1;
        let number = state.jobs_given;
        let done = self.clock.monotonic() + self.latency(state, share);
        state.jobs.insert((done, number), job(number));
    }

    pub(super) fn start_task(&self, share: Share, task: Task) -> TaskId {
        let mut state = self.lock();
        if state.stopped {
            return TaskId::default();
        }
        let id = state.schedule.add(share, task, self.clock.monotonic());
        self.news.notify_one();
        id
    }

    pub(super) fn ring(&self, task: TaskId) {
        self.lock().schedule.ring(task, self.clock.monotonic());
        self.news.notify_one();
    }

    pub(super) async fn drive(&self) {
        loop {
            let Some(next) = self.run_due() else { return };
            tokio::select! {
                biased;
                () = self.news.notified() => {}
                () = self.clock.sleep_until_due(next) => {}
            }
        }
    }

    /// Does what is due and says when there is more, if that is known; `None` if it is stopped.
    fn run_due(&self) -> Option<Option<Duration>> {
        loop {
            let mut state = self.lock();
            if state.stopped {
                return None;
            }
            let now = self.clock.monotonic();
            for (share, task) in state.schedule.take_due(now) {
                self.push(&mut state, share, |_| LaneJob::Round(task));
            }
            let first = state.jobs.first_entry().filter(|first| first.key().0 <= now);
            let Some(first) = first else {
                let job = state.jobs.keys().next().map(|(at, _)| *at);
                return Some(job.into_iter().chain(state.schedule.next_due()).min());
            };
            let job = first.remove();
            drop(state);
            self.execute(job);
        }
    }

    fn execute(&self, job: LaneJob) {
        match job {
            LaneJob::Once(_, work) => work(),
            LaneJob::Round(id) => {
                let Some(mut task) = self.lock().schedule.begin(id) else { return };
                let next = task.round();
                self.lock().schedule.end(id, task, next, self.clock.monotonic());
            }
        }
    }

    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let waiting = std::mem::take(&mut state.jobs);
        let tasks = std::mem::take(&mut state.schedule);
        self.news.notify_one();
        drop(state);
        // Not while the lock is held: what they hold may be anything.
        drop((waiting, tasks));
    }
}
