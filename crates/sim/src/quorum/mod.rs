//! A metadata quorum of 1 to 5 voters over abstract logs, with faults.
//!
//! `world` is the loop, `drive` carries out what a replica wants done, `replicate` is what the
//! host of a replica will do between the logs, `faults` hurts, `settle` heals and demands that the
//! quorum recovers, `watch` knows the invariants.

mod drive;
mod faults;
mod message;
mod node;
mod replicate;
mod rows;
mod settle;
mod watch;
mod world;

pub(crate) use rows::ROWS;
pub(crate) use world::QuorumWorld;
