//! ApiVersions: what is served, and the features of the cluster.
//!
//! 3: name and version of the client's software (KIP-511); features (KIP-584). 4: features from
//! level 0 on. 5: the cluster and the node that a client expects (KIP-1242).

use ottla_metadata::{KRAFT_VERSION, supported_features};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_types::ErrorCode;

use crate::dispatch::SERVED;
use crate::node::Node;
use crate::request::{Api, Call, ListenerScope};

/// The first request of every client.
pub const API: Api = Api::of(ApiKey::ApiVersions, 0, 5);

/// What is served on such listeners, without the features.
pub fn served(scope: ListenerScope) -> ApiVersionsResponse {
    let entry = |api: &Api| ApiVersion {
        api_key: api.key.code(),
        min_version: api.oldest,
        max_version: api.newest,
        ..Default::default()
    };
    let listed = SERVED.iter().filter(|api| scope.includes(api.key));
    let mut api_keys: Vec<ApiVersion> = listed.map(entry).collect();
    api_keys.sort_by_key(|it| it.api_key);
    ApiVersionsResponse { api_keys, ..Default::default() }
}

/// Says what is served.
pub async fn handle(node: &Node, call: &Call, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if call.version >= 3
        && !is_software(&request.client_software_name, &request.client_software_version)
    {
        return ApiVersionsResponse {
            error_code: ErrorCode::INVALID_REQUEST.0,
            ..Default::default()
        };
    }
    if call.version >= 5 && !is_meant(node, &request) {
        return ApiVersionsResponse {
            error_code: ErrorCode::REBOOTSTRAP_REQUIRED.0,
            ..Default::default()
        };
    }
    if call.version >= 3 {
        call.session.is_software(&request.client_software_name, &request.client_software_version);
    }
    let cluster = node.cluster();
    // Before version 4 a client cannot read a lowest level of 0 (KIP-1022).
    let readable = supported_features(&cluster).filter(|it| call.version >= 4 || it.lowest > 0);
    let finalized = cluster.features().iter().map(|(name, level)| FinalizedFeatureKey {
        name: name.clone(),
        max_version_level: *level,
        min_version_level: *level,
        ..Default::default()
    });
    let kraft_version = node.kraft_version();
    let kraft = (kraft_version > 0).then(|| FinalizedFeatureKey {
        name: KRAFT_VERSION.to_owned(),
        max_version_level: kraft_version,
        min_version_level: kraft_version,
        ..Default::default()
    });
    ApiVersionsResponse {
        supported_features: readable
            .map(|feature| SupportedFeatureKey {
                name: feature.name.to_owned(),
                min_version: feature.lowest,
                max_version: feature.highest,
                ..Default::default()
            })
            .collect(),
        finalized_features: finalized.chain(kraft).collect(),
        finalized_features_epoch: node.metadata_offset(),
        ..served(call.session.scope)
    }
}

/// Whether the client, if it says whom it believes to talk to, is right (KIP-1242): behind an
/// address that was given to another cluster or node it would read and write the wrong data.
fn is_meant(node: &Node, request: &ApiVersionsRequest) -> bool {
    request.cluster_id.as_ref().is_none_or(|id| *id == node.facts.cluster_id)
        && (request.node_id == -1 || request.node_id == node.id)
}

/// Letters, digits, dots and dashes, with a letter or digit at both ends (KIP-511).
fn is_software(name: &str, version: &str) -> bool {
    [name, version].iter().all(|text| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(inner)
    })
}
