//! The way to a cluster: its brokers, its topics, and a connection to each broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_net::transport::Transport;
use ottla_protocol::Request;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_types::{ErrorCode, NodeId};

use crate::addresses::broker_addresses;
use crate::dialer::Dialer;
use crate::error::ClientError;
use crate::link::{BrokerLink, Greeting, PendingReply, VersionRange};
use crate::metadata::MetadataCache;

/// How long a client waits, and what it calls itself. Kafka's names are in the comments.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `client.id`
    pub client_id: String,
    /// How long a call is repeated while its failure may pass (`default.api.timeout.ms`).
    pub retry_timeout: Duration,
    /// How long a client waits between two attempts (`retry.backoff.ms`).
    pub retry_backoff: Duration,
    /// How long a broker may take to answer a request (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How long a broker may take to accept a connection and to say which versions it speaks
    /// (`socket.connection.setup.timeout.ms`).
    pub setup_timeout: Duration,
    /// `reconnect.backoff.ms`
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`
    pub reconnect_backoff_max: Duration,
    /// How many requests of one connection may be unanswered; further ones wait.
    pub requests_in_flight_max: usize,
    /// Which nodes the bootstrap addresses name.
    pub bootstrap: BootstrapNodes,
}

/// Which nodes a client talks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootstrapNodes {
    /// Brokers (`bootstrap.servers`).
    #[default]
    Brokers,
    /// Controllers (`bootstrap.controllers`, KIP-919): the active one among them is asked.
    Controllers,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            client_id: "ottla".to_owned(),
            retry_timeout: Duration::from_secs(30),
            retry_backoff: Duration::from_millis(100),
            request_timeout: Duration::from_secs(30),
            setup_timeout: Duration::from_secs(10),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            requests_in_flight_max: 100,
            bootstrap: BootstrapNodes::Brokers,
        }
    }
}

/// What a node may coordinate, by the number that FindCoordinator has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum CoordinatorOf {
    /// A group.
    Group = 0,
    /// A transactional id.
    Transaction = 1,
}

/// The use of a connection. A broker answers the requests of a connection in their order, so
/// what waits long there must not have others behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// Requests that are answered at once.
    Quick,
    /// A consumer's fetches, which wait for records.
    Fetch,
    /// A group's member: JoinGroup waits for the other members.
    Group,
}

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendTerms {
    /// On which of the connections to the broker.
    pub line: Line,
    /// In no newer version than this.
    pub newest: Option<i16>,
    /// How long its answer may take.
    pub limit: Duration,
}

/// A client of a cluster. Clones share its connections and what it knows of the cluster.
///
/// It has no thread and no task: a call moves the bytes of its connection while it is awaited, and
/// those of the other calls that wait on that connection.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<ClusterShared>,
    links: Arc<Links>,
}

/// What all clients of one cluster share.
#[derive(Debug)]
pub(crate) struct ClusterShared {
    pub options: ClientOptions,
    pub clock: Clock,
    bootstrap: Vec<String>,
    dialer: Arc<dyn Dialer>,
    pub metadata: MetadataCache,
}

#[derive(Debug, Default)]
struct Links {
    /// Guards the table; connections have locks of their own.
    by_address: Mutex<BTreeMap<(String, Line), BrokerLink>>,
    /// Guards where the last request to any broker was answered; who sees an old one asks there.
    any: Mutex<Option<BrokerLink>>,
}

impl Client {
    /// A client of the cluster that these brokers (`host:port,host:port`) belong to. It connects
    /// when it is first used.
    ///
    /// # Errors
    /// `bootstrap` is not a list of addresses.
    pub fn new(
        bootstrap: &str,
        options: ClientOptions,
        dialer: Arc<dyn Dialer>,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let bootstrap = broker_addresses(bootstrap)?;
        let metadata = MetadataCache::default();
        let shared = ClusterShared { options, clock, bootstrap, dialer, metadata };
        Ok(Self { shared: Arc::new(shared), links: Arc::default() })
    }

    /// Connects over TCP to the first of these brokers that answers.
    ///
    /// # Errors
    /// `bootstrap` is not a list of addresses, or no broker answers.
    pub async fn connect(
        bootstrap: &str,
        client_id: &str,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let options = ClientOptions { client_id: client_id.to_owned(), ..Default::default() };
        Self::connect_with(bootstrap, options, clock).await
    }

    /// As [`Client::connect`], with these options.
    ///
    /// # Errors
    /// `bootstrap` is not a list of addresses, or no node answers.
    pub async fn connect_with(
        bootstrap: &str,
        options: ClientOptions,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let client = Self::new(bootstrap, options, Arc::new(Transport::Tcp), clock)?;
        client.any_link().await?;
        Ok(client)
    }

    /// A client that knows what this one knows of the cluster, with connections of its own.
    /// Producers and consumers have one, as a broker answers a connection's requests in order.
    #[must_use]
    pub fn with_own_connections(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), links: Arc::default() }
    }

    /// The clock by which it waits.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// How long it waits.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// Asks any broker; a client of controllers asks the active one.
    ///
    /// # Errors
    /// The connection broke; the next call makes another.
    pub async fn ask_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.ask_any_within(request, self.options().request_timeout).await
    }

    /// As [`Self::ask_any`], for a request that may take so long.
    ///
    /// # Errors
    /// The connection broke; the next call makes another.
    pub async fn ask_any_within<R: Request>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        if self.options().bootstrap == BootstrapNodes::Controllers {
            return self.ask_active_controller(request, limit).await;
        }
        self.ask_first(request, limit).await
    }

    /// Asks the bootstrap node that has answered last, or the first that answers.
    pub(crate) async fn ask_first<R: Request>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        let link = self.any_link().await?;
        let answer = link.ask(request, None, limit).await;
        if answer.as_ref().is_err_and(ClientError::is_disconnected) {
            *self.links.any.lock() = None;
        }
        answer
    }

    /// Asks this broker.
    ///
    /// # Errors
    /// The broker is not known or not reachable; the next call tries again.
    pub async fn ask<R: Request>(
        &self,
        node: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.ask_up_to(node, request, None).await
    }

    /// As [`Self::ask`], for a request that may take so long.
    ///
    /// # Errors
    /// The broker is not known or not reachable; the next call tries again.
    pub async fn ask_within<R: Request>(
        &self,
        node: NodeId,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        self.send_on(node, request, SendTerms { limit, ..self.terms() }).await?.wait().await
    }

    /// As [`Self::ask`], in no newer version than this.
    pub(crate) async fn ask_up_to<R: Request>(
        &self,
        node: NodeId,
        request: &R,
        newest: Option<i16>,
    ) -> Result<R::Response, ClientError> {
        self.send_on(node, request, SendTerms { newest, ..self.terms() }).await?.wait().await
    }

    /// The usual terms.
    pub(crate) fn terms(&self) -> SendTerms {
        SendTerms { line: Line::Quick, newest: None, limit: self.options().request_timeout }
    }

    /// Sends a request to this broker; its answer is another wait.
    pub(crate) async fn send_on<R: Request>(
        &self,
        node: NodeId,
        request: &R,
        terms: SendTerms,
    ) -> Result<PendingReply<R>, ClientError> {
        let link = self.link(node, terms.line)?;
        let sent = link.send(request, terms.newest, terms.limit).await;
        sent.map_err(|error| advertised_unreachable(error, node))
    }

    /// Sends this broker something that it does not answer.
    pub(crate) async fn tell<R: Request>(
        &self,
        node: NodeId,
        request: &R,
    ) -> Result<(), ClientError> {
        let link = self.link(node, Line::Quick)?;
        let told = link.tell(request, self.options().request_timeout).await;
        told.map_err(|error| advertised_unreachable(error, node))
    }

    /// Closes this client's connection to a broker: what waits there for an answer fails.
    pub(crate) fn disconnect(&self, node: NodeId, line: Line) {
        if let Ok(link) = self.link(node, line) {
            link.disconnect();
        }
    }

    /// The API versions that a broker supports, by API key.
    ///
    /// # Errors
    /// The broker is not known or not reachable.
    pub async fn versions(&self, node: NodeId) -> Result<BTreeMap<i16, VersionRange>, ClientError> {
        Ok(self.greeting(node).await?.versions.clone())
    }

    /// The level of one of the cluster's features, as this broker knows it; 0 if it has none.
    pub(crate) async fn feature(&self, node: NodeId, name: &str) -> Result<i16, ClientError> {
        Ok(self.greeting(node).await?.features.get(name).copied().unwrap_or(0))
    }

    /// The broker's answer when the connection to it was opened.
    async fn greeting(&self, node: NodeId) -> Result<Arc<Greeting>, ClientError> {
        let greeting = self.link(node, Line::Quick)?.greeting(self.options().setup_timeout).await;
        greeting.map_err(|error| advertised_unreachable(error, node))
    }

    /// The node that coordinates a group or a transactional id.
    ///
    /// # Errors
    /// No coordinator was found within [`ClientOptions::retry_timeout`], or none can exist.
    pub async fn coordinator(&self, of: CoordinatorOf, key: &str) -> Result<NodeId, ClientError> {
        let deadline = self.clock().monotonic() + self.options().retry_timeout;
        let mut was_looked_at = false;
        let request = FindCoordinatorRequest {
            key: key.to_owned(),
            key_type: of as i8,
            coordinator_keys: vec![key.to_owned()],
            ..Default::default()
        };
        loop {
            let response = self.ask_any(&request).await?;
            let found = response.coordinators.first();
            let (code, node, host, port) = match found {
                Some(it) => (it.error_code, it.node_id, &it.host, it.port),
                None => (response.error_code, response.node_id, &response.host, response.port),
            };
            let reason = found.map_or(&response.error_message, |it| &it.error_message);
            match ClientError::check(code, || missing_coordinator(key, code, reason.as_deref())) {
                Ok(()) => {
                    self.shared.metadata.add_broker(node, format!("{host}:{port}"));
                    return Ok(node);
                }
                Err(error) if error.is_passing() && self.clock().monotonic() < deadline => {
                    // Waiting is of no use if the coordinator's topic can never be created.
                    if !was_looked_at && let Ok(Some(obstacle)) = self.obstacle(of).await {
                        return Err(ClientError::NoCoordinator(obstacle));
                    }
                    was_looked_at = true;
                    self.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where a broker is: `host:port`.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.shared.metadata.address(node)
    }

    /// Waits before the next attempt.
    pub(crate) async fn pause(&self) {
        self.clock().sleep(self.options().retry_backoff).await;
    }

    /// The connection to a broker, for one kind of use.
    fn link(&self, node: NodeId, line: Line) -> Result<BrokerLink, ClientError> {
        let address = self.address(node).ok_or_else(|| ClientError::Refused {
            what: format!("broker {node}"),
            code: ErrorCode::BROKER_NOT_AVAILABLE,
        })?;
        Ok(self.link_at(address, line))
    }

    fn link_at(&self, address: String, line: Line) -> BrokerLink {
        let ClusterShared { options, dialer, clock, .. } = &*self.shared;
        let mut links = self.links.by_address.lock();
        let link = links.entry((address, line));
        let new = |(address, _): &(String, Line)| BrokerLink::new(address, dialer, options, clock);
        link.or_insert_with_key(new).clone()
    }

    /// A connection to any broker: the one that answered last, or else the first that answers.
    async fn any_link(&self) -> Result<BrokerLink, ClientError> {
        let last = self.links.any.lock().clone();
        if let Some(link) = last {
            return Ok(link);
        }
        let known = self.shared.metadata.addresses();
        let mut failed = None;
        for address in self.shared.bootstrap.iter().cloned().chain(known) {
            let link = self.link_at(address, Line::Quick);
            // It may have to wait for its turn after a failure, beside the time for its setup.
            let limit = self.options().setup_timeout + self.options().reconnect_backoff_max * 2;
            match link.greeting(limit).await {
                Ok(_) => {
                    *self.links.any.lock() = Some(link.clone());
                    return Ok(link);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.expect("there is a bootstrap address"))
    }
}

/// What is missing, with the broker's reason if it says more than the error code.
fn missing_coordinator(key: &str, code: i16, reason: Option<&str>) -> String {
    match reason.filter(|it| !it.is_empty() && *it != ErrorCode(code).message()) {
        Some(reason) => format!("the coordinator of {key}: {reason}"),
        None => format!("the coordinator of {key}"),
    }
}

/// A broker that cannot be reached where it says that it is.
fn advertised_unreachable(error: ClientError, node: NodeId) -> ClientError {
    match error {
        ClientError::Connection { address, source } => {
            ClientError::Advertised { node, address, source }
        }
        other => other,
    }
}
