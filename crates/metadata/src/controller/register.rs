//! BrokerRegistration: a broker starts, and says what it is (KIP-631).

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener,
};
use ottla_protocol::metadata::register_broker_record::{
    BrokerEndpoint, BrokerFeature, RegisterBrokerRecord,
};
use ottla_types::{Bug, ErrorCode, Offset, TimestampMs, Uuid, is_planted};

use super::elect::{self, BrokerChange};
use super::sessions::{BrokerSession, BrokerSessions};
use super::{Controller, ControllerRefusal, ControllerReply, ControllerScene, ControllerTimer};
use crate::cluster::BrokerRegistration;
use crate::versions::{DIRECTORIES_SINCE, KRAFT_VERSION};

/// A broker's process registers, fenced. What its last one led is led by others first: a controller
/// that fails in between does all of it again, as the registration is the last record (KIP-966).
/// The same process that registers again keeps its epoch and its state (KAFKA-16952).
pub(super) fn register_broker(
    scene: &ControllerScene<'_>,
    sessions: &mut BrokerSessions,
    request: &BrokerRegistrationRequest,
    turn: &mut Turn<Controller>,
) {
    if let Err((code, why)) = check_registration(scene, sessions, request, turn.now_ms) {
        let refused = Err(RegistrationRefusal { code, why });
        return turn.reply(ControllerReply::Registered(refused));
    }
    let known = scene.cluster.broker(request.broker_id);
    let same = known.filter(|it| it.incarnation == request.incarnation_id);
    let mut record = registration_record(scene, request);
    match same {
        Some(known) => {
            record.broker_epoch = known.epoch;
            record.fenced = known.fenced;
            record.in_controlled_shutdown = known.stopping;
            record.cordoned_log_dirs.clone_from(&known.cordoned);
        }
        None => {
            turn.records.extend(elect::partition_changes(scene, last_stop(scene, request)));
            record.broker_epoch = turn.base_offset;
        }
    }
    let epoch = record.broker_epoch;
    let registered_at = turn.base_offset + Offset::try_from(turn.records.len()).unwrap_or(0);
    turn.record(record.into());
    let session = match same {
        Some(known) => BrokerSession { registered_at, ..sessions.of(known) },
        None => {
            turn.cancel_timer(ControllerTimer::Session(request.broker_id));
            let superseded = known.map(|it| it.incarnation);
            BrokerSession { superseded, ..BrokerSession::new(epoch, registered_at) }
        }
    };
    sessions.set(request.broker_id, session);
    turn.reply(ControllerReply::Registered(Ok(epoch)));
}

/// Why a broker is not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRefusal {
    /// Kafka's error code.
    pub code: ErrorCode,
    /// What is wrong; the wire has no place for it, the logs have.
    pub why: String,
}

/// May this broker register? In the order in which Kafka looks.
fn check_registration(
    scene: &ControllerScene<'_>,
    sessions: &BrokerSessions,
    request: &BrokerRegistrationRequest,
    now_ms: TimestampMs,
) -> Result<(), ControllerRefusal> {
    if request.cluster_id != scene.settings.cluster_id {
        let why = format!(
            "Expected cluster ID {}, but got cluster ID {}",
            scene.settings.cluster_id, request.cluster_id
        );
        return Err((ErrorCode::INCONSISTENT_CLUSTER_ID, why));
    }
    let other = scene.cluster.broker(request.broker_id);
    let other = other.filter(|it| it.incarnation != request.incarnation_id);
    if let Some(other) = other
        && !gives_way(scene, sessions, other, request, now_ms)
    {
        let why = "Another broker is registered with that broker id. If the broker was recently \
                   restarted this should self-resolve once the heartbeat manager expires the \
                   broker's session.";
        return Err((ErrorCode::DUPLICATE_BROKER_REGISTRATION, String::from(why)));
    }
    if request.is_migrating_zk_broker {
        let why = String::from("Controller does not support registering ZK brokers.");
        return Err((ErrorCode::BROKER_ID_NOT_REGISTERED, why));
    }
    if scene.cluster.metadata_version() >= DIRECTORIES_SINCE {
        check_directories(scene, request)?;
    }
    let listeners = request.listeners.iter().map(|it| (it.name.as_str(), it.host.as_str()));
    check_addresses(listeners)?;
    check_features(scene, request)
}

/// Does the process that is registered give way to the one that registers? Not while its session
/// lasts, unless the new one has one of its directories: a process holds the locks of those that it
/// runs on, so that the earlier one is dead. A registration that was under way when its own process
/// was superseded proves nothing, and neither does a copy of a directory of this very process.
fn gives_way(
    scene: &ControllerScene<'_>,
    sessions: &BrokerSessions,
    other: &BrokerRegistration,
    request: &BrokerRegistrationRequest,
    now_ms: TimestampMs,
) -> bool {
    let session = sessions.of(other);
    if scene.settings.own_broker == Some(other.id) && session.heard_ms.is_some() {
        return false;
    }
    let has_directory = request.log_dirs.iter().any(|it| other.log_dirs.contains(it));
    let supersedes = has_directory && session.superseded != Some(request.incarnation_id);
    supersedes
        || !sessions.is_live(other, now_ms, scene.settings.session_ms)
        || is_planted(Bug::AnyMaySupersede)
}

