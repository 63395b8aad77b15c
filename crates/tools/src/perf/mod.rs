//! The tools that measure: kafka-producer-perf-test, kafka-consumer-perf-test, kafka-e2e-latency.

mod consume;
mod latency;
mod produce;

use bytes::Bytes;
use ottla_clock::Clock;

use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-producer-perf-test",
        about: "Write records at a given rate, and print throughput and latency.",
        options: produce::OPTIONS,
        run: produce::run_producer_perf,
    },
    &Tool {
        name: "kafka-consumer-perf-test",
        about: "Read records, and print the throughput.",
        options: consume::OPTIONS,
        run: consume::run_consumer_perf,
    },
    &Tool {
        name: "kafka-e2e-latency",
        about: "Write records one by one, and print the time until each can be read.",
        options: latency::OPTIONS,
        run: latency::run_latency,
    },
];

const MEGABYTE: f64 = (1 << 20) as f64;

/// A rate, or zero where no time has passed.
fn per(amount: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount / seconds } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be printed")]
const fn float(number: u64) -> f64 {
    number as f64
}

/// The value below which this part of the sorted values lies, as Kafka's tools count it.
fn percentile(sorted: &[u64], part: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of the length, at most the length"
    )]
    let at = (float(sorted.len() as u64) * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// A source of letters that no compression likes.
struct Letters(u64);

impl Letters {
    fn new(clock: &Clock) -> Self {
        // Never zero: nothing comes out of zero.
        Self(clock.random_below(u64::MAX - 1) + 1)
    }

    fn next(&mut self) -> u64 {
        // Marsaglia's xorshift; it only has to look random.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Bytes {
        (0..count).map(|_| b'A' + u8::try_from(self.next() % 26).unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_counted_as_kafkas_tools_do() {
        let sorted: Vec<u64> = (0..1000).collect();
        let found = [0.5, 0.95, 0.99, 0.999, 1.0].map(|part| percentile(&sorted, part));
        assert_eq!(found, [500, 950, 990, 999, 999]);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
