//! What the tests of handlers ask of a node again and again.

use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use crate::harness::Harness;

/// A node with one topic.
pub fn node_with_topic(name: &str, partitions: i32) -> Harness {
    let h = Harness::start(&[]);
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(h.ask(&request, 7).topics[0].error_code, 0);
    h
}

/// Asks until there is an answer, for a minute at most: coordinators come up in their own time.
pub fn ask_until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    const LIMIT: Duration = Duration::from_secs(60);
    let clock = Clock::real();
    let until = clock.monotonic() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(clock.monotonic() < until, "it does not come up");
        std::thread::yield_now();
    }
}

/// A batch of these values.
pub fn batch_of(options: BatchOptions, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        let record =
            NewRecord { timestamp: 5, value: Some(value.as_bytes()), ..Default::default() };
        builder.push(&record);
    }
    builder.build().expect("a batch").into()
}

/// Produces a batch to a partition of a topic with acks=all, in version 9.
pub fn produce(h: &Harness, topic: &str, index: i32, batch: Bytes) -> PartitionProduceResponse {
    let request = produce_request(topic, index, batch);
    h.ask(&request, 9).responses[0].partition_responses[0].clone()
}

/// The request of [`produce`].
pub fn produce_request(topic: &str, index: i32, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index, records: Some(batch), ..Default::default() };
    let topic = TopicProduceData {
        name: topic.to_owned(),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

/// Makes the coordinator of a group (0) or a transactional id (1) come up.
pub fn find_coordinator(h: &Harness, key_type: i8, key: &str) {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![key.to_owned()],
        ..Default::default()
    };
    ask_until(|| (h.ask(&request, 6).coordinators[0].error_code == 0).then_some(()));
}

/// Gives a transactional id a producer.
pub fn init_transactions(h: &Harness, id: &str) -> (ProducerId, ProducerEpoch) {
    find_coordinator(h, 1, id);
    let request = InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let is_ready = |code: i16| {
        let busy = [
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0,
            ErrorCode::CONCURRENT_TRANSACTIONS.0,
            ErrorCode::NOT_COORDINATOR.0,
        ];
        !busy.contains(&code)
    };
    let response = ask_until(|| Some(h.ask(&request, 4)).filter(|it| is_ready(it.error_code)));
    assert_eq!(response.error_code, 0);
    (response.producer_id, response.producer_epoch)
}
