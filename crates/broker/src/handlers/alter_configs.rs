//! AlterConfigs: settings of topics and brokers.
//!
//! KIP-133. It replaces all settings of a resource: what is not named goes back to its default. 2:
//! flexible. The levels of the log are changed by IncrementalAlterConfigs only.
//!
//! Gap: no `alter.config.policy.class.name`.

use ottla_metadata::ControllerCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use ottla_protocol::messages::alter_configs_response::AlterConfigsResponse;

use crate::alter_settings::{alter_settings, named_resources, refuse_resources};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterConfigs, 0, 2);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let AlterConfigsRequest { resources, validate_only, .. } = request;
    let ask = async |resources: Vec<AlterConfigsResource>| {
        let named = named_resources(&resources);
        let request = AlterConfigsRequest { resources, validate_only, ..Default::default() };
        let command = ControllerCommand::AlterConfigs(request);
        match node.controller.ask::<AlterConfigsResponse>(command).await {
            Ok(response) => response.responses,
            Err(code) => refuse_resources::<AlterConfigsResource>(named, code),
        }
    };
    let responses = alter_settings(node, call, resources, ask).await;
    AlterConfigsResponse { responses, ..Default::default() }
}

#[cfg(test)]
#[path = "alter_configs_tests.rs"]
mod tests;
