//! What the cluster has now: brokers with their disks, partitions with their sizes, and what is on
//! the move already.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use ottla_client::{
    BrokerDescription, Client, LogDirDescription, PartitionDescription, Reassignment,
    TopicDescription, TopicPartition,
};
use ottla_types::{ErrorCode, NodeId};

use crate::balance::{BalanceBroker, BalancePartition, BrokerShare, PartitionShift};
use crate::cluster::{describe_all, log_dirs_of};
use crate::front::print_to_stderr;
use crate::topics::missing_topic;

/// The cluster as a plan needs it.
#[derive(Debug)]
pub struct ClusterSurvey {
    /// All registered brokers.
    pub brokers: Vec<BrokerDescription>,
    /// All topics.
    pub topics: Vec<TopicDescription>,
    /// The moves that are under way.
    pub under_way: BTreeMap<TopicPartition, Reassignment>,
    /// The size of each partition in bytes, as far as it is known.
    sizes: BTreeMap<TopicPartition, u64>,
    /// What the disks of brokers have in bytes, as far as it is known.
    disks: BTreeMap<NodeId, BrokerDisks>,
}

/// The disks of a broker together, in bytes.
#[derive(Clone, Copy, Debug)]
struct BrokerDisks {
    capacity: u64,
    free: u64,
}

