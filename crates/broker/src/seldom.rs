//! Warnings and errors that can come as often as clients like: of each kind there is one line in
//! ten seconds, with a count. What clients did is in the log at level DEBUG, too.

use std::time::Duration;

use ottla_locks::Mutex;

/// A line in the log at most so often.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// When one kind of warning is to be logged.
#[derive(Debug, Default)]
pub struct SeldomWarning {
    /// Guards the count and the time; never held across an `await` or a line in the log.
    since_last: Mutex<SinceLast>,
}

#[derive(Debug, Default)]
struct SinceLast {
    /// How often it has happened since the last line.
    count: u64,
    quiet_until: Duration,
}

impl SeldomWarning {
    /// It has happened once more. If a line is due: how often it has happened since the last one.
    pub fn count(&self, now: Duration) -> Option<u64> {
        let mut since = self.since_last.lock();
        since.count += 1;
        if now < since.quiet_until {
            return None;
        }
        since.quiet_until = now + LOGGED_EVERY;
        Some(std::mem::take(&mut since.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_at_most_every_ten_seconds_and_has_the_count() {
        let warning = SeldomWarning::default();
        let count = |seconds| warning.count(Duration::from_secs(seconds));
        assert_eq!([count(0), count(1), count(9), count(10)], [Some(1), None, None, Some(3)]);
        assert_eq!([count(19), count(30)], [None, Some(2)]);
    }
}
