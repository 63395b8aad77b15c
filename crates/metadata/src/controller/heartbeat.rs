//! BrokerHeartbeat, and what becomes of a broker whose heartbeats stay away (KIP-631).
//!
//! | state | heartbeat | next |
//! |---|---|---|
//! | fenced | wants to stop | stopped |
//! | fenced | has applied its registration, was not stopping | serving; leads what had no leader |
//! | serving | wants to be fenced | fenced; stopped, if it wants to stop as well |
//! | serving | wants to stop, leads partitions | stopping: others lead them |
//! | serving | wants to stop, leads none | stopped |
//! | stopping | leads none, and the others have applied that | stopped |

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ottla_machine::{Note, Turn};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::metadata::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_types::{Bug, ErrorCode, NodeId, Offset, TimestampMs, Uuid, is_planted};

use super::elect::{self, BrokerChange};
use super::sessions::{BrokerSession, BrokerSessions};
use super::{Controller, ControllerReply, ControllerScene, ControllerTimer};
use crate::cluster::BrokerRegistration;
use crate::versions::{CORDONED_SINCE, DIRECTORIES_SINCE};

/// The event of a broker that may not serve any longer.
const FENCED: &str = "broker fenced";

/// Where a broker stands on its way from its registration to its stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LifecycleState {
    /// It is registered, and may not lead.
    Fenced,
    /// It serves.
    Serving,
    /// It serves still, and gives its leaderships to others.
    Stopping,
    /// It may stop at once.
    Stopped,
}

/// A broker lives, says how much metadata it has applied, and what it wants to become.
pub(super) fn broker_heartbeat(
    scene: &ControllerScene<'_>,
    sessions: &mut BrokerSessions,
    request: &BrokerHeartbeatRequest,
    turn: &mut Turn<Controller>,
) {
    let known = scene.cluster.broker(request.broker_id);
    let Some(broker) = known.filter(|it| it.epoch == request.broker_epoch) else {
        let error_code = ErrorCode::STALE_BROKER_EPOCH.0;
        let refused = BrokerHeartbeatResponse { error_code, ..Default::default() };
        return turn.reply(ControllerReply::Heartbeat(refused));
    };
    let mut session = sessions.of(broker);
    let before = state_of(broker, &session);
    let wanted = next_state(scene, sessions, broker, request);
    let failed: Vec<Uuid> = newly_failed(scene, broker, request);
    // What lies in a failed directory must not be led once the broker serves.
    let next = match wanted {
        LifecycleState::Serving if before == LifecycleState::Fenced && !failed.is_empty() => before,
        wanted => wanted,
    };
    if next != before {
        change_state(scene, broker, next, turn);
        note_state(scene, broker, next, request, turn);
    } else if !failed.is_empty() {
        lose_directories(scene, broker, &failed, turn);
    }
    cordon_directories(scene, broker, request, turn);
    let is_fenced = matches!(next, LifecycleState::Fenced | LifecycleState::Stopped);
    session.heard_ms = Some(turn.now_ms);
    session.refused_by.clear();
    session.applied = request.current_metadata_offset;
    session.may_stop |= next == LifecycleState::Stopped;
    if is_fenced {
        session.stop_offset = None;
    } else if next == LifecycleState::Stopping && session.stop_offset.is_none() {
        session.stop_offset = Some(last_offset(turn));
    }
    if !is_fenced && scene.settings.own_broker != Some(broker.id) {
        turn.set_timer(ControllerTimer::Session(broker.id), scene.settings.session_ms);
    }
    let is_caught_up = request.current_metadata_offset >= session.registered_at;
    sessions.set(broker.id, session);
    if !is_fenced {
        note_unreachable(scene, sessions, request, turn);
    }
    turn.reply(ControllerReply::Heartbeat(BrokerHeartbeatResponse {
        is_caught_up,
        is_fenced,
        should_shut_down: next == LifecycleState::Stopped,
        ..Default::default()
    }));
}

