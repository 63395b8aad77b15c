//! Topics: list, create, delete.

use std::collections::BTreeMap;

use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::metadata_response::MetadataResponseTopic;

use super::configs::Doing;
use crate::client::{Client, CoordinatorOf};
use crate::error::ClientError;
use crate::metadata::IfAbsent;

/// A topic to be created; -1 is the cluster's default.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas.
    pub replication_factor: i16,
    /// Its settings.
    pub configs: BTreeMap<String, String>,
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
    /// Is it Kafka's own?
    pub internal: bool,
}

impl Client {
    /// All topics.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn topics(&self) -> Result<Vec<TopicListing>, ClientError> {
        let topics = self.refresh(None, IfAbsent::Fail).await?;
        let listing = topics.into_iter().map(|it| TopicListing {
            name: it.name.unwrap_or_default(),
            partitions: it.partitions.len(),
            replicas: it.partitions.first().map_or(0, |it| it.replica_nodes.len()),
            internal: it.is_internal,
        });
        Ok(listing.collect())
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), ClientError> {
        self.ask_for_topic(topic, Doing::Change).await
    }

    /// Whether [`Client::create_topic`] would do it; nothing is created.
    ///
    /// # Errors
    /// The cluster would refuse, or no broker answers.
    pub async fn check_topic(&self, topic: &NewTopic) -> Result<(), ClientError> {
        self.ask_for_topic(topic, Doing::Check).await
    }

    async fn ask_for_topic(&self, topic: &NewTopic, doing: Doing) -> Result<(), ClientError> {
        let config = |(name, value): (&String, &String)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name.clone(),
                num_partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                configs: topic.configs.iter().map(config).collect(),
                ..Default::default()
            }],
            validate_only: doing == Doing::Check,
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        let result = response.topics.first();
        let why = || {
            let said = result.and_then(|it| it.error_message.clone());
            said.unwrap_or_else(|| format!("topic {}", topic.name))
        };
        ClientError::check(result.map_or(-1, |it| it.error_code), why)
    }

    /// A topic that was just created or changed: waits until a broker knows all its leaders.
    ///
    /// # Errors
    /// No broker does in time, or none answers.
    pub async fn settled(&self, name: &str) -> Result<MetadataResponseTopic, ClientError> {
        let deadline = self.clock().monotonic() + self.options().retry_timeout;
        loop {
            let found = self.refresh(Some(&[name.to_owned()]), IfAbsent::Fail).await?;
            let refused = match found.into_iter().next() {
                Some(topic) if topic.error_code == 0 => return Ok(topic),
                found => ClientError::check(found.map_or(-1, |it| it.error_code), || {
                    format!("topic {name}")
                }),
            };
            if self.clock().monotonic() >= deadline {
                refused?;
            }
            self.pause().await;
        }
    }

    /// Deletes a topic with all its records.
    ///
    /// # Errors
    /// There is none of this name, or no broker answers.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let state = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
        let request = DeleteTopicsRequest {
            topics: vec![state],
            topic_names: vec![name.to_owned()],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        let code = response.responses.first().map_or(-1, |it| it.error_code);
        ClientError::check(code, || format!("topic {name}"))
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
            let told = self.ask(node, &request).await?;
            match ClientError::check(told.error_code, || format!("transactional id {id}")) {
                Err(error) if error.is_passing() && self.clock().monotonic() < deadline => {
                    // What was open is being ended.
                    self.pause().await;
                }
                done => return done,
            }
        }
    }
}
