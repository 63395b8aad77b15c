//! IncrementalAlterConfigs: some settings of topics and brokers, the others stay.
//!
//! KIP-339. The levels of the log are settings of the resource type BROKER_LOGGER (KIP-412).
//!
//! Gap: no `alter.config.policy.class.name`.

use ottla_metadata::{ControllerCommand, ResourceKind};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_types::ErrorCode;

use crate::audit;
use crate::guard::Operation;
use crate::loggers;
use crate::node::Node;
use crate::request::{Api, Call, take_denied};

/// Operators.
pub const API: Api = Api::of(ApiKey::IncrementalAlterConfigs, 0, 1);

/// Asks the controller; log levels change here.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let check = |resource: &AlterConfigsResource| {
        let operation = Operation::AlterConfigs;
        call.check_settings(node, operation, resource.resource_type, &resource.resource_name)
    };
    let denied = take_denied(&mut request.resources, check, |resource, code| {
        let message = Some(code.message().to_owned());
        resource_result(resource.resource_type, resource.resource_name.clone(), code, message)
    });
    let (loggers, request) = split(request);
    let validate_only = request.validate_only;
    let before = node.cluster();
    let resources: Vec<(i8, String)> =
        request.resources.iter().map(|it| (it.resource_type, it.resource_name.clone())).collect();
    // The answer if nothing could be done at all.
    let refused = |code| IncrementalAlterConfigsResponse {
        responses: resources
            .iter()
            .map(|(kind, name)| resource_result(*kind, name.clone(), code, None))
            .collect(),
        ..Default::default()
    };
    let mut response = node
        .controller
        .ask(ControllerCommand::IncrementalAlterConfigs(request))
        .await
        .unwrap_or_else(refused);
    let changed = resources.iter().map(|(kind, name)| (*kind, name.as_str()));
    audit::settings_changed(call, &before, &node.cluster(), changed);
    for resource in loggers {
        let (code, why) = match loggers::alter(node, call, &resource, validate_only) {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, why)) => (code, Some(why)),
        };
        let (kind, name) = (resource.resource_type, resource.resource_name);
        response.responses.push(resource_result(kind, name, code, why));
    }
    response.responses.splice(0..0, denied);
    response
}

/// Log levels are this node's own affair; everything else is the controller's.
fn split(
    mut request: IncrementalAlterConfigsRequest,
) -> (Vec<AlterConfigsResource>, IncrementalAlterConfigsRequest) {
    let is_logger =
        |it: &AlterConfigsResource| it.resource_type == ResourceKind::BrokerLogger as i8;
    let (loggers, others) = std::mem::take(&mut request.resources).into_iter().partition(is_logger);
    request.resources = others;
    (loggers, request)
}

fn resource_result(
    resource_type: i8,
    resource_name: String,
    code: ErrorCode,
    error_message: Option<String>,
) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: code.0,
        error_message,
        resource_type,
        resource_name,
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "incremental_alter_configs_tests.rs"]
mod tests;
