//! Kafka's own topics, which are created when they are first needed.

use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_types::ErrorCode;

use super::Node;
use crate::hosts::transactions;

impl Node {
    /// Creates one of Kafka's own topics with the settings that it has there.
    ///
    /// # Errors
    /// It cannot be created.
    pub async fn create_internal(&self, name: &str) -> Result<(), ErrorCode> {
        let is_transactions = name == transactions::TOPIC;
        let own =
            if is_transactions { self.own.transactions_topic } else { self.own.offsets_topic };
        let config = |name: &str, value: &str| CreatableTopicConfig {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            ..Default::default()
        };
        let segment = own.segment_bytes.max(1 << 20).to_string();
        let mut configs =
            vec![config("cleanup.policy", "compact"), config("segment.bytes", &segment)];
        if is_transactions {
            let in_sync_min = own.in_sync_min.to_string();
            configs.push(config("compression.type", "uncompressed"));
            configs.push(config("min.insync.replicas", &in_sync_min));
            configs.push(config("unclean.leader.election.enable", "false"));
        } else {
            configs.push(config("compression.type", "producer"));
        }
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: own.partitions,
            replication_factor: own.replication_factor,
            configs,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let response = self.create_topics(request).await?;
        let code = ErrorCode(response.topics.first().map_or(-1, |topic| topic.error_code));
        match code {
            // Another request has created it first.
            ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => Ok(()),
            code => Err(code),
        }
    }
}
