//! The time of a simulation: it stands still while nodes compute, and moves to the next timer when
//! the simulation says so.
//!
//! All nodes share one [`SimulatedTime`]; each has a [`Clock`](crate::Clock) of its own, which may
//! be wrong about the date, run too fast or too slow, and jump. Timers ring in the order of their
//! times, and of one time in the order in which they were set, so that one seed gives one history.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla_locks::{Mutex, MutexGuard};
use ottla_types::TimestampMs;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The time that all nodes of a simulation live in. Cheap to clone; every clone is the same time.
#[derive(Clone, Debug, Default)]
pub struct SimulatedTime(Arc<Mutex<Timeline>>);

#[derive(Debug, Default)]
struct Timeline {
    now: Duration,
    /// By when they ring, and in the order in which they were set.
    timers: BTreeMap<TimerKey, Waker>,
    timers_set: u64,
}

type TimerKey = (Duration, u64);

/// How a node's clock differs from the true time, and what its randomness comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockTraits {
    /// What the wall clock shows when the simulation begins, in milliseconds since 1970.
    pub wall_ms: TimestampMs,
    /// By how many millionths it is too fast; below zero: too slow. More than -1,000,000.
    pub drift_ppm: i32,
    /// The seed of all that this clock draws.
    pub seed: u64,
}

impl SimulatedTime {
    /// A time that begins at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Timeline> {
        self.0.lock()
    }

    /// The true time since the simulation began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.lock().now
    }

    /// When the next timer rings; `None` if nothing waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.lock().timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves the time forward and rings what is due by then, in order. A time that has passed
    /// already changes nothing.
    pub fn advance_to(&self, at: Duration) {
        let mut timeline = self.lock();
        timeline.now = timeline.now.max(at);
        let due = (timeline.now, u64::MAX);
        let later = timeline.timers.split_off(&due);
        let ringing = std::mem::replace(&mut timeline.timers, later);
        drop(timeline);
        ringing.into_values().for_each(Waker::wake);
    }

    /// Waits until the true time is `at`.
    pub(crate) fn wait_until(&self, at: Duration) -> SimulatedTimer {
        SimulatedTimer { time: self.clone(), at, key: None }
    }

    fn set(&self, at: Duration, waker: &Waker) -> TimerKey {
        let mut timeline = self.lock();
        let key = (at, timeline.timers_set);
        timeline.timers_set += 1;
        timeline.timers.insert(key, waker.clone());
        key
    }

    fn unset(&self, key: TimerKey) {
        self.lock().timers.remove(&key);
    }
}

/// A wait for a time.
#[derive(Debug)]
pub(crate) struct SimulatedTimer {
    time: SimulatedTime,
    at: Duration,
    key: Option<TimerKey>,
}

impl Future for SimulatedTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(key) = self.key.take() {
            self.time.unset(key);
        }
        if self.time.now() >= self.at {
            return Poll::Ready(());
        }
        self.key = Some(self.time.set(self.at, context.waker()));
        Poll::Pending
    }
}

impl Drop for SimulatedTimer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.time.unset(key);
        }
    }
}

/// What one node knows of the time.
#[derive(Debug)]
pub(crate) struct NodeTime {
    pub time: SimulatedTime,
    /// The true time at which the node's clock was made.
    start: Duration,
    drift_ppm: i32,
    /// What the wall clock showed at the start; a jump moves it.
    wall_start_ms: Mutex<TimestampMs>,
    draws: Mutex<StdRng>,
}

const MILLION: i128 = 1_000_000;

impl NodeTime {
    pub fn new(time: &SimulatedTime, traits: ClockTraits) -> Self {
        Self {
            time: time.clone(),
            start: time.now(),
            drift_ppm: traits.drift_ppm,
            wall_start_ms: Mutex::new(traits.wall_ms),
            draws: Mutex::new(StdRng::seed_from_u64(traits.seed)),
        }
    }

