//! The producers that a partition remembers.

use ottla_protocol::messages::describe_producers_request::{
    DescribeProducersRequest, TopicRequest,
};
use ottla_types::{NodeId, Offset, ProducerId, TimestampMs, TopicPartition};

use crate::client::Client;
use crate::error::ClientError;

/// A producer that wrote to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: i32,
    /// Its last sequence number; -1 if there is none.
    pub last_sequence: i32,
    /// The time of its last batch.
    pub last_timestamp: TimestampMs,
    /// The epoch of the coordinator that wrote its last marker; -1 if there is none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins; -1 if none is open.
    pub transaction_start: Offset,
}

impl Client {
    /// The producers that a broker remembers of a partition.
    ///
    /// # Errors
    /// The broker refuses, or does not answer.
    pub async fn describe_producers(
        &self,
        place: &TopicPartition,
        node: NodeId,
    ) -> Result<Vec<ProducerDescription>, ClientError> {
        let topic = TopicRequest {
            name: place.topic.to_string(),
            partition_indexes: vec![place.partition],
            ..Default::default()
        };
        let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
        let response = self.ask(node, &request).await?;
        let mut all = Vec::new();
        for partition in response.topics.into_iter().flat_map(|it| it.partitions) {
            ClientError::check_item(partition.error_code, partition.error_message, place)?;
            all.extend(partition.active_producers.into_iter().map(|producer| {
                ProducerDescription {
                    id: producer.producer_id,
                    epoch: producer.producer_epoch,
                    last_sequence: producer.last_sequence,
                    last_timestamp: producer.last_timestamp,
                    coordinator_epoch: producer.coordinator_epoch,
                    transaction_start: producer.current_txn_start_offset,
                }
            }));
        }
        Ok(all)
    }
}
