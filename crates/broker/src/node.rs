//! Everything a handler may touch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use ottla_clock::{Clock, Lane};
use ottla_coordinator::group::TopicCatalog;
use ottla_metadata::{BrokerEndpoint, Cluster, ControllerCommand};
use ottla_net::listener::Admission;
use ottla_partitions::Partitions;
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_response::CreateTopicsResponse;
use ottla_settings::Settings;
use ottla_types::{
    ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, Uuid, is_internal_topic,
};

use crate::absent::why_not_here;
use crate::guard::Authorizer;
use crate::hosts::controller::ControllerHandle;
use crate::hosts::groups::{self, GroupHost, Groups};
use crate::hosts::markers::Markers;
use crate::hosts::mover::{Mover, Moves};
use crate::hosts::producer_ids::ProducerIds;
use crate::hosts::sessions::Sessions;
use crate::hosts::shards::{ask, shard_of};
use crate::hosts::telemetry::Telemetry;
use crate::hosts::transactions::{self, TransactionHost, Transactions};
use crate::hosts::unpacking::Unpacking;
use crate::lanes::NodeLanes;
use crate::levels::LogLevels;
use crate::numbers::{NodeNumbers, RequestTiming};
use crate::request::Call;
use crate::rules::{
    InForce, NodeSettings, connection_bounds, group_settings, node_settings, settings_in_force,
    transaction_settings,
};

mod internal_topics;
mod reconcile;

/// A node, while it runs.
#[derive(Debug)]
pub struct Node {
    /// The time.
    pub clock: Clock,
    /// This node.
    pub id: NodeId,
    /// Its cluster.
    pub cluster_id: String,
    /// Its directory with the metadata log.
    pub metadata_directory: Uuid,
    /// What it was started with.
    pub started: Arc<Settings>,
    /// What that means to it.
    pub own: NodeSettings,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The group coordinators.
    pub groups: Groups,
    /// The transaction coordinators.
    pub transactions: Transactions,
    /// The incremental fetch sessions.
    pub sessions: Sessions,
    /// What clients push of their metrics.
    pub telemetry: Telemetry,
    /// The way to the controller.
    pub controller: ControllerHandle,
    /// Where the metadata quorum's voter says that it listens.
    pub voter_listeners: Vec<ottla_quorum::Endpoint>,
    /// The level of `kraft.version`.
    pub kraft_version: i16,
    /// The levels of the log.
    pub levels: Arc<dyn LogLevels>,
    /// Who may do what; without one, everything is allowed.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// How many connections there may be.
    pub admission: Admission,
    /// Where large produced batches are read through.
    pub unpacking: Unpacking,
    /// What writes the markers of transactions.
    pub markers: Markers,
    /// Moves of partitions between data directories.
    pub moves: Moves,
    /// What is counted of requests.
    pub numbers: Arc<NodeNumbers>,
    /// Where the copying of a move is done.
    moving: Lane,
    cluster: Arc<ArcSwap<Cluster>>,
    in_force: ArcSwap<InForce>,
    topics: ArcSwap<TopicCatalog>,
    offset: AtomicI64,
    epoch: AtomicI64,
    producer_ids: ProducerIds,
}

/// What a node is made of.
#[derive(Debug)]
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// This node.
    pub id: NodeId,
    /// Its cluster.
    pub cluster_id: String,
    /// Its directory with the metadata log.
    pub metadata_directory: Uuid,
    /// What it was started with.
    pub started: Arc<Settings>,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The way to the controller.
    pub controller: ControllerHandle,
    /// Where the metadata quorum's voter says that it listens.
    pub voter_listeners: Vec<ottla_quorum::Endpoint>,
    /// The level of `kraft.version`.
    pub kraft_version: i16,
    /// The levels of the log.
    pub levels: Arc<dyn LogLevels>,
    /// Who may do what; without one, everything is allowed.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// Where it waits for disks.
    pub lanes: NodeLanes,
}

