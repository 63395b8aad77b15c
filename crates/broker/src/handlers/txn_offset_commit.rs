//! TxnOffsetCommit: commits a group's offsets as part of a transaction.
//!
//! 2: leader epochs (KIP-320). 3: the member and its generation fence (KIP-447). 4:
//! TRANSACTION_ABORTABLE. 5: it adds the group's partition to the transaction (KIP-890).

use ottla_coordinator::group::GroupCommand;
use ottla_coordinator::transaction::AddPartitions;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::hosts::groups::ask_coordinator;
use crate::node::Node;
use crate::request::{Api, Call};

/// From version 5 on the group's partition becomes part of the transaction by this (KIP-890).
pub const API: Api = Api::of(ApiKey::TxnOffsetCommit, 0, 5);

/// The coordinator of the transaction is asked first, then the group's.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let all = |request: &TxnOffsetCommitRequest, code: ErrorCode| {
        let topics = request.topics.iter().map(|topic| answer_all(topic, code)).collect();
        TxnOffsetCommitResponse { topics, ..Default::default() }
    };
    let id = &request.transactional_id;
    if !call.may(node, Operation::Write, Resource::TransactionalId(id)) {
        return all(&request, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    if !call.may(node, Operation::Read, Resource::Group(&request.group_id)) {
        return all(&request, ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let mut refused = TxnOffsetCommitResponse::default();
    request.topics.retain_mut(|topic| {
        let code = if !call.may(node, Operation::Read, Resource::Topic(&topic.name)) {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
        } else if node.topic_id(&topic.name).is_some() {
            let mut missing = topic.clone();
            missing.partitions.retain(|it| !node.has_partition(&topic.name, it.partition_index));
            topic.partitions.retain(|it| node.has_partition(&topic.name, it.partition_index));
            if !missing.partitions.is_empty() {
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                put_refused(&mut refused.topics, answer_all(&missing, code));
            }
            return !topic.partitions.is_empty();
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        };
        put_refused(&mut refused.topics, answer_all(topic, code));
        false
    });
    if request.topics.is_empty() {
        return refused;
    }
    let whole = request.clone();
    let committed = commit_offsets(node, call, request).await;
    let committed = committed.unwrap_or_else(|code| all(&whole, for_version(code, call.version)));
    if refused.topics.is_empty() {
        return committed;
    }
    for topic in committed.topics {
        put_refused(&mut refused.topics, topic);
    }
    refused
}

/// Adds a topic's answers to those of the same topic, if there are any: as in Kafka, what was
/// refused comes first, and each of these topics once.
fn put_refused(all: &mut Vec<TxnOffsetCommitResponseTopic>, topic: TxnOffsetCommitResponseTopic) {
    match all.iter_mut().find(|it| it.name == topic.name) {
        Some(known) => known.partitions.extend(topic.partitions),
        None => all.push(topic),
    }
}

/// The error code for a client of this version, one that it knows: clients before version 2 fail
/// for good when a coordinator is loading (KAFKA-7296), and those of before version 4 do not know
/// that a transaction can only be aborted (KIP-890).
const fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS if version < 2 => {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        }
        ErrorCode::TRANSACTION_ABORTABLE if version < 4 => ErrorCode::INVALID_TXN_STATE,
        code => code,
    }
}

async fn commit_offsets(
    node: &Node,
    call: &Call,
    request: TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let host = node.coordinators.group(&request.group_id)?;
    let index = node.coordinators.group_shard(&request.group_id)?;
    let producer = (request.producer_id, request.producer_epoch);
    let found = node.partitions.find(crate::hosts::groups::TOPIC, index);
    let partition = found.ok_or(ErrorCode::NOT_COORDINATOR)?;
    if partition.is_fenced(producer.0, producer.1) {
        return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
    }
    let asks = call.version >= 5 || node.settings().verifies_transactions;
    if asks && let Some(guard) = partition.to_verify(producer.0, producer.1) {
        let asked = AddPartitions {
            id: request.transactional_id.clone(),
            producer,
            partitions: node.offsets_of_group(&request.group_id)?,
            verify_only: call.version < 5,
            client_version: if call.version >= 5 { 2 } else { 0 },
        };
        match node.add_own_partitions(asked).await.into_values().next() {
            None => {}
            // It makes clients ask again, without looking for the group's coordinator first.
            Some(ErrorCode::NETWORK_EXCEPTION) => {
                return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
            }
            Some(code) => return Err(code),
        }
        // A marker has come meanwhile: the transaction of the request has ended.
        if partition.to_verify(producer.0, producer.1) != Some(guard) {
            return Err(ErrorCode::INVALID_TXN_STATE);
        }
    }
    ask_coordinator(&host, GroupCommand::CommitInTransaction(request)).await
}

fn answer_all(
    topic: &TxnOffsetCommitRequestTopic,
    code: ErrorCode,
) -> TxnOffsetCommitResponseTopic {
    let partition = |index| TxnOffsetCommitResponsePartition {
        partition_index: index,
        error_code: code.0,
        ..Default::default()
    };
    TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|it| partition(it.partition_index)).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "txn_offset_commit_tests.rs"]
mod tests;
