//! Where the machines of a node wait for disks.

use std::time::Duration;

use ottla_clock::{Clock, Lane, LaneRules, Priority};

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
            // Four shares, and none waits for another.
            metadata: lane("ottla-metadata", 4, 1),
            loading: lane("ottla-load", directories.max(1), 1),
        }
    }

    /// Lanes of a simulation, whose work takes up to `latency_max`.
    #[must_use]
    pub fn simulated(clock: &Clock, latency_max: Duration) -> Self {
        let lane = || Lane::simulated(clock, latency_max);
        Self { metadata: lane(), loading: lane() }
    }

    /// Does what the lanes of a simulation have to do, until they are stopped.
    pub async fn drive(&self) {
        tokio::join!(biased; self.metadata.drive(), self.loading.drive());
    }

    /// Stops the lanes: what runs is waited for, what waits is not done.
    pub fn stop(&self) {
        [&self.metadata, &self.loading].into_iter().for_each(Lane::stop);
    }
}
