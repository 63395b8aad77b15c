//! A broker starts, may serve, stops.

use ottla_machine::Turn;
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::metadata::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::metadata::register_broker_record::{
    BrokerEndpoint, BrokerFeature, RegisterBrokerRecord,
};
use ottla_types::{ErrorCode, NodeId, Offset};

use super::{Controller, Reply, Scene, elect};

/// A new life of a broker: what its last one led is led by others, then it registers, fenced.
pub(super) fn register(
    scene: &Scene<'_>,
    request: &BrokerRegistrationRequest,
    offset: Offset,
    turn: &mut Turn<Controller>,
) {
    let known = scene.cluster.broker(request.broker_id);
    if let Some(known) = known
        && known.incarnation == request.incarnation_id
    {
        return turn.reply(Reply::Registered(Ok(known.epoch)));
    }
    if request.log_dirs.is_empty() {
        return turn.reply(Reply::Registered(Err(ErrorCode::INVALID_REGISTRATION)));
    }
    turn.records.extend(elect::leave(scene, request.broker_id));
    let record = RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        broker_epoch: offset,
        end_points: request
            .listeners
            .iter()
            .map(|it| BrokerEndpoint {
                name: it.name.clone(),
                host: it.host.clone(),
                port: it.port,
                security_protocol: it.security_protocol,
                ..Default::default()
            })
            .collect(),
        features: request
            .features
            .iter()
            .map(|it| BrokerFeature {
                name: it.name.clone(),
                min_supported_version: it.min_supported_version,
                max_supported_version: it.max_supported_version,
                ..Default::default()
            })
            .collect(),
        rack: request.rack.clone(),
        fenced: true,
        log_dirs: request.log_dirs.clone(),
        ..Default::default()
    };
    turn.record(record.into());
    turn.reply(Reply::Registered(Ok(offset)));
}

/// The broker has caught up with the metadata: it may serve and lead.
pub(super) fn unfence(scene: &Scene<'_>, broker: NodeId, turn: &mut Turn<Controller>) {
    if let Some(known) = scene.cluster.broker(broker)
        && known.fenced
    {
        let record = BrokerRegistrationChangeRecord {
            broker_id: broker,
            broker_epoch: known.epoch,
            fenced: -1,
            ..Default::default()
        };
        turn.record(record.into());
        turn.records.extend(elect::join(scene, broker));
    }
    turn.reply(Reply::Done);
}

/// The broker is about to stop: others lead what it leads, if there are others.
pub(super) fn stop(scene: &Scene<'_>, broker: NodeId, turn: &mut Turn<Controller>) {
    if let Some(known) = scene.cluster.broker(broker)
        && !known.fenced
    {
        turn.records.extend(elect::leave(scene, broker));
        let record = BrokerRegistrationChangeRecord {
            broker_id: broker,
            broker_epoch: known.epoch,
            fenced: 1,
            ..Default::default()
        };
        turn.record(record.into());
    }
    turn.reply(Reply::Done);
}
