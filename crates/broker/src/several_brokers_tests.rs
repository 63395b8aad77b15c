//! Transactions over three brokers in one process: the coordinators of the transaction and of the
//! group, and the leaders of its partitions, are different ones.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_partitions::{DiskFiles, Ends, Files};
use ottla_protocol::Request;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::describe_transactions_response::DescribeTransactionsResponse;
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::end_txn_response::EndTxnResponse;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_records::BatchOptions;
use ottla_settings::Settings;
use ottla_types::{CONSUMER_OFFSETS, ErrorCode, TRANSACTION_STATE, coordinator_partition};

use crate::assemble::{Formatting, StartOptions};
use crate::broker::Broker;
use crate::formatting::{ChosenVoters, FormatRequest, FormattedDirs, ReleaseChoice, format_node};
use crate::harness::ask_node;
use crate::harness::asks::{batch_of, produce_request};
use crate::harness::transacting::{TestEnd, TestProducer};
use crate::levels::NoLevels;
use crate::node::Node;
use crate::request::{ListenerScope, Session};

const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
const SHARDS: i32 = 3;
/// The versions of clients that count on an epoch for each transaction (KIP-890).
const PRODUCE: i16 = 12;
const END: i16 = 5;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
fn wait_until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::real();
    let until = clock.monotonic() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(clock.monotonic() < until, "it has not come");
        std::thread::yield_now();
    }
}

/// Three nodes, each broker and controller.
struct Trio {
    brokers: [Option<Broker>; 3],
    /// How many replicas each partition has.
    factor: i16,
    settings: [Settings; 3],
    session: Arc<Session>,
    runtime: tokio::runtime::Runtime,
    _home: tempfile::TempDir,
}

fn start_broker(settings: &Settings) -> Broker {
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let options = StartOptions {
        formatting: Formatting::IfEmpty,
        levels: Arc::new(NoLevels),
        authorizer: None,
    };
    Broker::start_on(files, settings.clone(), options, Clock::real()).expect("starts")
}

impl Trio {
    fn start(factor: i16) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        // Held together until all are known, so that no two are the same.
        let held = [0; 3].map(|_: i32| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let ports = held.each_ref().map(|it| it.local_addr().expect("an address").port());
        drop(held);
        let voter = |(id, port): (usize, &u16)| format!("{}@127.0.0.1:{port}", id + 1);
        let voters = ports.iter().enumerate().map(voter).collect::<Vec<_>>().join(",");
        let settings = [0, 1, 2].map(|at| {
            let lines = [
                "process.roles=broker,controller".to_owned(),
                format!("node.id={}", at + 1),
                format!("log.dirs={}", home.path().join(at.to_string()).display()),
                format!("listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{}", ports[at]),
                "controller.listener.names=CONTROLLER".to_owned(),
                format!("controller.quorum.voters={voters}"),
                format!("offsets.topic.num.partitions={SHARDS}"),
                format!("transaction.state.log.num.partitions={SHARDS}"),
                format!("offsets.topic.replication.factor={factor}"),
                format!("transaction.state.log.replication.factor={factor}"),
                format!("transaction.state.log.min.isr={}", if factor == 1 { 1 } else { 2 }),
            ];
            let settings = Settings::read(None, &lines).expect("settings");
            let files: Arc<dyn Files> = Arc::new(DiskFiles);
            let request = FormatRequest {
                cluster_id: Some(CLUSTER.to_owned()),
                formatted: FormattedDirs::Refuse,
                release: ReleaseChoice::default(),
                voters: ChosenVoters::Unsaid,
                features: Vec::new(),
                credentials: Vec::new(),
            };
            format_node(&files, &settings, request, &Clock::real()).expect("is formatted");
            settings
        });
        let brokers = std::thread::scope(|scope| {
            let start = |settings| scope.spawn(move || start_broker(settings));
            settings.each_ref().map(start).map(|it| Some(it.join().expect("the node starts")))
        });
        let peer = "127.0.0.1:4711".parse().expect("an address");
        let session = Arc::new(Session::new(peer, "PLAINTEXT".into(), ListenerScope::Broker));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        Self { brokers, factor, settings, session, runtime, _home: home }
    }

