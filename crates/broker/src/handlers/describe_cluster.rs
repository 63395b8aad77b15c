//! DescribeCluster: the brokers of the cluster.
//!
//! KIP-700. 1: of brokers or of controllers (KIP-919). 2: fenced brokers too (KIP-1073).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use ottla_types::ErrorCode;

use crate::controllers::{
    BROKERS, CONTROLLERS, active_controller, check_endpoint_type, described_controllers,
};
use crate::node::Node;
use crate::request::{Api, Call, ListenerScope};

/// Admin clients.
pub const API: Api = Api::of(ApiKey::DescribeCluster, 0, 2);

/// Describes the brokers; on a controller's listener, the controllers.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let (endpoint_type, nodes) = match call.session.scope {
        ListenerScope::Broker => (BROKERS, described_brokers(node, call, &request)),
        ListenerScope::Controller => match described_controllers(node, call) {
            Ok(nodes) => (CONTROLLERS, nodes),
            Err(code) => return refuse_description(code, code.message()),
        },
    };
    if let Err((code, why)) = check_endpoint_type(request.endpoint_type, endpoint_type, call) {
        return refuse_description(code, &why);
    }
    let mut response = DescribeClusterResponse {
        endpoint_type,
        cluster_id: node.facts.cluster_id.clone(),
        // Of brokers any will do: it forwards.
        controller_id: match call.session.scope {
            ListenerScope::Broker => node.id,
            ListenerScope::Controller => active_controller(node, &nodes),
        },
        brokers: nodes,
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = call.operations_on_cluster(node);
    }
    response
}

fn refuse_description(code: ErrorCode, why: &str) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code: code.0,
        error_message: Some(why.to_owned()),
        ..Default::default()
    }
}

fn described_brokers(
    node: &Node,
    call: &Call,
    request: &DescribeClusterRequest,
) -> Vec<DescribeClusterBroker> {
    let cluster = node.cluster();
    let listed = cluster.brokers().filter(|it| request.include_fenced_brokers || !it.fenced);
    let described = listed.filter_map(|broker| {
        let address = broker.listener(&call.session.listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id,
            host: address.host.clone(),
            port: i32::from(address.port),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
            ..Default::default()
        })
    });
    described.collect()
}

#[cfg(test)]
#[path = "describe_cluster_tests.rs"]
mod tests;
