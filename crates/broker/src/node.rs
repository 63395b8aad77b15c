//! Everything a handler may touch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use ottla_clock::Clock;
use ottla_coordinator::group::{DeletedTopic, GroupSettings, Topics};
use ottla_metadata::{AssignedDirectory, Cluster, Command, Listener, Reply, Topic};
use ottla_net::listener::Admission;
use ottla_partitions::{Assigned, Assignment, Partitions};
use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_settings::Settings;
use ottla_types::{
    ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, TopicPartition, Uuid,
    is_internal_topic,
};
use tokio::sync::Mutex;

use crate::audit;
use crate::guard::Authorizer;
use crate::hosts::controller::{ControllerHandle, News};
use crate::hosts::groups::{self, GroupHost, Groups};
use crate::hosts::sessions::Sessions;
use crate::hosts::shards::shard_of;
use crate::hosts::telemetry::Telemetry;
use crate::hosts::transactions::{self, TransactionHost, Transactions};
use crate::hosts::unpacking::Unpacking;
use crate::levels::LogLevels;
use crate::request::Call;
use crate::rules::{
    InForce, NodeSettings, connection_bounds, group_settings, node_settings, settings_in_force,
    topic_rules, transaction_settings,
};

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
    cluster: ArcSwap<Cluster>,
    in_force: ArcSwap<InForce>,
    topics: ArcSwap<Topics>,
    offset: AtomicI64,
    epoch: AtomicI64,
    /// The next producer id to give away, and the end of the block.
    producer_ids: Mutex<(ProducerId, ProducerId)>,
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
            ..
        } = parts;
        let cluster = Cluster::default();
        let own = node_settings(&started);
        Self {
            groups: Groups::new(clock.clone(), group_settings(&cluster, &started, id)),
            transactions: Transactions::new(
                clock.clone(),
                transaction_settings(&cluster, &started, id),
            ),
            sessions: Sessions::new(own.fetch_sessions_max),
            telemetry: Telemetry::new(own.telemetry_bytes_max),
            own,
            in_force: ArcSwap::from_pointee(settings_in_force(&cluster, &started, id)),
            admission: Admission::new(connection_bounds(&cluster, &started, id)),
            unpacking: Unpacking::for_this_machine(),
            cluster: ArcSwap::from_pointee(cluster),
            topics: ArcSwap::default(),
            offset: AtomicI64::new(0),
            epoch: AtomicI64::new(0),
            producer_ids: Mutex::new((0, 0)),
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

    /// The metadata is new: this node becomes what it says. Runs on the controller's thread.
    pub fn take(&self, news: News) {
        let cluster = Arc::new(news.cluster);
        let before = self.cluster.load_full();
        self.in_force.store(Arc::new(settings_in_force(&cluster, &self.started, self.id)));
        self.admission.set(connection_bounds(&cluster, &self.started, self.id));
        let topics = self.topics_of(&before, &cluster);
        let settings = group_settings(&cluster, &self.started, self.id);
        self.groups.set(&GroupSettings { topics, ..settings });
        self.transactions.set(&transaction_settings(&cluster, &self.started, self.id));
        self.telemetry.set(&cluster);
        // At the first time everything is news to this node, and to nobody else.
        if self.offset.load(Ordering::Acquire) > 0 {
            audit::topics_changed(&before, &cluster);
        }
        let wanted = self.assigned(&cluster);
        for (partition, error) in self.partitions.reconcile(&wanted) {
            tracing::error!(%partition, %error, "partition is offline: it cannot be opened");
        }
        self.tell_directories(&wanted);
        self.cluster.store(Arc::clone(&cluster));
        self.offset.store(news.offset, Ordering::Release);
        self.epoch.store(i64::from(news.epoch), Ordering::Release);
        let led = |topic: &str| -> Vec<_> {
            let all = self.partitions.of_topic(topic).into_iter();
            all.filter(|it| it.ends().leading).collect()
        };
        self.groups.reconcile(&led(groups::TOPIC));
        self.transactions.reconcile(&led(transactions::TOPIC));
        let gone = deleted(&before, &cluster);
        if !gone.is_empty() {
            self.groups.topics_deleted(&gone);
        }
    }

    /// Lets the controller know in which of several directories partitions lie (KIP-858): with
    /// that, a start can tell which partitions a lost directory held.
    fn tell_directories(&self, wanted: &[Assigned]) {
        let mut assigned = Vec::new();
        for it in wanted {
            let found = self.partitions.find(&it.place.topic, it.place.partition);
            // One that moves is told by the move.
            let settled = found.filter(|partition| !partition.is_moving());
            let Some(directory) = settled.map(|it| it.directory()) else { continue };
            if directory != it.directory {
                let (topic_id, index) = (it.topic_id, it.place.partition);
                assigned.push(AssignedDirectory { topic_id, index, directory });
            }
        }
        if !assigned.is_empty() {
            // If it is busy, the next change of the metadata comes here again.
            let command = Command::AssignDirectories { broker: self.id, assigned };
            let _ = self.controller.tell(command);
        }
    }

    /// The topics that groups may read; the same as before, if none has changed.
    fn topics_of(&self, before: &Cluster, now: &Cluster) -> Arc<Topics> {
        let topic = |it: &Arc<Topic>| {
            let partitions = i32::try_from(it.partitions.len()).unwrap_or(i32::MAX);
            (Arc::clone(&it.name), it.id, partitions)
        };
        let known = self.topics.load_full();
        if known.version > 0 && now.topics().map(topic).eq(before.topics().map(topic)) {
            return known;
        }
        let fresh = Arc::new(Topics::new(known.version + 1, now.topics().map(topic)));
        self.topics.store(Arc::clone(&fresh));
        fresh
    }

    /// What the metadata says of this node's partitions.
    pub fn assigned(&self, cluster: &Cluster) -> Vec<Assigned> {
        let mut all = Vec::new();
        for topic in cluster.topics() {
            let mine = |state: &&ottla_metadata::PartitionState| state.replicas.contains(&self.id);
            if !topic.partitions.values().any(|state| mine(&state)) {
                continue;
            }
            let rules = topic_rules(cluster, &self.started, self.id, &topic.name);
            for (index, state) in topic.partitions.iter().filter(|(_, state)| mine(state)) {
                all.push(Assigned {
                    place: TopicPartition::new(Arc::clone(&topic.name), *index),
                    topic_id: topic.id,
                    directory: self.directory_of(state),
                    assignment: Assignment {
                        leader: state.leader,
                        leader_epoch: state.leader_epoch,
                        partition_epoch: state.partition_epoch,
                        replicas: state.replicas.clone(),
                        in_sync: state.isr.clone(),
                    },
                    rules: rules.clone(),
                });
            }
        }
        all
    }

    /// In which of this node's directories a partition lies, as far as the metadata says.
    fn directory_of(&self, state: &ottla_metadata::PartitionState) -> Uuid {
        let at = state.replicas.iter().position(|id| *id == self.id);
        at.and_then(|at| state.directories.get(at).copied()).unwrap_or(Uuid::ZERO)
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

    /// What a client is told that asked for a partition by name which is not served here.
    #[must_use]
    pub fn unknown_or_offline(&self, topic: &str, index: PartitionIndex) -> ErrorCode {
        if self.partitions.is_offline(topic, index) {
            ErrorCode::KAFKA_STORAGE_ERROR
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
    }

    /// What a client is told that asked for a partition which is not served here.
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
        match known {
            None => unknown,
            Some(topic) if self.partitions.is_offline(&topic.name, index) => {
                ErrorCode::KAFKA_STORAGE_ERROR
            }
            Some(topic) if self.partitions.of_topic(&topic.name).is_empty() => {
                ErrorCode::NOT_LEADER_OR_FOLLOWER
            }
            Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        }
    }

    /// May this client produce to the topic? Only an operator's tool may write to Kafka's own.
    #[must_use]
    pub fn may_write_internal(&self, call: &Call, topic: &str) -> bool {
        !is_internal_topic(topic) || &*call.client_id == "__admin_client"
    }

    /// Where clients of this listener find a node.
    #[must_use]
    pub fn address(&self, cluster: &Cluster, node: NodeId, listener: &str) -> Option<Listener> {
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
    pub async fn create_topics(&self, request: CreateTopicsRequest) -> Result<Reply, ErrorCode> {
        let uuids = request.topics.iter().map(|_| self.clock.random_uuid()).collect();
        self.controller.ask(Command::CreateTopics { request, uuids }).await
    }

    /// Creates one of Kafka's own topics with the settings that it has there.
    ///
    /// # Errors
    /// It cannot be created.
    pub async fn create_internal(&self, name: &str) -> Result<(), ErrorCode> {
        let is_transactions = name == transactions::TOPIC;
        let own =
            if is_transactions { self.own.transactions_topic } else { self.own.offsets_topic };
        let config = |name: &str, value: &str| CreatableTopicConfig {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            ..Default::default()
        };
        let segment = own.segment_bytes.max(1 << 20).to_string();
        let mut configs =
            vec![config("cleanup.policy", "compact"), config("segment.bytes", &segment)];
        if is_transactions {
            let in_sync_min = own.in_sync_min.to_string();
            configs.push(config("compression.type", "uncompressed"));
            configs.push(config("min.insync.replicas", &in_sync_min));
            configs.push(config("unclean.leader.election.enable", "false"));
        } else {
            configs.push(config("compression.type", "producer"));
        }
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: own.partitions,
            replication_factor: own.replication_factor,
            configs,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let Reply::CreateTopics(response) = self.create_topics(request).await? else {
            return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
        };
        let code = ErrorCode(response.topics.first().map_or(-1, |topic| topic.error_code));
        match code {
            // Somebody else was faster.
            ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => Ok(()),
            code => Err(code),
        }
    }

    /// A producer id that was never given away before.
    ///
    /// # Errors
    /// The controller is gone.
    pub async fn producer_id(&self) -> Result<ProducerId, ErrorCode> {
        let mut block = self.producer_ids.lock().await;
        if block.0 == block.1 {
            let asked =
                self.controller.ask(Command::AllocateProducerIds { broker: self.id }).await?;
            let Reply::ProducerIds(first, count) = asked else {
                return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
            };
            *block = (first, first + ProducerId::from(count));
        }
        block.0 += 1;
        Ok(block.0 - 1)
    }
}

/// The topics that were there and are no longer.
fn deleted(before: &Cluster, now: &Cluster) -> Vec<DeletedTopic> {
    let gone = before.topics().filter(|topic| now.topic_by_id(topic.id).is_none());
    gone.map(|topic| DeletedTopic { name: Arc::clone(&topic.name), id: topic.id }).collect()
}
