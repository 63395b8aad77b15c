//! What the seeds have covered.

use std::ops::AddAssign;

use crate::invariant::Invariant;
use crate::network::MessageNetwork;
use crate::nodes::NodeCoverage;
use crate::partition::LIFECYCLE;
use crate::quorum::ROWS;

/// Counts of what happened; those of several seeds add up.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// Seeds that ran.
    pub seeds: u64,
    /// Events of all of them.
    pub events: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Elections that were won.
    pub elections: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Records that were lost in crashes, not being durable.
    pub lost_records: u64,
    /// Records that were cut off, since a leader did not have them.
    pub cut_records: u64,
    /// Records that committed.
    pub committed: u64,
    /// Changes of the voters that were made.
    pub changes: u64,
    /// Changes of the voters that were refused.
    pub refused_changes: u64,
    /// Disks of voters that were replaced.
    pub wiped: u64,
    /// Snapshots that were written.
    pub snapshots: u64,
    /// Snapshots that were fetched and took the place of a log.
    pub fetched_snapshots: u64,
    /// Clusters that formed without a format step.
    pub founded: u64,
    /// Nodes that joined such a cluster as observers.
    pub joined: u64,
    /// Partition leaders that began.
    pub leaders: u64,
    /// Brokers that stopped when the controller let them.
    pub orderly_stops: u64,
    /// Controllers that became the active one.
    pub failovers: u64,
    /// Brokers that were fenced because they were silent.
    pub sessions_ended: u64,
    /// Changes of the in-sync set that a leader asked for.
    pub in_sync_changes: u64,
    /// Such changes that were refused, or in force already.
    pub in_sync_refusals: u64,
    /// Produce requests with acks=all that were acknowledged.
    pub acknowledged: u64,
    /// Records that the controller wrote.
    pub metadata_records: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// Messages that came twice.
    pub doubled: u64,
    /// How often a heartbeat took each row of the table of what it makes of a broker.
    pub lifecycle: [u64; LIFECYCLE.len()],
    /// How often each row of the table of roles was taken.
    pub rows: [u64; ROWS.len()],
    /// How often each invariant was checked.
    pub checks: [u64; Invariant::ALL.len()],
    /// What ring 2 has covered.
    pub nodes: NodeCoverage,
}

impl Coverage {
    /// An invariant was looked at.
    pub fn checked(&mut self, invariant: Invariant) {
        self.checks[invariant as usize] += 1;
    }

    /// Adds what single steps of a quorum count.
    pub(crate) fn add_steps(&mut self, steps: &Self) {
        self.elections += steps.elections;
        self.crashes += steps.crashes;
        self.lost_records += steps.lost_records;
        self.cut_records += steps.cut_records;
        self.committed += steps.committed;
        for (sum, more) in self.rows.iter_mut().zip(steps.rows) {
            *sum += more;
        }
        for (sum, more) in self.checks.iter_mut().zip(steps.checks) {
            *sum += more;
        }
    }

    /// A seed ran until `now_ms` over this network.
    pub fn ran(&mut self, now_ms: u64, network: &MessageNetwork) {
        self.simulated_ms = now_ms;
        (self.sent, self.lost, self.doubled) = (network.sent, network.lost, network.doubled);
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            seeds: 0,
            events: 0,
            simulated_ms: 0,
            elections: 0,
            crashes: 0,
            lost_records: 0,
            cut_records: 0,
            committed: 0,
            changes: 0,
            refused_changes: 0,
            wiped: 0,
            snapshots: 0,
            fetched_snapshots: 0,
            founded: 0,
            joined: 0,
            leaders: 0,
            orderly_stops: 0,
            failovers: 0,
            sessions_ended: 0,
            in_sync_changes: 0,
            in_sync_refusals: 0,
            acknowledged: 0,
            metadata_records: 0,
            sent: 0,
            lost: 0,
            doubled: 0,
            lifecycle: [0; LIFECYCLE.len()],
            rows: [0; ROWS.len()],
            checks: [0; Invariant::ALL.len()],
            nodes: NodeCoverage::default(),
        }
    }
}

impl AddAssign<&Self> for Coverage {
    fn add_assign(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.simulated_ms += other.simulated_ms;
        self.elections += other.elections;
        self.crashes += other.crashes;
        self.lost_records += other.lost_records;
        self.cut_records += other.cut_records;
        self.committed += other.committed;
        self.changes += other.changes;
        self.refused_changes += other.refused_changes;
        self.wiped += other.wiped;
        self.snapshots += other.snapshots;
        self.fetched_snapshots += other.fetched_snapshots;
        self.founded += other.founded;
        self.joined += other.joined;
        self.leaders += other.leaders;
        self.orderly_stops += other.orderly_stops;
        self.failovers += other.failovers;
        self.sessions_ended += other.sessions_ended;
        self.in_sync_changes += other.in_sync_changes;
        self.in_sync_refusals += other.in_sync_refusals;
        self.acknowledged += other.acknowledged;
        self.metadata_records += other.metadata_records;
        self.sent += other.sent;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.nodes += &other.nodes;
        for (sum, more) in self.lifecycle.iter_mut().zip(other.lifecycle) {
            *sum += more;
        }
        for (sum, more) in self.rows.iter_mut().zip(other.rows) {
            *sum += more;
        }
        for (sum, more) in self.checks.iter_mut().zip(other.checks) {
            *sum += more;
        }
    }
}
