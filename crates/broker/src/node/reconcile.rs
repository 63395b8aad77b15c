//! The node becomes what the metadata says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_coordinator::group::{DeletedTopic, GroupSettings, TopicCatalog};
use ottla_metadata::{AssignedDirectory, Cluster, ControllerCommand, Topic};
use ottla_partitions::{Assigned, Assignment, PartitionRules};
use ottla_types::{TopicPartition, Uuid};

use super::Node;
use crate::assemble::assigned_topic;
use crate::audit;
use crate::hosts::controller::News;
use crate::rules::{
    connection_bounds, group_settings, settings_in_force, throttled_partitions, topic_rules,
    transaction_settings,
};

/// After how long a partition is opened again whose log could not be read or created: not so often
/// that a disk which stays broken or full keeps the node busy.
const OPEN_AGAIN: Duration = Duration::from_secs(10);

/// After how long the metadata is taken over again by partitions whose logs were being truncated.
const ASSIGN_AGAIN: Duration = Duration::from_millis(20);

impl Node {
    /// The metadata is new: this node becomes what it says. Opens logs and loads coordinators: not
    /// for a serving thread. Returns after how long [`Node::open_offline_partitions`] is to follow.
    pub fn take(&self, news: News) -> Duration {
        let before = self.cluster.load_full();
        let is_first = self.offset.load(Ordering::Acquire) == 0;
        // A controller without other work writes a NoOp record twice a second (KIP-835): no reason
        // to go through all partitions, unless the directory of one is still to be reported.
        let has_unreported = self.has_unreported.load(Ordering::Acquire);
        if !is_first && !has_unreported && news.cluster.is_unchanged_since(&before) {
            self.offset.store(news.offset, Ordering::Release);
            return self.open_again_after();
        }
        let cluster = Arc::new(news.cluster);
        let in_force = settings_in_force(&cluster, &self.started, self.id);
        self.replicas.quotas.leading.set_limit(in_force.leader_bytes_per_second);
        self.replicas.quotas.following.set_limit(in_force.follower_bytes_per_second);
        self.in_force.store(Arc::new(in_force));
        self.clients.admission.set(connection_bounds(&cluster, &self.started, self.id));
        let topics = self.topics_of(&before, &cluster);
        let settings = group_settings(&cluster, &self.started, self.id);
        self.coordinators.set(
            &GroupSettings { topics, ..settings },
            &transaction_settings(&cluster, &self.started, self.id),
        );
        self.clients.telemetry.set(&cluster);
        // After a start all metadata is new to this node, but none of it has changed.
        if !is_first {
            audit::topics_changed(&before, &cluster);
        }
        self.open_partitions(&cluster);
        self.cluster.store(Arc::clone(&cluster));
        self.offset.store(news.offset, Ordering::Release);
        self.replicas.fetching.reconcile();
        if cluster.brokers().any(|broker| broker.stopping && !broker.fenced && broker.id != self.id)
        {
            self.heartbeat_due.notify_one();
        }
        self.coordinators.reconcile(&self.partitions, &deleted_topics(&before, &cluster));
        self.open_again_after()
    }

    /// Opens again what could not be opened because its disk failed or was full, and tells the
    /// partitions what they are whose logs were being truncated. Returns after how long it is to be
    /// called again.
    pub fn open_offline_partitions(&self) -> Duration {
        if self.partitions.has_retriable() || self.partitions.has_deferred() {
            self.open_partitions(&self.cluster.load());
            self.replicas.fetching.reconcile();
            self.coordinators.reconcile(&self.partitions, &[]);
        }
        self.open_again_after()
    }

    /// Sets aside what lies here of topics that the metadata does not give to this node.
    pub fn set_strays_aside(&self, cluster: &Cluster) {
        let topic_id = |place: &TopicPartition| assigned_topic(cluster, self.id, place);
        if let Err(error) = self.partitions.set_strays_aside(topic_id) {
            tracing::error!(%error, "stray partition folders cannot be renamed; they stay");
        }
    }

    fn open_partitions(&self, cluster: &Cluster) {
        let wanted = self.assigned(cluster);
        for (partition, error) in self.partitions.reconcile(&wanted) {
            tracing::error!(%partition, %error, "partition cannot be opened; it is offline");
        }
        self.tell_directories(&wanted);
    }

    fn open_again_after(&self) -> Duration {
        match (self.partitions.has_deferred(), self.partitions.has_retriable()) {
            (true, _) => ASSIGN_AGAIN,
            (false, true) => OPEN_AGAIN,
            (false, false) => Duration::MAX,
        }
    }

    /// Lets the controller know in which of several directories partitions lie (KIP-858): with
    /// that, a start knows which partitions a lost directory held.
    fn tell_directories(&self, wanted: &[Assigned]) {
        let mut assigned = Vec::new();
        for it in wanted {
            let found = self.partitions.find(&it.place.topic, it.place.partition);
            // The directory of a partition that moves is reported by the move.
            let settled = found.filter(|partition| !partition.is_moving());
            let Some(directory) = settled.map(|it| it.directory()) else { continue };
            if directory != it.directory {
                let (topic_id, index) = (it.topic_id, it.place.partition);
                assigned.push(AssignedDirectory { topic_id, index, directory });
            }
        }
        self.has_unreported.store(!assigned.is_empty(), Ordering::Release);
        if assigned.is_empty() {
            return;
        }
        if self.controller.is_active() {
            // If it is refused, the next change of the metadata comes here again.
            let (broker, broker_epoch) = (self.id, None);
            let command = ControllerCommand::AssignDirectories { broker, broker_epoch, assigned };
            let _ = self.controller.tell(command);
        } else {
            self.reports.report(assigned);
        }
    }

    /// The topics that groups may read; the same as before, if none has changed.
    fn topics_of(&self, before: &Cluster, now: &Cluster) -> Arc<TopicCatalog> {
        let topic = |topic: &Arc<Topic>| {
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            (Arc::clone(&topic.name), topic.id, partitions)
        };
        let known = self.topics.load_full();
        if known.version > 0 && now.topics().map(topic).eq(before.topics().map(topic)) {
            return known;
        }
        let fresh = Arc::new(TopicCatalog::new(known.version + 1, now.topics().map(topic)));
        self.topics.store(Arc::clone(&fresh));
        fresh
    }

    /// What the metadata says of this node's partitions.
    pub fn assigned(&self, cluster: &Cluster) -> Vec<Assigned> {
        let mut all = Vec::new();
        let is_live = |id| cluster.broker(id).is_some_and(|broker| !broker.fenced);
        for topic in cluster.topics() {
            let mine = |state: &&ottla_metadata::PartitionState| state.replicas.contains(&self.id);
            if !topic.partitions.values().any(|state| mine(&state)) {
                continue;
            }
            let rules = topic_rules(cluster, &self.started, self.id, &topic.name);
            let throttled = throttled_partitions(cluster, &self.started, self.id, &topic.name);
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
                        live: state.replicas.iter().copied().filter(|id| is_live(*id)).collect(),
                    },
                    rules: PartitionRules {
                        throttled: throttled.roles_of(*index),
                        ..rules.clone()
                    },
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
}

/// The topics that were there and are no longer.
fn deleted_topics(before: &Cluster, now: &Cluster) -> Vec<DeletedTopic> {
    let gone = before.topics().filter(|topic| now.topic_by_id(topic.id).is_none());
    gone.map(|topic| DeletedTopic { name: Arc::clone(&topic.name), id: topic.id }).collect()
}
