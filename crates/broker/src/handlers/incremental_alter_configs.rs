//! IncrementalAlterConfigs: some settings of topics and brokers, the others stay.

use ottla_metadata::{Command, ResourceKind};
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
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::IncrementalAlterConfigs, 0, 1);

/// Asks the controller; log levels change here.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let denied = take_denied(node, call, &mut request);
    let refused = refusal(&request);
    let (loggers, request) = split(request);
    let validate_only = request.validate_only;
    let before = node.cluster();
    let resources: Vec<(i8, String)> =
        request.resources.iter().map(|it| (it.resource_type, it.resource_name.clone())).collect();
    let mut response = node
        .controller
        .ask(Command::IncrementalAlterConfigs(request))
        .await
        .unwrap_or_else(refused);
    let changed = resources.iter().map(|(kind, name)| (*kind, name.as_str()));
    audit::settings_changed(call, &before, &node.cluster(), changed);
    for resource in loggers {
        let (code, why) = match loggers::alter(node, call, &resource, validate_only) {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, why)) => (code, Some(why)),
        };
        response.responses.push(AlterConfigsResourceResponse {
            error_code: code.0,
            error_message: why,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..Default::default()
        });
    }
    response.responses.splice(0..0, denied);
    response
}

/// Takes the resources out of the request whose settings the client may not change: their answers.
fn take_denied(
    node: &Node,
    call: &Call,
    request: &mut IncrementalAlterConfigsRequest,
) -> Vec<AlterConfigsResourceResponse> {
    let mut denied = Vec::new();
    request.resources.retain(|it| {
        let resource = (it.resource_type, it.resource_name.as_str());
        let checked = call.check_settings(node, Operation::AlterConfigs, resource);
        denied.extend(checked.err().map(|code| AlterConfigsResourceResponse {
            error_code: code.0,
            error_message: Some(code.message().to_owned()),
            resource_type: it.resource_type,
            resource_name: it.resource_name.clone(),
            ..Default::default()
        }));
        checked.is_ok()
    });
    denied
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

/// The answer if nothing could be done at all.
fn refusal(
    request: &IncrementalAlterConfigsRequest,
) -> impl Fn(ErrorCode) -> IncrementalAlterConfigsResponse + use<> {
    let resources: Vec<(i8, String)> = request
        .resources
        .iter()
        .map(|resource| (resource.resource_type, resource.resource_name.clone()))
        .collect();
    move |code| {
        let result = |(kind, name): &(i8, String)| AlterConfigsResourceResponse {
            error_code: code.0,
            error_message: None,
            resource_type: *kind,
            resource_name: name.clone(),
            ..Default::default()
        };
        IncrementalAlterConfigsResponse {
            responses: resources.iter().map(result).collect(),
            ..Default::default()
        }
    }
}
