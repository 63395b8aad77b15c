use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::{ClockTraits, Next, SimulatedTime};

fn rules(threads_max: usize, share_max: usize) -> LaneRules {
    LaneRules { name: "test-lane", threads_max, share_max, priority: Priority::Low }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

/// Jobs that say when they begin, and end when they are let go.
struct Gated {
    lane: Lane,
    pool: Arc<Pool>,
    begun: mpsc::SyncSender<usize>,
    begins: mpsc::Receiver<usize>,
    gates: Vec<mpsc::SyncSender<()>>,
}

impl Gated {
    fn new(rules: LaneRules) -> Self {
        let lane = Lane::threads(rules);
        let LaneKind::Threads(pool) = lane.0.clone() else { panic!("threads") };
        let (begun, begins) = mpsc::sync_channel(16);
        Self { lane, pool, begun, begins, gates: Vec::new() }
    }

    fn start(&mut self, share: usize) {
        let (open, gate) = mpsc::sync_channel(1);
        let (begun, name) = (self.begun.clone(), self.gates.len());
        let work = move || {
            begun.send(name).expect("listened to");
            gate.recv().expect("opened");
        };
        self.pool.start(Share(share), Box::new(work));
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
    assert_eq!(wait(low.run(Share(0), niceness)), Some(pool::NICENESS));
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

/// A task that reports its rounds to one channel, and takes their result from another.
fn told_task() -> (Task, mpsc::Receiver<()>, mpsc::SyncSender<Next>) {
    let (begun, begins) = mpsc::sync_channel(16);
    let (say, next) = mpsc::sync_channel(16);
    let round = move || {
        begun.send(()).expect("listened to");
        next.recv().expect("said")
    };
    (Task::new("test", round), begins, say)
}

const FOREVER: Next = Next::WhenRung { at_most: Duration::MAX };

#[test]
fn a_task_runs_when_rung_and_when_its_time_comes() {
    let lane = Lane::threads(rules(2, 1));
    let (task, begins, say) = told_task();
    let ring = lane.start_task(Share(0), task);
    begins.recv().expect("the first round");
    // Rung while the round runs.
    ring.ring();
    say.send(FOREVER).expect("heard");
    begins.recv().expect("the second round");
    say.send(Next::After(Duration::from_millis(1))).expect("heard");
    begins.recv().expect("the third round");
    say.send(FOREVER).expect("heard");
    ring.ring();
    begins.recv().expect("the fourth round");
    say.send(Next::End).expect("heard");
    assert!(begins.recv().is_err(), "a task that has ended is dropped");
    ring.ring();
}

#[test]
fn a_share_that_hangs_delays_no_task_of_another() {
    let mut lane = Gated::new(rules(3, 1));
    (0..3).for_each(|_| lane.start(0));
    lane.start(1);
    assert_eq!(lane.begun(2), [0, 3]);
    let (task, begins, say) = told_task();
    lane.lane.start_task(Share(2), task);
    for _ in 0..3 {
        begins.recv().expect("a round");
        say.send(Next::After(Duration::from_millis(1))).expect("heard");
    }
    begins.recv().expect("a round");
    say.send(Next::End).expect("heard");
    (0..4).for_each(|name| lane.let_go(name));
}

#[test]
fn after_a_stop_nothing_runs() {
    let mut lane = Gated::new(rules(1, 1));
    lane.start(0);
    lane.start(0);
    assert_eq!(lane.begun(1), [0]);
    let (task, begins, _say) = told_task();
    let ring = lane.lane.start_task(Share(1), task);
    let (stopping, pool) = (lane.lane.clone(), Arc::clone(&lane.pool));
    let stop = std::thread::spawn(move || stopping.stop());
    while !pool.lock().is_stopped() {
        std::thread::yield_now();
    }
    assert!(!stop.is_finished(), "what runs is waited for");
    lane.let_go(0);
    stop.join().expect("stopped");
    ring.ring();
    lane.start(0);
    assert_eq!(wait(lane.lane.run(Share(0), || 7)), None);
    assert!(begins.recv().is_err(), "the task was dropped before its first round");
    assert!(lane.begins.try_recv().is_err());
    assert_eq!(lane.pool.lock().threads, 0);
}

#[test]
fn work_that_nobody_waits_for_leaves_the_queue() {
    let mut lane = Gated::new(rules(1, 1));
    lane.start(0);
    assert_eq!(lane.begun(1), [0]);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..100 {
        let work: fn() = || panic!("not waited for");
        let mut given_up = Box::pin(lane.lane.run(Share(0), work));
        assert!(given_up.as_mut().poll(&mut context).is_pending());
        assert_eq!(lane.pool.lock().waiting(), 1);
    }
    assert_eq!(lane.pool.lock().waiting(), 0);
    lane.let_go(0);
}

#[test]
fn work_that_borrows_is_done_on_all_shares() {
    let numbers: Vec<usize> = (0..40).collect();
    let lane = Lane::threads(rules(4, 2));
    let work = |number: &'_ usize| {
        let number = *number;
        (Share(number % 3), move || if number == 7 { panic!("expected") } else { number * 2 })
    };
    let done = lane.all(numbers.iter().map(work).collect());
    let due: Vec<_> = numbers.iter().map(|it| (*it != 7).then_some(it * 2)).collect();
    assert_eq!(done, due);
}

#[test]
fn a_simulated_lane_is_driven_by_simulated_time() {
    let time = SimulatedTime::new();
    let clock = Clock::simulated(&time, ClockTraits { wall_ms: 0, drift_ppm: 0, seed: 3 });
    let lane = Lane::simulated(&clock, Duration::from_millis(20));
    let mut driven = Box::pin(lane.drive());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let (told, heard) = mpsc::sync_channel(16);
    let (by_work, by_task) = (told.clone(), told);
    lane.start(Share(0), move || by_work.send("work").expect("heard"));
    let mut rounds = 0;
    let task = Task::new("test", move || {
        rounds += 1;
        by_task.send("round").expect("heard");
        if rounds == 3 { Next::End } else { Next::After(Duration::from_secs(1)) }
    });
    lane.start_task(Share(0), task);
    assert!(driven.as_mut().poll(&mut context).is_pending());
    assert!(heard.try_recv().is_err(), "no time has passed");
    while let Some(next) = time.next_deadline() {
        time.advance_to(next);
        assert!(driven.as_mut().poll(&mut context).is_pending());
    }
    let mut all: Vec<_> = heard.try_iter().collect();
    all.sort_unstable();
    assert_eq!(all, ["round", "round", "round", "work"]);
    assert!(time.now() >= Duration::from_secs(2) && time.now() < Duration::from_secs(3));
    lane.stop();
    assert!(driven.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_share_that_is_slow_in_a_simulation_delays_no_other() {
    let time = SimulatedTime::new();
    let clock = Clock::simulated(&time, ClockTraits { wall_ms: 0, drift_ppm: 0, seed: 3 });
    let lane = Lane::simulated(&clock, Duration::from_millis(20));
    lane.set_latency(Share(1), Some(Duration::from_secs(30)));
    let (done, each_done) = mpsc::sync_channel(8);
    for share in [1, 0, 1, 0] {
        let (done, clock) = (done.clone(), clock.clone());
        let work = move || done.send((share, clock.monotonic())).expect("listened to");
        lane.start(Share(share), work);
    }
    let mut driving = std::pin::pin!(lane.drive());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut all = Vec::new();
    while all.len() < 4 {
        assert!(driving.as_mut().poll(&mut context).is_pending());
        all.extend(each_done.try_iter());
        if let Some(at) = time.next_deadline() {
            time.advance_to(at);
        }
    }
    let takes = |wanted| all.iter().filter(move |(share, _)| *share == wanted).map(|it| it.1);
    assert!(takes(0).all(|at| at <= Duration::from_millis(20)), "{all:?}");
    assert!(takes(1).all(|at| at == Duration::from_secs(30)), "{all:?}");
}
