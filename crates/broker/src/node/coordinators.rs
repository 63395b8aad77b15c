//! The coordinators of this node: which of them a request is for, and what it asks them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_clock::{Clock, Lane};
use ottla_coordinator::group::{
    DeletedTopic, GroupCommand, GroupReply, GroupSettings, TransactionEnd,
};
use ottla_coordinator::transaction::TransactionSettings;
use ottla_metadata::Cluster;
use ottla_partitions::Partitions;
use ottla_types::{ErrorCode, PartitionIndex};

use crate::hosts::groups::{self, GroupHost, Groups};
use crate::hosts::markers::Markers;
use crate::hosts::shards::{ask_coordinator, shard_of};
use crate::hosts::transactions::{self, TransactionHost, Transactions};

/// The coordinators of groups and of transactions.
#[derive(Debug)]
pub struct Coordinators {
    groups: Groups,
    transactions: Transactions,
    markers: Markers,
    /// The metadata as of now; the node replaces it as a whole.
    cluster: Arc<ArcSwap<Cluster>>,
}

/// What coordinators are made of.
#[derive(Debug)]
pub struct CoordinatorParts {
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
        let CoordinatorParts { clock, loading, partitions, cluster, groups, transactions } = parts;
        let groups = Groups::new(clock.clone(), loading.clone(), groups);
        let transactions = Transactions::new(clock.clone(), loading, transactions);
        let markers =
            Markers { partitions, groups: groups.clone(), clock, cluster: Arc::clone(&cluster) };
        Self { groups, transactions, markers, cluster }
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

    /// Writes the markers of what this coordinator has decided; what cannot be written yet is left
    /// to [`Coordinators::tick_transactions`].
    pub async fn write_markers(&self, host: &TransactionHost) {
        if !self.markers.work_off(host).await {
            self.transactions.wake();
        }
    }

    /// Ends a producer's transaction in one partition, and waits until that is seen.
    ///
    /// # Errors
    /// The error code for the coordinator that asks.
    pub async fn write_marker(
        &self,
        topic: &str,
        index: PartitionIndex,
        end: &TransactionEnd,
    ) -> Result<(), ErrorCode> {
        self.markers.write(topic, index, end).await
    }

    /// Fires the timers of groups; does not return.
    pub async fn tick_groups(&self) {
        self.groups.tick().await;
    }

    /// Fires the timers of transactions and writes the markers that are left; does not return.
    pub async fn tick_transactions(&self) {
        self.transactions.tick(&self.markers).await;
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