/// The offset of the turn's last record, or of the one before the turn.
fn last_offset(turn: &Turn<Controller>) -> Offset {
    turn.base_offset + Offset::try_from(turn.records.len()).unwrap_or(Offset::MAX) - 1
}

/// For the log: what becomes of the broker, and why. The broker of this process says so itself.
fn note_state(
    scene: &ControllerScene<'_>,
    broker: &BrokerRegistration,
    next: LifecycleState,
    request: &BrokerHeartbeatRequest,
    turn: &mut Turn<Controller>,
) {
    let applied = request.current_metadata_offset;
    let (event, reason) = match next {
        LifecycleState::Fenced => (FENCED, String::from("it has asked to be fenced")),
        LifecycleState::Stopped if broker.fenced => return,
        LifecycleState::Stopped => (FENCED, String::from("it stops, and leads no partition")),
        LifecycleState::Stopping => (
            "broker in controlled shutdown",
            String::from("it has asked to stop; its partitions get other leaders first"),
        ),
        LifecycleState::Serving => (
            "broker unfenced",
            format!("it has applied the metadata up to offset {applied}, with its registration"),
        ),
    };
    note_broker(scene, broker, event, reason, turn);
}

fn note_broker(
    scene: &ControllerScene<'_>,
    broker: &BrokerRegistration,
    event: &'static str,
    reason: String,
    turn: &mut Turn<Controller>,
) {
    if scene.settings.own_broker != Some(broker.id) {
        let (broker, broker_epoch) = (broker.id, broker.epoch);
        turn.notes.push(Note::Broker { event, broker, broker_epoch, reason });
    }
}

fn state_of(broker: &BrokerRegistration, session: &BrokerSession) -> LifecycleState {
    match session.stop_offset {
        _ if broker.fenced => LifecycleState::Fenced,
        Some(_) => LifecycleState::Stopping,
        None => LifecycleState::Serving,
    }
}

fn next_state(
    scene: &ControllerScene<'_>,
    sessions: &BrokerSessions,
    broker: &BrokerRegistration,
    request: &BrokerHeartbeatRequest,
) -> LifecycleState {
    use LifecycleState::{Fenced, Serving, Stopped, Stopping};
    let session = sessions.of(broker);
    let is_caught_up =
        request.current_metadata_offset >= session.registered_at || is_planted(Bug::ServesTooSoon);
    match (state_of(broker, &session), session.stop_offset) {
        (Fenced, _) if request.want_shut_down || session.may_stop => Stopped,
        (Fenced, _) if !request.want_fence && is_caught_up && !broker.stopping => Serving,
        (Serving, _) if request.want_fence && request.want_shut_down => Stopped,
        (Serving, _) if request.want_fence => Fenced,
        (Serving, _) if request.want_shut_down && leads_any(scene, broker.id) => Stopping,
        (Serving, _) if request.want_shut_down => Stopped,
        (Stopping, _) if is_planted(Bug::StopsTooSoon) => Stopped,
        (Stopping, _) if leads_any(scene, broker.id) => Stopping,
        (Stopping, Some(offset))
            if offset <= sessions.applied_by_all(scene.cluster, scene.settings.own_broker) =>
        {
            Stopped
        }
        (now, _) => now,
    }
}

fn leads_any(scene: &ControllerScene<'_>, broker: NodeId) -> bool {
    scene.cluster.topics().flat_map(|it| it.partitions.values()).any(|it| it.leader == broker)
}

fn change_state(
    scene: &ControllerScene<'_>,
    broker: &BrokerRegistration,
    next: LifecycleState,
    turn: &mut Turn<Controller>,
) {
    match next {
        LifecycleState::Fenced | LifecycleState::Stopped => fence_broker(scene, broker, turn),
        LifecycleState::Serving => {
            let unfenced = BrokerRegistrationChangeRecord { fenced: -1, ..change_of(broker) };
            turn.record(unfenced.into());
            turn.records.extend(elect::partition_changes(scene, BrokerChange::Serves(broker.id)));
        }
        LifecycleState::Stopping => {
            // A controller before this one may have written it.
            if !broker.stopping {
                let stopping = BrokerRegistrationChangeRecord {
                    in_controlled_shutdown: 1,
                    ..change_of(broker)
                };
                turn.record(stopping.into());
            }
            turn.records.extend(elect::partition_changes(scene, BrokerChange::Left(broker.id)));
        }
    }
}

