//! Transactions as their coordinators know them, and ending those that hang.

use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla_types::{ErrorCode, NodeId, ProducerId, TimestampMs, TopicPartition};

use crate::client::{Client, CoordinatorOf};
use crate::error::ClientError;

/// A transactional id as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    /// The transactional id.
    pub id: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
    /// The producer that uses it.
    pub producer_id: ProducerId,
    /// `Ongoing`, `Empty`, `CompleteCommit`, ...
    pub state: String,
}

/// Which transactional ids to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Those whose transaction has been open for longer than this.
    pub open_for_ms: Option<i64>,
    /// Those of these producers; of all if there are none.
    pub producer_ids: Vec<ProducerId>,
    /// Those that match this regular expression.
    pub id_pattern: Option<String>,
}

/// The transaction of a transactional id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The transactional id.
    pub id: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
    /// `Ongoing`, `Empty`, `CompleteCommit`, ...
    pub state: String,
    /// The producer that uses it.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
    /// After how long the coordinator aborts.
    pub timeout_ms: i32,
    /// When the transaction began; not above 0 if none is open.
    pub started: TimestampMs,
    /// What it has written to.
    pub places: Vec<TopicPartition>,
}

/// A transaction of one producer in one partition, to be ended there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangingTransaction {
    /// The partition.
    pub place: TopicPartition,
    /// The broker that leads it.
    pub leader: NodeId,
    /// The producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The coordinator's epoch.
    pub coordinator_epoch: i32,
}

impl Client {
    /// The transactional ids of all coordinators, by coordinator and id.
    ///
    /// # Errors
    /// A broker refuses, or does not answer.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let request = ListTransactionsRequest {
            duration_filter: filter.open_for_ms.unwrap_or(-1),
            producer_id_filters: filter.producer_ids.clone(),
            transactional_id_pattern: filter.id_pattern.clone(),
            ..Default::default()
        };
        let mut all = Vec::new();
        for coordinator in self.all_brokers().await? {
            let response = self.ask(coordinator, &request).await?;
            let what = || format!("transactions of broker {coordinator}");
            ClientError::check(response.error_code, what)?;
            let mut found: Vec<_> = response
                .transaction_states
                .into_iter()
                .map(|transaction| TransactionListing {
                    id: transaction.transactional_id,
                    coordinator,
                    producer_id: transaction.producer_id,
                    state: transaction.transaction_state,
                })
                .collect();
            found.sort_by(|a, b| a.id.cmp(&b.id));
            all.extend(found);
        }
        Ok(all)
    }

    /// The transaction of a transactional id.
    ///
    /// # Errors
    /// There is no such id (`TRANSACTIONAL_ID_NOT_FOUND`), or its coordinator does not answer.
    pub async fn describe_transaction(
        &self,
        id: &str,
    ) -> Result<TransactionDescription, ClientError> {
        let coordinator = self.coordinator(CoordinatorOf::Transaction, id).await?;
        let transactional_ids = vec![id.to_owned()];
        let request = DescribeTransactionsRequest { transactional_ids, ..Default::default() };
        let response = self.ask(coordinator, &request).await?;
        let found = response.transaction_states.into_iter().next();
        let code =
            found.as_ref().map_or(ErrorCode::UNKNOWN_SERVER_ERROR.0, |found| found.error_code);
        ClientError::check(code, || format!("transactional id {id}"))?;
        let found = found.unwrap_or_default();
        let mut places = Vec::new();
        for topic in &found.topics {
            let name: std::sync::Arc<str> = topic.topic.as_str().into();
            let place = |at: &i32| TopicPartition::new(std::sync::Arc::clone(&name), *at);
            places.extend(topic.partitions.iter().map(place));
        }
        Ok(TransactionDescription {
            id: found.transactional_id,
            coordinator,
            state: found.transaction_state,
            producer_id: found.producer_id,
            producer_epoch: found.producer_epoch,
            timeout_ms: found.transaction_timeout_ms,
            started: found.transaction_start_time_ms,
            places,
        })
    }

    /// Ends what a transactional id has open, by becoming its producer; the one that was is fenced.
    ///
    /// # Errors
    /// The coordinator refuses or is gone, or what is open does not end.
    pub async fn fence_producer(&self, id: &str) -> Result<(), ClientError> {
        let node = self.coordinator(CoordinatorOf::Transaction, id).await?;
        let request = InitProducerIdRequest {
            transactional_id: Some(id.to_owned()),
            transaction_timeout_ms: 1,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let deadline = self.clock().monotonic() + self.options().retry_timeout;
        loop {
            let response = self.ask(node, &request).await?;
            match ClientError::check(response.error_code, || format!("transactional id {id}")) {
                Err(error) if error.is_passing() && self.clock().monotonic() < deadline => {
                    // What was open is being ended.
                    self.pause().await;
                }
                done => return done,
            }
        }
    }

    /// Aborts a transaction in one partition, without its coordinator (KIP-664).
    ///
    /// # Errors
    /// The partition's leader refuses, or does not answer.
    pub async fn abort_hanging_transaction(
        &self,
        hanging: &HangingTransaction,
    ) -> Result<(), ClientError> {
        let topic = WritableTxnMarkerTopic {
            name: hanging.place.topic.to_string(),
            partition_indexes: vec![hanging.place.partition],
            ..Default::default()
        };
        let marker = WritableTxnMarker {
            producer_id: hanging.producer_id,
            producer_epoch: hanging.producer_epoch,
            transaction_result: false,
            topics: vec![topic],
            coordinator_epoch: hanging.coordinator_epoch,
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
        let response = self.ask(hanging.leader, &request).await?;
        let topics = response.markers.iter().flat_map(|it| &it.topics);
        for it in topics.flat_map(|it| &it.partitions) {
            ClientError::check(it.error_code, || hanging.place.to_string())?;
        }
        Ok(())
    }
}
