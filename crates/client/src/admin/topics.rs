//! Topics: list, describe, create, grow, delete.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use ottla_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::refusal::ItemRefusal;
use super::{CONTROLLER_TIMEOUT_MS, ChangeMode};
use crate::client::Client;
use crate::error::ClientError;
use crate::metadata::IfAbsent;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the cluster's `num.partitions`.
    pub partitions: i32,
    /// How many replicas; -1 for the cluster's `default.replication.factor`.
    pub replication_factor: i16,
    /// Its settings.
    pub configs: BTreeMap<String, String>,
    /// The brokers of each partition, the preferred leader first. If there are some, `partitions`
    /// and `replication_factor` are -1.
    pub assignments: Vec<Vec<NodeId>>,
}

impl NewTopic {
    /// A topic of this name with the cluster's defaults.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            configs: BTreeMap::new(),
            assignments: Vec::new(),
        }
    }
}

/// More partitions for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic.
    pub topic: String,
    /// How many it is to have.
    pub count: i32,
    /// The brokers of each new partition, if the cluster is not to choose them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// A topic as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: usize,
    /// How many replicas each has.
    pub replicas: usize,
    /// Is it one of Kafka's own?
    pub internal: bool,
}

/// A topic with its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Is it one of Kafka's own?
    pub is_internal: bool,
    /// Why the rest is not known, such as `UNKNOWN_TOPIC_OR_PARTITION`; `NONE` if it is.
    pub error: ErrorCode,
    /// Its partitions, in the order of the answer.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition, its leader and its replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The leader; -1 if there is none.
    pub leader: NodeId,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those that are in sync.
    pub in_sync: Vec<NodeId>,
    /// Those that may become leader although they are not in sync (KIP-966).
    pub eligible_leaders: Vec<NodeId>,
    /// Those that were that last.
    pub last_eligible_leaders: Vec<NodeId>,
}

