//! The coordinators of this node: which of them a request is for, and what it asks them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_clock::{Clock, Lane};
use ottla_coordinator::group::{DeletedTopic, GroupCommand, GroupReply, GroupSettings};
use ottla_coordinator::transaction::TransactionSettings;
use ottla_metadata::Cluster;
use ottla_partitions::Partitions;
use ottla_types::{ErrorCode, NodeId, PartitionIndex};

use crate::hosts::add_queue::AddQueue;
use crate::hosts::broker_links::BrokerLinks;
use crate::hosts::groups::{self, GroupHost, Groups};
use crate::hosts::marker_queue::MarkerQueue;
use crate::hosts::markers::LocalMarkers;
use crate::hosts::shards::{ask_coordinator, shard_of};
use crate::hosts::transactions::{self, TransactionHost, Transactions};

/// The coordinators of groups and of transactions.
#[derive(Debug)]
pub struct Coordinators {
    groups: Groups,
    transactions: Transactions,
    markers: MarkerQueue,
    adds: AddQueue,
    /// The metadata as of now; the node replaces it as a whole.
    cluster: Arc<ArcSwap<Cluster>>,
}

/// What coordinators are made of.
#[derive(Debug)]
pub struct CoordinatorParts {
    /// This node.
    pub id: NodeId,
    /// The way to the other brokers.
    pub brokers: Arc<BrokerLinks>,
    /// The time.
    pub clock: Clock,
    /// Where they are loaded.
    pub loading: Lane,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The metadata as of now; the node replaces it as a whole.
    pub cluster: Arc<ArcSwap<Cluster>>,
    /// What operators have decided about groups.
    pub groups: GroupSettings,
    /// What operators have decided about transactions.
    pub transactions: TransactionSettings,
}

impl Coordinators {
    /// None is loaded yet.
    #[must_use]
    pub fn new(parts: CoordinatorParts) -> Self {
        let CoordinatorParts { id, brokers, clock, loading, .. } = parts;
        let CoordinatorParts { partitions, cluster, groups, transactions, .. } = parts;
        let groups = Groups::new(clock.clone(), loading.clone(), groups);
        let transactions = Transactions::new(clock.clone(), loading, transactions);
        let (own, known) = (groups.clone(), Arc::clone(&cluster));
        let adds = AddQueue::new(Arc::clone(&brokers), Arc::clone(&cluster));
        let local = LocalMarkers { partitions, groups: own, clock, cluster: known };
        let markers = MarkerQueue::new(id, local, brokers);
        Self { groups, transactions, markers, adds, cluster }
    }

