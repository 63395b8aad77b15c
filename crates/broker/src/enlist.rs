//! What handlers ask of the coordinators of transactions.

use ottla_coordinator::transaction::{AddPartitions, TransactionCommand, TransactionPartitions};
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use crate::hosts::groups;
use crate::hosts::shards::{ask_coordinator, unanswered_code};
use crate::hosts::transactions::TransactionHost;
use crate::node::Node;

impl Node {
    /// Makes partitions part of a transaction, or asks whether they are.
    ///
    /// # Errors
    /// The error code for the client.
    pub async fn add_to_transaction(&self, request: AddPartitions) -> Result<(), ErrorCode> {
        let host = self.coordinators.transaction(&request.id)?;
        let added = ask_coordinator(&host, TransactionCommand::Add(request));
        added.await?
    }

    /// Handles InitProducerId, which may need a fresh block of ids: the producer's id and epoch.
    ///
    /// # Errors
    /// The error code for the client.
    pub async fn ask_for_producer(
        &self,
        host: &TransactionHost,
        command: impl Fn(Option<ProducerId>) -> TransactionCommand,
    ) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
        let told: Option<Result<_, ErrorCode>> = ask_coordinator(host, command(None)).await?;
        if let Some(told) = told {
            return told;
        }
        let fresh = self.fresh_producer().await?;
        let told: Option<Result<_, ErrorCode>> =
            ask_coordinator(host, command(Some(fresh))).await?;
        told.expect("it has got a fresh id")
    }

    /// A producer id that was never given away before.
    ///
    /// # Errors
    /// The error code for the client.
    pub async fn fresh_producer(&self) -> Result<ProducerId, ErrorCode> {
        self.producer_id().await.map_err(|code| match code {
            ErrorCode::NOT_CONTROLLER => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            code => code,
        })
    }

    /// As [`Node::add_to_transaction`], on this thread; `None` if the answer has to be waited for.
    ///
    /// # Errors
    /// The error code for the client.
    pub fn add_to_transaction_now(&self, request: AddPartitions) -> Option<Result<(), ErrorCode>> {
        let host = match self.coordinators.transaction(&request.id) {
            Ok(host) => host,
            Err(code) => return Some(Err(code)),
        };
        let mut answer = match host.start(TransactionCommand::Add(request)) {
            Ok(answer) => answer,
            Err(error) => return Some(Err(unanswered_code(&error))),
        };
        // An empty channel: it has not committed yet.
        answer.try_recv().ok().map(ottla_machine::expect_reply)
    }

    /// The partition that a group's offsets live in.
    ///
    /// # Errors
    /// The topic of offsets does not exist yet.
    pub fn offsets_of_group(&self, group: &str) -> Result<TransactionPartitions, ErrorCode> {
        let index = self.coordinators.group_shard(group)?;
        Ok([(groups::TOPIC.to_owned(), [index].into())].into())
    }
}
