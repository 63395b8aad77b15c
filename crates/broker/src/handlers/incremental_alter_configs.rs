//! IncrementalAlterConfigs: some settings of topics and brokers, the others stay.
//!
//! KIP-339. The levels of the log are settings of the resource type BROKER_LOGGER (KIP-412).
//!
//! Gap: no `alter.config.policy.class.name`.

use ottla_metadata::{AlteredResource, ControllerCommand, ResourceKind};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_types::ErrorCode;

use crate::alter_settings::{alter_settings, named_resources, refuse_resources};
use crate::forwarding::ask_active_controller;
use crate::loggers;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::IncrementalAlterConfigs, 0, 1);

/// Asks the active controller; log levels change here.
///
/// # Errors
/// The active controller does not know this version: the connection is closed, as by Kafka.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: IncrementalAlterConfigsRequest,
) -> Result<IncrementalAlterConfigsResponse, String> {
    let IncrementalAlterConfigsRequest { resources, validate_only, .. } = request;
    let alter = async |resources: Vec<AlterConfigsResource>| {
        // Log levels are this node's own affair; everything else is the controller's.
        let is_logger =
            |it: &AlterConfigsResource| it.resource_type == ResourceKind::BrokerLogger as i8;
        let (loggers, others): (Vec<_>, Vec<_>) = resources.into_iter().partition(is_logger);
        let mut answers = match others.is_empty() {
            true => Vec::new(),
            false => ask_controller(node, call, others, validate_only).await?,
        };
        answers.extend(loggers.into_iter().map(|it| alter_logger(node, call, it, validate_only)));
        Ok(answers)
    };
    let responses = alter_settings(node, call, resources, alter).await?;
    Ok(IncrementalAlterConfigsResponse { responses, ..Default::default() })
}

async fn ask_controller(
    node: &Node,
    call: &Call,
    resources: Vec<AlterConfigsResource>,
    validate_only: bool,
) -> Result<Vec<AlterConfigsResourceResponse>, String> {
    let named = named_resources(&resources);
    let request = IncrementalAlterConfigsRequest { resources, validate_only, ..Default::default() };
    let ask_here =
        async |it| node.controller.ask(ControllerCommand::IncrementalAlterConfigs(it)).await;
    match ask_active_controller(node, call, request, ask_here).await {
        Ok(response) => Ok(response.responses),
        Err(failure) => refuse_resources::<AlterConfigsResource>(named, failure),
    }
}

fn alter_logger(
    node: &Node,
    call: &Call,
    resource: AlterConfigsResource,
    validate_only: bool,
) -> AlterConfigsResourceResponse {
    let (code, why) = match loggers::alter_loggers(node, call, &resource, validate_only) {
        Ok(()) => (ErrorCode::NONE, None),
        Err((code, why)) => (code, Some(why)),
    };
    AlterConfigsResource::answer(resource.resource_type, resource.resource_name, code, why)
}

#[cfg(test)]
#[path = "incremental_alter_configs_tests.rs"]
mod tests;
