//! AlterConfigs: settings of topics and brokers.
//!
//! Gap: no `alter.config.policy.class.name`.

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use ottla_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use ottla_types::ErrorCode;

use crate::audit;
use crate::guard::Operation;
use crate::node::Node;
use crate::request::{Api, Call, take_denied};

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterConfigs, 0, 2);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let check = |resource: &AlterConfigsResource| {
        let operation = Operation::AlterConfigs;
        call.check_settings(node, operation, resource.resource_type, &resource.resource_name)
    };
    let denied = take_denied(&mut request.resources, check, |resource, code| {
        let message = Some(code.message().to_owned());
        resource_result(resource.resource_type, resource.resource_name.clone(), code, message)
    });
    let before = node.cluster();
    let resources: Vec<(i8, String)> =
        request.resources.iter().map(|it| (it.resource_type, it.resource_name.clone())).collect();
    // The answer if nothing could be done at all.
    let refused = |code| AlterConfigsResponse {
        responses: resources
            .iter()
            .map(|(kind, name)| resource_result(*kind, name.clone(), code, None))
            .collect(),
        ..Default::default()
    };
    let mut response =
        node.controller.ask(ControllerCommand::AlterConfigs(request)).await.unwrap_or_else(refused);
    let changed = resources.iter().map(|(kind, name)| (*kind, name.as_str()));
    audit::settings_changed(call, &before, &node.cluster(), changed);
    response.responses.splice(0..0, denied);
    response
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