impl From<MetadataResponseTopic> for TopicDescription {
    fn from(topic: MetadataResponseTopic) -> Self {
        Self {
            name: topic.name.unwrap_or_default(),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            error: ErrorCode(topic.error_code),
            partitions: topic.partitions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<MetadataResponsePartition> for PartitionDescription {
    fn from(partition: MetadataResponsePartition) -> Self {
        Self {
            partition: partition.partition_index,
            leader: partition.leader_id,
            replicas: partition.replica_nodes,
            in_sync: partition.isr_nodes,
            eligible_leaders: Vec::new(),
            last_eligible_leaders: Vec::new(),
        }
    }
}

impl From<DescribeTopicPartitionsResponseTopic> for TopicDescription {
    fn from(topic: DescribeTopicPartitionsResponseTopic) -> Self {
        Self {
            name: topic.name.unwrap_or_default(),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            error: ErrorCode(topic.error_code),
            partitions: topic.partitions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<DescribeTopicPartitionsResponsePartition> for PartitionDescription {
    fn from(partition: DescribeTopicPartitionsResponsePartition) -> Self {
        Self {
            partition: partition.partition_index,
            leader: partition.leader_id,
            replicas: partition.replica_nodes,
            in_sync: partition.isr_nodes,
            eligible_leaders: partition.eligible_leader_replicas.unwrap_or_default(),
            last_eligible_leaders: partition.last_known_elr.unwrap_or_default(),
        }
    }
}

impl Client {
    /// All topics.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn topics(&self) -> Result<Vec<TopicListing>, ClientError> {
        let topics = self.describe_topics(None).await?;
        let listing = topics.into_iter().map(|topic| TopicListing {
            partitions: topic.partitions.len(),
            replicas: topic.partitions.first().map_or(0, |it| it.replicas.len()),
            internal: topic.is_internal,
            name: topic.name,
        });
        Ok(listing.collect())
    }

    /// Topics with their partitions: these, or all of them. One that does not exist is described by
    /// its error.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_topics(
        &self,
        names: Option<&[String]>,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let topics = self.refresh(names, IfAbsent::Fail).await?;
        Ok(topics.into_iter().map(Into::into).collect())
    }

    /// A topic with its partitions. One that does not exist is described by its error.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription, ClientError> {
        let found = self.describe_topics(Some(&[name.to_owned()])).await?.into_iter().next();
        let error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        Ok(found.unwrap_or(TopicDescription {
            name: name.to_owned(),
            error,
            ..TopicDescription::default()
        }))
    }

    /// As [`Self::describe_topics`], with the replicas that may become leader (KIP-966), and at
    /// most `partitions_max` partitions in each answer.
    ///
    /// # Errors
    /// A topic does not exist, or no broker answers.
    pub async fn describe_topic_partitions(
        &self,
        names: &[String],
        partitions_max: i32,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let names: BTreeSet<&String> = names.iter().collect();
        let mut all: BTreeMap<String, TopicDescription> = BTreeMap::new();
        let mut cursor = None;
        loop {
            let topic =
                |name: &&String| TopicRequest { name: (*name).clone(), ..Default::default() };
            let request = DescribeTopicPartitionsRequest {
                topics: names.iter().map(topic).collect(),
                response_partition_limit: partitions_max,
                cursor: cursor.take(),
                ..Default::default()
            };
            let response = self.ask_any(&request).await?;
            for topic in response.topics {
                let topic = TopicDescription::from(topic);
                ClientError::check(topic.error.0, || format!("topic {}", topic.name))?;
                match all.get_mut(&topic.name) {
                    Some(known) => known.partitions.extend(topic.partitions),
                    None => drop(all.insert(topic.name.clone(), topic)),
                }
            }
            let Some(next) = response.next_cursor else { return Ok(all.into_values().collect()) };
            cursor = Some(Cursor {
                topic_name: next.topic_name,
                partition_index: next.partition_index,
                ..Default::default()
            });
        }
    }

    /// Creates a topic, or with [`ChangeMode::Check`] asks whether the cluster would.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn create_topic(
        &self,
        topic: &NewTopic,
        mode: ChangeMode,
    ) -> Result<(), ClientError> {
        let config = |(name, value): (&String, &String)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        };
        let assignment = |(ids, partition_index): (&Vec<NodeId>, i32)| CreatableReplicaAssignment {
            partition_index,
            broker_ids: ids.clone(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name.clone(),
                num_partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                configs: topic.configs.iter().map(config).collect(),
                assignments: topic.assignments.iter().zip(0..).map(assignment).collect(),
                ..Default::default()
            }],
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            validate_only: mode == ChangeMode::Check,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        let (code, reason) = match response.topics.into_iter().next() {
            Some(result) => (result.error_code, result.error_message),
            None => (ErrorCode::UNKNOWN_SERVER_ERROR.0, None),
        };
        ClientError::check_item(code, reason, format_args!("topic {}", topic.name))
    }

    /// A topic that was just created or changed: waits until a broker knows all its leaders.
    ///
    /// # Errors
    /// No broker does in time, or none answers.
    pub async fn await_topic(&self, name: &str) -> Result<TopicDescription, ClientError> {
        let deadline = self.clock().monotonic() + self.options().retry_timeout;
        loop {
            let topic = self.describe_topic(name).await?;
            let refused = ClientError::check(topic.error.0, || format!("topic {name}"));
            if refused.is_ok() {
                return Ok(topic);
            }
            if self.clock().monotonic() >= deadline {
                refused?;
            }
            self.pause().await;
        }
    }

    /// Gives a topic more partitions, or with [`ChangeMode::Check`] asks whether the cluster would.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn create_partitions(
        &self,
        more: &MorePartitions,
        mode: ChangeMode,
    ) -> Result<(), ClientError> {
        let assignment = |ids: &Vec<NodeId>| CreatePartitionsAssignment {
            broker_ids: ids.clone(),
            ..Default::default()
        };
        let assignments = more.assignments.as_ref();
        let topic = CreatePartitionsTopic {
            name: more.topic.clone(),
            count: more.count,
            assignments: assignments.map(|all| all.iter().map(assignment).collect()),
            ..Default::default()
        };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            validate_only: mode == ChangeMode::Check,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        for result in response.results {
            ClientError::check_item(
                result.error_code,
                result.error_message,
                format_args!("topic {}", result.name),
            )?;
        }
        self.forget(&more.topic);
        Ok(())
    }

    /// Deletes a topic with all its records.
    ///
    /// # Errors
    /// There is no topic of this name, or no broker answers.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let outcome = self.delete_topics(&[name.to_owned()]).await?.into_iter().next();
        match outcome {
            Some((_, Err(refusal))) => {
                Err(ClientError::Refused { what: format!("topic {name}"), code: refusal.code })
            }
            _ => Ok(()),
        }
    }

    /// Deletes topics with all their records; what became of each.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn delete_topics(
        &self,
        names: &[String],
    ) -> Result<Vec<(String, Result<(), ItemRefusal>)>, ClientError> {
        let state =
            |name: &String| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
        let request = DeleteTopicsRequest {
            topics: names.iter().map(state).collect(),
            topic_names: names.to_vec(),
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        names.iter().for_each(|name| self.forget(name));
        let outcomes = response.responses.into_iter().map(|topic| {
            (
                topic.name.unwrap_or_default(),
                ItemRefusal::check(topic.error_code, topic.error_message),
            )
        });
        Ok(outcomes.collect())
    }
}
