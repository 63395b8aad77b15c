//! A timer that is left standing, so that those after it cost no system call.
//!
//! A runtime that gets a timer earlier than all that it has wakes itself, to set its alarm again:
//! a write, and a second wait. A fetch that waits for records sets a timer each time and drops it
//! when records come, so that each is the earliest again. With one that stays, the alarm is set
//! already, and a wait is only noted.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Waits shorter than this are let be: a standing timer would wake the thread as often.
const SHORT: Duration = Duration::from_millis(50);

thread_local! {
    static STANDING: RefCell<Option<Pin<Box<Sleep>>>> = const { RefCell::new(None) };
}

/// Makes sure that this thread's alarm is set no later than `wait` from now. It rings once,
/// without effect, and is set again only when a task waits again.
#[expect(clippy::disallowed_methods, reason = "part of the one door to sleeping")]
pub(crate) fn stand(wait: Duration) {
    if wait < SHORT {
        return;
    }
    let now = Instant::now();
    let until = now + wait;
    STANDING.with_borrow_mut(|standing| {
        let serves = |it: &Pin<Box<Sleep>>| it.deadline() > now && it.deadline() <= until;
        if !standing.as_ref().is_some_and(serves) {
            let mut sleep = Box::pin(tokio::time::sleep_until(until));
            // A timer is registered when it is polled; no task is to be woken.
            let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            *standing = Some(sleep);
        }
    });
}
