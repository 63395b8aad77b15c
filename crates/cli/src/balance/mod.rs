//! The balancer's planner: which replicas should lie on which brokers.
//!
//! Pure: it is given the brokers and partitions, and returns the changed assignments. The same
//! input has the same plan. Its goals, the most important first: no partition has two replicas on
//! one broker, and racks are not spread worse than before; disks are evenly filled; brokers hold
//! equally many replicas; brokers lead equally many partitions; few bytes are copied.

mod evening;
mod layout;
mod leading;
mod placing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ottla_types::{NodeId, TopicPartition};

use self::layout::BalanceLayout;

/// What a broker is for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerShare {
    /// It gives and takes replicas.
    Full,
    /// It keeps what it has, and is given nothing: it is fenced, or the operator excluded it.
    Kept,
    /// All its replicas move to others.
    Leaving,
}

/// A broker that replicas may lie on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceBroker {
    /// Its id.
    pub id: NodeId,
    /// `broker.rack`. If a broker has none, racks are ignored.
    pub rack: Option<String>,
    /// What the plan may do with it.
    pub share: BrokerShare,
    /// The size of its disks in bytes, if known.
    pub capacity_bytes: Option<u64>,
    /// What is free on its disks in bytes, if known.
    pub free_bytes: Option<u64>,
}

/// A partition and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancePartition {
    /// Its topic and number.
    pub place: TopicPartition,
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// How many replicas it is to have; as many as `replicas`, or more.
    pub factor: usize,
    /// How many bytes each replica has.
    pub bytes: u64,
    /// May its replicas move? Those of topics that were not chosen and of partitions that move
    /// already stay.
    pub is_movable: bool,
}

/// What a plan changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanScope {
    /// Every movable partition, so that brokers are evenly loaded.
    All,
    /// Only partitions with a replica on a leaving broker, or with fewer replicas than wanted.
    Needed,
}

/// What a broker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerHolding {
    /// Bytes of all its replicas.
    pub bytes: u64,
    /// How many replicas.
    pub replicas: usize,
    /// Of how many partitions it is the preferred leader.
    pub leaders: usize,
}

/// How uneven brokers are: the most that one of them has, divided by its fair share. 1 is even.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imbalance {
    /// Of bytes on disk; the fair share follows the size of disks where all sizes are known.
    pub bytes: f64,
    /// Of numbers of replicas.
    pub replicas: f64,
    /// Of numbers of preferred leaders.
    pub leaders: f64,
}

/// A partition that a plan changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionShift {
    /// The partition.
    pub place: TopicPartition,
    /// Its replicas now.
    pub from: Vec<NodeId>,
    /// Its replicas afterwards, the preferred leader first.
    pub to: Vec<NodeId>,
    /// How many bytes are copied for it.
    pub bytes_moved: u64,
}

impl PartitionShift {
    /// The brokers that are to copy the partition.
    pub fn added(&self) -> impl Iterator<Item = NodeId> {
        self.to.iter().copied().filter(|id| !self.from.contains(id))
    }
}

/// A plan: the partitions that change, and what brokers hold before and after it.
#[derive(Clone, Debug, PartialEq)]
pub struct BalancePlan {
    /// What changes, by partition.
    pub shifts: Vec<PartitionShift>,
    /// What each broker holds now.
    pub before: BTreeMap<NodeId, BrokerHolding>,
    /// What each broker holds after the plan.
    pub after: BTreeMap<NodeId, BrokerHolding>,
    /// How uneven brokers are now.
    pub imbalance_before: Imbalance,
    /// How uneven brokers are after the plan.
    pub imbalance_after: Imbalance,
}

impl BalancePlan {
    /// How many bytes are copied.
    #[must_use]
    pub fn bytes_moved(&self) -> u64 {
        self.shifts.iter().map(|it| it.bytes_moved).sum()
    }

