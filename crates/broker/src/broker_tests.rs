use super::*;
use crate::assemble::Formatting;
use ottla_metadata::ControllerCommand;
use ottla_partitions::DataDir;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_types::{ErrorCode, NodeId, Uuid};

/// A node in `folders`.
fn start(folders: &[&std::path::Path]) -> Broker {
    let dirs: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
    let overrides =
        ["listeners=PLAINTEXT://127.0.0.1:0".to_owned(), format!("log.dirs={}", dirs.join(","))];
    let settings = Settings::read(None, &overrides).expect("settings");
    let levels = Arc::new(crate::levels::NoLevels);
    let options = StartOptions { formatting: Formatting::IfEmpty, levels, authorizer: None };
    Broker::start(settings, options, Clock::real()).expect("starts")
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