impl Node {
    /// A node that knows nothing of its cluster yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { clock, id, cluster_id, metadata_directory, started, .. } = parts;
        let Parts {
            partitions,
            controller,
            voter_listeners,
            kraft_version,
            levels,
            authorizer,
            lanes,
            ..
        } = parts;
        let cluster = Cluster::default();
        let own = node_settings(&started);
        let timing = match own.metrics_listener {
            Some(_) => RequestTiming::Timed,
            None => RequestTiming::Untimed,
        };
        let settings = group_settings(&cluster, &started, id);
        let groups = Groups::new(clock.clone(), lanes.loading.clone(), settings);
        let current = Arc::new(ArcSwap::from_pointee(cluster.clone()));
        Self {
            markers: Markers {
                partitions: Arc::clone(&partitions),
                groups: groups.clone(),
                clock: clock.clone(),
                cluster: Arc::clone(&current),
            },
            groups,
            transactions: Transactions::new(
                clock.clone(),
                lanes.loading,
                transaction_settings(&cluster, &started, id),
            ),
            sessions: Sessions::new(own.fetch_sessions_max),
            telemetry: Telemetry::new(own.telemetry_bytes_max),
            numbers: NodeNumbers::new(partitions.metrics(), timing).into(),
            own,
            in_force: ArcSwap::from_pointee(settings_in_force(&cluster, &started, id)),
            admission: Admission::new(connection_bounds(&cluster, &started, id)),
            unpacking: Unpacking::on(lanes.unpacking),
            moves: Moves::default(),
            moving: lanes.moving,
            cluster: current,
            topics: ArcSwap::default(),
            offset: AtomicI64::new(0),
            epoch: AtomicI64::new(0),
            producer_ids: ProducerIds::default(),
            clock,
            id,
            cluster_id,
            metadata_directory,
            started,
            partitions,
            controller,
            voter_listeners,
            kraft_version,
            levels,
            authorizer,
        }
    }

    /// The metadata as of now.
    #[must_use]
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster.load_full()
    }

    /// Up to which offset of the metadata log this node has come.
    #[must_use]
    pub fn metadata_offset(&self) -> Offset {
        self.offset.load(Ordering::Acquire)
    }

    /// The epoch of the metadata quorum.
    #[must_use]
    pub fn quorum_epoch(&self) -> LeaderEpoch {
        LeaderEpoch::try_from(self.epoch.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// What carries moves between directories out.
    #[must_use]
    pub fn mover(&self) -> Mover {
        Mover {
            clock: self.clock.clone(),
            id: self.id,
            partitions: Arc::clone(&self.partitions),
            controller: self.controller.clone(),
            bytes_per_second: self.settings().move_bytes_per_second,
            lane: self.moving.clone(),
        }
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

    /// The error code for a partition, asked for by name, that is not served here.
    #[must_use]
    pub fn unknown_or_offline(&self, topic: &str, index: PartitionIndex) -> ErrorCode {
        if self.partitions.is_offline(topic, index) {
            ErrorCode::KAFKA_STORAGE_ERROR
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
    }

    /// The error code for a partition that is not served here.
    #[must_use]
    pub fn why_not_here(
        &self,
        topic: &str,
        id: Uuid,
        by_id: bool,
        index: PartitionIndex,
    ) -> ErrorCode {
        let cluster = self.cluster.load();
        let (known, unknown) = if by_id {
            (cluster.topic_by_id(id), ErrorCode::UNKNOWN_TOPIC_ID)
        } else {
            (cluster.topic(topic), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        why_not_here(&self.partitions, known, index, unknown)
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

    /// How many partitions one of Kafka's own topics has.
    fn shards(&self, topic: &str) -> Result<i32, ErrorCode> {
        let cluster = self.cluster.load();
        let topic = cluster.topic(topic).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        Ok(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
    }

    /// The coordinator of a group, if it is here.
    ///
    /// # Errors
    /// What the client is told otherwise.
    pub fn group(&self, group: &str) -> Result<Arc<GroupHost>, ErrorCode> {
        self.groups.of(group, self.shards(groups::TOPIC)?)
    }

    /// Asks the coordinator of a group.
    ///
    /// # Errors
    /// What the client is told when it is not here, or cannot answer.
    pub async fn ask_group<T>(
        &self,
        group: &str,
        command: ottla_coordinator::group::GroupCommand,
    ) -> Result<T, ErrorCode>
    where
        T: TryFrom<
                ottla_coordinator::group::GroupReply,
                Error = ottla_coordinator::group::GroupReply,
            >,
    {
        ask(&*self.group(group)?, command).await
    }

    /// As [`Node::ask_group`], for a command that may be about several groups, and is about one.
    ///
    /// # Errors
    /// See there.
    pub async fn ask_one_group<T>(
        &self,
        group: &str,
        command: ottla_coordinator::group::GroupCommand,
    ) -> Result<T, ErrorCode>
    where
        Vec<T>: TryFrom<
                ottla_coordinator::group::GroupReply,
                Error = ottla_coordinator::group::GroupReply,
            >,
    {
        let mut all: Vec<T> = self.ask_group(group, command).await?;
        Ok(all.pop().expect("each group that is asked about is answered"))
    }

    /// Which partition of `__consumer_offsets` a group lives in.
    ///
    /// # Errors
    /// There is no such topic yet.
    pub fn group_shard(&self, group: &str) -> Result<PartitionIndex, ErrorCode> {
        let none = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        shard_of(group, self.shards(groups::TOPIC)?).ok_or(none)
    }

    /// The coordinator of a transactional id and its partition, if it is here.
    ///
    /// # Errors
    /// What the client is told otherwise.
    pub fn transaction(
        &self,
        id: &str,
    ) -> Result<(PartitionIndex, Arc<TransactionHost>), ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let none = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        let index = shard_of(id, self.shards(transactions::TOPIC)?).ok_or(none)?;
        Ok((index, self.transactions.at(index)?))
    }

    /// The node that coordinates a key which lives in `topic`, and where the caller's listener
    /// finds it.
    ///
    /// # Errors
    /// Nobody coordinates it at the moment.
    pub fn coordinator(
        &self,
        topic: &str,
        key: &str,
        call: &Call,
    ) -> Result<(NodeId, String, i32), ErrorCode> {
        let none = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        let cluster = self.cluster();
        let index = shard_of(key, self.shards(topic)?).ok_or(none)?;
        let topic = cluster.topic(topic).ok_or(none)?;
        let leader = topic.partitions.get(&index).map(|state| state.leader).ok_or(none)?;
        let found = self.address(&cluster, leader, &call.session.listener).ok_or(none)?;
        Ok((leader, found.host, i32::from(found.port)))
    }

    /// Creates topics through the controller.
    ///
    /// # Errors
    /// The controller is gone.
    pub async fn create_topics(
        &self,
        request: CreateTopicsRequest,
    ) -> Result<CreateTopicsResponse, ErrorCode> {
        let uuids = request.topics.iter().map(|_| self.clock.random_uuid()).collect();
        self.controller.ask(ControllerCommand::CreateTopics { request, uuids }).await
    }

    /// A producer id that was never given away before.
    ///
    /// # Errors
    /// The controller is gone.
    pub async fn producer_id(&self) -> Result<ProducerId, ErrorCode> {
        self.producer_ids.next(self.id, &self.controller).await
    }
}
