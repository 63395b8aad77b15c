//! The only place that reads time or draws randomness: real, moved by a test, or simulated.
//! A [`Lane`] is where one waits for a disk, or computes for long.
//!
//! Two times: the *wall clock* in milliseconds, for what is written down and shown to people; and
//! the *monotonic* time since start, for measuring and waiting. No safety rests on either.
#![forbid(unsafe_code)]

mod anchor;
mod lane;
mod pause;
mod simulated;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ottla_types::{TimestampMs, Uuid};
use rand::{Rng, RngExt, SeedableRng};

pub use lane::{Lane, LaneRules, Priority, Ring, Share};
pub use pause::{Pause, Stopped};
use simulated::NodeTime;
pub use simulated::{ClockTraits, SimulatedTime};
pub use task::{Next, Task};

/// Time and randomness. Cheap to clone; every clone shows the same time.
#[derive(Clone, Debug)]
pub struct Clock(TimeSource);

#[derive(Clone, Debug)]
enum TimeSource {
    Real { start: std::time::Instant },
    Manual(Arc<Manual>),
    Simulated(Arc<NodeTime>),
}

#[derive(Debug)]
struct Manual {
    wall_ms: AtomicI64,
    start_ms: i64,
    draws: AtomicU64,
    moved: tokio::sync::Notify,
}

impl Clock {
    /// The machine's clock and the system's randomness.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one door to the monotonic clock")]
    pub fn real() -> Self {
        Self(TimeSource::Real { start: std::time::Instant::now() })
    }

    /// A clock that stands at `wall_ms` until a test moves it, with random numbers from a fixed
    /// seed.
    #[must_use]
    pub fn manual(wall_ms: TimestampMs) -> Self {
        Self(TimeSource::Manual(Arc::new(Manual {
            wall_ms: AtomicI64::new(wall_ms),
            start_ms: wall_ms,
            draws: AtomicU64::new(0),
            moved: tokio::sync::Notify::new(),
        })))
    }

    /// A node's clock in a simulation, which moves as the simulation's time does.
    #[must_use]
    pub fn simulated(time: &SimulatedTime, traits: ClockTraits) -> Self {
        Self(TimeSource::Simulated(Arc::new(NodeTime::new(time, traits))))
    }

    /// Sets a simulated wall clock forward by `ms`, or back, as an operator or a time server does.
    /// No wait notices.
    pub fn jump(&self, ms: i64) {
        if let TimeSource::Simulated(node) = &self.0 {
            node.jump(ms);
        }
    }

    /// Moves a manual clock forward by `ms` and wakes its sleepers; a real one moves itself.
    pub fn advance(&self, ms: i64) {
        if let TimeSource::Manual(manual) = &self.0 {
            manual.wall_ms.fetch_add(ms, Ordering::SeqCst);
            manual.moved.notify_waiters();
        }
    }

    /// Wall-clock milliseconds since 1970-01-01 UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one door to the wall clock")]
    pub fn wall_ms(&self) -> TimestampMs {
        match &self.0 {
            TimeSource::Real { .. } => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            TimeSource::Manual(manual) => manual.wall_ms.load(Ordering::SeqCst),
            TimeSource::Simulated(node) => node.wall_ms(),
        }
    }

    /// [`Clock::monotonic`] in whole milliseconds.
    #[must_use]
    pub fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// Time since this clock was made; never goes back.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            TimeSource::Real { start } => start.elapsed(),
            TimeSource::Manual(manual) => {
                let passed = manual.wall_ms.load(Ordering::SeqCst) - manual.start_ms;
                Duration::from_millis(u64::try_from(passed).unwrap_or(0))
            }
            TimeSource::Simulated(node) => node.passed(),
        }
    }

    /// Waits until the monotonic time is `at`.
    #[expect(clippy::disallowed_methods, reason = "the one door to sleeping")]
    pub async fn sleep_until(&self, at: Duration) {
        match &self.0 {
            TimeSource::Real { .. } => {
                let wait = at.saturating_sub(self.monotonic());
                anchor::stand(wait);
                tokio::time::sleep(wait).await;
            }
            TimeSource::Manual(manual) => loop {
                let moved = manual.moved.notified();
                if self.monotonic() >= at {
                    return;
                }
                moved.await;
            },
            TimeSource::Simulated(node) => node.time.wait_until(node.truly(at)).await,
        }
    }

    /// Waits until the monotonic time is `due`; for ever without one.
    pub async fn sleep_until_due(&self, due: Option<Duration>) {
        match due {
            Some(due) => self.sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.monotonic().saturating_add(duration)).await;
    }

    /// Sixteen random bytes.
    #[must_use]
    pub fn random_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        match &self.0 {
            TimeSource::Real { .. } => rand::rng().fill_bytes(&mut bytes),
            TimeSource::Manual(manual) => {
                let seed = manual.draws.fetch_add(1, Ordering::SeqCst);
                rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
            }
            TimeSource::Simulated(node) => node.draws().fill_bytes(&mut bytes),
        }
        bytes
    }

    /// A random number below `bound`; 0 when `bound` is 0.
    #[must_use]
    pub fn random_below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        match &self.0 {
            TimeSource::Real { .. } => rand::rng().random_range(0..bound),
            TimeSource::Manual(_) => {
                let bytes = self.random_bytes();
                u64::from_le_bytes(bytes[..8].try_into().expect("eight of sixteen")) % bound
            }
            TimeSource::Simulated(node) => node.draws().random_range(0..bound),
        }
    }

    /// A random uuid that Kafka would accept as a topic, directory or cluster id.
    #[must_use]
    pub fn random_uuid(&self) -> Uuid {
        loop {
            if let Some(id) = Uuid::random(self.random_bytes()) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(1_000);
        assert_eq!(clock.wall_ms(), 1_000);
        clock.advance(50);
        assert_eq!(clock.wall_ms(), 1_050);
        assert_eq!(clock.monotonic(), Duration::from_millis(50));
    }

    #[test]
    fn a_manual_clock_draws_the_same_ids_every_time() {
        let draw = || {
            (0..4)
                .map(|_| 0)
                .map({
                    let clock = Clock::manual(0);
                    move |_: i32| clock.random_uuid()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn a_real_clock_is_near_the_present() {
        assert!(Clock::real().wall_ms() > 1_700_000_000_000);
    }
}