/// A record about a broker's registration that changes nothing yet.
fn change_of(broker: &BrokerRegistration) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id,
        broker_epoch: broker.epoch,
        ..Default::default()
    }
}

/// The broker may not serve: others lead what it leads, if there are others. Its partitions change
/// first, so that no record ever shows a fenced broker that is in sync.
fn fence_broker(
    scene: &ControllerScene<'_>,
    broker: &BrokerRegistration,
    turn: &mut Turn<Controller>,
) {
    if broker.fenced {
        return;
    }
    turn.records.extend(elect::partition_changes(scene, BrokerChange::Left(broker.id)));
    turn.record(BrokerRegistrationChangeRecord { fenced: 1, ..change_of(broker) }.into());
}

/// The directories that the broker says have failed, and that it had before.
fn newly_failed(
    scene: &ControllerScene<'_>,
    broker: &BrokerRegistration,
    request: &BrokerHeartbeatRequest,
) -> Vec<Uuid> {
    if scene.cluster.metadata_version() < DIRECTORIES_SINCE {
        return Vec::new();
    }
    let failed = broker.log_dirs.iter().filter(|it| request.offline_log_dirs.contains(it));
    failed.copied().collect()
}

fn lose_directories(
    scene: &ControllerScene<'_>,
    broker: &BrokerRegistration,
    failed: &[Uuid],
    turn: &mut Turn<Controller>,
) {
    for directory in failed {
        let change = BrokerChange::LostDirectory(broker.id, *directory);
        turn.records.extend(elect::partition_changes(scene, change));
    }
    let names: Vec<String> = failed.iter().map(Uuid::to_string).collect();
    let reason = format!("it reports directories {} as failed", names.join(", "));
    note_broker(scene, broker, "broker has lost data directories", reason, turn);
    let log_dirs = broker.log_dirs.iter().copied().filter(|it| !failed.contains(it)).collect();
    turn.record(BrokerRegistrationChangeRecord { log_dirs, ..change_of(broker) }.into());
}

/// Which of its directories take no new partitions (KIP-1066). A broker does not say so before it
/// has caught up.
fn cordon_directories(
    scene: &ControllerScene<'_>,
    broker: &BrokerRegistration,
    request: &BrokerHeartbeatRequest,
    turn: &mut Turn<Controller>,
) {
    if scene.cluster.metadata_version() < CORDONED_SINCE {
        return;
    }
    let sorted = |dirs: &[Uuid]| dirs.iter().copied().collect::<BTreeSet<_>>();
    if let Some(cordoned) = &request.cordoned_log_dirs
        && broker.cordoned.as_deref().map(sorted) != Some(sorted(cordoned))
    {
        let cordoned_log_dirs = Some(cordoned.clone());
        let change = BrokerRegistrationChangeRecord { cordoned_log_dirs, ..change_of(broker) };
        turn.record(change.into());
    }
}

