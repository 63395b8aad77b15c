//! Controllers that register, and brokers that are taken out of the cluster.

use alloc::format;
use alloc::string::String;

use ottla_machine::Turn;
use ottla_protocol::messages::controller_registration_request::{
    ControllerRegistrationRequest, Feature, Listener,
};
use ottla_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_protocol::metadata::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use ottla_protocol::metadata::unregister_broker_record::UnregisterBrokerRecord;
use ottla_types::{ErrorCode, NodeId};

use super::elect::{self, BrokerChange};
use super::sessions::BrokerSessions;
use super::{Controller, ControllerReply, ControllerScene, ControllerTimer, register};
use crate::versions::CONTROLLERS_SINCE;

/// ControllerRegistration: where a controller listens, and which features it supports (KIP-919).
pub(super) fn register_controller(
    scene: &ControllerScene<'_>,
    request: &ControllerRegistrationRequest,
    turn: &mut Turn<Controller>,
) {
    let mut response = ControllerRegistrationResponse { error_message: None, ..Default::default() };
    if let Err((code, why)) = check_controller(scene, request) {
        response.error_code = code.0;
        response.error_message = Some(why);
        return turn.reply(ControllerReply::ControllerRegistered(response));
    }
    let end_point = |listener: &Listener| ControllerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..Default::default()
    };
    let feature = |range: &Feature| ControllerFeature {
        name: range.name.clone(),
        min_supported_version: range.min_supported_version,
        max_supported_version: range.max_supported_version,
        ..Default::default()
    };
    let record = RegisterControllerRecord {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        end_points: request.listeners.iter().map(end_point).collect(),
        features: request.features.iter().map(feature).collect(),
        ..Default::default()
    };
    turn.record(record.into());
    turn.reply(ControllerReply::ControllerRegistered(response));
}

fn check_controller(
    scene: &ControllerScene<'_>,
    request: &ControllerRegistrationRequest,
) -> Result<(), super::ControllerRefusal> {
    if scene.cluster.metadata_version() < CONTROLLERS_SINCE {
        let why = "The current MetadataVersion is too old to support controller registrations.";
        return Err((ErrorCode::UNSUPPORTED_VERSION, String::from(why)));
    }
    let listeners = request.listeners.iter().map(|it| (it.name.as_str(), it.host.as_str()));
    register::check_addresses(listeners)
}

/// UnregisterBroker: a broker that does not come back. Its partitions are led by others first.
pub(super) fn unregister_broker(
    scene: &ControllerScene<'_>,
    sessions: &mut BrokerSessions,
    id: NodeId,
    turn: &mut Turn<Controller>,
) {
    let mut response = UnregisterBrokerResponse { error_message: None, ..Default::default() };
    match scene.cluster.broker(id) {
        Some(broker) => {
            turn.records.extend(elect::partition_changes(scene, BrokerChange::Left(id)));
            let record = UnregisterBrokerRecord {
                broker_id: id,
                broker_epoch: broker.epoch,
                ..Default::default()
            };
            turn.record(record.into());
            sessions.remove(id);
            turn.cancel_timer(ControllerTimer::Session(id));
        }
        None => {
            response.error_code = ErrorCode::BROKER_ID_NOT_REGISTERED.0;
            response.error_message = Some(format!("Broker ID {id} is not currently registered"));
        }
    }
    turn.reply(ControllerReply::BrokerUnregistered(response));
}
