//! How a controller lets the cluster know where it listens: it registers with the active one
//! (KIP-919).

use std::time::Duration;

use ottla_metadata::{ControllerCommand, supported_features};
use ottla_protocol::messages::controller_registration_request::{
    ControllerRegistrationRequest, Feature, Listener,
};
use ottla_types::{ErrorCode, Uuid};

use crate::node::Node;

/// How long one attempt waits for an active controller.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);
/// How long the first failure holds the next attempt back, and any at most, as in Kafka.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(120);

/// Registers this node's controller. A failure is not the end: the metadata version may be too old
/// for that still, or no controller is active.
pub async fn register_controller(node: &Node) {
    let incarnation = node.clock.random_uuid();
    let mut pause = RETRY_FIRST;
    loop {
        match ask_registration(node, incarnation).await {
            Ok(()) => {
                tracing::info!(controller = node.id, "controller registered");
                return;
            }
            Err(error) => tracing::debug!(
                controller = node.id,
                error = error.name(),
                "controller registration failed; retrying"
            ),
        }
        node.clock.sleep(pause).await;
        pause = RETRY_LAST.min(pause * 2);
    }
}

async fn ask_registration(node: &Node, incarnation: Uuid) -> Result<(), ErrorCode> {
    let request = || registration_request(node, incarnation);
    let command = ControllerCommand::RegisterController;
    let asked = node.channel.request(ATTEMPT_LIMIT, request, command, |it| it.error_code);
    asked.await.map(|_| ())
}

fn registration_request(node: &Node, incarnation: Uuid) -> ControllerRegistrationRequest {
    let listeners = node.facts.voter_listeners.iter().map(|endpoint| Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Default::default()
    });
    let cluster = node.cluster();
    let features = supported_features(&cluster).map(|range| Feature {
        name: range.name.to_owned(),
        min_supported_version: range.lowest,
        max_supported_version: range.highest,
        ..Default::default()
    });
    ControllerRegistrationRequest {
        controller_id: node.id,
        incarnation_id: incarnation,
        listeners: listeners.collect(),
        features: features.collect(),
        ..Default::default()
    }
}
