//! Electing leaders of partitions.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_types::TopicPartition;

use super::CONTROLLER_TIMEOUT_MS;
use super::refusal::ItemRefusal;
use crate::client::Client;
use crate::error::ClientError;
use crate::partitions::indexes_by_topic;

/// Which replica is to lead. The numbers are those of ElectLeaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum LeaderElection {
    /// The first one of the replicas, if it is in sync.
    Preferred = 0,
    /// One that is not in sync, if no other lives: records may be lost.
    Unclean = 1,
}

impl Client {
    /// Elects leaders for these partitions, or for all; of each whether a leader was elected.
    /// `ELECTION_NOT_NEEDED`: the right one led already.
    ///
    /// # Errors
    /// The cluster refuses all of it, or no broker answers.
    pub async fn elect_leaders(
        &self,
        election: LeaderElection,
        places: Option<&BTreeSet<TopicPartition>>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), ItemRefusal>>, ClientError> {
        let topic =
            |(topic, partitions)| TopicPartitions { topic, partitions, ..Default::default() };
        let request = ElectLeadersRequest {
            election_type: election as i8,
            topic_partitions: places
                .map(|places| indexes_by_topic(places).into_iter().map(topic).collect()),
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        ClientError::check(response.error_code, || "elections".to_owned())?;
        let mut outcomes = BTreeMap::new();
        for topic in response.replica_election_results {
            for it in topic.partition_result {
                let place = TopicPartition::new(topic.topic.as_str(), it.partition_id);
                outcomes.insert(place, ItemRefusal::check(it.error_code, it.error_message));
            }
        }
        Ok(outcomes)
    }
}
