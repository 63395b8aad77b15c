//! What was measured.

use std::time::Duration;

use serde_json::{Value, json};

/// One thing that was done: when it ended, how long it took, how many bytes it moved.
#[derive(Clone, Copy, Debug)]
pub struct DoneRequest {
    /// Since the clock's start.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// Its bytes.
    pub bytes: u64,
}

/// Everything that was done, and since when.
#[derive(Debug)]
pub struct LoadReport {
    begun: Duration,
    all: Vec<DoneRequest>,
}

impl LoadReport {
    /// The report of several threads' requests.
    #[must_use]
    pub fn new(begun: Duration, parts: Vec<Vec<DoneRequest>>) -> Self {
        let mut all: Vec<DoneRequest> = parts.into_iter().flatten().collect();
        all.sort_by_key(|it| it.at);
        Self { begun, all }
    }

    /// One object: `count`, `bytes`, `seconds`, `mb_s` of all, of the first and of the last quarter
    /// (10^6 bytes a second), and `us`, the percentiles of what one took, in microseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let all = &self.all;
        let quarter = all.len() / 4;
        let before_last = all.len().checked_sub(quarter + 1).map_or(self.begun, |at| all[at].at);
        let mut took: Vec<Duration> = all.iter().map(|it| it.took).collect();
        took.sort_unstable();
        let at = |thousandths: usize| {
            let place = (took.len() * thousandths / 1000).min(took.len().saturating_sub(1));
            took.get(place).map_or(0, Duration::as_micros)
        };
        json!({
            "count": all.len(),
            "bytes": all.iter().map(|it| it.bytes).sum::<u64>(),
            "seconds": all.last().map_or(0.0, |last| (last.at - self.begun).as_secs_f64()),
            "mb_s": rate(all, self.begun),
            "mb_s_first_quarter": rate(&all[..quarter], self.begun),
            "mb_s_last_quarter": rate(&all[all.len() - quarter..], before_last),
            "us": {
                "p50": at(500), "p90": at(900), "p99": at(990), "p999": at(999), "max": at(1000),
            },
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn rate(part: &[DoneRequest], since: Duration) -> f64 {
    let seconds = part.last().map_or(0.0, |last| last.at.saturating_sub(since).as_secs_f64());
    let bytes: u64 = part.iter().map(|it| it.bytes).sum();
    if seconds > 0.0 { bytes as f64 / seconds / 1e6 } else { 0.0 }
}
