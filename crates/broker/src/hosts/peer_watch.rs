//! Which other brokers are gone, as far as this one can tell: their connection broke, and their
//! address refuses new ones.
//!
//! A host refuses a connection at once when no process listens: the process has ended. A process
//! that hangs, a host that is down and a cable that is cut do not answer so; for them the session
//! with the controller decides. What is found goes to the controller with the next heartbeat, which
//! is sent at once; the controller fences a broker when two others have found the same.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_types::NodeId;
use tokio::sync::Notify;

use super::broker_links::BrokerLinks;

/// How long after the first refusal the second attempt follows.
const SECOND_ATTEMPT: Duration = Duration::from_millis(100);
/// How often it is looked whether a broker that is gone has come back.
const BACK_AGAIN: Duration = Duration::from_millis(500);
/// How long an attempt to connect may take; no refusal came in this time.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(250);

/// Watches the other brokers.
#[derive(Debug)]
pub struct PeerWatch {
    id: NodeId,
    clock: Clock,
    brokers: Arc<BrokerLinks>,
    /// Guards what is thought of each broker whose connection has broken; held for a look-up.
    suspects: Mutex<BTreeMap<NodeId, Suspicion>>,
    /// Notified when a connection has broken.
    come: Notify,
    /// Notified when a broker is found to be gone: a heartbeat is due.
    found: Notify,
}

/// What is thought of a broker.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    /// How often its address has refused a connection in a row.
    refusals: u32,
    /// When the next attempt follows.
    next: Duration,
}

/// How often an address must refuse connections until its broker counts as gone.
const REFUSALS: u32 = 2;

impl PeerWatch {
    /// Suspects none; `id` is this broker.
    #[must_use]
    pub fn new(id: NodeId, clock: Clock, brokers: Arc<BrokerLinks>) -> Self {
        let (come, found) = (Notify::new(), Notify::new());
        Self { id, clock, brokers, suspects: Mutex::default(), come, found }
    }

    /// A connection to or from a broker has broken.
    pub fn suspect(&self, broker: NodeId) {
        if broker == self.id {
            return;
        }
        let first = Suspicion { refusals: 0, next: self.clock.monotonic() };
        self.suspects.lock().entry(broker).or_insert(first);
        self.come.notify_one();
    }

    /// The brokers that are gone, as far as this one can tell.
    #[must_use]
    pub fn unreachable(&self) -> Vec<NodeId> {
        let suspects = self.suspects.lock();
        suspects.iter().filter(|(_, it)| it.refusals >= REFUSALS).map(|(id, _)| *id).collect()
    }

    /// Waits until a broker is found to be gone.
    pub async fn found(&self) {
        self.found.notified().await;
    }

    /// Finds out about those that are suspected; does not return.
    pub async fn run(&self) {
        loop {
            let next = self.suspects.lock().iter().map(|(id, it)| (it.next, *id)).min();
            let due = next.map(|(at, _)| at);
            tokio::select! {
                biased;
                () = self.come.notified() => {}
                () = self.clock.sleep_until_due(due) => {
                    if let Some((_, broker)) = next {
                        self.look_after(broker).await;
                    }
                }
            }
        }
    }

    async fn look_after(&self, broker: NodeId) {
        let address = self.brokers.serving_address(broker);
        let refused = match &address {
            Some(address) => self.is_refused(address).await,
            // It is fenced already, or no broker any more.
            None => false,
        };
        let now = self.clock.monotonic();
        let is_found = {
            let mut suspects = self.suspects.lock();
            match suspects.get_mut(&broker) {
                Some(known) if refused => {
                    known.refusals += 1;
                    let pause = if known.refusals < REFUSALS { SECOND_ATTEMPT } else { BACK_AGAIN };
                    known.next = now + pause;
                    known.refusals == REFUSALS
                }
                _ => {
                    suspects.remove(&broker);
                    false
                }
            }
        };
        if is_found {
            let address = address.unwrap_or_default();
            tracing::warn!(broker, address, "broker is gone: its address refuses connections");
            self.found.notify_one();
        }
    }

    async fn is_refused(&self, address: &str) -> bool {
        tokio::select! {
            biased;
            connected = self.brokers.dial(address) => {
                connected.err().is_some_and(|it| it.kind() == io::ErrorKind::ConnectionRefused)
            }
            () = self.clock.sleep(ATTEMPT_LIMIT) => false,
        }
    }
}
