//! ListConfigResources: what settings can belong to.
//!
//! 0: subscriptions to clients' metrics only (KIP-714). 1: the kinds that are asked for, or all
//! (KIP-1142).

use ottla_metadata::{Cluster, ResourceKind};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::messages::list_config_resources_response::{
    ConfigResource, ListConfigResourcesResponse,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators; only subscriptions to clients' metrics in version 0.
pub const API: Api = Api::of(ApiKey::ListConfigResources, 0, 1);

const ALL: [ResourceKind; 5] = [
    ResourceKind::Topic,
    ResourceKind::Broker,
    ResourceKind::BrokerLogger,
    ResourceKind::ClientMetrics,
    ResourceKind::Group,
];

/// Lists resources of the kinds asked for.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let refused =
        |code: ErrorCode| ListConfigResourcesResponse { error_code: code.0, ..Default::default() };
    if !call.may(node, Operation::DescribeConfigs, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    let mut kinds: Vec<ResourceKind> = if call.version == 0 {
        vec![ResourceKind::ClientMetrics]
    } else if request.resource_types.is_empty() {
        ALL.to_vec()
    } else {
        request.resource_types.iter().filter_map(|kind| ResourceKind::of(*kind)).collect()
    };
    if call.version > 0
        && !request.resource_types.is_empty()
        && kinds.len() != request.resource_types.len()
    {
        return refused(ErrorCode::UNSUPPORTED_VERSION);
    }
    let mut listed = Vec::new();
    kinds.retain(|kind| {
        let is_first = !listed.contains(kind);
        listed.push(*kind);
        is_first
    });
    let cluster = node.cluster();
    let mut config_resources = Vec::new();
    for kind in kinds {
        let names = names(&cluster, kind);
        config_resources.extend(names.into_iter().map(|resource_name| ConfigResource {
            resource_name,
            resource_type: kind as i8,
            ..Default::default()
        }));
    }
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}

fn names(cluster: &Cluster, kind: ResourceKind) -> Vec<String> {
    match kind {
        ResourceKind::Topic => cluster.topics().map(|topic| topic.name.to_string()).collect(),
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            cluster.brokers().map(|broker| broker.id.to_string()).collect()
        }
        ResourceKind::ClientMetrics | ResourceKind::Group => {
            cluster.configured(kind).map(str::to_owned).collect()
        }
    }
}
