//! What a node has for the replicas of partitions: it follows, it looks after followers, it watches
//! the other brokers.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_clock::Clock;
use ottla_metadata::Cluster;
use ottla_net::transport::Transport;
use ottla_partitions::Partitions;
use ottla_settings::Settings;
use ottla_types::NodeId;

use crate::hosts::broker_links::{BrokerLinkParts, BrokerLinks};
use crate::hosts::controller_channel::ControllerChannel;
use crate::hosts::in_sync::{InSyncKeeper, InSyncParts};
use crate::hosts::peer_watch::PeerWatch;
use crate::hosts::replica_fetching::{FetchingParts, ReplicaFetching};
use crate::hosts::replication_quota::ReplicationQuotas;
use crate::rules::{fetching_rules, quota_window, replica_lag_max};

/// What a node has for replicas.
#[derive(Debug)]
pub struct Replicas {
    /// What it copies from the leaders of the partitions that it follows.
    pub fetching: Arc<ReplicaFetching>,
    /// Which other brokers are gone.
    pub peers: Arc<PeerWatch>,
    /// How fast throttled replicas are copied.
    pub quotas: Arc<ReplicationQuotas>,
    /// The in-sync sets of the partitions that it leads.
    pub in_sync: InSyncKeeper,
}

/// What it takes to have replicas.
pub(super) struct ReplicaParts<'a> {
    pub id: NodeId,
    pub clock: &'a Clock,
    pub transport: Transport,
    pub started: &'a Settings,
    pub partitions: &'a Arc<Partitions>,
    pub channel: &'a ControllerChannel,
    pub cluster: &'a Arc<ArcSwap<Cluster>>,
}

impl Replicas {
    /// Does nothing yet; the connections to other brokers are for coordinators, too.
    pub(super) fn new(parts: ReplicaParts<'_>) -> (Self, Arc<BrokerLinks>) {
        let ReplicaParts { id, clock, transport, started, partitions, channel, cluster } = parts;
        let brokers = Arc::new(BrokerLinks::new(BrokerLinkParts {
            id,
            clock: clock.clone(),
            transport,
            listener: started.inter_broker_listener(),
            cluster: Arc::clone(cluster),
        }));
        let peers = Arc::new(PeerWatch::new(id, clock.clone(), Arc::clone(&brokers)));
        let quotas = Arc::new(ReplicationQuotas::new(clock, quota_window(started)));
        let fetching = Arc::new(ReplicaFetching::new(FetchingParts {
            id,
            clock: clock.clone(),
            partitions: Arc::clone(partitions),
            brokers: Arc::clone(&brokers),
            peers: Arc::clone(&peers),
            cluster: Arc::clone(cluster),
            rules: fetching_rules(started),
            quotas: Arc::clone(&quotas),
        }));
        let in_sync = InSyncKeeper::new(InSyncParts {
            id,
            clock: clock.clone(),
            partitions: Arc::clone(partitions),
            cluster: Arc::clone(cluster),
            channel: channel.clone(),
            lag_max: replica_lag_max(started),
        });
        (Self { fetching, peers, quotas, in_sync }, brokers)
    }
}
