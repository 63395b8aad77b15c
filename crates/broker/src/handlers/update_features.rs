//! UpdateFeatures: the levels that the cluster works at.
//!
//! KIP-584. 1: only validate, and the kind of change. 2: the answer names no single features.
//!
//! The level of `kraft.version` is the metadata quorum's (KIP-853): it changes there, once all else
//! that the request asks for is known to be possible.

use std::time::Duration;

use ottla_metadata::{ControllerCommand, KRAFT_VERSION};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};
use crate::{audit, quorum_upgrade};

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
    let answered = match wanted_kraft_version(node, call, &request) {
        Some(wanted) => upgrade_quorum(node, call, request, wanted).await,
        None => update_levels(node, call, request, node.kraft_version()).await,
    };
    answered.unwrap_or_else(refused)
}

/// The level that the quorum is to be upgraded to, if the request asks for that.
fn wanted_kraft_version(node: &Node, call: &Call, request: &UpdateFeaturesRequest) -> Option<i16> {
    const UPGRADE: i8 = 1;
    let mut updates = request.feature_updates.iter();
    let update = updates.find(|it| it.feature == KRAFT_VERSION)?;
    let is_upgrade = match call.version {
        0 => !update.allow_downgrade,
        _ => update.upgrade_type == UPGRADE,
    };
    let wanted = update.max_version_level;
    (is_upgrade && wanted == 1 && wanted > node.kraft_version()).then_some(wanted)
}

async fn update_levels(
    node: &Node,
    call: &Call,
    request: UpdateFeaturesRequest,
    kraft_version: i16,
) -> Result<UpdateFeaturesResponse, ErrorCode> {
    let before = node.cluster();
    let version = call.version;
    let command = ControllerCommand::UpdateFeatures { request, version, kraft_version };
    let response = node.controller.ask(command).await?;
    audit::features_changed(call, &before, &node.cluster());
    Ok(response)
}

async fn upgrade_quorum(
    node: &Node,
    call: &Call,
    request: UpdateFeaturesRequest,
    wanted: i16,
) -> Result<UpdateFeaturesResponse, ErrorCode> {
    let limit = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    if let Err(refused) = quorum_upgrade::await_readiness(node, wanted, limit).await {
        return refused.answer();
    }
    // All or nothing.
    let only_checked = UpdateFeaturesRequest { validate_only: true, ..request.clone() };
    let response = update_levels(node, call, only_checked, wanted).await?;
    if request.validate_only || response.error_code != 0 {
        return Ok(response);
    }
    let before = node.kraft_version();
    if let Err(refused) = quorum_upgrade::upgrade_kraft_version(node, wanted).await {
        return refused.answer();
    }
    audit::feature_changed(call, KRAFT_VERSION, before, wanted);
    update_levels(node, call, request, wanted).await
}

/// The answer if nothing could be done at all.
pub fn error_answers(
    _: &UpdateFeaturesRequest,
) -> impl Fn(ErrorCode) -> UpdateFeaturesResponse + use<> {
    |code| UpdateFeaturesResponse { error_code: code.0, ..Default::default() }
}
