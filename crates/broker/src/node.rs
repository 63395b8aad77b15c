//! Everything a handler may touch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_clock::{Clock, Lane};
use ottla_coordinator::group::TopicCatalog;
use ottla_metadata::{BrokerEndpoint, Cluster, ControllerCommand};
use ottla_net::listener::Admission;
use ottla_net::transport::Transport;
use ottla_partitions::Partitions;
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_settings::Settings;
use ottla_types::{ErrorCode, NodeId, Offset, PartitionIndex, ProducerId, Uuid, is_internal_topic};
use tokio::sync::Notify;

use crate::absent::{TopicKey, why_not_here};
use crate::guard::Authorizer;
use crate::hosts::controller::ControllerHandle;
use crate::hosts::controller_channel::{BrokerIdentity, ControllerChannel};
use crate::hosts::directory_reports::DirectoryReports;
use crate::hosts::mover::{Mover, Moves};
use crate::hosts::producer_ids::ProducerIds;
use crate::hosts::quorum_serving::QuorumServing;
use crate::hosts::sessions::Sessions;
use crate::hosts::telemetry::Telemetry;
use crate::hosts::unpacking::Unpacking;
use crate::lanes::NodeLanes;
use crate::levels::LogLevels;
use crate::numbers::{NodeNumbers, RequestTiming};
use crate::request::Call;
use crate::rules::{
    InForce, NodeSettings, connection_bounds, group_settings, node_settings, settings_in_force,
    transaction_settings,
};
use crate::seldom::SeldomWarning;

mod coordinators;
mod internal_topics;
mod reconcile;
mod replicas;

use coordinators::{CoordinatorParts, Coordinators};
use replicas::{ReplicaParts, Replicas};

/// How long what a node needs by itself may wait for an active controller.
const CONTROLLER_LIMIT: Duration = Duration::from_secs(5);

/// A node, while it runs.
#[derive(Debug)]
pub struct Node {
    /// The time.
    pub clock: Clock,
    /// This node.
    pub id: NodeId,
    /// What is true of it as long as it runs.
    pub facts: NodeFacts,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The coordinators of groups and transactions.
    pub coordinators: Coordinators,
    /// The controller of this node.
    pub controller: ControllerHandle,
    /// The way to the active controller.
    pub channel: ControllerChannel,
    /// What it has for the replicas of partitions.
    pub replicas: Replicas,
    /// What it answers to other members of the metadata quorum.
    pub quorum: QuorumServing,
    /// What is kept of clients from request to request.
    pub clients: ClientState,
    /// What is counted of requests.
    pub numbers: Arc<NodeNumbers>,
    started: Arc<Settings>,
    own: NodeSettings,
    levels: Arc<dyn LogLevels>,
    authorizer: Option<Arc<dyn Authorizer>>,
    unpacking: Unpacking,
    moves: Moves,
    /// Where the copying of a move is done.
    moving: Lane,
    /// The metadata as of now. Replaced as a whole; a reader keeps the one that it has loaded.
    cluster: Arc<ArcSwap<Cluster>>,
    /// What the settings of `cluster` mean; replaced before it.
    in_force: ArcSwap<InForce>,
    /// The topics of `cluster`, for groups; replaced before it.
    topics: ArcSwap<TopicCatalog>,
    /// Up to which offset of the metadata log `cluster` has come; set after it, so that it is never
    /// ahead.
    offset: AtomicI64,
    /// Is the controller still to learn in which directories partitions lie?
    has_unreported: AtomicBool,
    producer_ids: ProducerIds,
    /// What another node's controller is to know of its directories.
    pub reports: Arc<DirectoryReports>,
    /// Notified when another broker waits, before it stops, for this one to have applied its new
    /// leaders: that the controller learns from a heartbeat.
    pub heartbeat_due: Notify,
}

/// What is true of a node as long as it runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Its cluster's id.
    pub cluster_id: String,
    /// Where the metadata quorum's voter says that it listens.
    pub voter_listeners: Vec<ottla_quorum::Endpoint>,
}

/// What is kept of clients from request to request.
#[derive(Debug)]
pub struct ClientState {
    /// The incremental fetch sessions.
    pub sessions: Sessions,
    /// What clients push of their metrics.
    pub telemetry: Telemetry,
    /// How many connections there may be.
    pub admission: Admission,
    /// Connections that were more than there may be.
    pub refused: SeldomWarning,
    /// Connections that were closed for what came on them.
    pub closed: SeldomWarning,
}

