//! What tests ask of a coordinator as the producer of the transactional id `copy`.

use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_records::BatchOptions;
use ottla_types::{ProducerEpoch, ProducerId};

use crate::harness::Harness;
use crate::harness::asks::{batch_of, produce_request};
use crate::harness::members::GROUP;

/// The transactional id.
pub const TRANSACTIONAL_ID: &str = "copy";

/// A producer's id and epoch.
pub type TestProducer = (ProducerId, ProducerEpoch);

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestEnd {
    /// Its records count.
    Commit,
    /// They do not.
    Abort,
}

/// AddPartitionsToTxn for partition 0 of a topic, in version 3: the error code.
pub fn add_partition(h: &Harness, producer: TestProducer, topic: &str) -> i16 {
    let topic = AddPartitionsToTxnTopic {
        name: topic.to_owned(),
        partitions: vec![0],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: TRANSACTIONAL_ID.to_owned(),
        v3_and_below_producer_id: producer.0,
        v3_and_below_producer_epoch: producer.1,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    h.ask(&request, 3).results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

/// AddOffsetsToTxn for the group `readers`, in version 3: the error code.
pub fn add_offsets(h: &Harness, producer: TestProducer, transactional_id: &str) -> i16 {
    let request = AddOffsetsToTxnRequest {
        transactional_id: transactional_id.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        group_id: GROUP.to_owned(),
        ..Default::default()
    };
    h.ask(&request, 3).error_code
}

/// EndTxn, in version 3: the error code.
pub fn end_transaction(h: &Harness, producer: TestProducer, end: TestEnd) -> i16 {
    let request = EndTxnRequest {
        transactional_id: TRANSACTIONAL_ID.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed: end == TestEnd::Commit,
        ..Default::default()
    };
    h.ask(&request, 3).error_code
}

/// Produces one record to partition 0 of `orders`: the error code.
pub fn produce_in_transaction(h: &Harness, producer: TestProducer) -> i16 {
    let options = BatchOptions {
        producer_id: producer.0,
        producer_epoch: producer.1,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    let mut request = produce_request("orders", 0, batch_of(options, &["a"]));
    request.transactional_id = Some(TRANSACTIONAL_ID.to_owned());
    h.ask(&request, 9).responses[0].partition_responses[0].error_code
}

/// How far readers of committed records may read `orders`, and how far all others.
pub fn readable(h: &Harness) -> (i64, i64) {
    let partition = h.node().partitions.find("orders", 0).expect("is here");
    let ends = partition.ends();
    (ends.last_stable, ends.high_watermark)
}
