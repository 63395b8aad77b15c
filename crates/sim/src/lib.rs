//! The simulator, ring 1: the cores under faults, by seed, with their invariants checked after
//! every step (docs/simulation.md).
//!
//! A seed is a history. It names the size of the cluster, the delays, losses, crashes and
//! partitions, and everything else that chance decides; the same seed is the same history on
//! every machine. First it hurts: only safety counts. Then it heals, and the cluster must recover.
//!
//! `random`, `schedule`, `network`, `trace`, `invariant`, `coverage`, `ledger` and `runner` do not
//! depend on what they simulate; `quorum`, `partition` and `forming` are worlds that they run.
#![forbid(unsafe_code)]

pub mod coverage;
mod forming;
pub mod invariant;
pub mod ledger;
mod log;
mod network;
pub mod nodes;
mod partition;
mod quorum;
mod random;
pub mod report;
pub mod runner;
mod schedule;
pub mod seed;
pub mod trace;
