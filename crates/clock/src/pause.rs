//! A pause in work that goes on for long, which a stop cuts short.

use std::time::Duration;

use ottla_locks::{Condvar, Mutex};

/// The work is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Lets threads rest until they are stopped.
#[derive(Debug, Default)]
pub struct Pause {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Pause {
    /// Waits for so long, or until it is stopped.
    ///
    /// # Errors
    /// It is stopped.
    pub fn rest(&self, duration: Duration) -> Result<(), Stopped> {
        let stopped = self.stopped.lock();
        let stopped = self.changed.wait_timeout_while(stopped, duration, |stopped| !*stopped);
        if *stopped { Err(Stopped) } else { Ok(()) }
    }

    /// Ends all rests, also those that begin later.
    pub fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_a_rest() {
        let pause = Pause::default();
        assert_eq!(pause.rest(Duration::ZERO), Ok(()));
        std::thread::scope(|scope| {
            let resting = scope.spawn(|| pause.rest(Duration::from_secs(24 * 60 * 60)));
            pause.stop();
            assert_eq!(resting.join().expect("no panic"), Err(Stopped));
        });
        assert_eq!(pause.rest(Duration::ZERO), Err(Stopped));
    }
}
