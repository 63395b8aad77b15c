//! Brokers register, send heartbeats, are fenced, stop (KIP-631, KIP-841, KIP-966).

use ottla_machine::testkit::MachineBench;
use ottla_machine::{Machine as _, Note};
use ottla_metadata::{
    BrokerRegistration, Controller, ControllerCommand, ControllerReply, ControllerSettings,
    ControllerTimer, bootstrap_records,
};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener,
};
use ottla_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, PartitionIndex, Uuid};

use crate::{Rules, features, heartbeat, reply, topic, unfence};

const SESSION_MS: i64 = 9000;

pub(crate) fn settings() -> ControllerSettings {
    ControllerSettings {
        cluster_id: "c".to_owned(),
        partitions: 2,
        replication_factor: 2,
        ..ControllerSettings::default()
    }
}

pub(crate) fn controller() -> Controller {
    Controller::new(ottla_metadata::Cluster::default(), settings(), Box::new(Rules))
}

pub(crate) fn registration(broker: NodeId, incarnation: u64) -> BrokerRegistrationRequest {
    BrokerRegistrationRequest {
        broker_id: broker,
        cluster_id: "c".to_owned(),
        incarnation_id: Uuid::of(incarnation),
        features: features(),
        log_dirs: vec![Uuid::of(400 + u64::try_from(broker).unwrap())],
        ..Default::default()
    }
}

/// Brokers 1 to 3, which serve.
pub(crate) fn cluster() -> MachineBench<Controller> {
    cluster_with(settings())
}

pub(crate) fn cluster_with(settings: ControllerSettings) -> MachineBench<Controller> {
    let machine = Controller::new(ottla_metadata::Cluster::default(), settings, Box::new(Rules));
    let mut bench = MachineBench::new(machine, 0);
    bench.run(ControllerCommand::Activate { records: bootstrap_records() });
    for broker in 1..=3 {
        let request = registration(broker, 1000 + u64::try_from(broker).unwrap());
        bench.run(ControllerCommand::RegisterBroker(request));
        unfence(&mut bench, broker);
    }
    bench
}

fn register(
    bench: &mut MachineBench<Controller>,
    request: BrokerRegistrationRequest,
) -> Result<i64, (ErrorCode, String)> {
    match reply(bench, ControllerCommand::RegisterBroker(request)) {
        ControllerReply::Registered(told) => told.map_err(|it| (it.code, it.why)),
        other => panic!("{other:?}"),
    }
}

fn beat(
    bench: &mut MachineBench<Controller>,
    request: BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    match reply(bench, ControllerCommand::Heartbeat(request)) {
        ControllerReply::Heartbeat(told) => told,
        other => panic!("{other:?}"),
    }
}

fn broker(bench: &MachineBench<Controller>, id: NodeId) -> BrokerRegistration {
    bench.machine.cluster().broker(id).unwrap().clone()
}