impl ClusterSurvey {
    /// Asks the cluster. A broker that does not say what lies on its disks is named on the
    /// standard error.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn read(client: &Client) -> Result<Self, Box<dyn Error>> {
        let brokers = describe_all(client).await?.brokers;
        let topics = client.describe_topics(None).await?;
        let under_way = client.list_reassignments().await?;
        let leaders: BTreeMap<TopicPartition, NodeId> =
            all_partitions(&topics).map(|(place, it)| (place, it.leader)).collect();
        let (mut sizes, mut disks) = (BTreeMap::new(), BTreeMap::new());
        for broker in brokers.iter().filter(|it| !it.is_fenced) {
            let dirs = match log_dirs_of(client, broker.id).await {
                Ok(dirs) => dirs,
                Err(why) => {
                    let id = broker.id;
                    print_to_stderr(format!("the sizes on broker {id} are not known: {why}"));
                    continue;
                }
            };
            disks.extend(BrokerDisks::of(&dirs).map(|it| (broker.id, it)));
            for replica in dirs.into_iter().flat_map(|it| it.replicas) {
                let bytes = u64::try_from(replica.size_bytes).unwrap_or(0);
                // What a move copies is what the leader has; where that is not known, the most.
                let leads = leaders.get(&replica.place) == Some(&broker.id);
                let known = sizes.entry(replica.place).or_insert((false, 0));
                if !replica.is_future {
                    *known = (leads, bytes).max(*known);
                }
            }
        }
        let sizes = sizes.into_iter().map(|(place, (_, bytes))| (place, bytes)).collect();
        Ok(Self { brokers, topics, under_way, sizes, disks })
    }

    /// The brokers, with what a plan may do with each; fenced ones keep what they have.
    pub fn balance_brokers(
        &self,
        kept: &BTreeSet<NodeId>,
        leaving: &BTreeSet<NodeId>,
    ) -> Vec<BalanceBroker> {
        let one = |broker: &BrokerDescription| {
            let share = match leaving.contains(&broker.id) {
                true => BrokerShare::Leaving,
                false if broker.is_fenced || kept.contains(&broker.id) => BrokerShare::Kept,
                false => BrokerShare::Full,
            };
            let disks = self.disks.get(&broker.id);
            BalanceBroker {
                id: broker.id,
                rack: broker.rack.clone(),
                share,
                capacity_bytes: disks.map(|it| it.capacity),
                free_bytes: disks.map(|it| it.free),
            }
        };
        let mut all: Vec<BalanceBroker> = self.brokers.iter().map(one).collect();
        // One that leaves may be unregistered already.
        let known: BTreeSet<NodeId> = all.iter().map(|it| it.id).collect();
        all.extend(leaving.difference(&known).map(|id| BalanceBroker {
            id: *id,
            rack: None,
            share: BrokerShare::Leaving,
            capacity_bytes: None,
            free_bytes: None,
        }));
        all
    }

    /// The partitions. Those that move already have the replicas that they will have, and stay;
    /// those without a leader, which cannot be copied, stay as well.
    pub fn balance_partitions(
        &self,
        is_chosen: impl Fn(&TopicDescription) -> bool,
        factor: impl Fn(usize) -> usize,
    ) -> Vec<BalancePartition> {
        let mut all = Vec::new();
        for topic in &self.topics {
            let is_chosen = is_chosen(topic);
            for it in &topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), it.partition);
                let moving = self.under_way.get(&place);
                let replicas = moving.map_or_else(|| it.replicas.clone(), target_of);
                let is_movable = is_chosen && moving.is_none() && it.leader >= 0;
                let bytes = self.sizes.get(&place).copied().unwrap_or(0);
                let factor = if is_movable { factor(replicas.len()) } else { replicas.len() };
                all.push(BalancePartition { place, replicas, factor, bytes, is_movable });
            }
        }
        all
    }

    /// The moves that are under way, as changes of a plan.
    pub fn moves_under_way(&self) -> impl Iterator<Item = PartitionShift> {
        self.under_way.iter().map(|(place, moving)| {
            let stays = |id: &NodeId| !moving.adding.contains(id);
            let from = moving.replicas.iter().copied().filter(stays).collect();
            let bytes = self.sizes.get(place).copied().unwrap_or(0);
            PartitionShift {
                place: place.clone(),
                from,
                to: target_of(moving),
                bytes_moved: bytes.saturating_mul(moving.adding.len() as u64),
            }
        })
    }

    /// The partitions without a leader.
    pub fn leaderless(&self) -> Vec<TopicPartition> {
        let all = all_partitions(&self.topics).filter(|(_, it)| it.leader < 0);
        all.map(|(place, _)| place).collect()
    }

    /// The partitions that another replica than the preferred one leads, although that is in sync.
    pub fn led_by_others(
        &self,
        is_chosen: impl Fn(&TopicDescription) -> bool,
    ) -> Vec<TopicPartition> {
        let is_other = |at: &PartitionDescription| {
            at.replicas.first().is_some_and(|id| *id != at.leader && at.in_sync.contains(id))
        };
        let mut all = Vec::new();
        for topic in self.topics.iter().filter(|it| is_chosen(it)) {
            let other = topic.partitions.iter().filter(|it| is_other(it));
            all.extend(other.map(|it| TopicPartition::new(topic.name.as_str(), it.partition)));
        }
        all
    }

    /// The partitions that have a replica on a broker, or will have one.
    pub fn held_by(&self, broker: NodeId) -> Vec<TopicPartition> {
        let holds = |place: &TopicPartition, partition: &PartitionDescription| {
            partition.replicas.contains(&broker)
                || self.under_way.get(place).is_some_and(|it| it.adding.contains(&broker))
        };
        let all = all_partitions(&self.topics).filter(|(place, it)| holds(place, it));
        all.map(|(place, _)| place).collect()
    }

    /// The brokers that can be given replicas.
    pub fn live_brokers(&self) -> usize {
        self.brokers.iter().filter(|it| !it.is_fenced).count()
    }

    /// Refuses names of topics that do not exist.
    ///
    /// # Errors
    /// There is no topic of one of these names.
    pub async fn check_topics(
        &self,
        client: &Client,
        names: &[String],
    ) -> Result<(), Box<dyn Error>> {
        let is_known = |name: &&String| self.topics.iter().any(|it| it.name == **name);
        match names.iter().find(|name| !is_known(name)) {
            Some(name) => Err(missing_topic(client, name).await.into()),
            None => Ok(()),
        }
    }

    /// Refuses ids of brokers that are not registered.
    ///
    /// # Errors
    /// One of them is not.
    pub fn check_brokers(&self, ids: &[NodeId]) -> Result<(), String> {
        let is_known = |id: &&NodeId| self.brokers.iter().any(|it| it.id == **id);
        let Some(id) = ids.iter().find(|id| !is_known(id)) else { return Ok(()) };
        let known: Vec<String> = self.brokers.iter().map(|it| it.id.to_string()).collect();
        Err(format!("there is no broker {id}; the brokers are {}", known.join(", ")))
    }
}

impl BrokerDisks {
    /// What the directories that work have together; `None` if a size is not known.
    fn of(dirs: &[LogDirDescription]) -> Option<Self> {
        let mut all = Self { capacity: 0, free: 0 };
        for dir in dirs.iter().filter(|it| it.error == ErrorCode::NONE) {
            all.capacity += u64::try_from(dir.total_bytes).ok()?;
            all.free += u64::try_from(dir.usable_bytes).ok()?;
        }
        (all.capacity > 0).then_some(all)
    }
}

/// The replicas that a partition has when its move has ended.
fn target_of(moving: &Reassignment) -> Vec<NodeId> {
    moving.replicas.iter().copied().filter(|id| !moving.removing.contains(id)).collect()
}

/// All partitions of topics.
pub fn all_partitions(
    topics: &[TopicDescription],
) -> impl Iterator<Item = (TopicPartition, &PartitionDescription)> {
    topics.iter().flat_map(|topic| {
        let of = |it| TopicPartition::new(topic.name.as_str(), it);
        topic.partitions.iter().map(move |it| (of(it.partition), it))
    })
}