fn check_directories(
    scene: &ControllerScene<'_>,
    request: &BrokerRegistrationRequest,
) -> Result<(), ControllerRefusal> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REGISTRATION, why));
    if request.log_dirs.is_empty() {
        return invalid(String::from("No directories specified in request"));
    }
    if request.log_dirs.iter().any(Uuid::is_reserved) {
        return invalid(String::from("Reserved directory ID in request"));
    }
    if request.log_dirs.iter().collect::<BTreeSet<_>>().len() != request.log_dirs.len() {
        return invalid(String::from("Duplicate directory ID in request"));
    }
    for directory in &request.log_dirs {
        let has = |other: &&BrokerRegistration| {
            other.id != request.broker_id && other.log_dirs.contains(directory)
        };
        if let Some(owner) = scene.cluster.brokers().find(has) {
            let why =
                format!("Broker {} is already registered with directory {directory}", owner.id);
            return invalid(why);
        }
    }
    Ok(())
}

/// Refuses an address that no client and no other broker can go to, of listeners by name.
pub(super) fn check_addresses<'a>(
    mut listeners: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), ControllerRefusal> {
    let is_wildcard = |host: &str| matches!(host, "" | "0.0.0.0" | "::" | "[::]");
    match listeners.find(|(_, host)| is_wildcard(host)) {
        Some((name, host)) => {
            let why = format!(
                "Listener {name} advertises {host:?}, which is no address that others can connect \
                 to"
            );
            Err((ErrorCode::INVALID_REGISTRATION, why))
        }
        None => Ok(()),
    }
}

/// Can the broker work at every level that the cluster works at? One that it does not mention it
/// does not know (KAFKA-17305).
fn check_features(
    scene: &ControllerScene<'_>,
    request: &BrokerRegistrationRequest,
) -> Result<(), ControllerRefusal> {
    const METADATA: &str = "metadata.version";
    let finalized = |name: &str| match name {
        METADATA => scene.cluster.metadata_version(),
        KRAFT_VERSION => scene.settings.kraft_version,
        name => scene.cluster.feature(name),
    };
    let check = |name: &str, lowest: i16, highest: i16| {
        let level = finalized(name);
        if (lowest..=highest).contains(&level) {
            return Ok(());
        }
        let why = format!(
            "Unable to register because the broker does not support finalized version {level} of \
             {name}. The broker wants a version between {lowest} and {highest}, inclusive."
        );
        Err((ErrorCode::UNSUPPORTED_VERSION, why))
    };
    for it in &request.features {
        check(&it.name, it.min_supported_version, it.max_supported_version)?;
    }
    let is_named = |name: &str| request.features.iter().any(|it| it.name == name);
    if !is_named(METADATA) {
        let why = format!("Request features do not contain '{METADATA}'");
        return Err((ErrorCode::INVALID_REGISTRATION, why));
    }
    let known = scene.cluster.features().keys().map(String::as_str);
    let unnamed: Vec<&str> = known.chain([KRAFT_VERSION]).filter(|it| !is_named(it)).collect();
    unnamed.into_iter().try_for_each(|name| check(name, 0, 0))
}

fn registration_record(
    scene: &ControllerScene<'_>,
    request: &BrokerRegistrationRequest,
) -> RegisterBrokerRecord {
    let end_point = |listener: &Listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..Default::default()
    };
    let feature = |range: &Feature| BrokerFeature {
        name: range.name.clone(),
        min_supported_version: range.min_supported_version,
        max_supported_version: range.max_supported_version,
        ..Default::default()
    };
    let has_directories = scene.cluster.metadata_version() >= DIRECTORIES_SINCE;
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        end_points: request.listeners.iter().map(end_point).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.clone(),
        fenced: true,
        log_dirs: if has_directories { request.log_dirs.clone() } else { Vec::new() },
        ..Default::default()
    }
}

/// How the broker's last process has ended. It has stopped cleanly if it remembers the epoch that
/// it was last registered with; it can remember an older one if a copy of its directory was
/// brought back.
fn last_stop(scene: &ControllerScene<'_>, request: &BrokerRegistrationRequest) -> BrokerChange {
    let broker = request.broker_id;
    let is_clean =
        scene.cluster.broker(broker).map(|it| it.epoch) == Some(request.previous_broker_epoch);
    if is_clean || !scene.cluster.keeps_eligible() || is_planted(Bug::UncleanIsFenced) {
        BrokerChange::Left(broker)
    } else {
        BrokerChange::StoppedUncleanly(broker)
    }
}
