//! The partitions of a producer, and which of them have something to do: to be sent, to be settled
//! after a failure, to be tried again later.
//!
//! A producer looks at all this after every batch, so that what it looks at must not grow with the
//! partitions that have to wait, but with what can be sent. Each partition stands in one place:
//!
//! ```text
//! idle        nothing may be sent: no batch, or as many on their way as may be
//! unplaced    a batch may be sent, its leader is to be looked up
//! ready       a batch may be sent to this leader
//! failed      a batch has failed, and all that were sent are answered
//! paused      a batch is to be sent again, but not before this time
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use ottla_types::{NodeId, TopicPartition, Uuid};

use super::queue::{BATCHES_IN_FLIGHT_MAX, PartitionQueue};

/// Where a partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum QueueStanding {
    #[default]
    Idle,
    Unplaced,
    Ready(NodeId),
    Failed,
    Paused(Duration),
}

/// A partition with a batch that may be sent to its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadyPartition {
    pub place: TopicPartition,
    pub topic_id: Uuid,
}

#[derive(Debug, Default)]
struct StandingQueue {
    queue: PartitionQueue,
    standing: QueueStanding,
    /// Is it among those that have batches?
    is_unwritten: bool,
}

/// All partitions of a producer.
#[derive(Debug)]
pub(super) struct ProducerQueues {
    /// How many batches of a partition may be on their way.
    in_flight_max: usize,
    by_place: BTreeMap<TopicPartition, StandingQueue>,
    unplaced: BTreeSet<TopicPartition>,
    /// By leader; with the id of the topic.
    ready: BTreeMap<NodeId, BTreeMap<TopicPartition, Uuid>>,
    failed: BTreeSet<TopicPartition>,
    /// By the time from which on they may be sent.
    paused: BTreeSet<(Duration, TopicPartition)>,
    /// How many partitions have batches.
    unwritten: usize,
}

