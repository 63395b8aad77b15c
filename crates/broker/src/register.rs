//! How a node joins its cluster: it registers with the controller and is let serve.

use ottla_metadata::{ControllerCommand, FEATURES};
use ottla_net::names::canonical_host_name;
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener as Registered,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::ErrorCode;

use crate::dirs::DirectoryFacts;
use crate::hosts::controller::ControllerHandle;
use crate::listening::BoundListener;
use crate::node::Node;
use crate::start_error::StartError;

/// What the node says of itself to the controller.
///
/// # Errors
/// An advertised listener is no `NAME://host:port`.
pub fn registration(
    node: &Node,
    bound: &[BoundListener],
    directories: DirectoryFacts,
) -> Result<BrokerRegistrationRequest, StartError> {
    let advertised = node.started().advertised()?;
    let listener = |bound: &BoundListener| {
        let told = advertised.iter().find(|one| one.name == bound.setting.name);
        let (host, port) = match told {
            Some(told) if told.port != 0 => (told.host.clone(), told.port),
            Some(told) => (told.host.clone(), bound.address.port()),
            None => (bound.setting.host.clone(), bound.address.port()),
        };
        // Without a host in the setting the machine's name is advertised; a wildcard was refused.
        let host = if host.is_empty() { canonical_host_name() } else { host };
        Registered { name: bound.setting.name.clone(), host, port, ..Default::default() }
    };
    let features = FEATURES.iter().map(|it| (it.name, it.lowest, it.highest));
    let features = features.chain([("kraft.version", 0, 1)]).map(|(name, low, high)| Feature {
        name: name.to_owned(),
        min_supported_version: low,
        max_supported_version: high,
        ..Default::default()
    });
    Ok(BrokerRegistrationRequest {
        broker_id: node.id,
        cluster_id: node.facts.cluster_id.clone(),
        incarnation_id: node.clock.random_uuid(),
        listeners: bound.iter().map(listener).collect(),
        features: features.collect(),
        rack: node.own().rack.clone(),
        log_dirs: directories.ids,
        previous_broker_epoch: directories.epoch_of_clean_stop,
        ..Default::default()
    })
}

/// The first things a controller does in a node's life: begin the cluster if it is new, register
/// the node, let it serve. Returns the broker's epoch.
///
/// # Errors
/// The controller refuses, or has stopped.
pub async fn join_cluster(
    controller: &ControllerHandle,
    records: Vec<MetadataRecord>,
    request: BrokerRegistrationRequest,
) -> Result<i64, StartError> {
    let broker = request.broker_id;
    let join = async {
        let () = controller.ask(ControllerCommand::Bootstrap { records }).await?;
        let register = ControllerCommand::RegisterBroker(request);
        let registered: Result<i64, ErrorCode> = controller.ask(register).await?;
        let epoch = registered?;
        let () = controller.ask(ControllerCommand::Unfence { broker }).await?;
        Ok(epoch)
    };
    join.await.map_err(StartError::Refused)
}