fn leader(bench: &MachineBench<Controller>, index: PartitionIndex) -> NodeId {
    bench.machine.cluster().topic("t").unwrap().partitions[&index].leader
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: a case for each refusal")]
fn a_registration_is_refused_for_what_is_wrong_with_it() {
    let mut bench = cluster();
    let before = bench.records.len();
    let good = || registration(7, 7000);
    let level = |name: &str, low, high| Feature {
        name: name.to_owned(),
        min_supported_version: low,
        max_supported_version: high,
        ..Default::default()
    };
    let with = |change: Feature| {
        let others = features().into_iter().filter(|it| it.name != change.name);
        BrokerRegistrationRequest { features: others.chain([change.clone()]).collect(), ..good() }
    };
    let without = |name: &str| BrokerRegistrationRequest {
        features: features().into_iter().filter(|it| it.name != name).collect(),
        ..good()
    };
    let dirs = |all: &[u64]| BrokerRegistrationRequest {
        log_dirs: all.iter().map(|it| Uuid::of(*it)).collect(),
        ..good()
    };
    let wildcard = Listener {
        name: "PLAINTEXT".to_owned(),
        host: "0.0.0.0".to_owned(),
        port: 9092,
        ..Default::default()
    };
    let unsupported = |name: &str, level: i16, low: i16, high: i16| {
        format!(
            "Unable to register because the broker does not support finalized version {level} of \
             {name}. The broker wants a version between {low} and {high}, inclusive."
        )
    };
    let invalid = ErrorCode::INVALID_REGISTRATION;
    let cases = [
        (
            BrokerRegistrationRequest { cluster_id: "d".to_owned(), ..good() },
            ErrorCode::INCONSISTENT_CLUSTER_ID,
            "Expected cluster ID c, but got cluster ID d".to_owned(),
        ),
        (
            BrokerRegistrationRequest { is_migrating_zk_broker: true, ..good() },
            ErrorCode::BROKER_ID_NOT_REGISTERED,
            "Controller does not support registering ZK brokers.".to_owned(),
        ),
        (dirs(&[]), invalid, "No directories specified in request".to_owned()),
        (dirs(&[99]), invalid, "Reserved directory ID in request".to_owned()),
        (dirs(&[407, 407]), invalid, "Duplicate directory ID in request".to_owned()),
        (
            dirs(&[407, 402]),
            invalid,
            format!("Broker 2 is already registered with directory {}", Uuid::of(402)),
        ),
        (
            BrokerRegistrationRequest { listeners: vec![wildcard], ..good() },
            invalid,
            "Listener PLAINTEXT advertises \"0.0.0.0\", which is no address that others can \
             connect to"
                .to_owned(),
        ),
        (
            with(level("metadata.version", 7, 29)),
            ErrorCode::UNSUPPORTED_VERSION,
            unsupported("metadata.version", 30, 7, 29),
        ),
        (
            without("metadata.version"),
            invalid,
            "Request features do not contain 'metadata.version'".to_owned(),
        ),
        (
            without("group.version"),
            ErrorCode::UNSUPPORTED_VERSION,
            unsupported("group.version", 1, 0, 0),
        ),
        (
            without("kraft.version"),
            ErrorCode::UNSUPPORTED_VERSION,
            unsupported("kraft.version", 1, 0, 0),
        ),
        (
            with(level("transaction.version", 0, 1)),
            ErrorCode::UNSUPPORTED_VERSION,
            unsupported("transaction.version", 2, 0, 1),
        ),
    ];
    for (request, code, why) in cases {
        assert_eq!(register(&mut bench, request), Err((code, why)));
    }
    assert_eq!(bench.records.len(), before, "nothing is written");
    let other = with(level("a.feature.of.another.release", 0, 5));
    assert_eq!(register(&mut bench, other), Ok(before as i64), "a feature that is not in use");
}

#[test]
fn a_broker_with_a_live_session_gives_way_only_to_its_own_directories() {
    let mut bench = cluster();
    let stranger =
        BrokerRegistrationRequest { log_dirs: vec![Uuid::of(999)], ..registration(2, 9) };
    let refused = register(&mut bench, stranger.clone()).unwrap_err();
    assert_eq!(refused.0, ErrorCode::DUPLICATE_BROKER_REGISTRATION);
    // Whoever has its directory holds the directory's lock: the earlier process is dead.
    let epoch = bench.records.len() as i64;
    assert_eq!(register(&mut bench, registration(2, 10)), Ok(epoch));
    assert!(broker(&bench, 2).fenced);
    unfence(&mut bench, 2);
    // What the earlier process had sent comes late.
    let late = register(&mut bench, registration(2, 1002)).unwrap_err();
    assert_eq!(late.0, ErrorCode::DUPLICATE_BROKER_REGISTRATION);
    bench.pass(SESSION_MS);
    assert!(broker(&bench, 2).fenced);
    assert!(register(&mut bench, stranger).is_ok(), "its session is over");
}

#[test]
fn a_process_that_registers_again_keeps_its_epoch_and_its_state() {
    let mut bench = cluster();
    let epoch = broker(&bench, 1).epoch;
    let rack = Some("r".to_owned());
    let again = BrokerRegistrationRequest { rack: rack.clone(), ..registration(1, 1001) };
    assert_eq!(register(&mut bench, again), Ok(epoch));
    let known = broker(&bench, 1);
    assert_eq!((known.epoch, known.fenced, known.rack), (epoch, false, rack));
}

#[test]
fn the_registration_is_the_last_record_and_has_the_offset_of_the_first_as_epoch() {
    let mut bench = cluster();
    crate::create(&mut bench, vec![topic("t")]);
    let before = bench.records.len();
    assert_eq!(register(&mut bench, registration(1, 9)), Ok(before as i64));
    let written = &bench.records[before..];
    let (last, others) = written.split_last().unwrap();
    assert!(matches!(last, MetadataRecord::RegisterBroker(it) if it.broker_epoch == before as i64));
    assert!(!others.is_empty());
    assert!(others.iter().all(|it| matches!(it, MetadataRecord::PartitionChange(_))));
    // It has caught up when it has applied its registration, not when it has applied its epoch.
    let early = BrokerHeartbeatRequest {
        current_metadata_offset: bench.records.len() as i64 - 2,
        ..heartbeat(&bench, 1)
    };
    let told = beat(&mut bench, early);
    assert_eq!((told.is_caught_up, told.is_fenced), (false, true));
    let on_time = heartbeat(&bench, 1);
    let told = beat(&mut bench, on_time);
    assert_eq!((told.is_caught_up, told.is_fenced), (true, false));
}

#[test]
fn a_silent_broker_is_fenced_after_its_partitions_have_changed() {
    let mut bench = cluster();
    crate::create(&mut bench, vec![topic("t")]);
    bench.pass(SESSION_MS / 2);
    for broker in [1, 3] {
        let request = heartbeat(&bench, broker);
        beat(&mut bench, request);
    }
    bench.pass(SESSION_MS / 2);
    assert!(broker(&bench, 2).fenced, "9 s without a word");
    assert!(!broker(&bench, 1).fenced && !broker(&bench, 3).fenced);
    let fenced = bench.records.iter().rposition(
        |it| matches!(it, MetadataRecord::BrokerRegistrationChange(it) if it.fenced == 1),
    );
    let changed =
        bench.records.iter().rposition(|it| matches!(it, MetadataRecord::PartitionChange(_)));
    assert!(changed < fenced, "the partitions first");
    assert!((0..2).all(|index| leader(&bench, index) != 2));
    // Its epoch is still its own: it serves again as soon as it is heard of.
    unfence(&mut bench, 2);
}

#[test]
fn a_new_controller_gives_brokers_a_session_afresh() {
    let bench = cluster();
    let image = bench.machine.cluster().clone();
    let settings = ControllerSettings { cluster_id: "c".to_owned(), ..Default::default() };
    let machine = Controller::new(image, settings, Box::new(Rules));
    let mut next = MachineBench::new(machine, 100_000);
    next.records.clone_from(&bench.records);
    next.run(ControllerCommand::Activate { records: Vec::new() });
    let stranger =
        BrokerRegistrationRequest { log_dirs: vec![Uuid::of(999)], ..registration(2, 9) };
    let refused = register(&mut next, stranger).unwrap_err();
    assert_eq!(refused.0, ErrorCode::DUPLICATE_BROKER_REGISTRATION, "its session may last");
    next.pass(SESSION_MS - 1);
    assert!(!broker(&next, 2).fenced);
    next.pass(1);
    assert!((1..=3).all(|id| broker(&next, id).fenced), "none was heard of");
}

#[test]
fn a_broker_stops_when_others_lead_and_know_it() {
    let mut bench = cluster();
    crate::create(&mut bench, vec![topic("t")]);
    let id = leader(&bench, 0);
    let others: Vec<NodeId> = (1..=3).filter(|it| *it != id).collect();
    let stop = |bench: &MachineBench<Controller>| BrokerHeartbeatRequest {
        want_shut_down: true,
        ..heartbeat(bench, id)
    };
    let before: Vec<_> = others.iter().map(|it| heartbeat(&bench, *it)).collect();
    let request = stop(&bench);
    let told = beat(&mut bench, request);
    assert_eq!((told.is_fenced, told.should_shut_down), (false, false));
    assert!(broker(&bench, id).stopping);
    assert!((0..2).all(|index| leader(&bench, index) != id));
    // The others have not applied that yet.
    before.into_iter().for_each(|it| drop(beat(&mut bench, it)));
    let request = stop(&bench);
    assert!(!beat(&mut bench, request).should_shut_down);
    for other in others {
        let request = heartbeat(&bench, other);
        beat(&mut bench, request);
    }
    let request = stop(&bench);
    let told = beat(&mut bench, request);
    assert_eq!((told.is_fenced, told.should_shut_down), (true, true));
    assert!(broker(&bench, id).fenced);
}

#[test]
fn a_heartbeat_that_comes_late_does_not_make_a_stopped_broker_serve() {
    for is_stopping in [false, true] {
        let mut bench = cluster();
        if is_stopping {
            crate::create(&mut bench, vec![topic("t")]);
        }
        let id = if is_stopping { leader(&bench, 0) } else { 1 };
        let late = heartbeat(&bench, id);
        let stop = |bench: &MachineBench<Controller>| BrokerHeartbeatRequest {
            want_shut_down: true,
            ..heartbeat(bench, id)
        };
        let request = stop(&bench);
        assert_eq!(beat(&mut bench, request).should_shut_down, !is_stopping);
        if is_stopping {
            // It is killed while it stops.
            bench.pass(SESSION_MS);
        }
        assert!(broker(&bench, id).fenced);
        assert!(beat(&mut bench, late).is_fenced);
        assert!(broker(&bench, id).fenced, "stopping: {is_stopping}");
    }
}

#[test]
fn what_a_broker_wants_depends_on_where_it_stands() {
    // state, wants to be fenced, wants to stop: fenced and stopped afterwards
    let cases = [
        ("fenced", false, true, (true, true)),
        ("fenced", true, false, (true, false)),
        ("fenced", false, false, (false, false)),
        ("serving", true, false, (true, false)),
        ("serving", true, true, (true, true)),
        ("serving, leads none", false, true, (true, true)),
        ("serving", false, false, (false, false)),
    ];
    for (state, want_fence, want_shut_down, wanted) in cases {
        let mut bench = cluster();
        if state == "fenced" {
            let request = BrokerHeartbeatRequest { want_fence: true, ..heartbeat(&bench, 1) };
            beat(&mut bench, request);
        }
        let request = BrokerHeartbeatRequest { want_fence, want_shut_down, ..heartbeat(&bench, 1) };
        let told = beat(&mut bench, request);
        let case = format!("{state}, fence {want_fence}, stop {want_shut_down}");
        assert_eq!((told.is_fenced, told.should_shut_down), wanted, "{case}");
        assert_eq!(broker(&bench, 1).fenced, wanted.0, "{case}");
    }
}

#[test]
fn a_heartbeat_of_an_earlier_epoch_changes_nothing() {
    let mut bench = cluster();
    let old = heartbeat(&bench, 1);
    assert!(register(&mut bench, registration(1, 9)).is_ok());
    let before = bench.records.len();
    let told = beat(&mut bench, old);
    assert_eq!(ErrorCode(told.error_code), ErrorCode::STALE_BROKER_EPOCH);
    assert_eq!(bench.records.len(), before);
}

#[test]
fn a_failed_directory_loses_what_lies_in_it() {
    let mut bench = cluster();
    let both = vec![Uuid::of(401), Uuid::of(411)];
    let request = BrokerRegistrationRequest { log_dirs: both, ..registration(1, 1001) };
    assert!(register(&mut bench, request).is_ok());
    crate::create(&mut bench, vec![topic("t")]);
    let id = bench.machine.cluster().topic("t").unwrap().id;
    let on_one = |index: &PartitionIndex, bench: &MachineBench<Controller>| {
        bench.machine.cluster().topic("t").unwrap().partitions[index].replicas.contains(&1)
    };
    let index = (0..2).find(|it| on_one(it, &bench)).unwrap();
    let directory = Uuid::of(411);
    let assigned = vec![ottla_metadata::AssignedDirectory { topic_id: id, index, directory }];
    bench.run(ControllerCommand::AssignDirectories { broker: 1, broker_epoch: None, assigned });
    let request =
        BrokerHeartbeatRequest { offline_log_dirs: vec![directory], ..heartbeat(&bench, 1) };
    beat(&mut bench, request);
    let state = bench.machine.cluster().topic("t").unwrap().partitions[&index].clone();
    assert!(state.leader != 1 && !state.isr.contains(&1), "{state:?}");
    assert_eq!(broker(&bench, 1).log_dirs, [Uuid::of(401)]);
    assert!(!broker(&bench, 1).fenced);
}

#[test]
fn a_broker_that_is_taken_out_leads_nothing() {
    let mut bench = cluster();
    crate::create(&mut bench, vec![topic("t")]);
    let id = leader(&bench, 0);
    let take_out = |bench: &mut MachineBench<Controller>, broker| {
        let told = reply(bench, ControllerCommand::UnregisterBroker { broker });
        let told: UnregisterBrokerResponse = ottla_machine::expect_reply(told);
        (ErrorCode(told.error_code), told.error_message)
    };
    assert_eq!(take_out(&mut bench, id), (ErrorCode::NONE, None));
    assert_ne!(leader(&bench, 0), id);
    let why = format!("Broker ID {id} is not currently registered");
    let again = (ErrorCode::BROKER_ID_NOT_REGISTERED, Some(why));
    assert_eq!(take_out(&mut bench, id), again);
}

#[test]
fn a_partition_is_made_only_where_a_broker_serves() {
    let mut bench = cluster();
    let request = BrokerHeartbeatRequest { want_fence: true, ..heartbeat(&bench, 3) };
    beat(&mut bench, request);
    let assigned = |brokers: Vec<NodeId>| CreatableTopic {
        assignments: vec![CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: brokers,
            ..Default::default()
        }],
        ..topic("t")
    };
    let refused = crate::create(&mut bench, vec![assigned(vec![3])]);
    assert_eq!(refused, [ErrorCode::INVALID_REPLICA_ASSIGNMENT]);
    assert_eq!(crate::create(&mut bench, vec![assigned(vec![3, 1])]), [ErrorCode::NONE]);
    let state = bench.machine.cluster().topic("t").unwrap().partitions[&0].clone();
    assert_eq!((state.leader, &state.isr[..]), (1, &[1][..]), "3 is not in sync");
}

