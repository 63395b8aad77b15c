//! The requests and answers of the quorum, between Kafka's messages and the core's terms.
//!
//! There is one such log, `__cluster_metadata`, with one partition. A request for another one, or
//! for several, is refused by the reader that finds it.

/// Endpoints as a message has them: each message has a type of its own, of the same fields.
macro_rules! written_endpoints {
    ($endpoints:expr => $($written:ident)::+) => {{
        let endpoints = $endpoints.iter().map(|known| $($written)::+ {
            name: known.name.clone(),
            host: known.host.clone(),
            port: known.port,
            ..Default::default()
        });
        endpoints.collect()
    }};
}

/// The endpoints that a message has.
macro_rules! read_endpoints {
    ($written:expr) => {{
        let endpoints = $written.iter().map(|written| ottla_raft::Endpoint {
            name: written.name.clone(),
            host: written.host.clone(),
            port: written.port,
        });
        endpoints.collect()
    }};
}

pub(crate) use {read_endpoints, written_endpoints};

mod election;
mod fetching;
mod voters;

use ottla_raft::{Endpoint, Standing};
use ottla_types::{CLUSTER_METADATA, ErrorCode, LeaderEpoch, NodeId, join_host_port};

pub use election::*;
pub use fetching::*;
pub use voters::*;

/// The leader as it was named, if it was.
fn node_named(id: NodeId) -> Option<NodeId> {
    (id >= 0).then_some(id)
}

/// The standing in an answer.
fn standing_of(epoch: LeaderEpoch, leader: NodeId) -> Standing {
    Standing { epoch, leader: node_named(leader) }
}

/// What every answer says: the epoch, its leader, and where that one listens.
#[derive(Clone, Debug, Default)]
pub struct Speaker {
    /// The epoch and the leader.
    pub standing: Standing,
    /// Where the leader listens, if that is known.
    pub endpoint: Option<Endpoint>,
}

impl Speaker {
    /// The leader's endpoint, for the list of nodes in an answer.
    fn nodes<T>(&self, node: impl FnOnce(NodeId, &Endpoint) -> T) -> Vec<T> {
        let known = self.standing.leader.zip(self.endpoint.as_ref());
        known.map(|(leader, endpoint)| node(leader, endpoint)).into_iter().collect()
    }
}

/// Where a leader listens, as an answer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderAddress {
    /// The leader.
    pub node: NodeId,
    /// Its host and port.
    pub address: String,
}

fn leader_address(node: NodeId, host: &str, port: i32) -> LeaderAddress {
    LeaderAddress { node, address: join_host_port(host, port) }
}

/// The leader's id in an answer; -1 if none is known.
fn leader_id(standing: Standing) -> NodeId {
    standing.leader.unwrap_or(-1)
}

/// Takes the only one out of a list.
fn the_only<T>(all: &[T]) -> Result<&T, ErrorCode> {
    match all {
        [one] => Ok(one),
        _ => Err(ErrorCode::INVALID_REQUEST),
    }
}

fn check_partition(topic: &str, index: i32) -> Result<(), ErrorCode> {
    if topic == CLUSTER_METADATA && index == 0 { Ok(()) } else { Err(ErrorCode::INVALID_REQUEST) }
}
