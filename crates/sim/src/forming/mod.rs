//! Nodes with one list, which found a cluster together or join the one that is there.
//!
//! `world` is the loop; `node` is a node with its disk; `faults` hurts and heals; `watch` knows the
//! invariants.

mod faults;
mod node;
mod watch;
mod world;

pub(crate) use world::FormingWorld;
