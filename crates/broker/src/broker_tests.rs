use super::*;
use crate::assemble::Formatting;
use crate::harness::asks::batch_of;
use ottla_metadata::ControllerCommand;
use ottla_partitions::{DataDir, Directory, Fault, FaultyFiles, Terms};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_records::BatchOptions;
use ottla_types::{ErrorCode, NodeId, Uuid};
use std::time::Duration;

/// A node in `folders`.
fn start(folders: &[&Path]) -> Broker {
    start_with(folders, &[])
}

/// A node in `folders` with these settings besides its own.
fn start_with(folders: &[&Path], settings: &[&str]) -> Broker {
    start_on_disk(Arc::new(DiskFiles), folders, settings)
}

/// The same on such a disk.
fn start_on_disk(disk: Arc<dyn Files>, folders: &[&Path], settings: &[&str]) -> Broker {
    let dirs: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
    let mut overrides = vec![
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("log.dirs={}", dirs.join(",")),
    ];
    overrides.extend(settings.iter().map(|it| (*it).to_owned()));
    let settings = Settings::read(None, &overrides).expect("settings");
    let levels = Arc::new(crate::levels::NoLevels);
    let options = StartOptions { formatting: Formatting::IfEmpty, levels, authorizer: None };
    Broker::start_on(disk, settings, options, Clock::real()).expect("starts")
}

fn create_topic(broker: &Broker) {
    let topic = CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let uuids = vec![Uuid::of(77)];
    let command = ControllerCommand::CreateTopics { request, uuids };
    let asked: Result<CreateTopicsResponse, ErrorCode> =
        broker.node().controller.ask_blocking(command);
    assert_eq!(asked.expect("an answer").topics[0].error_code, 0);
}

/// Who leads the topic's partition, and whether it has to recover, as only a leader has to that
/// was elected after an unclean stop.
fn leader(broker: &Broker) -> (NodeId, i8) {
    let cluster = broker.node().cluster();
    let state = &cluster.topic("t").expect("there").partitions[&0];
    (state.leader, state.recovery)
}

#[test]
fn a_clean_stop_is_told_from_a_crash_by_the_epoch_in_every_directory() {
    let (first, second) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let folders = [first.path(), second.path()];
    let broker = start(&folders);
    create_topic(&broker);
    broker.stop().expect("stops");
    let broker = start(&folders);
    assert_eq!(leader(&broker), (1, 0), "after a clean stop");
    broker.stop().expect("stops");
    // A crash leaves no mark.
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let dir = DataDir::open(files, second.path()).expect("opens").expect("is free");
    assert!(dir.take_clean_shutdown().expect("is read").is_some());
    drop(dir);
    let broker = start(&folders);
    assert_eq!(leader(&broker), (1, 1), "one of the directories has no mark");
    broker.stop().expect("stops");
}

/// Looks until it is true, for a minute at most.
fn wait_until(mut is_true: impl FnMut() -> bool) {
    let clock = Clock::real();
    let deadline = clock.monotonic() + Duration::from_secs(60);
    while !is_true() {
        assert!(clock.monotonic() < deadline, "it takes too long");
        std::thread::yield_now();
    }
}

/// The data directory that holds the partition, and another.
fn home_and_other(broker: &Broker) -> (Directory, Directory) {
    let partitions = &broker.node().partitions;
    let home = partitions.find("t", 0).expect("there").directory();
    let (mut home, mut others): (Vec<_>, Vec<_>) =
        partitions.directories().into_iter().partition(|it| it.id == home);
    (home.pop().expect("one of them"), others.pop().expect("two of them"))
}

#[test]
fn a_stop_ends_a_move_between_directories_and_the_next_start_goes_on_with_it() {
    let (first, second) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let folders = [first.path(), second.path()];
    let broker = start_with(&folders, &["replica.alter.log.dirs.io.max.bytes.per.second=1"]);
    create_topic(&broker);
    let partitions = Arc::clone(&broker.node().partitions);
    let partition = partitions.find("t", 0).expect("there");
    partition.append(&batch_of(BatchOptions::default(), &["a"]), &Terms::for_all(5)).expect("room");
    let (home, other) = home_and_other(&broker);
    assert_eq!(partitions.plan_move(partition.name(), &other.path), Ok(true));
    broker.node().start_moves();
    // The move rests now, for about as many seconds as the batch has bytes.
    wait_until(|| partitions.moves().iter().any(|it| it.1.copied_bytes > 0));
    broker.stop().expect("stops");
    assert!(!partition.is_moving(), "the move has ended before the node");
    drop((partition, partitions));
    let broker = start(&folders);
    wait_until(|| home_and_other(&broker).0.path == other.path);
    assert_eq!(home_and_other(&broker).1.path, home.path);
    broker.stop().expect("stops");
}

#[test]
fn the_controller_learns_of_a_directory_that_fails_and_nothing_in_it_is_led() {
    let (first, second) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let disk = FaultyFiles::new(Arc::new(DiskFiles));
    let broker = start_on_disk(Arc::new(disk.clone()), &[first.path(), second.path()], &[]);
    create_topic(&broker);
    let (home, other) = home_and_other(&broker);
    let registered =
        || broker.node().cluster().broker(broker.node().id).expect("is").log_dirs.clone();
    wait_until(|| {
        let cluster = broker.node().cluster();
        cluster.topic("t").expect("there").partitions[&0].directories == [home.id]
    });
    assert!(registered().contains(&home.id));
    disk.set(&Path::new(&home.path).join("t-0"), Some(Fault::Writes));
    let partition = broker.node().partitions.find("t", 0).expect("there");
    let batch = batch_of(BatchOptions::default(), &["a"]);
    assert!(partition.append(&batch, &Terms::for_all(5)).is_err());
    wait_until(|| registered() == [other.id]);
    wait_until(|| leader(&broker).0 == -1);
    broker.stop().expect("stops");
}