    /// How many partitions one of Kafka's own topics has.
    fn shard_count(&self, topic: &str) -> Result<i32, ErrorCode> {
        let cluster = self.cluster.load();
        let topic = cluster.topic(topic).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        Ok(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
    }

    /// Which partition of a coordinator's topic a key lives in.
    ///
    /// # Errors
    /// There is no such topic yet.
    pub fn shard(&self, topic: &str, key: &str) -> Result<PartitionIndex, ErrorCode> {
        let none = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        shard_of(key, self.shard_count(topic)?).ok_or(none)
    }

    /// Which partition of `__consumer_offsets` a group lives in.
    ///
    /// # Errors
    /// There is no such topic yet.
    pub fn group_shard(&self, group: &str) -> Result<PartitionIndex, ErrorCode> {
        self.shard(groups::TOPIC, group)
    }

    /// The coordinator of a group, if it is here.
    ///
    /// # Errors
    /// The error code for the client otherwise.
    pub fn group(&self, group: &str) -> Result<Arc<GroupHost>, ErrorCode> {
        self.groups.at(self.group_shard(group)?)
    }

    /// Asks the coordinator of a group.
    ///
    /// # Errors
    /// The error code for the client when it is not here, or cannot answer.
    pub async fn ask_group<T>(&self, group: &str, command: GroupCommand) -> Result<T, ErrorCode>
    where
        T: TryFrom<GroupReply, Error = GroupReply>,
    {
        ask_coordinator(&*self.group(group)?, command).await
    }

    /// As [`Coordinators::ask_group`], for a command that may be about several groups, and is about
    /// one.
    ///
    /// # Errors
    /// See there.
    pub async fn ask_one_group<T>(&self, group: &str, command: GroupCommand) -> Result<T, ErrorCode>
    where
        Vec<T>: TryFrom<GroupReply, Error = GroupReply>,
    {
        let mut all: Vec<T> = self.ask_group(group, command).await?;
        Ok(all.pop().expect("each group that is asked about is answered"))
    }

    /// The group coordinators that are ready, or `COORDINATOR_LOAD_IN_PROGRESS` while one is still
    /// loaded.
    ///
    /// # Errors
    /// One is still being loaded.
    pub fn all_groups(&self) -> Result<Vec<Arc<GroupHost>>, ErrorCode> {
        if self.groups.is_loading() {
            return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        }
        Ok(self.groups.all().into_iter().map(|(_, host)| host).collect())
    }

    /// The coordinator of a transactional id, if it is here.
    ///
    /// # Errors
    /// The error code for the client otherwise.
    pub fn transaction(&self, id: &str) -> Result<Arc<TransactionHost>, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let index = self.shard(transactions::TOPIC, id)?;
        self.transactions.at(index)
    }

    /// The transaction coordinators that are ready.
    ///
    /// # Errors
    /// One is still being loaded.
    pub fn all_transactions(&self) -> Result<Vec<Arc<TransactionHost>>, ErrorCode> {
        if self.transactions.is_loading() {
            return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        }
        Ok(self.transactions.all().into_iter().map(|(_, host)| host).collect())
    }

    /// Writes the markers of what this coordinator has decided, as far as that need not be waited
    /// for; the others follow.
    pub fn write_markers(&self, host: &Arc<TransactionHost>) {
        self.markers.take_from(host);
    }

    /// Where the coordinator of a transactional id is: its partition, and the broker that leads it.
    ///
    /// # Errors
    /// It is nowhere at the moment.
    pub fn transaction_place(&self, id: &str) -> Result<(PartitionIndex, NodeId), ErrorCode> {
        let none = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        let index = self.shard(transactions::TOPIC, id)?;
        let cluster = self.cluster.load();
        let topic = cluster.topic(transactions::TOPIC).ok_or(none)?;
        let leader = topic.partitions.get(&index).map(|state| state.leader);
        leader.filter(|leader| *leader >= 0).map(|leader| (index, leader)).ok_or(none)
    }

    /// The way to coordinators of transactions on other brokers.
    #[must_use]
    pub const fn adds(&self) -> &AddQueue {
        &self.adds
    }

    /// Writes the markers of other coordinators.
    #[must_use]
    pub const fn local_markers(&self) -> &LocalMarkers {
        self.markers.local()
    }

    /// Fires the timers of groups; does not return.
    pub async fn tick_groups(&self) {
        self.groups.tick().await;
    }

    /// Fires the timers of transactions and writes the markers that are left; does not return.
    pub async fn tick_transactions(&self) {
        tokio::join!(biased; self.transactions.tick(&self.markers), self.adds.run());
    }

    /// The operator has changed settings.
    pub(super) fn set(&self, groups: &GroupSettings, transactions: &TransactionSettings) {
        self.groups.set(groups);
        self.transactions.set(transactions);
    }

    /// Loads the coordinators whose partitions are led here, and unloads the others; see
    /// [`Groups::reconcile`]. Not for a serving thread.
    pub(super) fn reconcile(&self, partitions: &Partitions, gone: &[DeletedTopic]) {
        self.groups.reconcile(partitions);
        self.transactions.reconcile(partitions);
        if !gone.is_empty() {
            self.groups.topics_deleted(gone);
        }
    }
}