#[test]
fn a_single_node_has_no_timer() {
    let settings = ControllerSettings { own_broker: Some(1), ..Default::default() };
    let machine = Controller::new(ottla_metadata::Cluster::default(), settings, Box::new(Rules));
    let mut bench = MachineBench::new(machine, 0);
    bench.run(ControllerCommand::Activate { records: bootstrap_records() });
    let request = BrokerRegistrationRequest { cluster_id: String::new(), ..registration(1, 1001) };
    bench.run(ControllerCommand::RegisterBroker(request));
    unfence(&mut bench, 1);
    crate::create(&mut bench, vec![topic("t")]);
    assert_eq!(bench.timers().len(), 0);
    // With another node there are others to look after.
    let request = BrokerRegistrationRequest { cluster_id: String::new(), ..registration(2, 1002) };
    bench.run(ControllerCommand::RegisterBroker(request));
    unfence(&mut bench, 2);
    let timers: Vec<_> = bench.timers().keys().copied().collect();
    let wanted = [
        ControllerTimer::Session(2),
        ControllerTimer::LeaderBalance,
        ControllerTimer::UncleanElection,
        ControllerTimer::NoOp,
    ];
    assert_eq!(timers, wanted);
    let before = bench.records.len();
    bench.pass(2000);
    assert_eq!(bench.records[before..].len(), 4, "a log that stands still says that it lives");
}

