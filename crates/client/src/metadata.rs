//! What a client knows of a cluster: where its brokers are, and who leads which partition.
//!
//! It is asked for when something is missing, and forgotten when a broker says that it was wrong.
//! Many callers that miss something at once share the request for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_locks::Mutex;
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use ottla_types::{ErrorCode, NodeId, TopicPartition, Uuid, join_host_port};

use crate::admin::Brokers;
use crate::client::{BootstrapNodes, Client};
use crate::error::ClientError;

/// A topic: its id, and the leader of each partition; -1 where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicLeaders {
    pub id: Uuid,
    pub leaders: BTreeMap<i32, NodeId>,
    /// Has it partitions, and has each of them a leader?
    is_complete: bool,
    /// Do its partitions count from 0 without a gap?
    is_gapless: bool,
}

impl TopicLeaders {
    fn new(id: Uuid, leaders: BTreeMap<i32, NodeId>) -> Self {
        // Found out once: producers ask for each record.
        let is_complete = !leaders.is_empty() && leaders.values().all(|leader| *leader >= 0);
        let is_gapless = (0..).zip(leaders.keys()).all(|(at, index)| at == *index);
        Self { id, leaders, is_complete, is_gapless }
    }

    /// The partition with this many before it; 0 if there is none.
    pub fn partition_at(&self, at: usize) -> i32 {
        if self.is_gapless {
            return i32::try_from(at).unwrap_or(0);
        }
        self.leaders.keys().nth(at).copied().unwrap_or(0)
    }
}

/// Is a topic created when it does not exist?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IfAbsent {
    /// Yes, if the cluster allows it (`auto.create.topics.enable`).
    Create,
    /// No: that is an error.
    Fail,
}

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(crate) struct MetadataCache {
    /// Guards the tables; never held across an `await`.
    known: Mutex<KnownCluster>,
    /// Topics whose metadata callers wait for; the holder of `asking` requests all of them.
    wanted: Mutex<BTreeSet<(IfAbsent, String)>>,
    /// Held while a request is under way, so that others wait for its answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct KnownCluster {
    brokers: BTreeMap<NodeId, String>,
    topics: BTreeMap<String, Arc<TopicLeaders>>,
}

impl MetadataCache {
    pub fn add_broker(&self, node: NodeId, address: String) {
        self.known.lock().brokers.insert(node, address);
    }

    pub fn address(&self, node: NodeId) -> Option<String> {
        self.known.lock().brokers.get(&node).cloned()
    }

    /// The addresses of all known brokers.
    pub fn addresses(&self) -> Vec<String> {
        self.known.lock().brokers.values().cloned().collect()
    }

    fn brokers(&self) -> Vec<NodeId> {
        self.known.lock().brokers.keys().copied().collect()
    }

    fn complete_topic(&self, name: &str) -> Option<Arc<TopicLeaders>> {
        self.known.lock().topics.get(name).filter(|topic| topic.is_complete).cloned()
    }

    fn take_in(&self, response: &MetadataResponse) {
        let mut known = self.known.lock();
        for broker in &response.brokers {
            known.brokers.insert(broker.node_id, join_host_port(&broker.host, broker.port));
        }
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            if topic.error_code == 0 {
                let leaders = topic.partitions.iter().map(|it| (it.partition_index, it.leader_id));
                let leaders = TopicLeaders::new(topic.topic_id, leaders.collect());
                known.topics.insert(name.clone(), Arc::new(leaders));
            } else {
                known.topics.remove(name);
            }
        }
    }

    fn forget(&self, topic: &str) {
        self.known.lock().topics.remove(topic);
    }

    /// Takes the topics that callers wait for, beside `name`.
    fn take_wanted(&self, name: &str, if_absent: IfAbsent) -> Vec<String> {
        let mut wanted = self.wanted.lock();
        wanted.insert((if_absent, name.to_owned()));
        let (mine, others) = std::mem::take(&mut *wanted)
            .into_iter()
            .partition::<BTreeSet<_>, _>(|(which, _)| *which == if_absent);
        *wanted = others;
        mine.into_iter().map(|(_, name)| name).collect()
    }
}

impl Client {
    /// Asks for these topics (all of them if none is named), and keeps the answer.
    ///
    /// # Errors
    /// No broker answers.
    pub(crate) async fn refresh(
        &self,
        topics: Option<&[String]>,
        if_absent: IfAbsent,
    ) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let named =
            |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: if_absent == IfAbsent::Create,
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        self.shared.metadata.take_in(&response);
        Ok(response.topics)
    }

    /// What is known of a topic; asks, and with [`IfAbsent::Create`] creates it, until it is known.
    pub(crate) async fn topic(
        &self,
        name: &str,
        if_absent: IfAbsent,
    ) -> Result<Arc<TopicLeaders>, ClientError> {
        self.topic_within(name, if_absent, self.options().retry_timeout).await
    }

    /// As [`Self::topic`], for no longer than this.
    pub(crate) async fn topic_within(
        &self,
        name: &str,
        if_absent: IfAbsent,
        limit: Duration,
    ) -> Result<Arc<TopicLeaders>, ClientError> {
        let metadata = &self.shared.metadata;
        if let Some(known) = metadata.complete_topic(name) {
            return Ok(known);
        }
        let deadline = self.clock().monotonic().saturating_add(limit);
        loop {
            metadata.wanted.lock().insert((if_absent, name.to_owned()));
            let asking = metadata.asking.lock().await;
            // Another caller may have asked for it meanwhile.
            if let Some(known) = metadata.complete_topic(name) {
                return Ok(known);
            }
            let names = metadata.take_wanted(name, if_absent);
            let found = self.refresh(Some(&names), if_absent).await;
            drop(asking);
            if let Some(known) = metadata.complete_topic(name) {
                return Ok(known);
            }
            let code = match &found {
                Ok(topics) => {
                    let own = topics.iter().find(|topic| topic.name.as_deref() == Some(name));
                    own.map_or(0, |topic| topic.error_code)
                }
                Err(_) => 0,
            };
            let refused = ClientError::check(code, || format!("topic {name}"));
            let may_pass = match (&found, &refused) {
                (Err(error), _) => error.is_passing(),
                (_, Err(error)) => error.is_passing() && if_absent == IfAbsent::Create,
                _ => true,
            };
            if !may_pass || self.clock().monotonic() >= deadline {
                found?;
                refused?;
                return Err(ClientError::TimedOut(format!("finding the leaders of {name}")));
            }
            self.pause().await;
        }
    }

    /// The leader of a partition.
    ///
    /// # Errors
    /// There is no such partition, or no broker leads it.
    pub async fn leader(&self, place: &TopicPartition) -> Result<NodeId, ClientError> {
        let known = self.topic(&place.topic, IfAbsent::Fail).await?;
        known.leaders.get(&place.partition).copied().ok_or_else(|| ClientError::Refused {
            what: place.to_string(),
            code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        })
    }

    /// The ids of the brokers; for a client of controllers, those of the controllers.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn all_brokers(&self) -> Result<Vec<NodeId>, ClientError> {
        if self.options().bootstrap == BootstrapNodes::Controllers {
            let all = self.describe_cluster(Brokers::Unfenced).await?.brokers;
            return Ok(all.into_iter().map(|it| it.id).collect());
        }
        self.refresh(Some(&[]), IfAbsent::Fail).await?;
        Ok(self.shared.metadata.brokers())
    }

    /// What was known of a topic may no longer be true.
    pub(crate) fn forget(&self, topic: &str) {
        self.shared.metadata.forget(topic);
    }
}
