use super::*;
use crate::harness::Harness;
use crate::harness::asks::{ask_until, init_transactions};
use crate::harness::members::{GROUP, fetch_offsets, node_with_group};
use crate::harness::transacting::{
    TRANSACTIONAL_ID, TestEnd, TestProducer, add_offsets, end_transaction,
};
use ottla_partitions::Fault;
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;

/// A producer in a transaction that knows of the group's offsets.
fn node_in_transaction() -> (Harness, TestProducer) {
    let h = node_with_group();
    let producer = init_transactions(&h, TRANSACTIONAL_ID);
    assert_eq!(add_offsets(&h, producer, TRANSACTIONAL_ID), 0);
    (h, producer)
}

fn commit(h: &Harness, producer: TestProducer, topic: &str) -> i16 {
    let partition = TxnOffsetCommitRequestPartition { committed_offset: 7, ..Default::default() };
    let topic = TxnOffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = TxnOffsetCommitRequest {
        transactional_id: TRANSACTIONAL_ID.to_owned(),
        group_id: GROUP.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        topics: vec![topic],
        ..Default::default()
    };
    h.ask(&request, 3).topics[0].partitions[0].error_code
}

/// The group's offsets.
fn offsets(h: &Harness) -> Vec<i64> {
    let topics = fetch_offsets(h).topics.into_iter();
    topics.flat_map(|topic| topic.partitions).map(|it| it.committed_offset).collect()
}

#[test]
fn txn_offset_commit_counts_when_the_transaction_is_committed() {
    for (end, found) in [(TestEnd::Commit, vec![7]), (TestEnd::Abort, vec![])] {
        let (h, producer) = node_in_transaction();
        assert_eq!(commit(&h, producer, "orders"), 0);
        assert!(offsets(&h).is_empty(), "it is pending");
        assert_eq!(end_transaction(&h, producer, end), 0);
        ask_until(|| (offsets(&h) == found).then_some(()));
    }
}

#[test]
fn txn_offset_commit_for_a_topic_that_does_not_exist_is_refused() {
    let (h, producer) = node_in_transaction();
    let code = commit(&h, producer, "bills");
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
}

#[test]
fn txn_offset_commit_that_cannot_be_written_is_refused() {
    let (h, producer) = node_in_transaction();
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_ne!(commit(&h, producer, "orders"), 0);
}

#[test]
fn each_version_is_told_a_code_that_it_knows() {
    use ErrorCode as Code;
    // The coordinators' code; the codes for versions 0, 1, 2, 3, 4 and 5.
    let cases = [
        (Code::PRODUCER_FENCED, [Code::INVALID_PRODUCER_EPOCH; 6]),
        (
            Code::TRANSACTION_ABORTABLE,
            [
                Code::INVALID_TXN_STATE,
                Code::INVALID_TXN_STATE,
                Code::INVALID_TXN_STATE,
                Code::INVALID_TXN_STATE,
                Code::TRANSACTION_ABORTABLE,
                Code::TRANSACTION_ABORTABLE,
            ],
        ),
        (
            Code::COORDINATOR_LOAD_IN_PROGRESS,
            [
                Code::COORDINATOR_NOT_AVAILABLE,
                Code::COORDINATOR_NOT_AVAILABLE,
                Code::COORDINATOR_LOAD_IN_PROGRESS,
                Code::COORDINATOR_LOAD_IN_PROGRESS,
                Code::COORDINATOR_LOAD_IN_PROGRESS,
                Code::COORDINATOR_LOAD_IN_PROGRESS,
            ],
        ),
        (Code::INVALID_PRODUCER_ID_MAPPING, [Code::INVALID_PRODUCER_ID_MAPPING; 6]),
    ];
    for (code, told) in cases {
        for (version, told) in (0..).zip(told) {
            assert_eq!(for_version(code, version), told, "{code:?} in version {version}");
        }
    }
}

#[test]
fn a_topic_that_was_refused_is_answered_once() {
    let topic = |name: &str, index| TxnOffsetCommitRequestTopic {
        name: name.to_owned(),
        partitions: vec![TxnOffsetCommitRequestPartition {
            partition_index: index,
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut all = Vec::new();
    put_refused(&mut all, answer_all(&topic("a", 9), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    put_refused(&mut all, answer_all(&topic("b", 0), ErrorCode::NONE));
    put_refused(&mut all, answer_all(&topic("a", 0), ErrorCode::NONE));
    let found: Vec<_> = all
        .iter()
        .map(|it| (it.name.as_str(), it.partitions.iter().map(|it| it.error_code).collect()))
        .collect::<Vec<(&str, Vec<i16>)>>();
    assert_eq!(found, [("a", vec![3, 0]), ("b", vec![0])]);
}
