//! InitProducerId: gives an idempotent or a transactional producer its id and epoch.
//!
//! 3: a producer may name its id and epoch to go on after an error (KIP-360). 4: PRODUCER_FENCED.
//! 5: TRANSACTION_ABORTABLE (KIP-890).
//!
//! Gap: version 6, two-phase commit (KIP-939), is not stable in Kafka either.

use ottla_coordinator::transaction::{InitProducer, TransactionCommand};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use crate::guard::{Operation, Resource, ResourceType};
use crate::node::Node;
use crate::request::{Api, Call};

/// Producers of both kinds.
pub const API: Api = Api::of(ApiKey::InitProducerId, 0, 5);

/// Gives a fresh id away; to a transactional producer the one of its name, under a new epoch.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match init(node, call, request).await {
        Ok((producer_id, producer_epoch)) => {
            InitProducerIdResponse { producer_id, producer_epoch, ..Default::default() }
        }
        Err(code) => InitProducerIdResponse {
            error_code: for_version(code, call.version).0,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn init(
    node: &Node,
    call: &Call,
    request: InitProducerIdRequest,
) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
    let (id, epoch) = (request.producer_id, request.producer_epoch);
    if (id, epoch) != (-1, -1) && (id < 0 || epoch < 0) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let Some(id) = request.transactional_id else {
        if !call.may(node, Operation::IdempotentWrite, Resource::Cluster)
            && !call.may_some(node, Operation::Write, ResourceType::Topic)
        {
            return Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
        }
        return Ok((node.fresh_producer().await?, 0));
    };
    if id.is_empty() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    if !call.may(node, Operation::Write, Resource::TransactionalId(&id)) {
        return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    let host = node.coordinators.transaction(&id)?;
    let known = (request.producer_id >= 0).then_some((request.producer_id, request.producer_epoch));
    let timeout_ms = request.transaction_timeout_ms;
    let init = InitProducer { id, timeout_ms, known, fresh: None };
    let command = |fresh| TransactionCommand::Init(InitProducer { fresh, ..init.clone() });
    let told = node.ask_for_producer(&host, command).await;
    if told == Err(ErrorCode::CONCURRENT_TRANSACTIONS) {
        // The client asks again; the transaction that is in its way may end meanwhile.
        node.coordinators.write_markers(&host);
    }
    told
}

/// The error code for a client of this version: before version 4 there is no PRODUCER_FENCED.
const fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED if version < 4 => ErrorCode::INVALID_PRODUCER_EPOCH,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_producer_is_told_so_from_version_4_on() {
        for version in 0..=5 {
            let known = version >= 4;
            let told =
                if known { ErrorCode::PRODUCER_FENCED } else { ErrorCode::INVALID_PRODUCER_EPOCH };
            assert_eq!(for_version(ErrorCode::PRODUCER_FENCED, version), told, "version {version}");
        }
    }
}

#[cfg(test)]
#[path = "init_producer_id_tests.rs"]
mod harness_tests;
