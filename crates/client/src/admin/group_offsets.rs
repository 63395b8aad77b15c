//! How far groups have read.

use std::collections::BTreeMap;

use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponsePartitions,
};
use ottla_types::{ErrorCode, TopicPartition, Uuid};

use crate::client::{Client, CoordinatorOf};
use crate::error::ClientError;
use crate::partitions::{CommittedPosition, CommittedPositions, Partitions, indexes_by_topic};

/// The last version of OffsetFetch that names topics.
const OFFSETS_BY_NAME: i16 = 9;

impl Client {
    /// How far a group has read.
    ///
    /// # Errors
    /// Its coordinator does not answer.
    pub async fn group_offsets(&self, group: &str) -> Result<CommittedPositions, ClientError> {
        let node = self.coordinator(CoordinatorOf::Group, group).await?;
        let group_id = group.to_owned();
        let asked = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
        let request =
            OffsetFetchRequest { groups: vec![asked], topics: None, ..Default::default() };
        let response = self.ask_up_to(node, &request, Some(OFFSETS_BY_NAME)).await?;
        committed_in(response, group, &BTreeMap::new())
    }

    /// Deletes offsets of a group, in partitions whose topics it is not subscribed to; the code of
    /// each partition's answer.
    ///
    /// # Errors
    /// The coordinator refuses all of it, or does not answer.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        places: &Partitions,
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>, ClientError> {
        let partition = |partition_index| OffsetDeleteRequestPartition {
            partition_index,
            ..Default::default()
        };
        let topics = indexes_by_topic(places).into_iter();
        let topics = topics.map(|(name, partitions)| OffsetDeleteRequestTopic {
            name,
            partitions: partitions.into_iter().map(partition).collect(),
            ..Default::default()
        });
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: topics.collect(),
            ..Default::default()
        };
        let node = self.coordinator(CoordinatorOf::Group, group).await?;
        let response = self.ask(node, &request).await?;
        ClientError::check(response.error_code, || format!("group {group}"))?;
        let mut outcomes = BTreeMap::new();
        for topic in response.topics {
            for it in topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), it.partition_index);
                outcomes.insert(place, ErrorCode(it.error_code));
            }
        }
        Ok(outcomes)
    }
}

/// The offsets of an answer, whose topics have these names where it has only their ids.
pub(crate) fn committed_in(
    response: OffsetFetchResponse,
    group: &str,
    names: &BTreeMap<Uuid, String>,
) -> Result<CommittedPositions, ClientError> {
    let mut all = CommittedPositions::new();
    for it in response.groups {
        ClientError::check(it.error_code, || format!("group {group}"))?;
        for topic in it.topics {
            let known = names.get(&topic.topic_id).filter(|_| topic.name.is_empty());
            let name = known.unwrap_or(&topic.name);
            let here = |partition: &&OffsetFetchResponsePartitions| {
                partition.error_code == 0 && partition.committed_offset >= 0
            };
            for it in topic.partitions.iter().filter(here) {
                let place = TopicPartition::new(name.as_str(), it.partition_index);
                let (offset, leader_epoch) = (it.committed_offset, it.committed_leader_epoch);
                all.insert(place, CommittedPosition { offset, leader_epoch });
            }
        }
    }
    Ok(all)
}
