//! UpdateFeatures: the levels that the cluster works at.
//!
//! KIP-584. 1: only validate, and the kind of change. 2: the answer names no single features.

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_types::ErrorCode;

use crate::audit;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::UpdateFeatures, 0, 2);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let refused = error_answers(&request);
    if !call.may(node, Operation::Alter, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    let before = node.cluster();
    let command = ControllerCommand::UpdateFeatures { request, version: call.version };
    let response = node.controller.ask(command).await.unwrap_or_else(refused);
    audit::features_changed(call, &before, &node.cluster());
    response
}

/// The answer if nothing could be done at all.
pub fn error_answers(
    _: &UpdateFeaturesRequest,
) -> impl Fn(ErrorCode) -> UpdateFeaturesResponse + use<> {
    |code| UpdateFeaturesResponse { error_code: code.0, ..Default::default() }
}
