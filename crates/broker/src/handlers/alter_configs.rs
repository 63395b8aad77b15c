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
use crate::forwarding::ask_active_controller;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterConfigs, 0, 2);

/// Asks the active controller.
///
/// # Errors
/// The active controller does not know this version: the connection is closed, as by Kafka.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterConfigsRequest,
) -> Result<AlterConfigsResponse, String> {
    let AlterConfigsRequest { resources, validate_only, .. } = request;
    let ask = async |resources: Vec<AlterConfigsResource>| {
        let named = named_resources(&resources);
        let request = AlterConfigsRequest { resources, validate_only, ..Default::default() };
        let ask_here = async |it| node.controller.ask(ControllerCommand::AlterConfigs(it)).await;
        match ask_active_controller(node, call, request, ask_here).await {
            Ok(response) => Ok(response.responses),
            Err(failure) => refuse_resources::<AlterConfigsResource>(named, failure),
        }
    };
    let responses = alter_settings(node, call, resources, ask).await?;
    Ok(AlterConfigsResponse { responses, ..Default::default() })
}

#[cfg(test)]
#[path = "alter_configs_tests.rs"]
mod tests;
