//! TxnOffsetCommit: how far a group has come, as part of a transaction.

use ottla_coordinator::group::{Command, Reply};
use ottla_coordinator::transaction::Add;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::hosts::groups::ask;
use crate::hosts::transactions::{add, offsets_of};
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
    let asked = request.topics.clone();
    let refused = |code: ErrorCode| answer(&asked, |_, _| code);
    let principal = &call.caller.principal;
    let id = &request.transactional_id;
    if !may(principal, Operation::Write, Resource::TransactionalId(id)) {
        return refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    if !may(principal, Operation::Read, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let check = |topic: &str, index: i32| {
        if !may(principal, Operation::Read, Resource::Topic(topic)) {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
        } else if node.has_partition(topic, index) {
            ErrorCode::NONE
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
    };
    for topic in &mut request.topics {
        let name = topic.name.clone();
        topic.partitions.retain(|it| check(&name, it.partition_index) == ErrorCode::NONE);
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    if request.topics.is_empty() {
        return answer(&asked, check);
    }
    let committed = match commit(node, call, request).await {
        Ok(committed) => committed,
        Err(code) => {
            let code = for_version(code, call.version);
            return answer(&asked, |topic, index| or(check(topic, index), code));
        }
    };
    answer(&asked, |topic, index| {
        let mut found = committed.topics.iter().filter(|it| it.name == topic);
        let found =
            found.find_map(|it| it.partitions.iter().find(|it| it.partition_index == index));
        or(check(topic, index), ErrorCode(found.map_or(0, |it| it.error_code)))
    })
}

/// What a client of this version is told, in codes that it knows: those of before version 2 fail
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

fn or(first: ErrorCode, second: ErrorCode) -> ErrorCode {
    if first == ErrorCode::NONE { second } else { first }
}

async fn commit(
    node: &Node,
    call: &Call,
    request: TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let host = node.group(&request.group_id)?;
    let index = node.group_shard(&request.group_id)?;
    let producer = (request.producer_id, request.producer_epoch);
    let found = node.partitions.find(crate::hosts::groups::TOPIC, index);
    let partition = found.ok_or(ErrorCode::NOT_COORDINATOR)?;
    if partition.is_fenced(producer.0, producer.1) {
        return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
    }
    let asks = call.version >= 5 || node.settings().verifies_transactions;
    if asks && let Some(guard) = partition.to_verify(producer.0, producer.1) {
        let asked = Add {
            id: request.transactional_id.clone(),
            producer,
            partitions: offsets_of(node, &request.group_id)?,
            verify_only: call.version < 5,
            client_version: if call.version >= 5 { 2 } else { 0 },
        };
        add(node, asked).await?;
        // A marker has come meanwhile: what was asked for is over.
        if partition.to_verify(producer.0, producer.1) != Some(guard) {
            return Err(ErrorCode::INVALID_TXN_STATE);
        }
    }
    ask(&host, Command::CommitInTransaction(request), |reply| match reply {
        Reply::CommitInTransaction(response) => Some(response),
        _ => None,
    })
    .await
}

fn answer(
    topics: &[TxnOffsetCommitRequestTopic],
    code: impl Fn(&str, i32) -> ErrorCode,
) -> TxnOffsetCommitResponse {
    let topic = |topic: &TxnOffsetCommitRequestTopic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|it| TxnOffsetCommitResponsePartition {
                partition_index: it.partition_index,
                error_code: code(&topic.name, it.partition_index).0,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    TxnOffsetCommitResponse { topics: topics.iter().map(topic).collect(), ..Default::default() }
}
