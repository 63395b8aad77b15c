//! A partition that one request names twice is read, written and answered once, as in Kafka.

use std::net::TcpStream;

use bytes::Bytes;
use ottla_protocol::messages::add_partitions_to_txn_request as add;
use ottla_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic,
};
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::ErrorCode;

use crate::node::Home;
use crate::raw::ask;
use crate::talk;

/// A batch of so many records.
fn batch(records: usize) -> Option<Bytes> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..records {
        builder.push(&NewRecord { timestamp: 1, value: Some(b"v"), ..NewRecord::default() });
    }
    Some(Bytes::from(builder.build().unwrap()))
}

fn data(index: i32, records: Option<Bytes>) -> PartitionProduceData {
    PartitionProduceData { index, records, ..Default::default() }
}

fn of(name: &str, partition_data: Vec<PartitionProduceData>) -> TopicProduceData {
    TopicProduceData { name: name.to_owned(), partition_data, ..Default::default() }
}

fn produce(topic_data: Vec<TopicProduceData>) -> ProduceRequest {
    ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..Default::default() }
}

/// Topic, partition, error code and base offset of each answer.
fn answers(told: &ProduceResponse) -> Vec<(&str, i32, ErrorCode, i64)> {
    let rows = told.responses.iter().flat_map(|topic| {
        assert!(!topic.partition_responses.is_empty());
        let name = topic.name.as_str();
        topic
            .partition_responses
            .iter()
            .map(move |it| (name, it.index, ErrorCode(it.error_code), it.base_offset))
    });
    rows.collect()
}

#[test]
fn the_last_batch_for_a_partition_counts() {
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    talk::create(node.address, "t", 2);
    talk::create(node.address, "u", 1);
    let mut stream = node.connect();
    let broken = Some(Bytes::from_static(b"no batch"));
    let request = produce(vec![
        of("t", vec![data(0, batch(1)), data(0, batch(2)), data(1, batch(3))]),
        of("u", vec![]),
        of("absent", vec![data(0, batch(1)), data(0, batch(1))]),
        of("t", vec![data(0, batch(4))]),
        of("u", vec![data(0, batch(1)), data(0, broken), data(0, batch(2))]),
    ]);
    for (version, base) in [(3, 0), (8, 4), (12, 8)] {
        let told = ask(&mut stream, &request, version);
        let ours = ErrorCode::NONE;
        assert_eq!(
            answers(&told),
            [
                ("t", 0, ours, base),
                ("t", 1, ours, base / 4 * 3),
                ("absent", 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1),
                ("u", 0, ErrorCode::INVALID_RECORD, -1),
            ],
            "version {version}"
        );
        assert_eq!(told.responses.len(), 3, "each topic once");
    }
    assert_eq!(talk::read_all(node.address, "u", 0).len(), 0, "what is refused is not written");
    let told = ask(&mut stream, &produce(vec![of("t", vec![]), of("absent", vec![])]), 8);
    assert_eq!(told.responses.len(), 0);
    node.stop();
}

fn place(partition: i32, fetch_offset: i64) -> FetchPartition {
    let partition_max_bytes = 1 << 20;
    FetchPartition { partition, fetch_offset, partition_max_bytes, ..Default::default() }
}

fn from(topic: &str, partitions: Vec<FetchPartition>) -> FetchTopic {
    FetchTopic { topic: topic.to_owned(), partitions, ..Default::default() }
}

fn fetch(session: (i32, i32), topics: Vec<FetchTopic>) -> FetchRequest {
    let (session_id, session_epoch) = session;
    let replica_id = -1;
    let max_bytes = 1 << 20;
    FetchRequest { replica_id, max_bytes, session_id, session_epoch, topics, ..Default::default() }
}

#[test]
fn the_last_position_of_a_partition_counts() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 2);
    let mut stream = node.connect();
    ask(&mut stream, &produce(vec![of("t", vec![data(0, batch(1)), data(1, batch(1))])]), 8);
    let topics = vec![
        from("t", vec![place(0, 100), place(1, 0)]),
        from("t", vec![place(0, 0), place(1, 0)]),
    ];
    for session_epoch in [-1, 0] {
        let told = ask(&mut stream, &fetch((0, session_epoch), topics.clone()), 11);
        let rows: Vec<_> = told.responses.iter().flat_map(|it| &it.partitions).collect();
        let codes: Vec<_> = rows.iter().map(|it| (it.partition_index, it.error_code)).collect();
        assert_eq!(codes, [(0, 0), (1, 0)]);
        assert!(rows.iter().all(|it| it.records.as_ref().is_some_and(|it| !it.is_empty())));
    }
    node.stop();
}

#[test]
fn a_session_ends_with_its_last_partition() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    let told = ask(&mut stream, &fetch((0, 0), vec![from("t", vec![place(0, 0)])]), 11);
    let id = told.session_id;
    let forgotten =
        ForgottenTopic { topic: "t".to_owned(), partitions: vec![0], ..Default::default() };
    let mut request = fetch((id, 1), vec![]);
    request.forgotten_topics_data = vec![forgotten];
    // There would be no answer in time if it waited for records.
    request.max_wait_ms = 3_600_000;
    request.min_bytes = 1;
    let told = ask(&mut stream, &request, 11);
    assert_eq!((told.session_id, told.error_code, told.responses.len()), (0, 0, 0));
    let told = ask(&mut stream, &fetch((id, 2), vec![]), 11);
    assert_eq!(ErrorCode(told.error_code), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    node.stop();
}

