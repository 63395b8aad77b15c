//! The lanes of a node's partitions. Each has a share per data directory: a disk that hangs takes
//! the threads of its own shares, and the other directories do not wait for it.

use std::io;
use std::time::Duration;

use ottla_clock::{Clock, Lane, LaneRules, Priority, Share};

/// How many logs of one directory are made durable at once.
const SYNCS_MAX: usize = 4;
/// How many tasks one directory has: flushing and trimming.
const TASKS: usize = 2;
/// How many reads of one directory wait for its disk at once.
const READS_MAX: usize = 16;

/// How many logs of one directory are closed at once.
const CLOSED_AT_ONCE_MAX: usize = 16;

/// Where partitions wait for disks.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// One fsync for all requests that wait for a partition.
    pub(crate) sync: Lane,
    /// Flushes, checkpoints, retention, unlinking; cache windows.
    pub(crate) upkeep: Lane,
    /// Compaction; a share is a cleaner here.
    pub(crate) cleaning: Lane,
    /// Reads of what has left the cache.
    pub(crate) reading: Lane,
    /// A simulation opens logs on its own thread.
    simulated: Option<Lane>,
}

impl Lanes {
    /// Threads, for so many data directories.
    #[must_use]
    pub fn threads(directories: usize) -> Self {
        let lane = |name, share_max: usize, more: usize| {
            let threads_max = directories.saturating_mul(share_max).saturating_add(more);
            let priority = Priority::Normal;
            Lane::threads(LaneRules { name, threads_max, share_max, priority })
        };
        Self {
            sync: lane("ottla-sync", SYNCS_MAX, 0),
            // One more watches the time while all others hang.
            upkeep: lane("ottla-upkeep", TASKS, 1),
            // There are as many cleaners as the settings say.
            cleaning: lane("ottla-cleaner", 1, usize::MAX),
            reading: lane("ottla-read", READS_MAX, 0),
            simulated: None,
        }
    }

    /// One lane of a simulation, whose disks take up to `latency_max`.
    #[must_use]
    pub fn simulated(clock: &Clock, latency_max: Duration) -> Self {
        let lane = Lane::simulated(clock, latency_max);
        Self {
            sync: lane.clone(),
            upkeep: lane.clone(),
            cleaning: lane.clone(),
            reading: lane.clone(),
            simulated: Some(lane),
        }
    }

    /// Sets how long the disk of a directory takes in a simulation; `None` is a random time again.
    pub fn set_latency(&self, directory: Share, latency: Option<Duration>) {
        self.upkeep.set_latency(directory, latency);
    }

    /// Does what a simulation's lane has to do, until it is stopped.
    pub async fn drive(&self) {
        self.upkeep.drive().await;
    }

    /// Where many logs are opened: as many of one directory at once as there are cores.
    pub(crate) fn opening(&self, directories: usize) -> Lane {
        self.simulated.clone().unwrap_or_else(|| {
            // Asked for only here: the system looks into three files for it.
            let share_max = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let threads_max = directories.saturating_mul(share_max);
            let (name, priority) = ("ottla-open", Priority::Normal);
            Lane::threads(LaneRules { name, threads_max, share_max, priority })
        })
    }

    /// Where all logs are closed: each waits for its disk a few times, and the file system makes
    /// several files durable in the time of one.
    pub(crate) fn closing(&self, directories: usize) -> Lane {
        self.simulated.clone().unwrap_or_else(|| {
            let threads_max = directories.saturating_mul(CLOSED_AT_ONCE_MAX);
            let (name, priority) = ("ottla-close", Priority::Normal);
            let share_max = CLOSED_AT_ONCE_MAX;
            Lane::threads(LaneRules { name, threads_max, share_max, priority })
        })
    }

    /// Threads that a keeper must not be without.
    pub(crate) fn keep_threads(&self) -> io::Result<()> {
        self.sync.keep_thread()?;
        self.upkeep.keep_thread()
    }

    /// Stops them: what runs is waited for, what waits is not done, nor is what comes later.
    pub fn stop(&self) {
        [&self.sync, &self.upkeep, &self.cleaning, &self.reading].into_iter().for_each(Lane::stop);
    }
}
