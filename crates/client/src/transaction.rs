//! Transactions: records and offsets that are seen together or not at all (KIP-98, KIP-890).

use std::collections::BTreeSet;

use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_types::{ErrorCode, NodeId, TopicPartition};

use crate::client::CoordinatorOf;
use crate::error::ClientError;
use crate::partitions::{PartitionOffsets, by_topic};
use crate::producer::{Producer, ProducerIdentity};

/// The newest versions in which all transactions of a producer share an epoch.
const OLD_ADD_PARTITIONS: i16 = 3;
const OLD_END: i16 = 4;
const OLD_COMMIT_OFFSETS: i16 = 4;
pub(crate) const OLD_PRODUCE: i16 = 11;

/// The group and its member for which offsets are committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    /// The group.
    pub group: String,
    /// The member's id; empty if the consumer is no member.
    pub member: String,
    /// Its generation, or its epoch; -1 if it is no member.
    pub generation: i32,
}

/// What a transactional producer is at.
#[derive(Debug, Default)]
pub(crate) struct ProducerTransaction {
    coordinator: NodeId,
    /// Has a transaction begun?
    is_open: bool,
    /// Does the coordinator know of it?
    is_known: bool,
    /// Has each transaction an epoch of its own?
    pub(crate) has_own_epoch: bool,
    /// The partitions and groups that were added to it at the coordinator.
    touched: BTreeSet<TopicPartition>,
}

