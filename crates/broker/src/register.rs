//! How a broker joins its cluster, keeps its session, and leaves.

use std::time::Duration;

use ottla_metadata::{
    AssignedDirectory, Cluster, ControllerCommand, RegistrationRefusal, supported_features,
};
use ottla_net::names::canonical_host_name;
use ottla_protocol::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener as RegisteredListener,
};
use ottla_types::{ErrorCode, NodeId};

use crate::assemble::NodeFailure;
use crate::dirs::DirectoryFacts;
use crate::hosts::controller_channel::{BrokerIdentity, ControllerPlace};
use crate::hosts::directory_reports::DirectoryReport;
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
        RegisteredListener { name: bound.setting.name.clone(), host, port, ..Default::default() }
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

/// Registers the broker with the active controller, and waits until it is let serve; returns
/// its epoch.
///
/// # Errors
/// The controller refuses, or none has answered in `initial.broker.registration.timeout.ms`.
pub async fn join_cluster(
    node: &Node,
    request: BrokerRegistrationRequest,
) -> Result<i64, StartError> {
    let limit = Duration::from_millis(node.started().quorum_timing().registration_ms);
    let until = node.clock.monotonic() + limit;
    let epoch = match register_broker(node, request, limit).await {
        Err(_) if node.controller.member().is_failed() => Err(NodeFailure::Controller)?,
        registered => registered?,
    };
    node.controller.publish_from(epoch);
    loop {
        let answer = send_heartbeat(node, epoch, Wish::Serve).await;
        let is_late = node.clock.monotonic() >= until;
        match answer {
            // It comes to no end by itself: its replica of the metadata stands still.
            _ if node.controller.member().is_failed() => Err(NodeFailure::Controller)?,
            Ok(answer) if !answer.is_fenced => return Ok(epoch),
            // Its registration has not come to this node yet, or no controller is active.
            Ok(_)
            | Err(
                ErrorCode::NOT_CONTROLLER
                | ErrorCode::NETWORK_EXCEPTION
                | ErrorCode::REQUEST_TIMED_OUT,
            ) if !is_late => {
                node.clock.sleep(CATCHING_UP).await;
            }
            Ok(_) => return Err(StartError::Refused(ErrorCode::REQUEST_TIMED_OUT)),
            Err(code) => return Err(StartError::Refused(code)),
        }
    }
}

/// How long a broker waits that has not caught up with its own registration.
const CATCHING_UP: Duration = Duration::from_millis(10);

/// Returns the broker's epoch.
async fn register_broker(
    node: &Node,
    request: BrokerRegistrationRequest,
    limit: Duration,
) -> Result<i64, StartError> {
    let until = node.clock.monotonic() + limit;
    let mut is_first = true;
    loop {
        let refused = match ask_registration(node, &request, limit).await {
            Ok(epoch) => return Ok(epoch),
            Err(code) => code,
        };
        // Another process of this broker's id, with other directories, has a session still.
        let may_pass = refused == ErrorCode::DUPLICATE_BROKER_REGISTRATION;
        if std::mem::take(&mut is_first) && may_pass {
            tracing::warn!(
                broker = node.id,
                error = refused.name(),
                "another process with this node.id has a session with the controller; retrying"
            );
        }
        if !may_pass || node.clock.monotonic() >= until {
            return Err(StartError::Refused(refused));
        }
        node.clock.sleep(REGISTER_AGAIN).await;
    }
}

/// How long a broker waits whose id has a session.
const REGISTER_AGAIN: Duration = Duration::from_millis(500);

