//! A request's client, listener, principal and version.

use ottla_locks::Mutex;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use ottla_metadata::ResourceKind;
use ottla_protocol::{ApiKey, Text};
use ottla_types::{ErrorCode, NodeId};

use crate::guard::{Operation, Principal, Requester, Resource, ResourceType};
use crate::hosts::telemetry::ClientTraits;
use crate::node::Node;

/// What a connection is and knows of its client. The connection owns it; each of its requests holds
/// it too, for as long as it takes.
#[derive(Debug)]
pub struct Session {
    /// The address the connection came from.
    pub peer: SocketAddr,
    /// The listener it came in on, such as `PLAINTEXT`.
    pub listener: Arc<str>,
    /// Which APIs that listener serves.
    pub scope: ListenerScope,
    /// The principal of the next requests: authentication changes it. A request that has begun
    /// keeps the principal that it came with ([`Call::principal`]).
    pub principal: Mutex<Arc<Principal>>,
    /// The client's library, as soon as it is known; ApiVersions sets it, metrics read it.
    pub software: Mutex<Software>,
    /// The broker at the other end, as it says itself; -1 of a client. Set by its first fetch or
    /// heartbeat, read when the connection ends.
    broker: AtomicI32,
}

/// Kafka's two kinds of listeners: each serves the APIs whose schemas name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerScope {
    /// For clients, and for brokers among themselves.
    Broker,
    /// For controllers and the brokers that register with them (`controller.listener.names`).
    Controller,
}

impl ListenerScope {
    /// Does Kafka serve this API on such a listener?
    #[must_use]
    pub const fn includes(self, key: ApiKey) -> bool {
        match self {
            Self::Broker => key.on_broker(),
            Self::Controller => key.on_controller(),
        }
    }

    /// `broker` or `controller`, as in Kafka's schemas.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Controller => "controller",
        }
    }
}

/// The name and version of a client's library (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Such as `apache-kafka-java`.
    pub name: String,
    /// Such as `4.3.1`.
    pub version: String,
}

impl Default for Software {
    fn default() -> Self {
        Self { name: "unknown".to_owned(), version: "unknown".to_owned() }
    }
}

/// The longest name or version of a client's library that is kept, in characters.
const NAME_MAX: usize = 256;

impl Session {
    /// A connection of a client that has not logged in.
    #[must_use]
    pub fn new(peer: SocketAddr, listener: Arc<str>, scope: ListenerScope) -> Self {
        Self::of_principal(peer, listener, scope, Principal::anonymous())
    }

    /// A client that is known to be this principal.
    #[must_use]
    pub fn of_principal(
        peer: SocketAddr,
        listener: Arc<str>,
        scope: ListenerScope,
        principal: Principal,
    ) -> Self {
        let principal = Mutex::new(Arc::new(principal));
        let (software, broker) = (Mutex::default(), AtomicI32::new(-1));
        Self { peer, listener, scope, principal, software, broker }
    }

    /// A broker has sent a request on this connection.
    pub fn is_of_broker(&self, broker: NodeId) {
        self.broker.store(broker, Ordering::Relaxed);
    }

    /// The broker at the other end, if it is one.
    #[must_use]
    pub fn broker(&self) -> Option<NodeId> {
        Some(self.broker.load(Ordering::Relaxed)).filter(|id| *id >= 0)
    }

    /// The address as Kafka shows it in groups: `/127.0.0.1`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("/{}", self.peer.ip().to_canonical())
    }

    /// The client has sent the name and version of its library.
    pub fn is_software(&self, name: &str, version: &str) {
        let kept = |text: &str| text.chars().take(NAME_MAX).collect();
        let software = Software { name: kept(name), version: kept(version) };
        *self.software.lock() = software;
    }
}

/// One request, without its body.
#[derive(Clone, Debug)]
pub struct Call {
    /// The connection that it came on.
    pub session: Arc<Session>,
    /// The principal that the connection had when the request came.
    pub principal: Arc<Principal>,
    /// Which API.
    pub key: ApiKey,
    /// In which version.
    pub version: i16,
    /// What the client calls itself; empty when it does not say.
    pub client_id: Text,
}

impl Call {
    /// A request on this connection, of the principal that it belongs to now.
    #[must_use]
    pub fn new(session: &Arc<Session>, key: ApiKey, version: i16, client_id: Text) -> Self {
        let principal = Arc::clone(&session.principal.lock());
        Self { session: Arc::clone(session), principal, key, version, client_id }
    }