/// No heartbeat came for the length of a session. Each broker is fenced in a turn of its own, so
/// that the next one is decided upon what the first has changed.
pub(super) fn end_session(
    scene: &ControllerScene<'_>,
    sessions: &mut BrokerSessions,
    id: NodeId,
    turn: &mut Turn<Controller>,
) {
    let Some(broker) = scene.cluster.broker(id) else { return sessions.remove(id) };
    let mut session = sessions.of(broker);
    let ends_ms = session.heard_ms.map_or(0, |it| it.saturating_add(scene.settings.session_ms));
    if ends_ms > turn.now_ms {
        return turn.set_timer(ControllerTimer::Session(id), ends_ms - turn.now_ms);
    }
    if !broker.fenced {
        let session_ms = scene.settings.session_ms;
        let heard = session.heard_ms.map(|heard_ms| turn.now_ms - heard_ms);
        let heard = heard.map_or_else(
            || String::from("no heartbeat has come to this controller"),
            |ago_ms| format!("its last heartbeat came {ago_ms} ms ago"),
        );
        let reason = format!("its session of {session_ms} ms has expired: {heard}");
        note_broker(scene, broker, FENCED, reason, turn);
    }
    fence_broker(scene, broker, turn);
    (session.heard_ms, session.stop_offset) = (None, None);
    sessions.set(id, session);
}

/// How many brokers must have found another one to be gone until its session ends early.
const FOUND_BY: usize = 2;
/// How long it counts that a broker has found another one to be gone, in milliseconds.
const FOUND_FOR_MS: i64 = 5000;

/// A broker says which others refuse connections. If two say so of one, and nothing was heard of it
/// since, its process has ended: its session ends now, not when its time is over. That is not
/// Kafka's; it needs [`ControllerSettings::ends_sessions_early`], and is not done where it would
/// leave fewer than half of the brokers.
///
/// [`ControllerSettings::ends_sessions_early`]: super::ControllerSettings
fn note_unreachable(
    scene: &ControllerScene<'_>,
    sessions: &mut BrokerSessions,
    request: &BrokerHeartbeatRequest,
    turn: &mut Turn<Controller>,
) {
    if !scene.settings.ends_sessions_early {
        return;
    }
    let own = scene.settings.own_broker;
    let is_other = |it: &&BrokerRegistration| it.id != request.broker_id && Some(it.id) != own;
    for broker in scene.cluster.brokers().filter(|it| !it.fenced).filter(is_other) {
        let mut session = sessions.of(broker);
        let is_named = request.unreachable_brokers.contains(&broker.id);
        let before = session.refused_by.remove(&request.broker_id);
        if !is_named {
            if before.is_some() {
                sessions.set(broker.id, session);
            }
            continue;
        }
        session.refused_by.insert(request.broker_id, turn.now_ms);
        let counts = |at_ms: &TimestampMs| turn.now_ms.saturating_sub(*at_ms) <= FOUND_FOR_MS;
        let found_by = session.refused_by.values().filter(|at_ms| counts(at_ms)).count();
        if found_by >= FOUND_BY && leaves_half(scene) {
            // In a turn of its own, which is decided upon what this one has changed.
            session.heard_ms = None;
            turn.set_timer(ControllerTimer::Session(broker.id), 0);
        }
        sessions.set(broker.id, session);
    }
}

/// Do at least half of the brokers serve, with one fewer than now?
fn leaves_half(scene: &ControllerScene<'_>) -> bool {
    let serving = scene.cluster.brokers().filter(|it| !it.fenced).count();
    serving.saturating_sub(1) * 2 >= scene.cluster.brokers().count()
}

/// This controller is the active one from now on: it knows of no heartbeats, so that every broker
/// that serves gets a session afresh. A broker that is fenced gets none (KAFKA-19130), and neither
/// does the broker of this process: it registers again if it has just started.
pub(super) fn grant_sessions(
    scene: &ControllerScene<'_>,
    sessions: &mut BrokerSessions,
    turn: &mut Turn<Controller>,
) {
    *sessions = BrokerSessions::default();
    if is_planted(Bug::SessionsForgotten) {
        return;
    }
    let serves = |it: &&BrokerRegistration| !it.fenced && scene.settings.own_broker != Some(it.id);
    for broker in scene.cluster.brokers().filter(serves) {
        let heard_ms = Some(turn.now_ms);
        sessions.set(broker.id, BrokerSession { heard_ms, ..sessions.of(broker) });
        turn.set_timer(ControllerTimer::Session(broker.id), scene.settings.session_ms);
    }
}