    fn node(&self, at: usize) -> &Node {
        self.brokers[at].as_ref().expect("it runs").node()
    }

    fn ask<R: Request>(&self, at: usize, request: &R, version: i16) -> R::Response {
        self.runtime.block_on(ask_node(self.node(at), &self.session, request, version))
    }

    /// Asks until the node has an answer that is none of a coordinator on its way.
    fn ask_ready<R: Request>(
        &self,
        at: usize,
        request: &R,
        version: i16,
        code: impl Fn(&R::Response) -> i16,
    ) -> R::Response {
        let busy = [
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0,
            ErrorCode::COORDINATOR_NOT_AVAILABLE.0,
            ErrorCode::CONCURRENT_TRANSACTIONS.0,
            ErrorCode::NOT_COORDINATOR.0,
            ErrorCode::NOT_ENOUGH_REPLICAS.0,
            ErrorCode::NOT_LEADER_OR_FOLLOWER.0,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
        ];
        wait_until(|| {
            let response = self.ask(at, request, version);
            (!busy.contains(&code(&response))).then_some(response)
        })
    }

    /// The topics of coordinators, and `orders` with three partitions, are known everywhere.
    fn create_topics(&self) {
        for (key_type, topic) in [(0, CONSUMER_OFFSETS), (1, TRANSACTION_STATE)] {
            let coordinator_keys = vec!["any".to_owned()];
            let request =
                FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() };
            self.ask_ready(0, &request, 6, |it| it.coordinators[0].error_code);
            self.known_everywhere(topic);
        }
        let topic = CreatableTopic {
            name: "orders".to_owned(),
            num_partitions: 3,
            replication_factor: self.factor,
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        assert_eq!(self.ask(0, &request, 7).topics[0].error_code, 0);
        self.known_everywhere("orders");
    }

    fn known_everywhere(&self, topic: &str) {
        for at in 0..3 {
            wait_until(|| self.node(at).topic_id(topic));
        }
    }

    /// Which node leads a partition.
    fn leader(&self, topic: &str, index: i32) -> usize {
        let node = self.brokers.iter().flatten().next().expect("one runs").node();
        wait_until(|| {
            let cluster = node.cluster();
            let leader = cluster.topic(topic).expect("is known").partitions[&index].leader;
            usize::try_from(leader - 1).ok().filter(|leader| self.brokers[*leader].is_some())
        })
    }

    /// The partition of `orders` that this node leads.
    fn partition_at(&self, at: usize) -> i32 {
        (0..3).find(|index| self.leader("orders", *index) == at).expect("each leads one")
    }

    /// A key whose coordinator is on this node.
    fn key_at(&self, topic: &str, at: usize) -> String {
        let keys = (0..).map(|number| format!("key-{number}"));
        let is_there = |key: &String| self.leader(topic, coordinator_partition(key, SHARDS)) == at;
        keys.take(1000).find(is_there).expect("each leads one")
    }

    fn ends(&self, index: i32) -> Ends {
        let at = self.leader("orders", index);
        wait_until(|| self.node(at).partitions.find("orders", index)).ends()
    }

    /// Waits until all of a partition can be read by those who read what is committed.
    fn until_stable(&self, index: i32) -> Ends {
        wait_until(|| {
            let ends = self.ends(index);
            (ends.last_stable == ends.log_end).then_some(ends)
        })
    }
}

/// A transactional producer, a group and partitions, each on a node of its own: the transaction's
/// coordinator on node 0, the group's on node 1.
struct Spread {
    trio: Trio,
    /// Where the transaction's coordinator is.
    coordinator: usize,
    id: String,
    group: String,
    producer: TestProducer,
}

