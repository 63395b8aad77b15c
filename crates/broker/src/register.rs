//! How a node joins its cluster: it registers with the controller and is let serve.

use ottla_metadata::{Cluster, ControllerCommand, RegistrationRefusal, supported_features};
use ottla_net::names::canonical_host_name;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener as Registered,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::ErrorCode;

use crate::dirs::DirectoryFacts;
use crate::listening::BoundListener;
use crate::node::Node;
use crate::start_error::StartError;

/// What the node says of itself to the controller of a cluster, which has its first records.
///
/// # Errors
/// An advertised listener is no `NAME://host:port`.
pub fn registration_request(
    node: &Node,
    bound: &[BoundListener],
    directories: DirectoryFacts,
    cluster: &Cluster,
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
    let features = supported_features(cluster).map(|range| Feature {
        name: range.name.to_owned(),
        min_supported_version: range.lowest,
        max_supported_version: range.highest,
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
    node: &Node,
    records: Vec<MetadataRecord>,
    request: BrokerRegistrationRequest,
) -> Result<i64, StartError> {
    let controller = &node.controller;
    let stopped = StartError::Refused;
    let () = controller.ask(ControllerCommand::Activate { records }).await.map_err(stopped)?;
    let register = ControllerCommand::RegisterBroker(request);
    let registered: Result<i64, RegistrationRefusal> =
        controller.ask(register).await.map_err(stopped)?;
    let epoch = registered.map_err(|refusal| {
        tracing::error!(
            broker = node.id,
            error = refusal.code.name(),
            reason = refusal.why,
            "registration refused"
        );
        StartError::Refused(refusal.code)
    })?;
    // What is answered is in force on this node: it has applied its registration.
    send_heartbeat(node, epoch, Wish::Serve).await.map_err(StartError::Refused)?;
    Ok(epoch)
}

/// The last thing that a node asks its controller: others lead what it leads, if there are others.
/// A node that is alone may stop with the second answer.
///
/// # Errors
/// The controller has stopped.
pub async fn leave_cluster(node: &Node, epoch: i64) -> Result<(), ErrorCode> {
    for _ in 0..2 {
        if send_heartbeat(node, epoch, Wish::Stop).await?.should_shut_down {
            return Ok(());
        }
    }
    tracing::warn!(
        broker = node.id,
        epoch,
        "controlled shutdown not granted: other brokers have not applied the new leaders"
    );
    Ok(())
}

/// What a node wants of its controller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Serve,
    Stop,
}

/// Asks the controller of this node's process.
async fn send_heartbeat(
    node: &Node,
    broker_epoch: i64,
    wish: Wish,
) -> Result<BrokerHeartbeatResponse, ErrorCode> {
    let request = BrokerHeartbeatRequest {
        broker_id: node.id,
        broker_epoch,
        current_metadata_offset: node.metadata_offset() - 1,
        want_shut_down: wish == Wish::Stop,
        ..Default::default()
    };
    let command = ControllerCommand::Heartbeat(request);
    let response: BrokerHeartbeatResponse = node.controller.ask(command).await?;
    match ErrorCode(response.error_code) {
        ErrorCode::NONE => Ok(response),
        code => Err(code),
    }
}
