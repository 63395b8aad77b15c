//! The controllers of the cluster, for clients that talk to controllers only (KIP-919).

use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_types::{ErrorCode, NodeId};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::Call;

/// Kafka's number for endpoints of brokers.
pub const BROKERS: i8 = 1;
/// Kafka's number for endpoints of controllers.
pub const CONTROLLERS: i8 = 2;

/// Is the type that the client asks for the one of this listener?
///
/// # Errors
/// Kafka's code and message.
pub fn check_endpoint_type(asked: i8, own: i8, call: &Call) -> Result<(), (ErrorCode, String)> {
    let code = match asked {
        asked if asked == own => return Ok(()),
        // A client of version 0 has not asked for a type.
        _ if call.version == 0 => ErrorCode::INVALID_REQUEST,
        BROKERS | CONTROLLERS => ErrorCode::MISMATCHED_ENDPOINT_TYPE,
        _ => ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
    };
    let name = |kind: i8| if kind == BROKERS { "BROKER" } else { "CONTROLLER" };
    let (own, wanted) = (name(own), name(asked));
    let why = match asked {
        BROKERS | CONTROLLERS => format!(
            "The request was sent to an endpoint of type {own}, but we wanted an endpoint of type \
             {wanted}"
        ),
        other => format!("Unsupported endpoint type {other}"),
    };
    Err((code, why))
}

/// The controllers that have registered, and this one, by the listener's name (KIP-919).
///
/// # Errors
/// The client may not see them: that takes more than it does for brokers.
pub fn described_controllers(
    node: &Node,
    call: &Call,
) -> Result<Vec<DescribeClusterBroker>, ErrorCode> {
    call.check(node, Operation::Alter, Resource::Cluster)?;
    let cluster = node.cluster();
    let listener = &*call.session.listener;
    let described = |id: NodeId, host: &str, port: u16| DescribeClusterBroker {
        broker_id: id,
        host: host.to_owned(),
        port: i32::from(port),
        ..Default::default()
    };
    let registered = cluster.controllers().filter_map(|known| {
        let found = known.end_points.iter().find(|endpoint| endpoint.name == listener)?;
        Some(described(known.controller_id, &found.host, found.port))
    });
    let mut all: Vec<DescribeClusterBroker> = registered.collect();
    let own = node.facts.voter_listeners.iter().find(|endpoint| endpoint.name == listener);
    if let Some(own) = own.filter(|_| all.iter().all(|it| it.broker_id != node.id)) {
        all.push(described(node.id, &own.host, own.port));
    }
    Ok(all)
}

/// The active controller, if it is known and listed.
pub fn active_controller(node: &Node, listed: &[DescribeClusterBroker]) -> NodeId {
    let leader = node.controller.member().view().standing.leader;
    leader.filter(|id| listed.iter().any(|it| it.broker_id == *id)).unwrap_or(-1)
}
