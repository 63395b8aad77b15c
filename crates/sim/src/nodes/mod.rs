//! Ring 2: whole nodes, as `ottla_broker::assemble` builds them, on one thread, over a simulated
//! disk, clock and network, with clients that know what they were promised.

mod clients;
mod cluster;
mod coverage;
mod executor;
mod faults;
mod machine;
mod model;
mod network;
mod plan;
mod value;
mod wire;
mod world;

pub use cluster::ClusterWorld;
pub use coverage::NodeCoverage;
pub use plan::FaultKind;
pub use world::NodeWorld;
