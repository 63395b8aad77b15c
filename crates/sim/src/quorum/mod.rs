//! A metadata quorum of 1 to 5 voters and some observers over abstract logs, with faults.
//!
//! `world` is the loop, `drive` carries out what a replica wants done, `replicate` is what the
//! host of a replica will do between the logs, `reconfigure` changes voters and writes snapshots,
//! `model` leaves all choices to a model checker, `faults` hurts, `settle` heals and demands that
//! the quorum recovers, `watch` and `watch_log` know the invariants.

mod drive;
mod faults;
mod log;
mod message;
mod model;
mod node;
mod reconfigure;
mod replicate;
mod rows;
mod settle;
mod watch;
mod watch_log;
mod world;

pub(crate) use model::{ModelAction, ModelState};
pub(crate) use rows::ROWS;
pub(crate) use world::QuorumWorld;
