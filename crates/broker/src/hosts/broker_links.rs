//! Connections to the other brokers: followers fetch on them, and coordinators talk to leaders.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_client::{BrokerLink, ClientOptions, Dialer, Transport};
use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_metadata::{BrokerRegistration, Cluster};
use ottla_protocol::Request;
use ottla_types::{ErrorCode, NodeId, join_host_port};

use super::controller_channel::unreachable_code;

/// How long another broker may take to answer a coordinator.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether the broker that was asked still leads.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
        let address = self.address_of(self.cluster.load().broker(broker)?)?;
        let mut links = self.links.lock();
        if let Some(link) = links.get(&(used, broker)).filter(|link| link.address() == address) {
            return Some(link.clone());
        }
        let link = BrokerLink::new(&address, &self.transport, &self.options, &self.clock);
        links.insert((used, broker), link.clone());
        Some(link)
    }

    /// Where a broker that is not fenced listens.
    #[must_use]
    pub fn serving_address(&self, broker: NodeId) -> Option<String> {
        self.address_of(self.cluster.load().broker(broker).filter(|it| !it.fenced)?)
    }

    fn address_of(&self, broker: &BrokerRegistration) -> Option<String> {
        let endpoint = broker.listener(&self.listener)?;
        Some(join_host_port(&endpoint.host, endpoint.port))
    }

    /// Opens a connection that no link uses.
    ///
    /// # Errors
    /// The address cannot be reached.
    pub async fn dial(&self, address: &str) -> io::Result<()> {
        self.transport.dial(address).await.map(drop)
    }

    /// Asks a broker that leads something, for as long as it does.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER`: it leads no longer, as `leads` says. `REQUEST_TIMED_OUT`: no
    /// answer within [`ANSWER_LIMIT`]. Otherwise see [`unreachable_code`].
    pub async fn ask_while<R: Request>(
        &self,
        link: &BrokerLink,
        request: &R,
        leads: impl Fn() -> bool,
    ) -> Result<R::Response, ErrorCode> {
        let moved = async {
            while leads() {
                self.clock.sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            answered = link.ask(request, None, ANSWER_LIMIT) => {
                answered.map_err(|error| unreachable_code(&error))
            }
            () = moved => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            () = self.clock.sleep(ANSWER_LIMIT) => Err(ErrorCode::REQUEST_TIMED_OUT),
        }
    }
}