impl ProducerQueues {
    pub fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max,
            by_place: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            ready: BTreeMap::new(),
            failed: BTreeSet::new(),
            paused: BTreeSet::new(),
            unwritten: 0,
        }
    }

    /// Does this to a partition's queue, which is new if there was none.
    pub fn change<T>(
        &mut self,
        place: &TopicPartition,
        change: impl FnOnce(&mut PartitionQueue) -> T,
    ) -> T {
        if !self.by_place.contains_key(place) {
            self.by_place.insert(place.clone(), StandingQueue::default());
        }
        let it = self.by_place.get_mut(place).expect("it was just put there");
        let done = change(&mut it.queue);
        let is_unwritten = it.queue.batches() > 0;
        if is_unwritten != it.is_unwritten {
            it.is_unwritten = is_unwritten;
            self.unwritten = if is_unwritten { self.unwritten + 1 } else { self.unwritten - 1 };
        }
        let before = it.standing;
        it.standing = standing_of(&it.queue, before, self.in_flight_max);
        let now = it.standing;
        if now != before {
            self.leave(place, before);
            self.enter(place, now);
        }
        done
    }

    /// Does this to the queues of all partitions.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut PartitionQueue)) {
        let all: Vec<TopicPartition> = self.by_place.keys().cloned().collect();
        for place in &all {
            self.change(place, &mut change);
        }
    }

    /// May this partition collect another batch?
    pub fn has_room(&self, place: &TopicPartition) -> bool {
        self.by_place.get(place).is_none_or(|it| it.queue.batches() < BATCHES_IN_FLIGHT_MAX)
    }

    /// Is everything written or lost that was made a batch?
    pub const fn is_all_written(&self) -> bool {
        self.unwritten == 0
    }

    /// May a batch be sent, as far as its partition is concerned?
    pub fn has_due(&self) -> bool {
        !self.unplaced.is_empty() || !self.ready.is_empty()
    }

    /// When the first of the partitions that wait may be sent again.
    pub fn first_retry(&self) -> Option<Duration> {
        self.paused.first().map(|(at, _)| *at)
    }

    /// What has waited long enough may be sent.
    pub fn end_pauses(&mut self, now: Duration) {
        while let Some((_, place)) = self.paused.first().filter(|(at, _)| *at <= now).cloned() {
            self.change(&place, |queue| queue.retry_at = None);
        }
    }

    /// A partition whose leader is to be looked up.
    pub fn first_unplaced(&self) -> Option<TopicPartition> {
        self.unplaced.first().cloned()
    }

    /// A partition with a batch that may be sent has this leader.
    pub fn place_at(&mut self, leader: NodeId, partition: &ReadyPartition) {
        let ReadyPartition { place, topic_id } = partition;
        let it = self.by_place.get_mut(place);
        if let Some(it) = it.filter(|it| it.standing == QueueStanding::Unplaced) {
            it.standing = QueueStanding::Ready(leader);
            self.unplaced.remove(place);
            self.ready.entry(leader).or_default().insert(place.clone(), *topic_id);
        }
    }

    /// The leaders that something may be sent to.
    pub fn ready_leaders(&self) -> Vec<NodeId> {
        self.ready.keys().copied().collect()
    }

    /// The next partition after `last`, of those with a batch for this leader.
    pub fn next_ready(
        &self,
        leader: NodeId,
        last: Option<&TopicPartition>,
    ) -> Option<ReadyPartition> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.ready.get(&leader)?.range((from, Bound::Unbounded));
        let (place, topic_id) = rest.next()?;
        Some(ReadyPartition { place: place.clone(), topic_id: *topic_id })
    }

    /// The leaders of partitions, those of one topic if it is named, are to be looked up again.
    pub fn forget_leaders(&mut self, topic: Option<&str>) {
        for (place, it) in &mut self.by_place {
            if let QueueStanding::Ready(leader) = it.standing
                && topic.is_none_or(|topic| *topic == *place.topic)
            {
                it.standing = QueueStanding::Unplaced;
                remove_ready(&mut self.ready, leader, place);
                self.unplaced.insert(place.clone());
            }
        }
    }

    /// The partitions with failures that can be settled.
    pub fn failed(&self) -> Vec<TopicPartition> {
        self.failed.iter().cloned().collect()
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.in_flight_max);
    }

    fn leave(&mut self, place: &TopicPartition, standing: QueueStanding) {
        match standing {
            QueueStanding::Idle => {}
            QueueStanding::Unplaced => drop(self.unplaced.remove(place)),
            QueueStanding::Ready(leader) => remove_ready(&mut self.ready, leader, place),
            QueueStanding::Failed => drop(self.failed.remove(place)),
            QueueStanding::Paused(at) => drop(self.paused.remove(&(at, place.clone()))),
        }
    }

    fn enter(&mut self, place: &TopicPartition, standing: QueueStanding) {
        match standing {
            QueueStanding::Idle => {}
            QueueStanding::Unplaced => drop(self.unplaced.insert(place.clone())),
            QueueStanding::Ready(_) => unreachable!("a leader is looked up first"),
            QueueStanding::Failed => drop(self.failed.insert(place.clone())),
            QueueStanding::Paused(at) => drop(self.paused.insert((at, place.clone()))),
        }
    }
}

/// Where a queue stands that was there before.
fn standing_of(
    queue: &PartitionQueue,
    before: QueueStanding,
    in_flight_max: usize,
) -> QueueStanding {
    if queue.can_settle() {
        return QueueStanding::Failed;
    }
    if let Some(at) = queue.retry_at {
        return QueueStanding::Paused(at);
    }
    match (queue.has_due(in_flight_max), before) {
        (false, _) => QueueStanding::Idle,
        (true, QueueStanding::Ready(leader)) => QueueStanding::Ready(leader),
        (true, _) => QueueStanding::Unplaced,
    }
}

fn remove_ready(
    ready: &mut BTreeMap<NodeId, BTreeMap<TopicPartition, Uuid>>,
    leader: NodeId,
    place: &TopicPartition,
) {
    if let Some(places) = ready.get_mut(&leader) {
        places.remove(place);
        if places.is_empty() {
            ready.remove(&leader);
        }
    }
}

#[cfg(test)]
#[path = "queues_tests.rs"]
mod tests;