impl Producer {
    /// Gets the producer's id and epoch; every earlier producer of this transactional id is fenced,
    /// and the transaction that it left open is aborted.
    ///
    /// # Errors
    /// The coordinator refuses or is gone.
    pub async fn init_transactions(&mut self) -> Result<(), ClientError> {
        let id = self.transactional_id()?;
        self.transaction.coordinator =
            self.client.coordinator(CoordinatorOf::Transaction, &id).await?;
        let version =
            self.client.feature(self.transaction.coordinator, "transaction.version").await?;
        self.transaction.has_own_epoch = version >= 2;
        let request = InitProducerIdRequest {
            transactional_id: Some(id.clone()),
            transaction_timeout_ms: self.options.transaction_timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let identity = self
            .insist(async |this| {
                let it = this.client.ask(this.transaction.coordinator, &request).await?;
                ClientError::check(it.error_code, || format!("transactional id {id}"))?;
                Ok(ProducerIdentity { id: it.producer_id, epoch: it.producer_epoch })
            })
            .await?;
        self.set_identity(identity);
        Ok(())
    }

    /// Begins a transaction; what is sent from now on belongs to it.
    ///
    /// # Errors
    /// The producer has no transactional id, or is in a transaction.
    pub async fn begin_transaction(&mut self) -> Result<(), ClientError> {
        self.transactional_id()?;
        if self.known_identity().is_none() {
            self.init_transactions().await?;
        }
        if self.transaction.is_open {
            return Err(invalid_state("a transaction is open already"));
        }
        self.transaction.is_open = true;
        self.transaction.is_known = false;
        self.transaction.touched.clear();
        Ok(())
    }

    /// Commits: everything that was sent is seen from now on, and the offsets are in force.
    ///
    /// # Errors
    /// Something could not be written, or the producer was fenced: then the transaction is to be
    /// aborted.
    pub async fn commit_transaction(&mut self) -> Result<(), ClientError> {
        self.flush().await?;
        self.end(true).await
    }

    /// Aborts: nothing that was sent is ever seen.
    ///
    /// # Errors
    /// The producer was fenced, or the coordinator is gone; it aborts by itself in time.
    pub async fn abort_transaction(&mut self) -> Result<(), ClientError> {
        self.drop_unsent().await;
        self.end(false).await
    }

    /// Commits a group's offsets as part of the transaction.
    ///
    /// # Errors
    /// The consumer is not a member any more, or a coordinator refuses.
    pub async fn send_offsets_to_transaction(
        &mut self,
        offsets: &PartitionOffsets,
        member: &GroupMember,
    ) -> Result<(), ClientError> {
        let transactional_id = self.transactional_id()?;
        let ProducerIdentity { id: producer_id, epoch: producer_epoch } = self.in_transaction()?;
        if !self.transaction.has_own_epoch {
            let request = AddOffsetsToTxnRequest {
                transactional_id: transactional_id.clone(),
                producer_id,
                producer_epoch,
                group_id: member.group.clone(),
                ..Default::default()
            };
            self.insist(async |this| {
                let it = this.client.ask(this.transaction.coordinator, &request).await?;
                ClientError::check(it.error_code, || member.group.clone())
            })
            .await?;
        }
        self.transaction.is_known = true;
        let partition = |(partition_index, committed_offset)| TxnOffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(String::new()),
            ..Default::default()
        };
        let topics = by_topic(offsets.iter().map(|(place, offset)| (place, *offset)));
        let topic = |(name, partitions): (String, Vec<_>)| TxnOffsetCommitRequestTopic {
            name,
            partitions: partitions.into_iter().map(partition).collect(),
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id,
            group_id: member.group.clone(),
            producer_id,
            producer_epoch,
            generation_id_or_member_epoch: member.generation,
            member_id: member.member.clone(),
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let newest = (!self.transaction.has_own_epoch).then_some(OLD_COMMIT_OFFSETS);
        self.insist(async |this| {
            let node = this.client.coordinator(CoordinatorOf::Group, &member.group).await?;
            let it = this.client.ask_up_to(node, &request, newest).await?;
            let mut all = it.topics.iter().flat_map(|topic| &topic.partitions);
            let code = all.find(|it| it.error_code != 0).map_or(0, |it| it.error_code);
            ClientError::check(code, || format!("offsets of group {}", member.group))
        })
        .await
    }

    /// Adds a partition to the transaction at the coordinator, where the protocol needs that.
    pub(crate) async fn touch(&mut self, place: &TopicPartition) -> Result<(), ClientError> {
        let transactional_id = self.transactional_id()?;
        let ProducerIdentity { id: producer_id, epoch: producer_epoch } = self.in_transaction()?;
        self.transaction.is_known = true;
        if self.transaction.has_own_epoch || self.transaction.touched.contains(place) {
            return Ok(());
        }
        let topic = AddPartitionsToTxnTopic {
            name: place.topic.to_string(),
            partitions: vec![place.partition],
            ..Default::default()
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: transactional_id,
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: producer_epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        self.insist(async |this| {
            let (node, newest) = (this.transaction.coordinator, Some(OLD_ADD_PARTITIONS));
            let it = this.client.ask_up_to(node, &request, newest).await?;
            let mut all = it.results_by_topic_v3_and_below.iter();
            let code = all.find_map(|it| it.results_by_partition.first());
            let code = code.map_or(0, |it| it.partition_error_code);
            ClientError::check(code, || place.to_string())
        })
        .await?;
        self.transaction.touched.insert(place.clone());
        Ok(())
    }

    async fn end(&mut self, committed: bool) -> Result<(), ClientError> {
        let transactional_id = self.transactional_id()?;
        let ProducerIdentity { id: producer_id, epoch: producer_epoch } = self.in_transaction()?;
        if !self.transaction.is_known {
            // The coordinator has no record of the transaction.
            self.transaction.is_open = false;
            return Ok(());
        }
        let request = EndTxnRequest {
            transactional_id: transactional_id.clone(),
            producer_id,
            producer_epoch,
            committed,
            ..Default::default()
        };
        let newest = (!self.transaction.has_own_epoch).then_some(OLD_END);
        let identity = self
            .insist(async |this| {
                let node = this.transaction.coordinator;
                let it = this.client.ask_up_to(node, &request, newest).await?;
                let what = || format!("the end of a transaction of {transactional_id}");
                ClientError::check(it.error_code, what)?;
                Ok(ProducerIdentity { id: it.producer_id, epoch: it.producer_epoch })
            })
            .await?;
        self.transaction.is_open = false;
        if identity.id >= 0 {
            self.set_identity(identity);
        }
        Ok(())
    }

    fn transactional_id(&self) -> Result<String, ClientError> {
        let none = || invalid_state("the producer has no transactional id");
        self.options.transactional_id.clone().ok_or_else(none)
    }

    fn in_transaction(&self) -> Result<ProducerIdentity, ClientError> {
        let none = || invalid_state("no transaction is open");
        self.known_identity().filter(|_| self.transaction.is_open).ok_or_else(none)
    }

    /// Asks again and again while the same may succeed later, as long as there is patience.
    async fn insist<T>(
        &mut self,
        mut attempt: impl AsyncFnMut(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = self.client.clock().monotonic() + self.options.delivery_timeout;
        loop {
            match attempt(self).await {
                Ok(done) => return Ok(done),
                Err(error) => self.again(error, deadline).await?,
            }
        }
    }

    /// Waits a moment if the same may succeed then; the coordinator may have moved.
    async fn again(
        &mut self,
        error: ClientError,
        deadline: std::time::Duration,
    ) -> Result<(), ClientError> {
        if !error.is_passing() || self.client.clock().monotonic() >= deadline {
            return Err(error);
        }
        self.client.pause().await;
        let is_moved =
            !matches!(error, ClientError::Refused { code: ErrorCode::CONCURRENT_TRANSACTIONS, .. });
        if is_moved {
            let id = self.transactional_id()?;
            self.transaction.coordinator =
                self.client.coordinator(CoordinatorOf::Transaction, &id).await?;
        }
        Ok(())
    }
}

fn invalid_state(what: &str) -> ClientError {
    ClientError::Refused { what: what.to_owned(), code: ErrorCode::INVALID_TXN_STATE }
}
