//! One partition on 2 to 4 brokers, and the controller that elects its leader.
//!
//! `world` is the loop; `metadata` is the controller with its log, and how brokers come by it;
//! `lifecycle` is how they register, live and stop, and how another controller takes over;
//! `role` is what a broker makes of it; `replicate` moves records; `in_sync` is the leader's side
//! of AlterPartition; `faults` hurts, `settle` heals; `watch` knows the invariants.

mod broker;
mod faults;
mod in_sync;
mod lifecycle;
mod message;
mod metadata;
mod replicate;
mod role;
mod settle;
mod watch;
mod world;

pub(crate) use lifecycle::LIFECYCLE;
pub(crate) use world::PartitionWorld;