async fn ask_registration(
    node: &Node,
    request: &BrokerRegistrationRequest,
    limit: Duration,
) -> Result<i64, ErrorCode> {
    let asked = node.channel.ask(limit, async |active| match active {
        ControllerPlace::Here => {
            let command = ControllerCommand::RegisterBroker(request.clone());
            let registered: Result<i64, RegistrationRefusal> = node.controller.ask(command).await?;
            registered.map_err(|refusal| {
                log_refused_registration(node, refusal.code, &refusal.why);
                refusal.code
            })
        }
        ControllerPlace::There(link) => {
            // A controller that is gone since it was asked answers nothing: another is asked then.
            let limit = limit.min(ATTEMPT_LIMIT);
            let sent = node.channel.send(&link, request, limit).await;
            let response = sent.map_err(|code| match code {
                // It takes no registrations at all: a node that led once, was wiped, and forms.
                ErrorCode::UNSUPPORTED_VERSION => ErrorCode::NOT_CONTROLLER,
                code => code,
            })?;
            match ErrorCode(response.error_code) {
                ErrorCode::NONE => Ok(response.broker_epoch),
                ErrorCode::NOT_CONTROLLER => Err(ErrorCode::NOT_CONTROLLER),
                code => {
                    log_refused_registration(node, code, "see the controller's log");
                    Err(code)
                }
            }
        }
    });
    asked.await
}

fn log_refused_registration(node: &Node, code: ErrorCode, reason: &str) {
    // It is tried again, and said where that is.
    if code == ErrorCode::DUPLICATE_BROKER_REGISTRATION {
        return;
    }
    tracing::error!(broker = node.id, error = code.name(), reason, "registration refused");
}

/// Keeps the session of a broker with the active controller, as long as the node runs. The
/// controller of the broker's own process needs to hear of it once only, and when a data directory
/// fails (KIP-858).
pub async fn keep_session(node: &Node, epoch: i64) {
    let every = Duration::from_millis(node.started().quorum_timing().heartbeat_ms);
    let mut active = node.controller.watch_active();
    let (mut reported, mut is_answered) = (0, true);
    loop {
        let is_here = active.borrow_and_update().is_some();
        let again = (!is_here || !is_answered).then(|| node.clock.monotonic() + every);
        tokio::select! {
            biased;
            changed = active.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = node.heartbeat_due.notified() => {}
            () = node.replicas.peers.found() => {}
            () = node.partitions.more_failed_than(reported), if is_answered => {}
            () = node.clock.sleep_until_due(again) => {}
        }
        let failed = node.partitions.failed_directories().len();
        let answered = send_heartbeat(node, epoch, Wish::Serve).await;
        is_answered = answered.is_ok();
        match answered {
            Ok(_) => reported = failed,
            Err(error) => tracing::warn!(
                broker = node.id,
                epoch,
                error = error.name(),
                "heartbeat to the controller failed; retrying"
            ),
        }
    }
}

/// Sends what the broker reports of its directories to the active controller, as long as the node
/// runs.
pub async fn send_reports(node: &Node) {
    loop {
        for DirectoryReport { assigned, asker } in node.reports.next().await {
            let taken = assign_directories(node, assigned).await;
            if let Err(error) = taken {
                tracing::warn!(
                    broker = node.id,
                    error = error.name(),
                    "controller has not taken where replicas are; reported again later"
                );
            }
            if let Some(asker) = asker {
                // One that waits no longer needs no answer.
                let _ = asker.send(taken.is_ok());
            }
        }
    }
}

async fn assign_directories(
    node: &Node,
    assigned: Vec<AssignedDirectory>,
) -> Result<(), ErrorCode> {
    let BrokerIdentity { id, epoch } = node.broker_identity();
    let asked = node.channel.ask(HEARTBEAT_LIMIT, async |active| match active {
        ControllerPlace::Here => {
            let assigned = assigned.clone();
            let (broker, broker_epoch) = (id, None);
            let command = ControllerCommand::AssignDirectories { broker, broker_epoch, assigned };
            let codes: Result<Vec<ErrorCode>, ErrorCode> = node.controller.ask(command).await?;
            codes?.into_iter().try_for_each(ErrorCode::check)
        }
        ControllerPlace::There(link) => {
            let request = directories_request(id, epoch, &assigned);
            let response = node.channel.send(&link, &request, HEARTBEAT_LIMIT).await?;
            ErrorCode(response.error_code).check()?;
            let topics = response.directories.iter().flat_map(|it| &it.topics);
            let mut partitions = topics.flat_map(|it| &it.partitions);
            partitions.try_for_each(|it| ErrorCode(it.error_code).check())
        }
    });
    asked.await
}

