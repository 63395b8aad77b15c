//! AlterConfigs: settings of topics and brokers.

use ottla_metadata::Command;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ottla_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use ottla_types::ErrorCode;

use crate::audit;
use crate::guard::Operation;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterConfigs, 0, 2);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let denied = take_denied(node, call, &mut request);
    let refused = refusal(&request);
    let before = node.cluster();
    let resources: Vec<(i8, String)> =
        request.resources.iter().map(|it| (it.resource_type, it.resource_name.clone())).collect();
    let mut response =
        node.controller.ask(Command::AlterConfigs(request)).await.unwrap_or_else(refused);
    let changed = resources.iter().map(|(kind, name)| (*kind, name.as_str()));
    audit::settings_changed(call, &before, &node.cluster(), changed);
    response.responses.splice(0..0, denied);
    response
}

/// Takes the resources out of the request whose settings the client may not change: their answers.
fn take_denied(
    node: &Node,
    call: &Call,
    request: &mut AlterConfigsRequest,
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

/// The answer if nothing could be done at all.
fn refusal(request: &AlterConfigsRequest) -> impl Fn(ErrorCode) -> AlterConfigsResponse + use<> {
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
        AlterConfigsResponse {
            responses: resources.iter().map(result).collect(),
            ..Default::default()
        }
    }
}
