//! How fast throttled replicas are copied (KIP-73): one quota for what this broker gives as leader,
//! one for what it takes as follower.
//!
//! All traffic of throttled partitions counts, also that of replicas in sync; only replicas that
//! are not in sync are held back, so that no in-sync set shrinks by a throttle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_clock::Clock;
use ottla_locks::Mutex;

/// How the rate of the traffic is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaWindow {
    /// How many samples are kept (`replication.quota.window.num`).
    pub samples: usize,
    /// How long each lasts (`replication.quota.window.size.seconds`).
    pub sample: Duration,
}

/// The quotas of a broker.
#[derive(Debug)]
pub struct ReplicationQuotas {
    /// Of what it gives to followers.
    pub leading: ReplicationQuota,
    /// Of what it takes from leaders.
    pub following: ReplicationQuota,
}

impl ReplicationQuotas {
    /// Without limits.
    #[must_use]
    pub fn new(clock: &Clock, window: QuotaWindow) -> Self {
        let quota = || ReplicationQuota {
            clock: clock.clone(),
            limit: AtomicU64::new(u64::MAX),
            rate: Mutex::new(SampledRate { window, samples: VecDeque::new() }),
        };
        Self { leading: quota(), following: quota() }
    }
}

/// One of them.
#[derive(Debug)]
pub struct ReplicationQuota {
    clock: Clock,
    /// In bytes a second.
    limit: AtomicU64,
    /// Guards what was counted; held for a look at a few samples.
    rate: Mutex<SampledRate>,
}

impl ReplicationQuota {
    /// So many bytes a second are allowed from now on.
    pub fn set_limit(&self, bytes_per_second: u64) {
        self.limit.store(bytes_per_second, Ordering::Relaxed);
    }

    /// So many bytes of throttled partitions were copied.
    pub fn count_copied(&self, bytes: usize) {
        if bytes > 0 {
            self.rate.lock().count_bytes(bytes as u64, self.clock.monotonic_ms());
        }
    }

    /// Have replicas that are throttled, and not in sync, to wait?
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit < u64::MAX && self.rate.lock().is_above(limit, self.clock.monotonic_ms())
    }
}

/// The bytes of the last samples.
#[derive(Debug)]
struct SampledRate {
    window: QuotaWindow,
    samples: VecDeque<RateSample>,
}

#[derive(Debug)]
struct RateSample {
    start_ms: u64,
    last_ms: u64,
    bytes: u64,
}

impl SampledRate {
    fn sample_ms(&self) -> u64 {
        u64::try_from(self.window.sample.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn count_bytes(&mut self, bytes: u64, now_ms: u64) {
        self.drop_old(now_ms);
        let sample_ms = self.sample_ms();
        match self.samples.back_mut().filter(|it| now_ms.saturating_sub(it.start_ms) < sample_ms) {
            Some(sample) => {
                sample.bytes = sample.bytes.saturating_add(bytes);
                sample.last_ms = now_ms;
            }
            None => {
                self.samples.push_back(RateSample { start_ms: now_ms, last_ms: now_ms, bytes });
                // One more than is kept, as the oldest may reach into the time that is looked at.
                while self.samples.len() > self.window.samples + 1 {
                    self.samples.pop_front();
                }
            }
        }
    }

    /// As Kafka's `SimpleRate`: the bytes of all samples over the time since the first of them, at
    /// least one sample's.
    fn is_above(&mut self, bytes_per_second: u64, now_ms: u64) -> bool {
        self.drop_old(now_ms);
        let Some(first) = self.samples.front() else { return false };
        let elapsed_ms = now_ms.saturating_sub(first.start_ms).max(self.sample_ms());
        let bytes: u64 = self.samples.iter().map(|it| it.bytes).fold(0, u64::saturating_add);
        u128::from(bytes) * 1000 > u128::from(bytes_per_second) * u128::from(elapsed_ms)
    }

    fn drop_old(&mut self, now_ms: u64) {
        let samples = u64::try_from(self.window.samples).unwrap_or(u64::MAX);
        let kept_ms = self.sample_ms().saturating_mul(samples);
        while self.samples.front().is_some_and(|it| now_ms.saturating_sub(it.last_ms) >= kept_ms) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_samples_and_of_one_at_least() {
        let window = QuotaWindow { samples: 3, sample: Duration::from_secs(1) };
        let mut rate = SampledRate { window, samples: VecDeque::new() };
        assert!(!rate.is_above(0, 0), "nothing was copied");
        rate.count_bytes(1000, 0);
        // The time, the limit, and whether the rate is above it.
        for (now_ms, limit, is_above) in
            [(0, 1000, false), (0, 999, true), (2000, 500, false), (2000, 499, true)]
        {
            assert_eq!(rate.is_above(limit, now_ms), is_above, "{limit} at {now_ms} ms");
        }
        rate.count_bytes(2000, 2000);
        assert!(rate.is_above(1499, 2000) && !rate.is_above(1500, 2000), "3000 bytes in 2 s");
        // The first sample is forgotten.
        assert!(rate.is_above(1332, 3500) && !rate.is_above(1334, 3500), "2000 bytes in 1.5 s");
        assert!(!rate.is_above(0, 5000), "all is forgotten");
    }

    #[test]
    fn a_quota_without_a_limit_is_never_exceeded() {
        let window = QuotaWindow { samples: 11, sample: Duration::from_secs(1) };
        let quotas = ReplicationQuotas::new(&Clock::manual(0), window);
        quotas.leading.count_copied(usize::MAX);
        assert!(!quotas.leading.is_exceeded());
        quotas.leading.set_limit(1 << 20);
        assert!(quotas.leading.is_exceeded() && !quotas.following.is_exceeded());
    }
}