impl Spread {
    fn new(factor: i16) -> Self {
        let trio = Trio::start(factor);
        trio.create_topics();
        let id = trio.key_at(TRANSACTION_STATE, 0);
        let group = trio.key_at(CONSUMER_OFFSETS, 1);
        let request = InitProducerIdRequest {
            transactional_id: Some(id.clone()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let response = trio.ask_ready(0, &request, 4, |it| it.error_code);
        assert_eq!(response.error_code, 0);
        let producer = (response.producer_id, response.producer_epoch);
        Self { trio, coordinator: 0, id, group, producer }
    }

    /// Produces a record to the partition of `orders` that this node leads: the error code.
    fn produce(&self, at: usize, version: i16, sequence: i32) -> ErrorCode {
        let options = BatchOptions {
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            base_sequence: sequence,
            transactional: true,
            ..BatchOptions::default()
        };
        let index = self.trio.partition_at(at);
        let mut request = produce_request("orders", index, batch_of(options, &["a"]));
        request.transactional_id = Some(self.id.clone());
        let code = |it: &ottla_protocol::messages::produce_response::ProduceResponse| {
            it.responses[0].partition_responses[0].error_code
        };
        ErrorCode(code(&self.trio.ask_ready(at, &request, version, code)))
    }

    /// Commits offset 7 of `orders-0` in the transaction: the error code.
    fn commit_offset(&self) -> ErrorCode {
        let partition =
            TxnOffsetCommitRequestPartition { committed_offset: 7, ..Default::default() };
        let topic = TxnOffsetCommitRequestTopic {
            name: "orders".to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: self.group.clone(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            topics: vec![topic],
            ..Default::default()
        };
        let code =
            |it: &ottla_protocol::messages::txn_offset_commit_response::TxnOffsetCommitResponse| {
                it.topics[0].partitions[0].error_code
            };
        ErrorCode(code(&self.trio.ask_ready(1, &request, 5, code)))
    }

    fn end_once(&self, producer: TestProducer, end: TestEnd, version: i16) -> EndTxnResponse {
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed: end == TestEnd::Commit,
            ..Default::default()
        };
        self.trio.ask_ready(self.coordinator, &request, version, |it| it.error_code)
    }

    /// Ends the transaction, and goes on with the producer's next epoch.
    fn end(&mut self, end: TestEnd) -> TestProducer {
        let before = self.producer;
        let response = self.end_once(before, end, END);
        assert_eq!(response.error_code, 0);
        self.producer = (response.producer_id, response.producer_epoch);
        before
    }

    /// The offset of the group that is in force.
    fn committed_offset(&self) -> i64 {
        let group_id = self.group.clone();
        let group = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let response = self.trio.ask_ready(1, &request, 8, |it| it.groups[0].error_code);
        let topics = &response.groups[0].topics;
        topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset)
    }

    /// The transaction's state, by its coordinator.
    fn state(&self) -> String {
        let transactional_ids = vec![self.id.clone()];
        let request = DescribeTransactionsRequest { transactional_ids, ..Default::default() };
        let code = |it: &DescribeTransactionsResponse| it.transaction_states[0].error_code;
        let mut response = self.trio.ask_ready(self.coordinator, &request, 0, code);
        response.transaction_states.remove(0).transaction_state
    }

    fn until_state(&self, state: &str) {
        wait_until(|| (self.state() == state).then_some(()));
    }
}

#[test]
fn a_transaction_ends_on_every_broker() {
    end_on_every_broker(1);
}

#[test]
fn a_transaction_ends_on_every_broker_when_all_of_it_is_replicated() {
    end_on_every_broker(3);
}

fn end_on_every_broker(factor: i16) {
    let mut it = Spread::new(factor);
    let here = [0, 1, 2].map(|at| it.trio.partition_at(at));
    for at in 0..3 {
        assert_eq!(it.produce(at, PRODUCE, 0), ErrorCode::NONE, "node {at}");
    }
    assert_eq!(it.commit_offset(), ErrorCode::NONE);
    assert_eq!(it.committed_offset(), -1, "it is pending");
    for index in here {
        let ends = it.trio.ends(index);
        assert_eq!((ends.last_stable, ends.log_end), (0, 1), "orders-{index}");
    }
    let first = it.end(TestEnd::Commit);
    it.until_state("CompleteCommit");
    // By then every marker is there, and the group's offset in force.
    for index in here {
        let ends = it.trio.ends(index);
        assert_eq!((ends.last_stable, ends.log_end), (2, 2), "orders-{index}");
    }
    assert_eq!(it.committed_offset(), 7);
    // A doubled EndTxn is answered as the first.
    let again = it.end_once(first, TestEnd::Commit, END);
    assert_eq!((again.error_code, (again.producer_id, again.producer_epoch)), (0, it.producer));
    // The next transaction goes on at once, and one of the first that comes late does not touch it.
    assert_eq!(it.produce(1, PRODUCE, 0), ErrorCode::NONE);
    let late = it.end_once(first, TestEnd::Commit, END);
    assert_eq!(ErrorCode(late.error_code), ErrorCode::PRODUCER_FENCED);
    assert_eq!(it.state(), "Ongoing");
    assert_eq!(it.trio.ends(here[1]).last_stable, 2);
    it.end(TestEnd::Abort);
    it.until_state("CompleteAbort");
    assert_eq!(it.trio.until_stable(here[1]).log_end, 4);
    assert_eq!(it.trio.ends(here[2]).log_end, 2, "it was not in the second transaction");
}

#[test]
fn a_coordinator_elsewhere_verifies_for_older_clients() {
    let it = Spread::new(1);
    // It has not been added to the transaction.
    assert_eq!(it.produce(2, 9, 0), ErrorCode::INVALID_TXN_STATE);
    let topic = AddPartitionsToTxnTopic {
        name: "orders".to_owned(),
        partitions: vec![it.trio.partition_at(2)],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: it.id.clone(),
        v3_and_below_producer_id: it.producer.0,
        v3_and_below_producer_epoch: it.producer.1,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    let added = it.trio.ask(0, &request, 3);
    let added = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
    assert_eq!(added.partition_error_code, 0);
    assert_eq!(it.produce(2, 9, 0), ErrorCode::NONE);
    assert_eq!(it.end_once(it.producer, TestEnd::Commit, 3).error_code, 0);
    it.until_state("CompleteCommit");
    let ends = it.trio.ends(it.trio.partition_at(2));
    assert_eq!((ends.last_stable, ends.log_end), (2, 2));
    // A zombie of an earlier epoch is refused by its coordinator.
    let zombie: TestProducer = (it.producer.0, it.producer.1 - 1);
    let it = Spread { producer: zombie, ..it };
    assert_eq!(it.produce(1, PRODUCE, 0), ErrorCode::INVALID_PRODUCER_EPOCH);
}

#[test]
fn a_marker_waits_for_a_broker_that_is_down_and_the_answer_does_not() {
    let mut it = Spread::new(1);
    assert_eq!(it.produce(2, PRODUCE, 0), ErrorCode::NONE);
    let index = it.trio.partition_at(2);
    it.trio.brokers[2].take().expect("it runs").stop().expect("stops");
    it.end(TestEnd::Commit);
    assert_eq!(it.state(), "PrepareCommit");
    it.trio.brokers[2] = Some(start_broker(&it.trio.settings[2]));
    it.until_state("CompleteCommit");
    let ends = it.trio.until_stable(index);
    assert_eq!((ends.last_stable, ends.log_end), (2, 2));
}

#[test]
fn a_transaction_outlives_its_coordinator() {
    let mut it = Spread::new(3);
    let index = it.trio.partition_at(2);
    assert_eq!(it.produce(2, PRODUCE, 0), ErrorCode::NONE);
    assert_eq!(it.commit_offset(), ErrorCode::NONE);
    it.trio.brokers[0].take().expect("it runs").stop().expect("stops");
    it.coordinator = it.trio.leader(TRANSACTION_STATE, coordinator_partition(&it.id, SHARDS));
    assert_eq!(it.state(), "Ongoing");
    let first = it.end(TestEnd::Commit);
    it.until_state("CompleteCommit");
    let ends = it.trio.until_stable(index);
    assert_eq!((ends.last_stable, ends.log_end), (2, 2));
    assert_eq!(it.committed_offset(), 7);
    // The producer goes on, and what came before is fenced by the new coordinator, too.
    assert_eq!(it.produce(2, PRODUCE, 0), ErrorCode::NONE);
    let late = it.end_once(first, TestEnd::Abort, END);
    assert_eq!(ErrorCode(late.error_code), ErrorCode::PRODUCER_FENCED);
    it.end(TestEnd::Commit);
    it.until_state("CompleteCommit");
    assert_eq!(it.trio.until_stable(index).log_end, 4);
}
