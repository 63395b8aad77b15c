//! Ring 2: whole nodes, as `ottla_broker::assemble` builds them, on one thread, over a simulated
//! disk, clock and network.

mod executor;
mod machine;
mod network;
mod wire;
mod world;

pub use world::NodesWorld;