/// What a node is made of.
#[derive(Debug)]
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// This node.
    pub id: NodeId,
    /// What is true of it as long as it runs.
    pub facts: NodeFacts,
    /// What it was started with.
    pub started: Arc<Settings>,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The controller of this node.
    pub controller: ControllerHandle,
    /// The way to the active controller.
    pub channel: ControllerChannel,
    /// How it reaches other brokers.
    pub transport: Transport,
    /// The levels of the log.
    pub levels: Arc<dyn LogLevels>,
    /// The authorizer; without one, everything is allowed.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// Where it waits for disks.
    pub lanes: NodeLanes,
}

impl Node {
    /// A node without metadata of its cluster.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { clock, id, facts, started, partitions, controller, channel, .. } = parts;
        let Parts { transport, levels, authorizer, lanes, .. } = parts;
        let cluster = Cluster::default();
        let own = node_settings(&started);
        let timing = match own.metrics_listener {
            Some(_) => RequestTiming::Timed,
            None => RequestTiming::Untimed,
        };
        let current = Arc::new(ArcSwap::from_pointee(cluster.clone()));
        let (replicas, brokers) = Replicas::new(ReplicaParts {
            id,
            clock: &clock,
            transport,
            started: &started,
            partitions: &partitions,
            channel: &channel,
            cluster: &current,
        });
        let coordinators = Coordinators::new(CoordinatorParts {
            id,
            brokers,
            clock: clock.clone(),
            loading: lanes.hosts.loading,
            partitions: Arc::clone(&partitions),
            cluster: Arc::clone(&current),
            groups: group_settings(&cluster, &started, id),
            transactions: transaction_settings(&cluster, &started, id),
        });
        let clients = ClientState {
            sessions: Sessions::new(own.fetch_sessions_max),
            telemetry: Telemetry::new(own.telemetry_bytes_max),
            admission: Admission::new(connection_bounds(&cluster, &started, id)),
            refused: SeldomWarning::default(),
            closed: SeldomWarning::default(),
        };
        let (member, lane) = (Arc::clone(controller.member()), lanes.hosts.metadata);
        let quorum = QuorumServing::new(clock.clone(), member, lane, &facts.cluster_id);
        Self {
            numbers: NodeNumbers::new(partitions.metrics(), timing).into(),
            clock,
            id,
            facts,
            partitions,
            coordinators,
            replicas,
            quorum,
            controller,
            channel,
            clients,
            in_force: ArcSwap::from_pointee(settings_in_force(&cluster, &started, id)),
            started,
            own,
            levels,
            authorizer,
            unpacking: Unpacking::on(lanes.unpacking),
            moves: Moves::default(),
            moving: lanes.moving,
            cluster: current,
            topics: ArcSwap::default(),
            offset: AtomicI64::new(0),
            has_unreported: AtomicBool::new(false),
            producer_ids: ProducerIds::default(),
            reports: Arc::default(),
            heartbeat_due: Notify::new(),
        }
    }

    /// The level of `kraft.version`: 0 where the settings name the voters, 1 where the log does.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.controller.member().view().kraft_version
    }

    /// What it was started with.
    #[must_use]
    pub const fn started(&self) -> &Arc<Settings> {
        &self.started
    }

    /// What it was started with, as far as that cannot change.
    #[must_use]
    pub const fn own(&self) -> &NodeSettings {
        &self.own
    }

    /// The levels of the log.
    #[must_use]
    pub fn levels(&self) -> &dyn LogLevels {
        &*self.levels
    }

    /// The authorizer; without one, everything is allowed.
    #[must_use]
    pub fn authorizer(&self) -> Option<&dyn Authorizer> {
        self.authorizer.as_deref()
    }

    /// Where large produced batches are read through.
    #[must_use]
    pub const fn unpacking(&self) -> &Unpacking {
        &self.unpacking
    }

    /// The metadata as of now.
    #[must_use]
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster.load_full()
    }

    /// The offset of the metadata log up to which this node has applied the metadata.
    #[must_use]
    pub fn metadata_offset(&self) -> Offset {
        self.offset.load(Ordering::Acquire)
    }

    /// Carries out the moves between data directories that are planned.
    pub fn start_moves(&self) {
        self.moves.start(Mover {
            clock: self.clock.clone(),
            id: self.id,
            partitions: Arc::clone(&self.partitions),
            controller: self.controller.clone(),
            reports: Arc::clone(&self.reports),
            bytes_per_second: self.settings().move_bytes_per_second,
            lane: self.moving.clone(),
        });
    }

    /// Ends the move that is under way, and returns when it has stopped.
    pub fn stop_moves(&self) {
        self.moves.stop(&self.moving);
    }

    /// Settings in force now.
    #[must_use]
    pub fn settings(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// The id of a topic.
    #[must_use]
    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.cluster.load().topic(name).map(|topic| topic.id)
    }

    /// The name of a topic.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<String> {
        self.cluster.load().topic_by_id(id).map(|topic| topic.name.to_string())
    }

    /// Does the topic have this partition?
    #[must_use]
    pub fn has_partition(&self, topic: &str, index: PartitionIndex) -> bool {
        let cluster = self.cluster.load();
        cluster.topic(topic).is_some_and(|topic| topic.partitions.contains_key(&index))
    }

    /// The error code for a partition that is not served here.
    #[must_use]
    pub fn why_not_here(&self, topic: TopicKey<'_>, index: PartitionIndex) -> ErrorCode {
        why_not_here(&self.partitions, &self.cluster.load(), topic, index)
    }

    /// May this client produce to the topic? Only an operator's tool may write to Kafka's own.
    #[must_use]
    pub fn may_write_internal(&self, call: &Call, topic: &str) -> bool {
        !is_internal_topic(topic) || &*call.client_id == "__admin_client"
    }

    /// Where clients of this listener find a node.
    #[must_use]
    pub fn address(
        &self,
        cluster: &Cluster,
        node: NodeId,
        listener: &str,
    ) -> Option<BrokerEndpoint> {
        cluster.broker(node)?.listener(listener).cloned()
    }

    /// The node that coordinates a key which lives in `topic`, and where the caller's listener
    /// finds it.
    ///
    /// # Errors
    /// It has no coordinator at the moment.
    pub fn coordinator(
        &self,
        topic: &str,
        key: &str,
        call: &Call,
    ) -> Result<(NodeId, String, i32), ErrorCode> {
        let none = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        let cluster = self.cluster();
        let index = self.coordinators.shard(topic, key)?;
        let topic = cluster.topic(topic).ok_or(none)?;
        let leader = topic.partitions.get(&index).map(|state| state.leader).ok_or(none)?;
        let found = self.address(&cluster, leader, &call.session.listener).ok_or(none)?;
        Ok((leader, found.host, i32::from(found.port)))
    }

    /// Creates topics, if the active controller is on this node.
    ///
    /// # Errors
    /// It is not, or is gone.
    pub async fn create_topics_here(
        &self,
        request: CreateTopicsRequest,
    ) -> Result<CreateTopicsResponse, ErrorCode> {
        self.controller.ask(self.creation(request)).await
    }

    /// Creates topics through the active controller, wherever that is.
    ///
    /// # Errors
    /// There is none, or it is gone.
    pub async fn create_topics(
        &self,
        request: CreateTopicsRequest,
    ) -> Result<CreateTopicsResponse, ErrorCode> {
        let asked = self.channel.request(
            CONTROLLER_LIMIT,
            || request.clone(),
            |request| self.creation(request),
            // Each topic has its own.
            |_| ErrorCode::NONE.0,
        );
        asked.await
    }

    fn creation(&self, request: CreateTopicsRequest) -> ControllerCommand {
        let uuids = request.topics.iter().map(|_| self.clock.random_uuid()).collect();
        ControllerCommand::CreateTopics { request, uuids }
    }

    /// The broker as the controller knows it; none before it has registered.
    #[must_use]
    pub fn broker_identity(&self) -> BrokerIdentity {
        let cluster = self.cluster.load();
        let epoch = cluster.broker(self.id).map_or(-1, |registered| registered.epoch);
        BrokerIdentity { id: self.id, epoch }
    }

    /// A producer id that was never given away before.
    ///
    /// # Errors
    /// The controller is gone.
    pub async fn producer_id(&self) -> Result<ProducerId, ErrorCode> {
        self.producer_ids.next(self.broker_identity(), &self.channel).await
    }
}
