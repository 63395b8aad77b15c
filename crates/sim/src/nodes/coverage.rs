//! What the seeds of ring 2 have covered.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::plan::FaultKind;
use crate::invariant::Invariant;

/// Counts of what happened; those of several seeds add up.
#[derive(Clone, Debug, Default)]
pub struct NodeCoverage {
    /// How often each fault has happened.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How many requests of each API were answered.
    pub requests: BTreeMap<&'static str, u64>,
    /// How often each rule was checked.
    pub checks: BTreeMap<Invariant, u64>,
    /// How often a node was started.
    pub starts: u64,
    /// How often a node went down by itself, since its disk failed.
    pub failures: u64,
    /// How often a task was polled.
    pub polls: u64,
    /// Connections that were made, and that broke.
    pub connections: u64,
    /// See `connections`.
    pub resets: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// How many transactions have begun.
    pub transactions: u64,
    /// How many histories were those of a cluster.
    pub clusters: u64,
    /// Epochs of their metadata quorums that had a leader.
    pub leader_epochs: u64,
    /// Batches that their metadata quorums have committed.
    pub committed_batches: u64,
    /// Changes of the metadata that they have acknowledged.
    pub metadata_changes: u64,
}

impl AddAssign<&Self> for NodeCoverage {
    fn add_assign(&mut self, other: &Self) {
        other.faults.iter().for_each(|(kind, count)| {
            *self.faults.entry(*kind).or_default() += count;
        });
        other.requests.iter().for_each(|(name, count)| {
            *self.requests.entry(name).or_default() += count;
        });
        other.checks.iter().for_each(|(rule, count)| {
            *self.checks.entry(*rule).or_default() += count;
        });
        self.starts += other.starts;
        self.failures += other.failures;
        self.polls += other.polls;
        self.connections += other.connections;
        self.resets += other.resets;
        self.simulated_ms += other.simulated_ms;
        self.transactions += other.transactions;
        self.clusters += other.clusters;
        self.leader_epochs += other.leader_epochs;
        self.committed_batches += other.committed_batches;
        self.metadata_changes += other.metadata_changes;
    }
}
