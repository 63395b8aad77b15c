//! Makes the partitions of a produce part of its transaction, before anything is appended.

use std::collections::BTreeMap;

use ottla_coordinator::transaction::{AddPartitions, TransactionPartitions};
use ottla_partitions::{Guard, Partition};
use ottla_protocol::messages::produce_request::{ProduceRequest, TopicProduceData};
use ottla_records::Batch;
use ottla_types::{ErrorCode, TopicPartition};

use crate::guard::{Operation, Resource};
use crate::hosts::add_queue::not_added;
use crate::node::Node;
use crate::request::Call;

/// What the transaction's coordinator says of a produce.
#[derive(Default)]
pub struct Enlisted {
    /// What shows each partition that it may begin the transaction.
    pub guards: BTreeMap<TopicPartition, Guard>,
    /// Why a partition may not.
    pub refused: BTreeMap<TopicPartition, ErrorCode>,
    /// May the client not write with this transactional id?
    pub is_denied: bool,
}

/// A produce whose partitions are about to become part of its transaction.
pub struct Enlisting {
    enlisted: Enlisted,
    /// What the coordinator is to be asked, if anything.
    asked: Option<AddPartitions>,
}

/// A partition that is produced to, if it is here.
pub fn find_partition(
    node: &Node,
    call: &Call,
    topic: &TopicProduceData,
    index: i32,
) -> Option<Partition> {
    if call.version >= 13 {
        node.partitions.find_by_id(topic.topic_id, index)
    } else {
        node.partitions.find(&topic.name, index)
    }
}

impl Enlisting {
    /// Looks to which partitions the transaction is news. From version 12 on they become part of it
    /// by the produce (KIP-890), before that they must be already.
    pub fn begin(node: &Node, call: &Call, request: &ProduceRequest) -> Self {
        let mut enlisted = Enlisted::default();
        let mut producer = None;
        let implied = call.version >= 12;
        let asks = implied || node.settings().verifies_transactions;
        let mut partitions = TransactionPartitions::new();
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                let records = data.records.as_deref().unwrap_or_default();
                let Ok(batch) = Batch::produced(records) else { continue };
                if !batch.is_transactional() {
                    continue;
                }
                let sender = (batch.producer_id(), batch.producer_epoch());
                producer = Some(sender);
                if let Some(partition) = find_partition(node, call, topic, data.index)
                    && let Some(guard) = partition.to_verify(sender.0, sender.1)
                {
                    if asks {
                        let indexes = partitions.entry(partition.topic().to_owned()).or_default();
                        indexes.insert(data.index);
                    }
                    enlisted.guards.insert(partition.name().clone(), guard);
                }
            }
        }
        let Some(producer) = producer else { return Self { enlisted, asked: None } };
        let id = request.transactional_id.clone().unwrap_or_default();
        let is_denied =
            id.is_empty() || !call.may(node, Operation::Write, Resource::TransactionalId(&id));
        enlisted.is_denied = is_denied;
        let client_version = if implied { 2 } else { 0 };
        let asked =
            AddPartitions { id, producer, partitions, verify_only: !implied, client_version };
        let is_asked = !is_denied && !asked.partitions.is_empty();
        Self { enlisted, asked: is_asked.then_some(asked) }
    }

    /// Asks the coordinator, if it is here and answers at once. If not, this comes back.
    pub fn now(mut self, node: &Node, call: &Call) -> Result<Enlisted, Box<Self>> {
        let Some(asked) = &self.asked else { return Ok(self.enlisted) };
        match node.add_to_transaction_now(asked.clone()) {
            None => Err(Box::new(self)),
            Some(Err(ErrorCode::CONCURRENT_TRANSACTIONS)) if !asked.verify_only => {
                Err(Box::new(self))
            }
            Some(Ok(())) => Ok(self.enlisted),
            Some(Err(code)) => {
                let code = of_coordinator(code, call.version);
                self.enlisted.refused = not_added(&asked.partitions, code);
                Ok(self.enlisted)
            }
        }
    }

    /// Asks the coordinator, wherever it is, and waits for its answer.
    pub async fn finish(self, node: &Node, call: &Call) -> Enlisted {
        let Self { mut enlisted, asked } = self;
        if let Some(asked) = asked {
            let mut refused = node.add_own_partitions(asked).await;
            refused.values_mut().for_each(|code| *code = of_coordinator(*code, call.version));
            enlisted.refused = refused;
        }
        enlisted
    }
}

/// The error code for a producer, one that its version knows.
const fn of_coordinator(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::TRANSACTION_ABORTABLE if version < 11 => ErrorCode::INVALID_TXN_STATE,
        ErrorCode::CONCURRENT_TRANSACTIONS if version >= 12 => code,
        ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR
        | ErrorCode::CONCURRENT_TRANSACTIONS => ErrorCode::NOT_ENOUGH_REPLICAS,
        code => code,
    }
}
