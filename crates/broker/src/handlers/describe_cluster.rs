//! DescribeCluster: the brokers of the cluster.
//!
//! KIP-700. 1: of brokers or of controllers (KIP-919). 2: fenced brokers too (KIP-1073).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use ottla_types::ErrorCode;

use crate::node::Node;
use crate::request::{Api, Call};

/// Admin clients.
pub const API: Api = Api::of(ApiKey::DescribeCluster, 0, 2);

const BROKERS: i8 = 1;

/// Describes the brokers.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        let code = if request.endpoint_type == 2 {
            ErrorCode::MISMATCHED_ENDPOINT_TYPE
        } else {
            ErrorCode::UNSUPPORTED_ENDPOINT_TYPE
        };
        return DescribeClusterResponse {
            error_code: code.0,
            error_message: Some(code.message().to_owned()),
            ..Default::default()
        };
    }
    let cluster = node.cluster();
    let listed = cluster.brokers().filter(|it| request.include_fenced_brokers || !it.fenced);
    let brokers = listed.filter_map(|broker| {
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
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: node.facts.cluster_id.clone(),
        controller_id: node.id,
        brokers: brokers.collect(),
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = call.operations_on_cluster(node);
    }
    response
}