fn directories_request(
    broker_id: NodeId,
    broker_epoch: i64,
    assigned: &[AssignedDirectory],
) -> AssignReplicasToDirsRequest {
    let directory = |one: &AssignedDirectory| DirectoryData {
        id: one.directory,
        topics: vec![TopicData {
            topic_id: one.topic_id,
            partitions: vec![PartitionData { partition_index: one.index, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    AssignReplicasToDirsRequest {
        broker_id,
        broker_epoch,
        directories: assigned.iter().map(directory).collect(),
        ..Default::default()
    }
}

/// The last things that a node does in its cluster: others lead what it leads, if there are others,
/// and another leads the metadata quorum.
pub async fn leave_cluster(node: &Node, epoch: i64) {
    if epoch >= 0 {
        stop_serving(node, epoch).await;
    }
    node.channel.resign().await;
}

/// A node that is alone may stop with the second answer.
async fn stop_serving(node: &Node, epoch: i64) {
    let until = node.clock.monotonic() + LEAVING;
    for attempt in 0.. {
        let is_last = attempt > 0 && node.controller.member().view().voters == 1
            || node.clock.monotonic() >= until;
        match send_heartbeat(node, epoch, Wish::Stop).await {
            Ok(answer) if answer.should_shut_down => return,
            Ok(_) if is_last => break,
            Ok(_) => {}
            Err(code) => {
                tracing::error!(
                    broker = node.id,
                    error = code.name(),
                    "controlled shutdown failed: no controller has answered; the broker stops \
                     without it"
                );
                return;
            }
        }
        if attempt > 0 {
            node.clock.sleep(CATCHING_UP).await;
        }
    }
    tracing::warn!(
        broker = node.id,
        epoch,
        "controlled shutdown not granted: other brokers have not applied the new leaders"
    );
}

/// How long a broker waits at most until others lead what it has led.
const LEAVING: Duration = Duration::from_secs(10);
/// How long one heartbeat may take.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(4);
/// How long a controller may take to answer a registration, before the controller is looked for
/// again.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(4);

/// What a node wants of its controller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Serve,
    Stop,
}

async fn send_heartbeat(
    node: &Node,
    broker_epoch: i64,
    wish: Wish,
) -> Result<BrokerHeartbeatResponse, ErrorCode> {
    let request = || BrokerHeartbeatRequest {
        broker_id: node.id,
        broker_epoch,
        current_metadata_offset: node.metadata_offset() - 1,
        want_shut_down: wish == Wish::Stop,
        unreachable_brokers: node.replicas.peers.unreachable(),
        offline_log_dirs: node.partitions.failed_directories(),
        ..Default::default()
    };
    let (command, code) =
        (ControllerCommand::Heartbeat, |it: &BrokerHeartbeatResponse| it.error_code);
    node.channel.request(HEARTBEAT_LIMIT, request, command, code).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn a_node_whose_metadata_log_fails_while_it_joins_is_not_kept_waiting() {
        let harness = Harness::start(&[]);
        let node = harness.node();
        let request = BrokerRegistrationRequest { broker_id: node.id, ..Default::default() };
        let broken = ottla_quorum::QuorumError::Corrupt("a test".to_owned());
        node.controller.member().fail(&broken);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let joined = runtime.expect("a runtime").block_on(join_cluster(node, request));
        assert!(
            matches!(joined, Err(StartError::Failed(NodeFailure::Controller))),
            "the metadata log cannot be written, not {joined:?}"
        );
    }
}
