//! Deleting records from the beginning of partitions.

use std::collections::BTreeMap;

use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_types::{ErrorCode, NodeId, Offset, TopicPartition};

use super::CONTROLLER_TIMEOUT_MS;
use crate::client::Client;
use crate::error::ClientError;
use crate::partitions::{PartitionOffsets, by_topic};

impl Client {
    /// Deletes the records before these offsets (-1: all that are committed); of each partition its
    /// first offset then, or why not.
    ///
    /// # Errors
    /// A leader does not answer.
    pub async fn delete_records(
        &self,
        before: &PartitionOffsets,
    ) -> Result<BTreeMap<TopicPartition, Result<Offset, ErrorCode>>, ClientError> {
        let mut outcomes = BTreeMap::new();
        let mut by_leader: BTreeMap<NodeId, Vec<(&TopicPartition, Offset)>> = BTreeMap::new();
        for (place, offset) in before {
            match self.leader(place).await {
                Ok(leader) => by_leader.entry(leader).or_default().push((place, *offset)),
                Err(ClientError::Refused { code, .. }) => {
                    outcomes.insert(place.clone(), Err(code));
                }
                Err(error) => return Err(error),
            }
        }
        let partition = |(partition_index, offset)| DeleteRecordsPartition {
            partition_index,
            offset,
            ..Default::default()
        };
        for (leader, places) in by_leader {
            let topics = by_topic(places).into_iter().map(|(name, all)| DeleteRecordsTopic {
                name,
                partitions: all.into_iter().map(partition).collect(),
                ..Default::default()
            });
            let request = DeleteRecordsRequest {
                topics: topics.collect(),
                timeout_ms: CONTROLLER_TIMEOUT_MS,
                ..Default::default()
            };
            let response = self.ask_within(leader, &request, self.controller_limit()).await?;
            for topic in response.topics {
                for it in topic.partitions {
                    let place = TopicPartition::new(topic.name.as_str(), it.partition_index);
                    let outcome = match ErrorCode(it.error_code) {
                        ErrorCode::NONE => Ok(it.low_watermark),
                        code => Err(code),
                    };
                    outcomes.insert(place, outcome);
                }
            }
        }
        Ok(outcomes)
    }
}
