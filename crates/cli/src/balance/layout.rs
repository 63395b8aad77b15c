//! Where replicas lie while a plan is made, and what each broker holds by that.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::{
    BalanceBroker, BalancePartition, BrokerHolding, BrokerShare, Imbalance, PartitionShift,
};

/// A broker, while a plan is made.
#[derive(Debug)]
pub struct PlannedBroker {
    id: NodeId,
    /// Brokers with the same number are in one rack; where racks are ignored each has its own.
    rack: usize,
    pub share: BrokerShare,
    /// Its part of all bytes is its weight by the sum of all weights.
    weight: f64,
    free: Option<u64>,
    pub bytes: u64,
    /// Bytes that are copied to it.
    incoming: u64,
    /// The partitions that it holds, the largest first.
    pub held: Vec<usize>,
}

/// A partition, while a plan is made. Brokers are indexes.
#[derive(Debug)]
pub struct PlannedPartition {
    pub replicas: Vec<usize>,
    original: Vec<usize>,
    pub factor: usize,
    pub bytes: u64,
    pub is_movable: bool,
}

impl PlannedPartition {
    /// Does the plan change it?
    pub fn is_changed(&self) -> bool {
        self.replicas != self.original
    }
}

/// All of it.
#[derive(Debug)]
pub struct BalanceLayout<'a> {
    pub brokers: Vec<PlannedBroker>,
    pub partitions: Vec<PlannedPartition>,
    given: &'a [BalancePartition],
}

impl<'a> BalanceLayout<'a> {
    pub fn new(brokers: &[BalanceBroker], partitions: &'a [BalancePartition]) -> Self {
        let has_racks = brokers.iter().all(|it| it.rack.is_some());
        let mut racks = BTreeMap::new();
        let full = || brokers.iter().filter(|it| it.share == BrokerShare::Full);
        let has_sizes = full().all(|it| it.capacity_bytes.is_some_and(|size| size > 0));
        let mut all: BTreeMap<NodeId, PlannedBroker> = BTreeMap::new();
        for it in brokers {
            let rack = it.rack.clone().filter(|_| has_racks).ok_or(it.id);
            let next = racks.len();
            let broker = PlannedBroker {
                rack: *racks.entry(rack).or_insert(next),
                weight: it.capacity_bytes.filter(|_| has_sizes).map_or(1.0, as_real),
                free: it.free_bytes,
                ..PlannedBroker::empty(it.id, it.share)
            };
            all.insert(it.id, broker);
        }
        // Replicas of a broker that is not registered stay where they are.
        for id in partitions.iter().flat_map(|it| &it.replicas) {
            let next = racks.len();
            all.entry(*id).or_insert_with(|| PlannedBroker {
                rack: *racks.entry(Err(*id)).or_insert(next),
                ..PlannedBroker::empty(*id, BrokerShare::Kept)
            });
        }
        let index: BTreeMap<NodeId, usize> = all.keys().copied().zip(0..).collect();
        let mut layout = Self {
            brokers: all.into_values().collect(),
            partitions: Vec::new(),
            given: partitions,
        };
        for it in partitions {
            let replicas: Vec<usize> = it.replicas.iter().map(|id| index[id]).collect();
            layout.partitions.push(PlannedPartition {
                original: replicas.clone(),
                factor: it.factor,
                bytes: it.bytes,
                is_movable: it.is_movable,
                replicas: Vec::new(),
            });
            let partition = layout.partitions.len() - 1;
            replicas.into_iter().for_each(|broker| layout.add_replica(partition, broker));
        }
        layout
    }

    /// The topic and number of a partition.
    pub fn place_of(&self, partition: usize) -> TopicPartition {
        self.given[partition].place.clone()
    }

    /// The ids of brokers with this share.
    pub fn ids_with(&self, share: BrokerShare) -> impl Iterator<Item = NodeId> {
        self.brokers.iter().filter(move |it| it.share == share).map(|it| it.id)
    }

    /// The brokers that give and take.
    pub fn full_brokers(&self) -> Vec<usize> {
        let all = 0..self.brokers.len();
        all.filter(|at| self.brokers[*at].share == BrokerShare::Full).collect()
    }

    /// Gives a partition a replica, the last of its replicas.
    pub fn add_replica(&mut self, partition: usize, broker: usize) {
        self.partitions[partition].replicas.push(broker);
        self.hold(partition, broker);
    }

    /// Puts the replica of one broker on another; a preferred leader stays in its place.
    pub fn move_replica(&mut self, partition: usize, from: usize, to: usize) {
        for replica in &mut self.partitions[partition].replicas {
            if *replica == from {
                *replica = to;
            }
        }
        self.release(partition, from);
        self.hold(partition, to);
    }

    /// Gives a partition these replicas and no others; those of unknown brokers are left out.
    pub fn set_replicas(&mut self, partition: usize, wanted: &[NodeId]) {
        for broker in std::mem::take(&mut self.partitions[partition].replicas) {
            self.release(partition, broker);
        }
        for id in wanted {
            if let Some(broker) = self.brokers.iter().position(|it| it.id == *id) {
                self.add_replica(partition, broker);
            }
        }
    }

    fn hold(&mut self, partition: usize, broker: usize) {
        let at = self.place_in(broker, partition);
        let (it, to) = (&self.partitions[partition], &mut self.brokers[broker]);
        to.held.insert(at, partition);
        to.bytes += it.bytes;
        if !it.original.contains(&broker) {
            to.incoming += it.bytes;
        }
    }

    fn release(&mut self, partition: usize, broker: usize) {
        let at = self.place_in(broker, partition);
        let (it, from) = (&self.partitions[partition], &mut self.brokers[broker]);
        from.held.remove(at);
        from.bytes -= it.bytes;
        if !it.original.contains(&broker) {
            from.incoming -= it.bytes;
        }
    }

