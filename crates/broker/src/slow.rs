//! Requests that take long although they should not have to wait.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_protocol::ApiKey;

use crate::request::Call;

/// From when on a request is slow.
const SLOW: Duration = Duration::from_secs(1);
/// At most so often slow requests are told; the line says how many there were meanwhile.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// When a slow request may be told again, in milliseconds of the monotonic clock.
static QUIET_UNTIL_MS: AtomicU64 = AtomicU64::new(0);
/// How many were slow and not told.
static UNTOLD: AtomicU64 = AtomicU64::new(0);

/// Serves a request, and tells if it waited for long. One that need not wait is not timed: that
/// would cost more than many requests do.
pub async fn watched<T>(clock: &Clock, call: &Call, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let first = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    if let Poll::Ready(done) = first {
        return done;
    }
    let begun = clock.monotonic();
    let done = work.await;
    if !waits_by_nature(call.key) {
        tell(clock, call, begun);
    }
    done
}

/// Fetches wait for records, and members of groups for each other.
const fn waits_by_nature(key: ApiKey) -> bool {
    matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// Tells of a request that has waited since `begun`, if that is long.
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
        client = %call.caller.peer,
        took_ms = ms(took),
        others = UNTOLD.swap(0, order),
        "slow request"
    );
}
