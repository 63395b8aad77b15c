//! Moving partitions to other brokers.

use std::collections::BTreeMap;

use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::list_partition_reassignments_request as listing;
use ottla_types::{NodeId, TopicPartition};

use super::CONTROLLER_TIMEOUT_MS;
use super::refusal::ItemRefusal;
use crate::client::Client;
use crate::error::ClientError;
use crate::partitions::by_topic;

/// A partition that is being moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reassignment {
    /// All its replicas.
    pub replicas: Vec<NodeId>,
    /// Those that come.
    pub adding: Vec<NodeId>,
    /// Those that go.
    pub removing: Vec<NodeId>,
}

/// May a partition get another number of replicas?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationFactor {
    /// Yes.
    MayChange,
    /// No: that is an error.
    Kept,
}

impl Client {
    /// The partitions that are being moved.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn list_reassignments(
        &self,
    ) -> Result<BTreeMap<TopicPartition, Reassignment>, ClientError> {
        let request = listing::ListPartitionReassignmentsRequest {
            topics: None,
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        ClientError::check_item(response.error_code, response.error_message, "reassignments")?;
        let mut all = BTreeMap::new();
        for topic in response.topics {
            for it in topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), it.partition_index);
                let (adding, removing) = (it.adding_replicas, it.removing_replicas);
                all.insert(place, Reassignment { replicas: it.replicas, adding, removing });
            }
        }
        Ok(all)
    }

    /// Moves partitions to these brokers, or calls their move off where there are none named; what
    /// became of each that was refused.
    ///
    /// # Errors
    /// The cluster refuses all of it, or no broker answers.
    pub async fn alter_reassignments(
        &self,
        wanted: &BTreeMap<TopicPartition, Option<Vec<NodeId>>>,
        factor: ReplicationFactor,
    ) -> Result<BTreeMap<TopicPartition, ItemRefusal>, ClientError> {
        let partition =
            |(partition_index, replicas): (i32, &Option<Vec<NodeId>>)| ReassignablePartition {
                partition_index,
                replicas: replicas.clone(),
                ..Default::default()
            };
        let topics = by_topic(wanted).into_iter().map(|(name, partitions)| ReassignableTopic {
            name,
            partitions: partitions.into_iter().map(partition).collect(),
            ..Default::default()
        });
        let request = AlterPartitionReassignmentsRequest {
            topics: topics.collect(),
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            allow_replication_factor_change: factor == ReplicationFactor::MayChange,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        ClientError::check_item(response.error_code, response.error_message, "reassignments")?;
        let mut refused = BTreeMap::new();
        for topic in response.responses {
            for it in topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), it.partition_index);
                if let Err(why) = ItemRefusal::check(it.error_code, it.error_message) {
                    refused.insert(place, why);
                }
            }
        }
        Ok(refused)
    }
}