    /// Where a partition stands, or would stand, among those of a broker.
    fn place_in(&self, broker: usize, partition: usize) -> usize {
        let key = |at: usize| (Reverse(self.partitions[at].bytes), at);
        self.brokers[broker].held.partition_point(|at| key(*at) < key(partition))
    }

    /// How many replicas of a partition are in the rack of a broker, but for that on `without`.
    pub fn count_in_rack(&self, partition: usize, of: usize, without: Option<usize>) -> usize {
        let rack = self.brokers[of].rack;
        let replicas = self.partitions[partition].replicas.iter();
        let others = replicas.filter(|at| Some(**at) != without);
        others.filter(|at| self.brokers[**at].rack == rack).count()
    }

    /// Could a broker be given a replica that it does not have?
    pub fn can_take(&self, partition: usize, broker: usize) -> bool {
        let (it, to) = (&self.partitions[partition], &self.brokers[broker]);
        to.share == BrokerShare::Full
            && !it.replicas.contains(&broker)
            && (it.original.contains(&broker)
                || to.free.is_none_or(|free| to.incoming.saturating_add(it.bytes) <= free))
    }

    /// May a replica move, as far as the broker and racks are concerned?
    pub fn can_move(&self, partition: usize, from: usize, to: usize) -> bool {
        self.partitions[partition].is_movable
            && self.can_take(partition, to)
            && self.count_in_rack(partition, to, Some(from))
                <= self.count_in_rack(partition, from, Some(from))
    }

    /// The fair share of bytes of each broker that gives and takes; 0 of the others.
    pub fn fair_bytes(&self) -> Vec<f64> {
        let full = || self.brokers.iter().filter(|it| it.share == BrokerShare::Full);
        let bytes = as_real(full().map(|it| it.bytes).sum());
        let weight: f64 = full().map(|it| it.weight).sum();
        let fair = |broker: &PlannedBroker| match broker.share {
            BrokerShare::Full => bytes * broker.weight / weight,
            BrokerShare::Kept | BrokerShare::Leaving => 0.0,
        };
        self.brokers.iter().map(fair).collect()
    }

    /// The fair number of replicas of each broker that gives and takes.
    pub fn fair_count(&self) -> f64 {
        let counts = self.brokers.iter().filter(|it| it.share == BrokerShare::Full);
        mean_of(counts.map(|it| it.held.len()))
    }

    /// Of how many partitions each broker is the preferred leader.
    pub fn leader_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.brokers.len()];
        for leader in self.partitions.iter().filter_map(|it| it.replicas.first()) {
            counts[*leader] += 1;
        }
        counts
    }

    /// What each broker holds.
    pub fn holdings(&self) -> BTreeMap<NodeId, BrokerHolding> {
        let all = self.brokers.iter().zip(self.leader_counts());
        let holding = |(broker, leaders): (&PlannedBroker, usize)| {
            let replicas = broker.held.len();
            (broker.id, BrokerHolding { bytes: broker.bytes, replicas, leaders })
        };
        all.map(holding).collect()
    }

    /// How uneven the brokers are that give and take.
    pub fn imbalance(&self) -> Imbalance {
        let full = self.full_brokers();
        let fair = self.fair_bytes();
        let bytes = full.iter().map(|at| (as_real(self.brokers[*at].bytes), fair[*at]));
        let leaders = self.leader_counts();
        let counts = |of: &dyn Fn(usize) -> usize| {
            let mean = mean_of(full.iter().map(|at| of(*at)));
            highest_ratio(full.iter().map(|at| (as_real(of(*at) as u64), mean)))
        };
        Imbalance {
            bytes: highest_ratio(bytes),
            replicas: counts(&|at| self.brokers[at].held.len()),
            leaders: counts(&|at| leaders[at]),
        }
    }

    /// What has changed.
    pub fn shifts(&self) -> Vec<PartitionShift> {
        let ids = |all: &[usize]| all.iter().map(|at| self.brokers[*at].id).collect();
        let pairs = self.given.iter().zip(&self.partitions);
        let changed = pairs.filter(|(_, it)| it.is_changed());
        let shift = |(given, planned): (&BalancePartition, &PlannedPartition)| {
            let is_new = |at: &&usize| !planned.original.contains(at);
            let added = planned.replicas.iter().filter(is_new).count() as u64;
            PartitionShift {
                place: given.place.clone(),
                from: given.replicas.clone(),
                to: ids(&planned.replicas),
                bytes_moved: given.bytes.saturating_mul(added),
            }
        };
        let mut all: Vec<PartitionShift> = changed.map(shift).collect();
        all.sort_by(|a, b| a.place.cmp(&b.place));
        all
    }
}

impl PlannedBroker {
    const fn empty(id: NodeId, share: BrokerShare) -> Self {
        Self {
            id,
            rack: 0,
            share,
            weight: 1.0,
            free: None,
            bytes: 0,
            incoming: 0,
            held: Vec::new(),
        }
    }
}

/// A number of bytes for fractions. Above 2^53 it is rounded, which no plan notices.
pub fn as_real(count: u64) -> f64 {
    count as f64
}

fn mean_of(counts: impl Iterator<Item = usize>) -> f64 {
    let [mut sum, mut number] = [0, 0];
    for count in counts {
        sum += count as u64;
        number += 1;
    }
    as_real(sum) / as_real(number.max(1))
}

/// The highest of these, each divided by its fair share; 1 where there is nothing.
fn highest_ratio(all: impl Iterator<Item = (f64, f64)>) -> f64 {
    let ratios = all.filter(|(_, fair)| *fair > 0.0).map(|(own, fair)| own / fair);
    ratios.max_by(f64::total_cmp).unwrap_or(1.0)
}
