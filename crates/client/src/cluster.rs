//! What a client knows of a cluster: its brokers, its topics, and a connection to each broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_protocol::Request;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use ottla_types::{ErrorCode, NodeId, TopicPartition, Uuid};

use crate::connection::Connection;
use crate::error::ClientError;

/// How long a broker may take to accept a connection and to say what it speaks.
const GREETING: Duration = Duration::from_secs(10);
/// The port that is meant where none is named.
const DEFAULT_PORT: u16 = 9092;
/// How long something is tried again and again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a moment is, between two tries.
pub(crate) const MOMENT: Duration = Duration::from_millis(100);

/// What a node may coordinate, by the number that FindCoordinator has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum CoordinatorOf {
    /// A group.
    Group = 0,
    /// A transactional id.
    Transaction = 1,
}

/// The addresses of a list of brokers: `host:port`, `host` for port 9092, `[::1]:9092`.
fn addresses(list: &str) -> Result<Vec<String>, ClientError> {
    let all = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    let all: Vec<String> = all.map(address).collect::<Result<_, _>>()?;
    match all.is_empty() {
        true => Err(ClientError::Address { address: list.to_owned(), why: "it names no broker" }),
        false => Ok(all),
    }
}

fn address(text: &str) -> Result<String, ClientError> {
    let wrong = |why| ClientError::Address { address: text.to_owned(), why };
    if text.contains("://") {
        return Err(wrong("a broker is named by host and port, without a protocol before them"));
    }
    let bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
    if bare_v6 {
        return Err(wrong("an IPv6 address stands in brackets: [::1]:9092"));
    }
    match text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        None => Ok(format!("{text}:{DEFAULT_PORT}")),
        Some(("", _)) => Err(wrong("the host is missing")),
        Some((_, port)) => match port.parse::<u16>() {
            Ok(1..) => Ok(text.to_owned()),
            _ => Err(wrong("the port is a number from 1 to 65535")),
        },
    }
}

fn silent(address: &str) -> ClientError {
    let why = format!(
        "no answer to a Kafka request within {} s; is it a Kafka listener, and not one with TLS?",
        GREETING.as_secs()
    );
    let source = std::io::Error::new(std::io::ErrorKind::TimedOut, why);
    ClientError::Connection { address: address.to_owned(), source }
}

/// A topic: its id, and the leader of each partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownTopic {
    pub id: Uuid,
    pub leaders: BTreeMap<i32, NodeId>,
}

/// A cluster as a client sees it.
#[derive(Debug)]
pub struct Cluster {
    bootstrap: Vec<String>,
    client_id: String,
    pub(crate) clock: Clock,
    brokers: BTreeMap<NodeId, String>,
    connections: BTreeMap<NodeId, Connection>,
    first: Option<Connection>,
    topics: BTreeMap<String, Arc<KnownTopic>>,
}

impl Cluster {
    /// Connects to the first of these brokers (`host:port`) that answers.
    ///
    /// # Errors
    /// None of them does.
    pub async fn connect(
        bootstrap: &str,
        client_id: &str,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let bootstrap = addresses(bootstrap)?;
        let mut cluster = Self {
            bootstrap,
            client_id: client_id.to_owned(),
            clock,
            brokers: BTreeMap::new(),
            connections: BTreeMap::new(),
            first: None,
            topics: BTreeMap::new(),
        };
        cluster.any().await?;
        Ok(cluster)
    }

    /// A connection to any broker.
    async fn any(&mut self) -> Result<&mut Connection, ClientError> {
        // A call that was given up leaves an answer behind, which no other request may take.
        if !self.first.as_ref().is_some_and(Connection::is_idle) {
            self.first = None;
            let known: Vec<String> =
                self.bootstrap.iter().chain(self.brokers.values()).cloned().collect();
            let mut failed = ClientError::TimedOut("connecting to no broker".to_owned());
            for address in known {
                let opened = tokio::select! {
                    biased;
                    opened = Connection::open(&address, &self.client_id) => opened,
                    () = self.clock.sleep(GREETING) => Err(silent(&address)),
                };
                match opened {
                    Ok(connection) => {
                        self.first = Some(connection);
                        break;
                    }
                    Err(error) => failed = error,
                }
            }
            if self.first.is_none() {
                return Err(failed);
            }
        }
        self.first.as_mut().ok_or_else(|| ClientError::TimedOut("connecting".to_owned()))
    }