    /// How many replicas are copied.
    #[must_use]
    pub fn replicas_moved(&self) -> usize {
        self.shifts.iter().map(|it| it.added().count()).sum()
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanObstacle {
    /// Partitions have more replicas than brokers remain.
    TooFewBrokers {
        /// How many brokers may hold replicas.
        brokers: usize,
        /// The topics, with the highest number of replicas of a partition of theirs.
        topics: BTreeMap<String, usize>,
    },
    /// A replica that must move is larger than what is free on each other broker.
    NoRoom {
        /// Its partition.
        place: TopicPartition,
        /// Its size.
        bytes: u64,
    },
}

impl fmt::Display for PlanObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewBrokers { brokers, topics } => {
                let name = |(topic, factor): (&String, &usize)| format!("{topic} ({factor})");
                let names: Vec<String> = topics.iter().map(name).collect();
                write!(
                    f,
                    "{brokers} brokers remain, and these topics have more replicas: {}",
                    names.join(", ")
                )
            }
            Self::NoRoom { place, bytes } => {
                let size = crate::output::format_bytes(*bytes);
                write!(f, "no other broker has room for the {size} of partition {place}")
            }
        }
    }
}

/// Plans.
///
/// # Errors
/// A replica that must move, or must be added, has no broker to go to.
pub fn plan_balance(
    brokers: &[BalanceBroker],
    partitions: &[BalancePartition],
    scope: PlanScope,
) -> Result<BalancePlan, PlanObstacle> {
    let mut layout = BalanceLayout::new(brokers, partitions);
    check_factors(&layout, partitions)?;
    let (before, imbalance_before) = (layout.holdings(), layout.imbalance());
    placing::place_needed(&mut layout)?;
    if scope == PlanScope::All {
        placing::spread_racks(&mut layout);
        evening::even_bytes(&mut layout);
        evening::even_counts(&mut layout);
    }
    leading::even_leaders(&mut layout, scope);
    Ok(finish_plan(&layout, before, imbalance_before))
}

/// The plan that gives partitions these replicas, whatever comes of it.
#[must_use]
pub fn plan_wanted(
    brokers: &[BalanceBroker],
    partitions: &[BalancePartition],
    wanted: &BTreeMap<TopicPartition, Vec<NodeId>>,
) -> BalancePlan {
    let mut layout = BalanceLayout::new(brokers, partitions);
    let (before, imbalance_before) = (layout.holdings(), layout.imbalance());
    for (at, partition) in partitions.iter().enumerate() {
        if let Some(replicas) = wanted.get(&partition.place) {
            layout.set_replicas(at, replicas);
        }
    }
    finish_plan(&layout, before, imbalance_before)
}

fn finish_plan(
    layout: &BalanceLayout<'_>,
    before: BTreeMap<NodeId, BrokerHolding>,
    imbalance_before: Imbalance,
) -> BalancePlan {
    BalancePlan {
        shifts: layout.shifts(),
        before,
        after: layout.holdings(),
        imbalance_before,
        imbalance_after: layout.imbalance(),
    }
}

/// Refuses partitions that leave a broker, or get more replicas, where too few brokers remain.
fn check_factors(
    layout: &BalanceLayout<'_>,
    partitions: &[BalancePartition],
) -> Result<(), PlanObstacle> {
    let with = |share| layout.ids_with(share).collect::<BTreeSet<NodeId>>();
    let (full, leaving) = (with(BrokerShare::Full), with(BrokerShare::Leaving));
    let mut topics = BTreeMap::new();
    for it in partitions.iter().filter(|it| it.is_movable) {
        let stays = |id: &&NodeId| !full.contains(id) && !leaving.contains(id);
        let room = full.len() + it.replicas.iter().filter(stays).count();
        let is_needed =
            it.factor > it.replicas.len() || it.replicas.iter().any(|id| leaving.contains(id));
        if is_needed && it.factor > room {
            let most = topics.entry(it.place.topic.to_string()).or_insert(0);
            *most = it.factor.max(*most);
        }
    }
    match topics.is_empty() {
        true => Ok(()),
        false => Err(PlanObstacle::TooFewBrokers { brokers: full.len(), topics }),
    }
}
