//! A cluster of nodes that are brokers and voters of the metadata quorum: topics come and go and
//! settings change through any of them, while nodes crash and links are cut.

mod audit;
mod clients;
mod faults;
mod logs;
mod model;
mod plan;
mod world;

pub use world::ClusterWorld;