    /// Asks any broker.
    ///
    /// # Errors
    /// The connection broke; the next call makes another.
    pub async fn ask_any<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let answer = self.any().await?.call(request).await;
        if matches!(answer, Err(ClientError::Connection { .. })) {
            self.first = None;
        }
        answer
    }

    /// Asks this broker.
    ///
    /// # Errors
    /// It is not known or not there; the next call tries anew.
    pub async fn ask<R: Request>(
        &mut self,
        node: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.ask_up_to(node, request, None).await
    }

    /// The leader of a partition.
    ///
    /// # Errors
    /// There is no such partition, or nobody leads it.
    pub async fn leader(&mut self, place: &TopicPartition) -> Result<NodeId, ClientError> {
        let known = self.topic(&place.topic, false).await?;
        known.leaders.get(&place.partition).copied().ok_or_else(|| ClientError::Refused {
            what: place.to_string(),
            code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        })
    }

    /// As [`Cluster::ask`], in no newer version than this.
    pub(crate) async fn ask_up_to<R: Request>(
        &mut self,
        node: NodeId,
        request: &R,
        newest: Option<i16>,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(node).await?;
        let version = connection.version(R::KEY)?.min(newest.unwrap_or(i16::MAX));
        let answer = connection.call_in(request, version).await;
        if matches!(answer, Err(ClientError::Connection { .. })) {
            self.connections.remove(&node);
        }
        answer
    }

    /// Tells this broker something that it does not answer.
    pub(crate) async fn tell<R: Request>(
        &mut self,
        node: NodeId,
        request: &R,
    ) -> Result<(), ClientError> {
        let connection = self.connection(node).await?;
        let version = connection.version(R::KEY)?;
        let told = connection.send(request, version).await;
        if told.is_err() {
            self.connections.remove(&node);
        }
        told
    }

    async fn connection(&mut self, node: NodeId) -> Result<&mut Connection, ClientError> {
        // A call that was given up leaves an answer behind, which no other request may take.
        if !self.connections.get(&node).is_some_and(Connection::is_idle) {
            self.connections.remove(&node);
            let address = self.brokers.get(&node).cloned().ok_or(ClientError::Refused {
                what: format!("broker {node}"),
                code: ErrorCode::BROKER_NOT_AVAILABLE,
            })?;
            let opened = Connection::open(&address, &self.client_id).await;
            let connection = opened.map_err(|error| match error {
                ClientError::Connection { address, source } => {
                    ClientError::Advertised { node, address, source }
                }
                other => other,
            })?;
            self.connections.insert(node, connection);
        }
        let known = self.connections.get_mut(&node);
        known.ok_or_else(|| ClientError::TimedOut("connecting".to_owned()))
    }

    /// The answer of this broker to a request of this kind whose caller gave up waiting, if it
    /// comes within `limit`.
    pub(crate) async fn late_answer<R: Request>(
        &mut self,
        node: NodeId,
        limit: Duration,
    ) -> Option<R::Response> {
        // It is of no more use afterwards.
        let mut connection = self.connections.remove(&node).filter(|it| !it.is_idle())?;
        tokio::select! {
            biased;
            answer = connection.late_answer::<R>() => answer.ok().flatten(),
            () = self.clock.sleep(limit) => None,
        }
    }

    /// The level of one of the cluster's features, as this broker knows it; 0 if it has none.
    pub(crate) async fn feature(&mut self, node: NodeId, name: &str) -> Result<i16, ClientError> {
        Ok(self.connection(node).await?.feature(name))
    }

    /// The node that coordinates a group or a transactional id.
    ///
    /// # Errors
    /// Nobody does, for too long.
    pub async fn coordinator(
        &mut self,
        of: CoordinatorOf,
        key: &str,
    ) -> Result<NodeId, ClientError> {
        let deadline = self.clock.monotonic() + PATIENCE;
        let mut was_looked_at = false;
        loop {
            let request = FindCoordinatorRequest {
                key: key.to_owned(),
                key_type: of as i8,
                coordinator_keys: vec![key.to_owned()],
                ..Default::default()
            };
            let response = self.ask_any(&request).await?;
            let found = response.coordinators.first();
            let (code, node, host, port) = match found {
                Some(it) => (it.error_code, it.node_id, &it.host, it.port),
                None => (response.error_code, response.node_id, &response.host, response.port),
            };
            match ClientError::check(code, || format!("the coordinator of {key}")) {
                Ok(()) => {
                    self.brokers.insert(node, format!("{host}:{port}"));
                    return Ok(node);
                }
                Err(error) if error.is_passing() && self.clock.monotonic() < deadline => {
                    // Waiting is of no use if the coordinator's topic can never be created.
                    if !was_looked_at && let Ok(Some(obstacle)) = self.obstacle(of).await {
                        return Err(ClientError::NoCoordinator(obstacle));
                    }
                    was_looked_at = true;
                    self.clock.sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Learns anew of these topics (all of them if none is named).
    ///
    /// # Errors
    /// No broker answers.
    pub async fn refresh(
        &mut self,
        topics: Option<&[String]>,
        create: bool,
    ) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let named =
            |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let response: MetadataResponse = self.ask_any(&request).await?;
        for broker in &response.brokers {
            self.brokers.insert(broker.node_id, format!("{}:{}", broker.host, broker.port));
        }
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            if topic.error_code == 0 {
                let leaders =
                    topic.partitions.iter().map(|it| (it.partition_index, it.leader_id)).collect();
                let known = KnownTopic { id: topic.topic_id, leaders };
                self.topics.insert(name.clone(), Arc::new(known));
            } else {
                self.topics.remove(name);
            }
        }
        Ok(response.topics)
    }

    /// What is known of a topic; asks, and with `create` creates it, until something is.
    pub(crate) async fn topic(
        &mut self,
        name: &str,
        create: bool,
    ) -> Result<Arc<KnownTopic>, ClientError> {
        self.topic_within(name, create, PATIENCE).await
    }

    /// As [`Self::topic`], for no longer than this.
    pub(crate) async fn topic_within(
        &mut self,
        name: &str,
        create: bool,
        patience: Duration,
    ) -> Result<Arc<KnownTopic>, ClientError> {
        let deadline = self.clock.monotonic().saturating_add(patience);
        loop {
            if let Some(known) = self.topics.get(name)
                && !known.leaders.is_empty()
                && known.leaders.values().all(|leader| *leader >= 0)
            {
                return Ok(Arc::clone(known));
            }
            let found = self.refresh(Some(&[name.to_owned()]), create).await;
            let code = match &found {
                Ok(topics) => topics.first().map_or(0, |topic| topic.error_code),
                Err(_) => 0,
            };
            let refused = ClientError::check(code, || format!("topic {name}"));
            let passing = match (&found, &refused) {
                (Err(error), _) | (_, Err(error)) => error.is_passing() && (create || code == 0),
                _ => true,
            };
            if !passing || self.clock.monotonic() >= deadline {
                found?;
                refused?;
                return Err(ClientError::TimedOut(format!("finding the leaders of {name}")));
            }
            if code != 0 || found.is_err() {
                self.clock.sleep(MOMENT).await;
            }
        }
    }

    /// A topic that was just created or changed: waits until a broker knows all its leaders.
    ///
    /// # Errors
    /// No broker does in time, or none answers.
    pub async fn settled(&mut self, name: &str) -> Result<MetadataResponseTopic, ClientError> {
        let deadline = self.clock.monotonic() + PATIENCE;
        loop {
            let found = self.refresh(Some(&[name.to_owned()]), false).await?.into_iter().next();
            let refused = match found {
                Some(topic) if topic.error_code == 0 => return Ok(topic),
                found => ClientError::check(found.map_or(-1, |it| it.error_code), || {
                    format!("topic {name}")
                }),
            };
            if self.clock.monotonic() >= deadline {
                refused?;
            }
            self.clock.sleep(MOMENT).await;
        }
    }

    /// The brokers that there are.
    ///
    /// # Errors
    /// None of them answers.
    pub async fn all_brokers(&mut self) -> Result<Vec<NodeId>, ClientError> {
        self.refresh(Some(&[]), false).await?;
        Ok(self.brokers.keys().copied().collect())
    }

    /// Where a broker is: `host:port`.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.brokers.get(&node).map(String::as_str)
    }

    /// Which versions of which requests a broker speaks, lowest and highest, by key.
    ///
    /// # Errors
    /// It is not there.
    pub async fn versions(
        &mut self,
        node: NodeId,
    ) -> Result<BTreeMap<i16, (i16, i16)>, ClientError> {
        Ok(self.connection(node).await?.versions().clone())
    }

    /// What was known of a topic may no longer be true.
    pub(crate) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_named_in_several_ways() {
        let all = |list: &str| addresses(list).map_err(|error| error.to_string());
        assert_eq!(all("localhost").unwrap(), ["localhost:9092"]);
        assert_eq!(
            all("a:1, b , [::1]:3,[::1]").unwrap(),
            ["a:1", "b:9092", "[::1]:3", "[::1]:9092"]
        );
        let wrong = [
            ("", "names no broker"),
            (" , ", "names no broker"),
            ("http://a:1", "without a protocol"),
            ("a:99999", "from 1 to 65535"),
            ("a:0", "from 1 to 65535"),
            ("a:", "from 1 to 65535"),
            (":9092", "the host is missing"),
            ("::1", "in brackets"),
        ];
        for (list, why) in wrong {
            let said = all(list).unwrap_err();
            assert!(said.contains(why), "{list}: {said}");
        }
    }
}
