//! What handlers ask of the coordinators of transactions.

use ottla_coordinator::transaction::{AddPartitions, TransactionCommand, TransactionPartitions};
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};
use std::time::Duration;

use crate::hosts::add_queue::{NotAdded, not_added};
use crate::hosts::controller_channel::is_elsewhere;
use crate::hosts::groups;
use crate::hosts::shards::{ask_coordinator, unanswered_code};
use crate::hosts::transactions::TransactionHost;
use crate::node::Node;

/// After how long a partition is added again to a transaction whose producer has ended another one
/// just before (the default of `add.partitions.to.txn.retry.backoff.ms`).
const ADD_RETRY: Duration = Duration::from_millis(20);
/// Until when that is tried (the default of `add.partitions.to.txn.retry.backoff.max.ms`).
const ADD_RETRY_MAX: Duration = Duration::from_millis(100);

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
            // Clients ask again then; an idempotent producer has no coordinator to look for.
            code if is_elsewhere(code) || code == ErrorCode::STALE_BROKER_EPOCH => {
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            }
            code => code,
        })
    }

    /// As [`Node::add_to_transaction`], on this thread; `None` if the answer has to be waited for,
    /// perhaps from another broker.
    ///
    /// # Errors
    /// The error code for the client.
    pub fn add_to_transaction_now(&self, request: AddPartitions) -> Option<Result<(), ErrorCode>> {
        match self.coordinators.transaction_place(&request.id) {
            Ok((_, broker)) if broker != self.id => return None,
            Ok(_) => {}
            Err(code) => return Some(Err(code)),
        }
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

    /// Makes partitions of this broker part of a transaction, or asks whether they are, wherever
    /// its coordinator is. A transaction that follows another one at once waits a little for that
    /// to end, as the producer would have to send its records again.
    pub async fn add_own_partitions(&self, request: AddPartitions) -> NotAdded {
        let until = self.clock.monotonic() + ADD_RETRY_MAX;
        loop {
            let refused = self.ask_transaction(request.clone()).await;
            let is_early = |code: &ErrorCode| *code == ErrorCode::CONCURRENT_TRANSACTIONS;
            let may_wait = !request.verify_only && refused.values().any(is_early);
            if !may_wait || self.clock.monotonic() >= until {
                return refused;
            }
            self.clock.sleep(ADD_RETRY).await;
        }
    }

    async fn ask_transaction(&self, request: AddPartitions) -> NotAdded {
        let all = request.partitions.clone();
        match self.coordinators.transaction_place(&request.id) {
            Err(code) => not_added(&all, code),
            Ok((shard, broker)) if broker != self.id => {
                self.coordinators.adds().add(broker, shard, request).await
            }
            Ok(_) => match self.add_to_transaction(request).await {
                Ok(()) => NotAdded::new(),
                Err(code) => not_added(&all, code),
            },
        }
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
