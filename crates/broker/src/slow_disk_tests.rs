//! A disk that does not answer delays no request to another disk.

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_metadata::ControllerCommand;
use ottla_partitions::{DiskFiles, Fault, FaultyFiles, Files};
use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_settings::Settings;
use ottla_types::{ErrorCode, Uuid};

use crate::assemble::{Formatting, StartOptions};
use crate::broker::Broker;
use crate::harness::ask_node;
use crate::levels::NoLevels;
use crate::request::{ListenerScope, Session};

const PARTITIONS: i32 = 4;
/// How long the fsync of the other directory takes at least, while this one is measured.
const FSYNC_TAKES: Duration = Duration::from_secs(30);

fn start(files: Arc<dyn Files>, folders: [&Path; 2]) -> Broker {
    let overrides = [
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("log.dirs={},{}", folders[0].display(), folders[1].display()),
    ];
    let settings = Settings::read(None, &overrides).expect("settings");
    let levels = Arc::new(NoLevels);
    let options = StartOptions { formatting: Formatting::IfEmpty, levels, authorizer: None };
    Broker::start_on(files, settings, options, Clock::real()).expect("starts")
}

/// A topic each of whose records is durable before it is acknowledged.
fn create_topic(broker: &Broker) {
    let config = CreatableTopicConfig {
        name: "flush.messages".into(),
        value: Some("1".into()),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let command = ControllerCommand::CreateTopics { request, uuids: vec![Uuid::of(77)] };
    let asked: Result<CreateTopicsResponse, ErrorCode> =
        broker.node().controller.ask_blocking(command);
    assert_eq!(asked.expect("an answer").topics[0].error_code, 0);
}

fn produce(index: i32) -> ProduceRequest {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let timestamp = Clock::real().wall_ms();
    builder.push(&NewRecord { timestamp, value: Some(b"value"), ..NewRecord::default() });
    let records = Some(Bytes::from(builder.build().expect("a batch")));
    let partition = PartitionProduceData { index, records, ..Default::default() };
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest { acks: -1, timeout_ms: i32::MAX, topic_data: vec![topic], ..Default::default() }
}

fn fetch(partition: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..Default::default()
    }
}

fn session() -> Arc<Session> {
    let peer = "127.0.0.1:4711".parse().expect("an address");
    Arc::new(Session::new(peer, "PLAINTEXT".into(), ListenerScope::Broker))
}

/// Polls once.
async fn is_answered<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// Produces to and fetches from these partitions so many times; how long each took, sorted.
async fn measure(broker: &Broker, partitions: &[i32], times: usize) -> Vec<Duration> {
    let (node, session, clock) = (broker.node(), session(), Clock::real());
    let mut took = Vec::new();
    for at in 0..times {
        let index = partitions[at % partitions.len()];
        let begun = clock.monotonic();
        let answer = async {
            let produced = ask_node(node, &session, &produce(index), 9).await;
            let code = produced.responses[0].partition_responses[0].error_code;
            let fetched = ask_node(node, &session, &fetch(index), 11).await;
            (code, fetched.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len))
        };
        let (code, bytes) =
            tokio::time::timeout(FSYNC_TAKES, answer).await.expect("it waits for no other disk");
        assert!(code == 0 && bytes > 0, "error code {code}, {bytes} bytes");
        took.push(clock.monotonic().saturating_sub(begun));
    }
    took.sort();
    took
}

#[test]
fn an_fsync_that_takes_for_ever_in_one_directory_delays_no_request_of_another() {
    let (first, second) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let disk = FaultyFiles::new(Arc::new(DiskFiles));
    let broker = start(Arc::new(disk.clone()), [first.path(), second.path()]);
    create_topic(&broker);
    let lies_in = |folder: &Path| {
        let here = |index: &i32| folder.join(format!("t-{index}")).exists();
        (0..PARTITIONS).filter(here).collect::<Vec<_>>()
    };
    let (good, hung) = (lies_in(first.path()), lies_in(second.path()));
    assert_eq!((good.len(), hung.len()), (2, 2));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let before = measure(&broker, &good, 200).await;
        disk.set(second.path(), Some(Fault::Hangs));
        let sessions = [session(), session()];
        let requests = [produce(hung[0]), produce(hung[1])];
        let asked = sessions.iter().zip(&requests);
        let mut waiting: Vec<_> = asked
            .map(|(session, request)| Box::pin(ask_node(broker.node(), session, request, 9)))
            .collect();
        for it in &mut waiting {
            assert!(!is_answered(it).await);
        }
        let meanwhile = measure(&broker, &good, 200).await;
        for it in &mut waiting {
            assert!(!is_answered(it).await, "the disk hangs");
        }
        disk.set(second.path(), None);
        for it in waiting {
            assert_eq!(it.await.responses[0].partition_responses[0].error_code, 0);
        }
        // The hung fsync takes longer than all of these requests together.
        let p99 = |took: &[Duration]| took[took.len() * 99 / 100];
        assert!(
            p99(&meanwhile) < FSYNC_TAKES / 30,
            "p99 {:?}, and {:?} before",
            p99(&meanwhile),
            p99(&before)
        );
    });
    broker.stop().expect("stops");
}
