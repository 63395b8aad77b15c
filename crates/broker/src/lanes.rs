//! The lanes of a node: where it waits for disks, and computes for long.

use std::time::Duration;

use ottla_clock::{Clock, Lane, LaneRules, Priority};
use ottla_partitions::Lanes;
use ottla_settings::Settings;

use crate::dirs::directory_paths;
use crate::hosts::lanes::HostLanes;

/// The lanes of a node. Cheap to clone; every clone has the same lanes.
#[derive(Clone, Debug)]
pub struct NodeLanes {
    /// Where partitions wait for disks.
    pub(crate) partitions: Lanes,
    /// Where its machines do.
    pub(crate) hosts: HostLanes,
    /// Where large produced batches are read through: as many at once as there are threads, which
    /// bounds the memory that they unpack to.
    pub(crate) unpacking: Lane,
    /// Where partitions are moved between directories, one after the other.
    pub(crate) moving: Lane,
}

impl NodeLanes {
    /// Threads, for a node of these settings; none is started before there is work.
    #[must_use]
    pub fn threads(settings: &Settings) -> Self {
        let lane = |name, threads_max, priority| {
            Lane::threads(LaneRules { name, threads_max, share_max: threads_max, priority })
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            partitions: Lanes::threads(directory_paths(settings).len()),
            hosts: HostLanes::threads(settings.log_dirs().len()),
            unpacking: lane("ottla-unpack", cores, Priority::Low),
            moving: lane("ottla-mover", 1, Priority::Normal),
        }
    }

    /// Lanes of a simulation, whose work takes up to `latency_max`.
    #[must_use]
    pub fn simulated(clock: &Clock, latency_max: Duration) -> Self {
        let lane = || Lane::simulated(clock, latency_max);
        Self {
            partitions: Lanes::simulated(clock, latency_max),
            hosts: HostLanes::simulated(clock, latency_max),
            unpacking: lane(),
            moving: lane(),
        }
    }

    /// Does what the lanes of a simulation have to do, until they are stopped; returns at once if
    /// they have threads.
    pub async fn drive(&self) {
        tokio::join!(
            biased;
            self.partitions.drive(),
            self.hosts.drive(),
            self.unpacking.drive(),
            self.moving.drive()
        );
    }

    /// Stops the lanes as a crash does: what waits is not done, nor is what comes later.
    pub fn stop(&self) {
        self.partitions.stop();
        self.hosts.stop();
        [&self.unpacking, &self.moving].into_iter().for_each(Lane::stop);
    }
}