#[test]
fn the_broker_of_the_controllers_own_process_gives_way_to_nothing() {
    let settings = ControllerSettings { own_broker: Some(1), ..Default::default() };
    let machine = Controller::new(ottla_metadata::Cluster::default(), settings, Box::new(Rules));
    let mut bench = MachineBench::new(machine, 0);
    bench.run(ControllerCommand::Activate { records: bootstrap_records() });
    let of = |incarnation| BrokerRegistrationRequest {
        cluster_id: String::new(),
        ..registration(1, incarnation)
    };
    assert!(register(&mut bench, of(1)).is_ok());
    assert!(register(&mut bench, of(2)).is_ok(), "it was not heard of yet");
    unfence(&mut bench, 1);
    bench.pass(10 * SESSION_MS);
    let copied = register(&mut bench, of(3)).unwrap_err();
    assert_eq!(copied.0, ErrorCode::DUPLICATE_BROKER_REGISTRATION);
}

#[test]
fn a_decision_that_is_taken_back_leaves_no_session() {
    let mut bench = cluster();
    let before = bench.machine.volatile();
    let mut turn = ottla_machine::Turn::new(0, ottla_machine::Ticket(0));
    let request = BrokerHeartbeatRequest { want_fence: true, ..heartbeat(&bench, 1) };
    bench.machine.decide(ControllerCommand::Heartbeat(request), &mut turn);
    bench.machine.restore(before);
    let stranger =
        BrokerRegistrationRequest { log_dirs: vec![Uuid::of(999)], ..registration(1, 9) };
    let refused = register(&mut bench, stranger).unwrap_err();
    assert_eq!(refused.0, ErrorCode::DUPLICATE_BROKER_REGISTRATION);
}

