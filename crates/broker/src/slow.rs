//! Requests that take long although they should not have to wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_clock::Clock;
use ottla_protocol::ApiKey;

use crate::request::Call;

/// From when on a request is slow.
const SLOW: Duration = Duration::from_secs(1);
/// At most so often slow requests are logged; the line says how many were left out.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// When a slow request may be logged again, in milliseconds of the monotonic clock. Of two
/// threads that look at once one logs, and the other counts.
static QUIET_UNTIL_MS: AtomicU64 = AtomicU64::new(0);
/// How many were slow and not logged since the last line. One that comes while the line is written
/// is counted in the next.
static UNTOLD: AtomicU64 = AtomicU64::new(0);

/// Logs a request that has waited since `begun`, unless its API waits by nature.
pub fn waited(clock: &Clock, call: &Call, begun: Duration) {
    if !waits_by_nature(call.key) {
        tell(clock, call, begun);
    }
}

/// Fetches wait for records, and members of groups for each other.
const fn waits_by_nature(key: ApiKey) -> bool {
    matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// Logs a request that has waited since `begun`, if that is long.
pub fn tell(clock: &Clock, call: &Call, begun: Duration) {
    let now = clock.monotonic();
    let took = now.saturating_sub(begun);
    if took < SLOW {
        return;
    }
    let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    let quiet_until = QUIET_UNTIL_MS.load(Ordering::Relaxed);
    let next = ms(now + TOLD_EVERY);
    let order = Ordering::Relaxed;
    if ms(now) < quiet_until
        || QUIET_UNTIL_MS.compare_exchange(quiet_until, next, order, order).is_err()
    {
        UNTOLD.fetch_add(1, order);
        return;
    }
    tracing::warn!(
        api = call.key.name(),
        version = call.version,
        client_id = &*call.client_id,
        client = %call.session.peer,
        took_ms = ms(took),
        others = UNTOLD.swap(0, order),
        "slow request"
    );
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use ottla_locks::Mutex;
    use ottla_protocol::{ApiKey, Text};

    use super::*;
    use crate::request::{ListenerScope, Session};

    /// What was logged.
    #[derive(Clone, Default)]
    struct LoggedLines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for LoggedLines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl LoggedLines {
        /// The lines since the last look.
        fn take(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock());
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
        }
    }

    fn call(key: ApiKey) -> Call {
        let peer = "127.0.0.1:4711".parse().unwrap();
        let session = Session::new(peer, "PLAINTEXT".into(), ListenerScope::Broker);
        Call::new(&Arc::new(session), key, 9, Text::default())
    }

    #[test]
    fn a_slow_request_is_logged_with_its_api_and_client_and_at_most_once_in_ten_seconds() {
        let (clock, lines) = (Clock::manual(1_000_000), LoggedLines::default());
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let of = |key, took_ms| {
            let begun = clock.monotonic();
            clock.advance(took_ms);
            waited(&clock, &call(key), begun);
            lines.take()
        };
        tracing::subscriber::with_default(log, || {
            assert_eq!(of(ApiKey::OffsetCommit, 999), [""; 0], "it took less than a second");
            for key in [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup] {
                assert_eq!(of(key, 60_000), [""; 0], "{key:?} waits by its nature");
            }
            let told = of(ApiKey::OffsetCommit, 1_500);
            let [line] = &told[..] else { panic!("one line was due: {told:?}") };
            for field in [
                r#""level":"WARN""#,
                r#""message":"slow request""#,
                r#""api":"OffsetCommit""#,
                r#""version":9"#,
                r#""client_id":"""#,
                r#""client":"127.0.0.1:4711""#,
                r#""took_ms":1500"#,
                r#""others":0"#,
            ] {
                assert!(line.contains(field), "{field}: {line}");
            }
            assert_eq!(of(ApiKey::Produce, 2_000), [""; 0], "the last line is not old enough");
            clock.advance(10_000);
            let told = of(ApiKey::Produce, 1_000);
            assert!(told[0].contains(r#""others":1"#), "one was left out: {told:?}");
        });
    }
}
