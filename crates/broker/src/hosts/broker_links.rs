//! Connections to the other brokers: followers fetch on them, and coordinators talk to leaders.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_client::{BrokerLink, ClientOptions, Dialer, Transport};
use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_metadata::Cluster;
use ottla_types::NodeId;

/// What a connection to another broker is used for. A broker answers the requests of a connection
/// in their order: a fetch that waits for records must not keep back a transaction's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerLinkUse {
    /// Fetches of the replicas that follow partitions there.
    Replicating,
    /// Fetches of those that have begun to, while the usual fetch waits for records.
    ReplicatingFirst,
    /// Requests of coordinators, or to them.
    Coordinating,
    /// Markers that end transactions: the answer waits until the replicas have them.
    Marking,
}

/// Connections to the other brokers, each opened when it is first used.
#[derive(Debug)]
pub struct BrokerLinks {
    clock: Clock,
    transport: Arc<dyn Dialer>,
    options: ClientOptions,
    /// The listener that brokers use among each other (`inter.broker.listener.name`).
    listener: String,
    /// The metadata as of now; the node replaces it as a whole.
    cluster: Arc<ArcSwap<Cluster>>,
    /// Guards the connections, by use and broker; held for a look-up.
    links: Mutex<BTreeMap<(BrokerLinkUse, NodeId), BrokerLink>>,
}

/// What connections to other brokers need.
#[derive(Debug)]
pub struct BrokerLinkParts {
    /// This broker.
    pub id: NodeId,
    /// The time.
    pub clock: Clock,
    /// How it reaches others.
    pub transport: Transport,
    /// The listener that brokers use among each other.
    pub listener: String,
    /// The metadata as of now; the node replaces it as a whole.
    pub cluster: Arc<ArcSwap<Cluster>>,
}

impl BrokerLinks {
    /// No connection is opened before there is something to say.
    #[must_use]
    pub fn new(parts: BrokerLinkParts) -> Self {
        let BrokerLinkParts { id, clock, transport, listener, cluster } = parts;
        let options = ClientOptions { client_id: format!("broker-{id}"), ..Default::default() };
        let links = Mutex::default();
        Self { clock, transport: Arc::new(transport), options, listener, cluster, links }
    }

    /// The connection to a broker for this use; `None` if the metadata does not say where it
    /// listens. A broker that has moved to another address gets another connection.
    #[must_use]
    pub fn link(&self, used: BrokerLinkUse, broker: NodeId) -> Option<BrokerLink> {
        let cluster = self.cluster.load();
        let endpoint = cluster.broker(broker)?.listener(&self.listener)?;
        let address = format!("{}:{}", endpoint.host, endpoint.port);
        let mut links = self.links.lock();
        if let Some(link) = links.get(&(used, broker)).filter(|link| link.address() == address) {
            return Some(link.clone());
        }
        let link = BrokerLink::new(&address, &self.transport, &self.options, &self.clock);
        links.insert((used, broker), link.clone());
        Some(link)
    }
}
