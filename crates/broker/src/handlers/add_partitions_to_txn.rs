//! AddPartitionsToTxn: what a transaction is going to touch.
//!
//! 2: PRODUCER_FENCED. 4: several transactions, or only a check whether the partitions are in
//! them; for brokers (KIP-890). 5: TRANSACTION_ABORTABLE.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::transaction::{AddPartitions, TransactionPartitions};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};
use ottla_types::{ErrorCode, is_internal_topic};

use crate::guard::{Operation, Resource};
use crate::hosts::transactions::for_version;
use crate::node::Node;
use crate::request::{Api, Call};
use crate::waits::wait_for_all;

/// Clients up to version 3, with one transaction; brokers from 4 on, with several.
pub const API: Api = Api::of(ApiKey::AddPartitionsToTxn, 0, 5);

/// Asks each transaction's coordinator.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if call.version <= 3 {
        let one = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            topics: request.v3_and_below_topics,
            ..Default::default()
        };
        let results_by_topic_v3_and_below = add_to_one(node, call, one).await;
        return AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() };
    }
    if !call.may(node, Operation::ClusterAction, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return AddPartitionsToTxnResponse { error_code, ..Default::default() };
    }
    let result = async |one: AddPartitionsToTxnTransaction| {
        let transactional_id = one.transactional_id.clone();
        let topic_results = add_to_one(node, call, one).await;
        AddPartitionsToTxnResult { transactional_id, topic_results, ..Default::default() }
    };
    // Waited for together: each commits with those beside it.
    let results_by_transaction = wait_for_all(request.transactions.into_iter().map(result)).await;
    AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() }
}

/// All or none: where one partition is refused, the others are not attempted.
async fn add_to_one(
    node: &Node,
    call: &Call,
    one: AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let id = &one.transactional_id;
    // A broker may do what its right on the cluster allows.
    let is_from_client = call.version <= 3;
    if is_from_client && !call.may(node, Operation::Write, Resource::TransactionalId(id)) {
        let denied = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        return all_results(&one.topics, denied);
    }
    let check = |topic: &str, index: i32| {
        // Only coordinators write to internal topics.
        let may_write = || {
            !is_internal_topic(topic) && call.may(node, Operation::Write, Resource::Topic(topic))
        };
        if is_from_client && !may_write() {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
        } else if node.has_partition(topic, index) {
            ErrorCode::NONE
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
    };
    let checked = one
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|index| check(&topic.name, *index)));
    if checked.clone().any(|code| code != ErrorCode::NONE) {
        return each_result(&one.topics, |topic, index| match check(topic, index) {
            ErrorCode::NONE => ErrorCode::OPERATION_NOT_ATTEMPTED,
            code => code,
        });
    }
    let partitions: TransactionPartitions = one
        .topics
        .iter()
        .filter(|topic| !topic.partitions.is_empty())
        .fold(TransactionPartitions::new(), |mut all, topic| {
            all.entry(topic.name.clone()).or_default().extend(&topic.partitions);
            all
        });
    let request = AddPartitions {
        id: one.transactional_id,
        producer: (one.producer_id, one.producer_epoch),
        partitions,
        verify_only: one.verify_only,
        client_version: if call.version >= 4 && !one.verify_only { 2 } else { 0 },
    };
    if request.verify_only {
        return verify_partition(node, request, &one.topics).await;
    }
    let added = node.add_to_transaction(request).await;
    let code = for_version(added.err().unwrap_or(ErrorCode::NONE), call.version);
    all_results(&one.topics, code)
}

/// Says of each partition whether it is part of the transaction; changes nothing.
async fn verify_partition(
    node: &Node,
    request: AddPartitions,
    topics: &[AddPartitionsToTxnTopic],
) -> Vec<AddPartitionsToTxnTopicResult> {
    let code = node.add_to_transaction(request.clone()).await.err().unwrap_or(ErrorCode::NONE);
    if code != ErrorCode::TRANSACTION_ABORTABLE {
        return each_result(topics, |_, _| code);
    }
    // One of them is missing, at least.
    let mut missing: BTreeSet<(&str, i32)> = BTreeSet::new();
    for (topic, indexes) in &request.partitions {
        for index in indexes {
            let partitions =
                TransactionPartitions::from([(topic.clone(), BTreeSet::from([*index]))]);
            let one = AddPartitions { partitions, ..request.clone() };
            if node.add_to_transaction(one).await.is_err() {
                missing.insert((topic, *index));
            }
        }
    }
    each_result(
        topics,
        |topic, index| {
            if missing.contains(&(topic, index)) { code } else { ErrorCode::NONE }
        },
    )
}

/// The request with one code for every partition.
fn all_results(
    topics: &[AddPartitionsToTxnTopic],
    code: ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topic = |topic: &AddPartitionsToTxnTopic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|at| partition_result(*at, code))
            .collect(),
        ..Default::default()
    };
    topics.iter().map(topic).collect()
}

/// A code of its own for each partition: what is named twice is answered once, and a topic without
/// partitions not at all.
fn each_result(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&str, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut asked: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics.iter().filter(|it| !it.partitions.is_empty()) {
        asked.entry(&topic.name).or_default().extend(&topic.partitions);
    }
    let topic = |(name, indexes): (&str, BTreeSet<i32>)| AddPartitionsToTxnTopicResult {
        name: name.to_owned(),
        results_by_partition: indexes
            .iter()
            .map(|at| partition_result(*at, code(name, *at)))
            .collect(),
        ..Default::default()
    };
    asked.into_iter().map(topic).collect()
}

fn partition_result(partition_index: i32, code: ErrorCode) -> AddPartitionsToTxnPartitionResult {
    AddPartitionsToTxnPartitionResult {
        partition_index,
        partition_error_code: code.0,
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "add_partitions_to_txn_tests.rs"]
mod tests;