#[test]
fn an_isolation_level_that_does_not_exist_is_refused_as_a_whole() {
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    let unknown = ErrorCode::UNKNOWN_SERVER_ERROR;
    let mut told = |topics| {
        let request = FetchRequest { isolation_level: 2, ..fetch((0, -1), topics) };
        let told = ask(&mut stream, &request, 11);
        let rows = told.responses.iter().flat_map(|it| &it.partitions);
        let rows: Vec<_> = rows.map(|it| ErrorCode(it.error_code)).collect();
        (ErrorCode(told.error_code), rows)
    };
    let topics = vec![from("t", vec![place(0, 0), place(7, 0)])];
    assert_eq!(told(topics), (unknown, vec![unknown; 2]));
    let topics = vec![from("absent", vec![place(0, 0)])];
    let nothing_to_read = (ErrorCode::NONE, vec![ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(told(topics), nothing_to_read);
    node.stop();
}

#[test]
fn a_broker_without_a_replica_may_not_follow() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    // Replica, the leader's epoch that it knows, the answer.
    let cases = [
        (-1, -1, ErrorCode::NONE),
        (-2, 0, ErrorCode::NONE),
        (0, -1, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        (2, -1, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        (2, 0, ErrorCode::UNKNOWN_LEADER_EPOCH),
    ];
    for (replica_id, current_leader_epoch, wanted) in cases {
        let partition = FetchPartition { current_leader_epoch, ..place(0, 0) };
        let request = fetch((0, -1), vec![from("t", vec![partition])]);
        let told = ask(&mut stream, &FetchRequest { replica_id, ..request }, 11);
        let code = ErrorCode(told.responses[0].partitions[0].error_code);
        assert_eq!(code, wanted, "replica {replica_id}, epoch {current_leader_epoch}");
    }
    node.stop();
}

#[test]
fn a_log_that_was_asked_in_vain_tells_no_aborted_transactions() {
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    let topics = vec![from("t", vec![place(0, 0), place(1, 0)]), from("absent", vec![place(0, 0)])];
    for (offset, wanted) in [(0, ErrorCode::NONE), (7, ErrorCode::OFFSET_OUT_OF_RANGE)] {
        let mut topics = topics.clone();
        topics[0].partitions[0].fetch_offset = offset;
        let told = ask(&mut stream, &fetch((0, -1), topics), 11);
        let rows: Vec<_> = told.responses.iter().flat_map(|it| &it.partitions).collect();
        assert_eq!(ErrorCode(rows[0].error_code), wanted);
        let has_list: Vec<_> = rows.iter().map(|it| it.aborted_transactions.is_some()).collect();
        assert_eq!(has_list, [false, true, true]);
    }
    node.stop();
}

#[test]
fn a_time_that_a_version_does_not_know_is_refused_for_any_topic() {
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    let mut stream = node.connect();
    let mut code = |timestamp, version| {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let name = "absent".to_owned();
        let topic = ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        ErrorCode(ask(&mut stream, &request, version).topics[0].partitions[0].error_code)
    };
    for (timestamp, since) in [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11), (-7, 12)] {
        for version in 1..12 {
            let wanted = if version < since {
                ErrorCode::UNSUPPORTED_VERSION
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            assert_eq!(code(timestamp, version), wanted, "{timestamp} in version {version}");
        }
    }
    node.stop();
}

/// The id and epoch that a transactional id gets.
fn producer(stream: &mut TcpStream, id: &str) -> (i64, i16) {
    let find = FindCoordinatorRequest { key: id.to_owned(), key_type: 1, ..Default::default() };
    let transactional_id = Some(id.to_owned());
    let init = InitProducerIdRequest {
        transactional_id,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    loop {
        // The coordinators are made when the first is looked for.
        ask(stream, &find, 3);
        let told = ask(stream, &init, 1);
        match ErrorCode(told.error_code) {
            ErrorCode::NONE => return (told.producer_id, told.producer_epoch),
            code => assert!(code.is_retriable(), "{code:?}"),
        }
    }
}

#[test]
fn a_verified_partition_is_answered_once_and_for_itself() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 2);
    let mut stream = node.connect();
    let id = "verified".to_owned();
    let producer = producer(&mut stream, &id);
    let of = |partitions: Vec<i32>| add::AddPartitionsToTxnTopic {
        name: "t".to_owned(),
        partitions,
        ..Default::default()
    };
    let mut told = |verify_only, topics| {
        let (producer_id, producer_epoch) = producer;
        let transaction = add::AddPartitionsToTxnTransaction {
            transactional_id: id.clone(),
            producer_id,
            producer_epoch,
            verify_only,
            topics,
            ..Default::default()
        };
        let transactions = vec![transaction];
        let request = add::AddPartitionsToTxnRequest { transactions, ..Default::default() };
        let told = ask(&mut stream, &request, 5);
        let topics = told.results_by_transaction[0].topic_results.clone();
        let rows = topics.iter().map(|topic| {
            let rows = topic.results_by_partition.iter();
            rows.map(|it| (it.partition_index, ErrorCode(it.partition_error_code))).collect()
        });
        rows.collect::<Vec<Vec<_>>>()
    };
    let (fine, missing) = (ErrorCode::NONE, ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(told(true, vec![of(vec![0])]), [[(0, missing)]], "nothing was added yet");
    assert_eq!(told(false, vec![of(vec![0])]), [[(0, fine)]]);
    let twice = vec![of(vec![0, 1, 0]), of(vec![]), of(vec![1])];
    assert_eq!(told(true, twice), [[(0, fine), (1, missing)]]);
    node.stop();
}