    fn client(&self) -> Requester<'_> {
        Requester { principal: &self.principal, host: self.session.peer.ip().to_canonical() }
    }

    /// May this request do `operation` to `resource`?
    #[must_use]
    pub fn may(&self, node: &Node, operation: Operation, resource: Resource<'_>) -> bool {
        let authorizer = node.authorizer();
        authorizer.is_none_or(|it| it.allows(self.client(), operation, resource))
    }

    /// May this request do `operation` to any one resource of this type?
    #[must_use]
    pub fn may_some(&self, node: &Node, operation: Operation, kind: ResourceType) -> bool {
        let authorizer = node.authorizer();
        authorizer.is_none_or(|it| it.allows_some(self.client(), operation, kind))
    }

    /// May this request do `operation` to the settings of a resource, by the number of its kind?
    /// A kind that does not exist is refused elsewhere.
    ///
    /// # Errors
    /// The principal may not: Kafka's error code for that.
    pub fn check_settings(
        &self,
        node: &Node,
        operation: Operation,
        kind: i8,
        name: &str,
    ) -> Result<(), ErrorCode> {
        let Some(kind) = ResourceKind::of(kind) else { return Ok(()) };
        let resource = Resource::of_settings(kind, name);
        self.check(node, operation, resource)
    }

    /// May this request do `operation` to `resource`?
    ///
    /// # Errors
    /// The principal may not: Kafka's error code for that.
    pub fn check(
        &self,
        node: &Node,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), ErrorCode> {
        if self.may(node, operation, resource) { Ok(()) } else { Err(resource.denied()) }
    }

    /// What this request may do to the cluster, as KIP-430 has it: nothing, if it may not describe
    /// it.
    #[must_use]
    pub fn operations_on_cluster(&self, node: &Node) -> i32 {
        if !self.may(node, Operation::Describe, Resource::Cluster) {
            return 0;
        }
        self.operations(node, Resource::Cluster)
    }

    /// What this request may do to `resource`, as the bit field of KIP-430.
    #[must_use]
    pub fn operations(&self, node: &Node, resource: Resource<'_>) -> i32 {
        let all = resource.kind().operations().iter();
        let may = all.filter(|operation| self.may(node, **operation, resource));
        may.fold(0, |bits, operation| bits | 1 << (*operation as i32))
    }

    /// What subscriptions to metrics can select the client by.
    #[must_use]
    pub fn traits(&self) -> ClientTraits {
        let Software { name, version } = self.session.software.lock().clone();
        ClientTraits {
            client_id: self.client_id.chars().take(NAME_MAX).collect(),
            software_name: name,
            software_version: version,
            address: self.session.peer,
        }
    }
}

/// What a request has more than once, of the things it is asked about.
pub fn repeated_items<T: Ord + Copy>(all: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|one| !seen.insert(*one)).collect()
}

/// Takes the `items` out of a request that the client has no right to: the answers to them.
pub fn take_denied<T, A>(
    items: &mut Vec<T>,
    check: impl Fn(&T) -> Result<(), ErrorCode>,
    answer: impl Fn(&T, ErrorCode) -> A,
) -> Vec<A> {
    let mut denied = Vec::new();
    items.retain(|item| match check(item) {
        Ok(()) => true,
        Err(code) => {
            denied.push(answer(item, code));
            false
        }
    });
    denied
}

/// Has the time that a request gives the controller passed before it could begin?
#[must_use]
pub const fn is_over(timeout_ms: i32) -> bool {
    timeout_ms <= 0
}

/// What a handler answers to, and in which versions: `dispatch` and the ApiVersions answer are
/// computed from it.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// The API's key.
    pub key: ApiKey,
    /// The oldest version served.
    pub oldest: i16,
    /// The newest version served.
    pub newest: i16,
}

impl Api {
    /// `key` in these versions; as a rule those of Kafka 4.3.1 that are stable.
    #[must_use]
    pub const fn of(key: ApiKey, oldest: i16, newest: i16) -> Self {
        Self { key, oldest, newest }
    }

    /// Is `version` served?
    #[must_use]
    pub const fn serves(&self, version: i16) -> bool {
        self.oldest <= version && version <= self.newest
    }
}
