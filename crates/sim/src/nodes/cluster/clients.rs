//! Clients that change the metadata through any node: each has topics of its own, which it creates,
//! alters and deletes, and asks again until it is answered.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_types::{ErrorCode, Uuid};

use super::model::{TopicStage, TopicsModel};
use crate::invariant::Invariant;
use crate::nodes::clients::{Asked, SimClient, is_passing};

/// The setting that clients change.
pub const SETTING: &str = "retention.ms";
/// The kind of a resource whose settings are those of a topic.
pub const TOPIC_RESOURCE: i8 = 2;
/// How often a node that does not know a topic is believed to be behind, after the faults.
const STALE_ANSWERS_MAX: u32 = 200;

/// A client.
pub struct MetadataClient {
    pub(super) client: SimClient,
    /// The nodes; it asks any of them.
    nodes: Vec<SocketAddr>,
    pub(super) topics: Rc<RefCell<TopicsModel>>,
    /// Did the last request fail? The next one goes to another node.
    has_failed: bool,
    /// How many settings it has sent.
    settings: u64,
}

impl MetadataClient {
    /// A client of these nodes.
    pub const fn new(
        client: SimClient,
        nodes: Vec<SocketAddr>,
        topics: Rc<RefCell<TopicsModel>>,
    ) -> Self {
        Self { client, nodes, topics, has_failed: true, settings: 0 }
    }

    /// Changes the metadata until the faults are over.
    pub async fn change_metadata(mut self) {
        let mut names = 0;
        while !self.client.is_over() {
            names += 1;
            let name = format!("topic-{}-{names}", self.client.number);
            self.create_topic(&name).await;
            for _ in 0..self.client.dice.below(3) {
                self.alter_topic(&name).await;
            }
            if self.client.dice.chance(400) {
                self.delete_topic(&name).await;
            }
            self.client.rest().await;
        }
    }

    /// Asks one of the nodes; nothing if there is no answer.
    async fn ask<R: Asked>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        if self.has_failed || self.client.dice.chance(200) {
            let at = self.client.dice.index(self.nodes.len());
            self.client.wire.turn_to(self.nodes[at]);
        }
        let answer = self.client.ask(request, version).await.ok();
        self.has_failed = answer.is_none();
        answer
    }

    fn next_setting(&mut self) -> String {
        self.settings += 1;
        (1_000_000 + self.settings).to_string()
    }

    fn demand(&self, invariant: Invariant, checked: Result<(), String>) {
        self.client.demand(invariant, checked);
    }

    async fn create_topic(&mut self, name: &str) {
        let setting = self.next_setting();
        self.topics.borrow_mut().begin(name, &setting);
        let config = CreatableTopicConfig {
            name: SETTING.to_owned(),
            value: Some(setting),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: i32::try_from(self.client.dice.between(1, 3)).unwrap_or(1),
            replication_factor: 1,
            configs: vec![config],
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        loop {
            let answer = self.ask(&request, 7).await;
            let result = answer.and_then(|mut it| it.topics.pop());
            let code =
                result.as_ref().map_or(ErrorCode::REQUEST_TIMED_OUT, |it| ErrorCode(it.error_code));
            let id = result.map(|it| it.topic_id);
            match self.created(name, code, id) {
                Ok(true) => return,
                Ok(false) => {}
                Err(code) => return self.client.unexpected("CreateTopics", code),
            }
            self.client.rest().await;
        }
    }

    /// Takes the answer to a creation in; is the topic there?
    fn created(&self, name: &str, code: ErrorCode, id: Option<Uuid>) -> Result<bool, ErrorCode> {
        let mut topics = self.topics.borrow_mut();
        let topic = topics.topic(name);
        match code {
            ErrorCode::NONE => (topic.id, topic.stage) = (id, TopicStage::Exists),
            // A broker that has lost its connection to the controller asks again, too.
            ErrorCode::TOPIC_ALREADY_EXISTS => {
                (topic.stage, topic.may_come) = (TopicStage::Exists, true);
            }
            code if may_be_done(code) => {
                topic.may_come = true;
                return Ok(false);
            }
            code if is_refused_for_now(code) => return Ok(false),
            code => return Err(code),
        }
        topics.acknowledged += 1;
        Ok(true)
    }

    async fn alter_topic(&mut self, name: &str) {
        let setting = self.next_setting();
        let config = AlterableConfig {
            name: SETTING.to_owned(),
            value: Some(setting.clone()),
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: name.to_owned(),
            configs: vec![config],
            ..Default::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let mut stale = 0;
        loop {
            let answer = self.ask(&request, 1).await;
            let code = answer.and_then(|it| it.responses.first().map(|it| it.error_code));
            let code = code.map_or(ErrorCode::REQUEST_TIMED_OUT, ErrorCode);
            match code {
                ErrorCode::NONE => {
                    let mut topics = self.topics.borrow_mut();
                    topics.topic(name).acknowledged = setting;
                    topics.acknowledged += 1;
                    return;
                }
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                    if self.is_lost(name, &mut stale) {
                        return;
                    }
                }
                code if may_be_done(code) => {
                    self.topics.borrow_mut().topic(name).may_be.insert(setting.clone());
                }
                code if is_refused_for_now(code) => {}
                code => return self.client.unexpected("IncrementalAlterConfigs", code),
            }
            self.client.rest().await;
        }
    }

    /// Is a topic lost that a node does not know, though it was acknowledged? While links are cut
    /// a node may be behind, and a leader may not know yet that there is another.
    fn is_lost(&self, name: &str, stale: &mut u32) -> bool {
        *stale += u32::from(self.client.is_over());
        if *stale > STALE_ANSWERS_MAX {
            let why = format!("topic {name} was acknowledged, and no node knows it");
            self.demand(Invariant::AcknowledgedMetadataStays, Err(why));
        }
        *stale > STALE_ANSWERS_MAX
    }

    async fn delete_topic(&mut self, name: &str) {
        let topic = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
        let request =
            DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        self.topics.borrow_mut().topic(name).stage = TopicStage::Going;
        loop {
            let answer = self.ask(&request, 6).await;
            let result = answer.and_then(|mut it| it.responses.pop());
            let code =
                result.as_ref().map_or(ErrorCode::REQUEST_TIMED_OUT, |it| ErrorCode(it.error_code));
            let id = result.map(|it| it.topic_id).filter(|id| *id != Uuid::ZERO);
            match code {
                ErrorCode::NONE => return self.topics.borrow_mut().deleted(name, id),
                // It may be gone by an earlier request. As long as links are cut a leader that does
                // not know that there is another may not know the topic.
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION if self.client.is_over() => {
                    return self.topics.borrow_mut().deleted(name, None);
                }
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {}
                code if may_be_done(code) || is_refused_for_now(code) => {}
                code => return self.client.unexpected("DeleteTopics", code),
            }
            self.client.rest().await;
        }
    }
}

/// May a request that is answered with this code have been carried out, or still be?
const fn may_be_done(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::NOT_CONTROLLER
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::KAFKA_STORAGE_ERROR
    )
}

/// Does this code say that the request was not carried out, and may pass later? While all brokers
/// are fenced no topic can be placed.
fn is_refused_for_now(code: ErrorCode) -> bool {
    is_passing(code) || code == ErrorCode::INVALID_REPLICATION_FACTOR
}