#[test]
fn a_transaction_that_has_not_ended_is_taken_back_by_the_next_controller() {
    use ottla_protocol::metadata::begin_transaction_record::BeginTransactionRecord;
    let mut image = ottla_metadata::Cluster::default();
    // A controller has failed in the middle of its first records.
    image.apply(&BeginTransactionRecord::default().into());
    image.apply(&bootstrap_records()[0]);
    assert!(image.settled().is_blank());
    let settings = ControllerSettings { cluster_id: "c".to_owned(), ..Default::default() };
    let mut bench = MachineBench::new(Controller::new(image, settings, Box::new(Rules)), 0);
    bench.run(ControllerCommand::Activate { records: bootstrap_records() });
    let kinds: Vec<_> = bench.records.iter().map(MetadataRecord::kind).collect();
    assert_eq!((&kinds[..2], kinds.last()), (&[25, 23][..], Some(&24)));
    assert_eq!(bench.machine.cluster().features().len(), bootstrap_records().len());
}

#[test]
fn the_log_says_why_a_broker_is_fenced_and_when_it_serves() {
    let mut bench = cluster();
    let told = |bench: &mut MachineBench<Controller>| -> Vec<(&str, NodeId, String)> {
        let one = |note: Note| match note {
            Note::Broker { event, broker, reason, .. } => (event, broker, reason),
            Note::Group { .. } => panic!("{note:?}"),
        };
        bench.notes.drain(..).map(one).collect()
    };
    let events: Vec<_> = told(&mut bench).into_iter().map(|(event, id, _)| (event, id)).collect();
    assert_eq!(events, [1, 2, 3].map(|id| ("broker unfenced", id)));
    bench.now_ms += SESSION_MS;
    bench.run(ControllerCommand::SessionEnds { broker: 2 });
    let reason = "its session of 9000 ms has expired: its last heartbeat came 9000 ms ago";
    assert_eq!(told(&mut bench), [("broker fenced", 2, reason.to_owned())]);
    bench.run(ControllerCommand::SessionEnds { broker: 2 });
    assert_eq!(told(&mut bench), [], "it is fenced already");
    let failed = vec![Uuid::of(403)];
    let request = heartbeat(&bench, 3);
    beat(&mut bench, BrokerHeartbeatRequest { offline_log_dirs: failed.clone(), ..request });
    let reason = format!("it reports directories {} as failed", failed[0]);
    assert_eq!(told(&mut bench), [("broker has lost data directories", 3, reason)]);
    let request = heartbeat(&bench, 3);
    beat(&mut bench, BrokerHeartbeatRequest { want_shut_down: true, ..request });
    let reason = "it stops, and leads no partition".to_owned();
    assert_eq!(told(&mut bench), [("broker fenced", 3, reason)]);
}