    /// How much of the node's own time has passed.
    pub fn passed(&self) -> Duration {
        let truly = self.time.now().saturating_sub(self.start).as_nanos();
        let shown = i128::try_from(truly).unwrap_or(i128::MAX) * (MILLION + self.pace()) / MILLION;
        Duration::from_nanos(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// The true time at which the node's own time is `own`, or a little later.
    pub fn truly(&self, own: Duration) -> Duration {
        let own = i128::try_from(own.as_nanos()).unwrap_or(i128::MAX / MILLION);
        let pace = MILLION + self.pace();
        let truly = (own.saturating_mul(MILLION) + pace - 1) / pace;
        let truly = Duration::from_nanos(u64::try_from(truly).unwrap_or(u64::MAX));
        self.start.saturating_add(truly)
    }

    fn pace(&self) -> i128 {
        i128::from(self.drift_ppm).max(1 - MILLION)
    }

    pub fn wall_ms(&self) -> TimestampMs {
        let passed = i64::try_from(self.passed().as_millis()).unwrap_or(i64::MAX);
        self.wall_start().saturating_add(passed)
    }

    pub fn draws(&self) -> MutexGuard<'_, StdRng> {
        self.draws.lock()
    }

    pub fn jump(&self, ms: i64) {
        *self.wall_start() += ms;
    }

    fn wall_start(&self) -> MutexGuard<'_, TimestampMs> {
        self.wall_start_ms.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::Clock;

    const TRAITS: ClockTraits = ClockTraits { wall_ms: 1_000_000, drift_ppm: 0, seed: 7 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Polls until it is done, moving the time from timer to timer; when that was.
    fn run(time: &SimulatedTime, work: impl Future<Output = ()>) -> Duration {
        let mut work = std::pin::pin!(work);
        let mut context = Context::from_waker(Waker::noop());
        while work.as_mut().poll(&mut context).is_pending() {
            time.advance_to(time.next_deadline().expect("something is waited for"));
        }
        time.now()
    }

    #[test]
    fn a_wait_ends_when_its_time_has_come_and_leaves_no_timer() {
        let time = SimulatedTime::new();
        let clock = Clock::simulated(&time, TRAITS);
        assert_eq!(run(&time, clock.sleep(ms(30))), ms(30));
        assert_eq!((clock.monotonic(), clock.wall_ms()), (ms(30), 1_000_030));
        let mut given_up = Box::pin(clock.sleep(ms(5)));
        assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(time.next_deadline(), Some(ms(35)));
        drop(given_up);
        assert_eq!(time.next_deadline(), None);
    }

    #[test]
    fn timers_ring_by_time_and_then_as_they_were_set() {
        struct TimerRing(mpsc::SyncSender<u32>, u32);
        impl std::task::Wake for TimerRing {
            fn wake(self: Arc<Self>) {
                self.0.send(self.1).expect("listened to");
            }
        }
        let time = SimulatedTime::new();
        let (ring, rings) = mpsc::sync_channel(8);
        let mut timers: Vec<_> = [30, 10, 10, 50].map(|at| time.wait_until(ms(at))).into();
        for (name, timer) in (0..).zip(&mut timers) {
            let waker = Arc::new(TimerRing(ring.clone(), name)).into();
            assert!(Pin::new(timer).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        time.advance_to(ms(40));
        assert_eq!(rings.try_iter().collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(time.next_deadline(), Some(ms(50)));
        drop(timers);
        assert_eq!(time.next_deadline(), None);
    }

    #[test]
    fn a_clock_that_is_too_fast_wakes_early_and_shows_a_later_time() {
        let time = SimulatedTime::new();
        let clock = Clock::simulated(&time, ClockTraits { drift_ppm: 1_000, ..TRAITS });
        // A thousandth too fast: 10,010 ms of its own are 10,000 true ones.
        assert_eq!(run(&time, clock.sleep(ms(10_010))), ms(10_000));
        assert_eq!(clock.wall_ms(), 1_010_010);
        let slow = Clock::simulated(&time, ClockTraits { drift_ppm: -500_000, ..TRAITS });
        assert_eq!(run(&time, slow.sleep(ms(10))), ms(10_020));
        assert_eq!(slow.monotonic(), ms(10), "it begins when it is made");
    }

    #[test]
    fn a_jump_moves_the_wall_clock_and_no_wait() {
        let time = SimulatedTime::new();
        let clock = Clock::simulated(&time, TRAITS);
        let other = Clock::simulated(&time, TRAITS);
        clock.jump(-3_600_000);
        assert_eq!((clock.wall_ms(), other.wall_ms()), (1_000_000 - 3_600_000, 1_000_000));
        assert_eq!(run(&time, clock.sleep(ms(3))), ms(3));
    }

    #[test]
    fn one_seed_draws_one_sequence() {
        let time = SimulatedTime::new();
        let draw = |seed| {
            let clock = Clock::simulated(&time, ClockTraits { seed, ..TRAITS });
            (clock.random_uuid(), clock.random_below(1 << 40), clock.random_bytes())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
