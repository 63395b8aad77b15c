//! Followers: what this broker copies from the leaders of the partitions that it has a replica of.
//!
//! One task for each broker that leads some of them. It has one fetch in flight, in a fetch session
//! (KIP-227): only what has changed is named again. An answer is taken in on the task's thread;
//! what waits for a disk, to cut off what the leader does not have, is done on a lane.

mod leader;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_metadata::Cluster;
use ottla_net::threads::Spawner;
use ottla_partitions::{Partition, Partitions};
use ottla_types::NodeId;
use tokio::sync::watch;

use super::broker_links::BrokerLinks;
use super::peer_watch::PeerWatch;
use super::replication_quota::ReplicationQuotas;
use leader::LeaderFetcher;

/// How a follower fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchingRules {
    /// How long a fetch waits at most for new records (`replica.fetch.wait.max.ms`).
    pub wait_max: Duration,
    /// How many bytes it waits for (`replica.fetch.min.bytes`).
    pub bytes_min: i32,
    /// How many bytes of one partition it asks for (`replica.fetch.max.bytes`).
    pub partition_bytes_max: i32,
    /// How many bytes it asks for in all (`replica.fetch.response.max.bytes`).
    pub bytes_max: i32,
    /// How long a partition that was refused waits at most (`replica.fetch.backoff.ms`).
    pub backoff: Duration,
    /// How long a leader may take to answer (`replica.socket.timeout.ms`).
    pub answer_limit: Duration,
}

/// What it takes to follow.
#[derive(Debug)]
pub struct FetchingParts {
    /// This broker.
    pub id: NodeId,
    /// The time.
    pub clock: Clock,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The way to the leaders.
    pub brokers: Arc<BrokerLinks>,
    /// Told which leaders could not be reached.
    pub peers: Arc<PeerWatch>,
    /// The metadata as of now; the node replaces it as a whole.
    pub cluster: Arc<ArcSwap<Cluster>>,
    /// How to fetch.
    pub rules: FetchingRules,
    /// How fast throttled replicas are copied.
    pub quotas: Arc<ReplicationQuotas>,
}

/// The partitions that are followed, by the broker that leads them.
type ByLeader = BTreeMap<NodeId, Arc<[Partition]>>;

/// Copies what this broker follows.
#[derive(Debug)]
pub struct ReplicaFetching {
    parts: FetchingParts,
    /// What is followed now. Replaced as a whole; the tasks look when it has changed.
    followed: watch::Sender<Arc<ByLeader>>,
    /// Guards which leaders have a task; held for a look-up.
    fetched_from: Mutex<BTreeSet<NodeId>>,
}

impl ReplicaFetching {
    /// Follows nothing yet.
    #[must_use]
    pub fn new(parts: FetchingParts) -> Self {
        let (followed, _) = watch::channel(Arc::default());
        Self { parts, followed, fetched_from: Mutex::default() }
    }

    /// The metadata is new: other partitions may have to be followed, or from other leaders.
    pub fn reconcile(&self) {
        let mut by_leader: BTreeMap<NodeId, Vec<Partition>> = BTreeMap::new();
        for partition in self.parts.partitions.all() {
            if let Some(leader) = partition.followed() {
                by_leader.entry(leader).or_default().push(partition);
            }
        }
        let all = by_leader.into_iter().map(|(leader, all)| (leader, all.into())).collect();
        // The epoch of a partition may have changed, though the lists are the same.
        let was_idle = self.followed.borrow().is_empty();
        let all: ByLeader = all;
        if !(was_idle && all.is_empty()) {
            self.followed.send_replace(Arc::new(all));
        }
    }

    /// Starts a task for each leader as one is needed; does not return.
    pub async fn run(self: &Arc<Self>, spawner: &Spawner) {
        let mut followed = self.followed.subscribe();
        loop {
            let leaders: Vec<NodeId> = followed.borrow_and_update().keys().copied().collect();
            for leader in leaders {
                if !self.fetched_from.lock().insert(leader) {
                    continue;
                }
                let this = Arc::clone(self);
                let thread = usize::try_from(leader).unwrap_or(0);
                let fetch = move || async move { LeaderFetcher::new(&this, leader).run().await };
                spawner.spawn(thread, fetch).await;
            }
            if followed.changed().await.is_err() {
                return;
            }
        }
    }
}
