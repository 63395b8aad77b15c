//! IncrementalAlterConfigs: some settings of topics and brokers, the others stay.

use ottla_metadata::{Command, Reply};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::IncrementalAlterConfigs, 0, 1);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let refused = refusal(&request);
    if !may(&call.caller.principal, Operation::AlterConfigs, Resource::Cluster) {
        return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    match node.controller.ask(Command::IncrementalAlterConfigs(request)).await {
        Ok(Reply::IncrementalAlterConfigs(response)) => response,
        Ok(_) => refused(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refused(code),
    }
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
