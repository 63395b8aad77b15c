//! Files on their way out: a reader may still need what a segment's deletion leaves for a while.

use ottla_locks::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

use ottla_storage::Retired;

/// The files of one data directory that are to be removed, and when. The lock guards the list;
/// files are removed without it.
#[derive(Debug, Default)]
pub(crate) struct Bin(Mutex<VecDeque<(Duration, Retired)>>);

impl Bin {
    /// Takes files that are to be removed at this time.
    pub(crate) fn put(&self, at: Duration, retired: Retired) {
        self.0.lock().push_back((at, retired));
    }

    /// Removes what is due.
    pub(crate) fn empty(&self, now: Duration) {
        for retired in self.due(now) {
            if let Err(error) = retired.remove() {
                tracing::warn!(
                    %error,
                    "files of a deleted segment cannot be removed; the next start removes them"
                );
            }
        }
    }

    fn due(&self, now: Duration) -> Vec<Retired> {
        let mut all = self.0.lock();
        let (due, later): (VecDeque<_>, _) = all.drain(..).partition(|(at, _)| *at <= now);
        *all = later;
        due.into_iter().map(|(_, retired)| retired).collect()
    }
}
