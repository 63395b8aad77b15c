//! A broker starts, may serve, stops.

use ottla_machine::Turn;
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::metadata::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::metadata::register_broker_record::{
    BrokerEndpoint, BrokerFeature, RegisterBrokerRecord,
};
use ottla_types::{Bug, ErrorCode, NodeId, is_planted};

use super::elect::{self, BrokerChange};
use super::{Controller, ControllerReply, ControllerScene};

/// A new life of a broker: what its last one led is led by others, then it registers, fenced.
pub(super) fn register_broker(
    scene: &ControllerScene<'_>,
    request: &BrokerRegistrationRequest,
    turn: &mut Turn<Controller>,
) {
    let known = scene.cluster.broker(request.broker_id);
    if let Some(known) = known
        && known.incarnation == request.incarnation_id
    {
        return turn.reply(ControllerReply::Registered(Ok(known.epoch)));
    }
    if request.log_dirs.is_empty() {
        return turn.reply(ControllerReply::Registered(Err(ErrorCode::INVALID_REGISTRATION)));
    }
    // Before its registration: a controller that fails in between does this again (KIP-966).
    turn.records.extend(elect::partition_changes(scene, last_stop(scene, request)));
    let record = RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        broker_epoch: turn.base_offset,
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
    turn.reply(ControllerReply::Registered(Ok(turn.base_offset)));
}

/// How the broker's last life has ended. It has stopped cleanly if it remembers the epoch that it
/// was last registered with; it can remember an older one if a copy of its directory was brought
/// back.
fn last_stop(scene: &ControllerScene<'_>, request: &BrokerRegistrationRequest) -> BrokerChange {
    let broker = request.broker_id;
    let keeps_eligible = scene.cluster.feature("eligible.leader.replicas.version") > 0;
    let is_clean =
        scene.cluster.broker(broker).map(|it| it.epoch) == Some(request.previous_broker_epoch);
    if is_clean || !keeps_eligible || is_planted(Bug::UncleanIsFenced) {
        BrokerChange::Left(broker)
    } else {
        BrokerChange::StoppedUncleanly(broker)
    }
}

/// The broker has caught up with the metadata: it may serve and lead.
pub(super) fn unfence_broker(
    scene: &ControllerScene<'_>,
    broker: NodeId,
    turn: &mut Turn<Controller>,
) {
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
        turn.records.extend(elect::partition_changes(scene, BrokerChange::Serves(broker)));
    }
    turn.reply(ControllerReply::Done);
}

/// The broker is about to stop: others lead what it leads, if there are others.
pub(super) fn stop_broker(
    scene: &ControllerScene<'_>,
    broker: NodeId,
    turn: &mut Turn<Controller>,
) {
    if let Some(known) = scene.cluster.broker(broker)
        && !known.fenced
    {
        turn.records.extend(elect::partition_changes(scene, BrokerChange::Left(broker)));
        let record = BrokerRegistrationChangeRecord {
            broker_id: broker,
            broker_epoch: known.epoch,
            fenced: 1,
            ..Default::default()
        };
        turn.record(record.into());
    }
    turn.reply(ControllerReply::Done);
}
