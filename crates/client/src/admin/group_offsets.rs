//! Groups from outside: which there are, and how far they have read.

use std::collections::BTreeMap;

use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponsePartitions,
};
use ottla_types::{TopicPartition, Uuid};

use crate::client::{Client, CoordinatorOf};
use crate::error::ClientError;
use crate::partitions::{CommittedPosition, CommittedPositions};

/// The last version of OffsetFetch that names topics.
const OFFSETS_BY_NAME: i16 = 9;

/// A group as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub id: String,
    /// `classic`, `consumer`, ...; empty if the broker does not say.
    pub kind: String,
    /// `Stable`, `Empty`, ...; empty if the broker does not say.
    pub state: String,
}

impl Client {
    /// All groups, by id.
    ///
    /// # Errors
    /// A broker does not answer.
    pub async fn groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let mut all = Vec::new();
        for node in self.all_brokers().await? {
            let response = self.ask(node, &ListGroupsRequest::default()).await?;
            ClientError::check(response.error_code, || format!("the groups of broker {node}"))?;
            all.extend(response.groups.into_iter().map(|it| GroupListing {
                id: it.group_id,
                kind: it.group_type,
                state: it.group_state,
            }));
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

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
            let here = |it: &&OffsetFetchResponsePartitions| {
                it.error_code == 0 && it.committed_offset >= 0
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
