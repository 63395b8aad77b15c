//! Logs once that a data directory's disk is full or fails, and once that it has room again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_storage::{DataDir, StorageError};
use ottla_types::TopicPartition;
use tokio::sync::Notify;

/// How long appends must have gone well before a shortage counts as over. On a full disk a small
/// append still goes well between two that do not, many times a second.
const ROOM_LASTS: Duration = Duration::from_secs(10);

/// What is known of the trouble with one data directory.
#[derive(Debug)]
pub(crate) struct Trouble {
    directory: PathBuf,
    clock: Clock,
    /// Is there a shortage? A thread that reads it too early notes its append a little later.
    is_short: AtomicBool,
    /// Guards what is known of the shortage; only taken while there is one.
    shortage: Mutex<Shortage>,
    /// Set once, and never taken back. A thread that reads it too early gets the error from the
    /// disk, or from the failed log.
    has_failed: AtomicBool,
    /// Notified when the directory has failed.
    failures: Arc<Notify>,
}

/// A shortage of room, from the first append that was refused until appends have gone well for
/// long enough.
#[derive(Debug, Default)]
struct Shortage {
    /// Has its begin been logged, and its end not yet?
    is_on: bool,
    /// Since when no append was refused, if one has gone well since.
    room_since: Option<Duration>,
}

impl Shortage {
    /// An append was refused for lack of room; is that the begin of a shortage?
    const fn refused(&mut self) -> bool {
        self.room_since = None;
        !std::mem::replace(&mut self.is_on, true)
    }

    /// An append has gone well.
    fn written(&mut self, now: Duration) {
        self.room_since.get_or_insert(now);
    }

    /// Is the shortage over now? True once for each.
    fn take_end(&mut self, now: Duration) -> bool {
        let has_room = self.room_since.is_some_and(|since| now >= since + ROOM_LASTS);
        has_room && std::mem::take(&mut self.is_on)
    }
}

impl Trouble {
    pub(crate) fn new(dir: &DataDir, failures: Arc<Notify>, clock: Clock) -> Self {
        let (is_short, has_failed) = (AtomicBool::default(), AtomicBool::default());
        let (directory, shortage) = (dir.path().to_owned(), Mutex::default());
        Self { directory, clock, is_short, shortage, has_failed, failures }
    }

    pub(crate) fn tell(&self, partition: &TopicPartition, error: &StorageError, what: &str) {
        let directory = self.directory.display();
        match error {
            // The error that came first has been logged.
            StorageError::Failed => {}
            _ if error.is_shortage() => {
                let mut shortage = self.shortage.lock();
                let is_first = shortage.refused();
                self.is_short.store(true, Ordering::Release);
                drop(shortage);
                if is_first {
                    tracing::error!(
                        %directory,
                        %partition,
                        %error,
                        "disk shortage: appends to this data directory are refused until there is room"
                    );
                }
            }
            StorageError::Io { .. } => {
                if !self.has_failed.swap(true, Ordering::AcqRel) {
                    self.failures.notify_waiters();
                    tracing::error!(
                        %directory,
                        %partition,
                        %error,
                        "data directory is offline until the next start: {what}"
                    );
                }
            }
            _ => tracing::error!(%directory, %partition, %error, "{what}"),
        }
    }

    /// Has the directory failed? Then none of its partitions is served: what its files hold is
    /// unknown.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// An append has gone well.
    pub(crate) fn note_room(&self) {
        if self.is_short.load(Ordering::Relaxed) {
            self.shortage.lock().written(self.clock.monotonic());
            self.end_shortage();
        }
    }

    /// Logs the end of a shortage if there has been room for long enough; to be called now and
    /// then, as appends may pause.
    pub(crate) fn end_shortage(&self) {
        if !self.is_short.load(Ordering::Relaxed) {
            return;
        }
        let mut shortage = self.shortage.lock();
        if shortage.take_end(self.clock.monotonic()) {
            self.is_short.store(false, Ordering::Release);
            drop(shortage);
            let directory = self.directory.display();
            tracing::info!(%directory, "disk shortage is over: appends are accepted again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_over_when_appends_have_gone_well_for_some_time() {
        let ms = Duration::from_millis;
        let mut shortage = Shortage::default();
        assert!(shortage.refused(), "its begin is news");
        // A full disk: small appends go well between others that do not.
        let mut begins = 0;
        let mut ends = 0;
        for at in (0..30_000).step_by(10) {
            shortage.written(ms(at));
            ends += u32::from(shortage.take_end(ms(at)));
            begins += u32::from(shortage.refused());
        }
        assert_eq!((begins, ends), (0, 0));
        shortage.written(ms(30_000));
        assert!(!shortage.take_end(ms(39_999)));
        assert!(shortage.take_end(ms(40_000)) && !shortage.take_end(ms(50_000)), "once");
        assert!(shortage.refused(), "another one");
        assert!(!shortage.take_end(ms(90_000)), "nothing was written since");
    }
}
