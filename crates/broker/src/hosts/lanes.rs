//! Where the machines of a node wait for disks.

use ottla_clock::{Lane, LaneRules, Priority};

/// The lanes of a node's hosts.
#[derive(Clone, Debug)]
pub struct HostLanes {
    /// Commits of the controller, and what follows from them.
    pub metadata: Lane,
    /// Coordinators are loaded here; a share is a data directory's.
    pub loading: Lane,
}

impl HostLanes {
    /// Threads, for so many data directories.
    #[must_use]
    pub fn threads(directories: usize) -> Self {
        let lane = |name, threads_max, share_max| {
            Lane::threads(LaneRules { name, threads_max, share_max, priority: Priority::Normal })
        };
        Self {
            // Three shares, and nothing of one waits for another.
            metadata: lane("ottla-metadata", 3, 1),
            loading: lane("ottla-load", directories.max(1), 1),
        }
    }

    /// Stops the lanes: what runs is waited for, what waits is not done.
    pub fn stop(&self) {
        [&self.metadata, &self.loading].into_iter().for_each(Lane::stop);
    }
}
