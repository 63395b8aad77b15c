//! The follower's side of a fetch session (KIP-227): what the leader remembers of it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_partitions::FollowerPosition;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use ottla_types::{PartitionIndex, Uuid};

/// A partition in a fetch: its topic's id, and its index.
pub type FetchedKey = (Uuid, PartitionIndex);

/// What a follower is to ask one leader for.
#[derive(Debug, Default)]
pub struct WantedPositions {
    positions: BTreeMap<FetchedKey, FollowerPosition>,
    /// What has changed since the last request of the session.
    changed: BTreeSet<FetchedKey>,
}

impl WantedPositions {
    /// Nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The partition is asked for from this position.
    pub fn want(&mut self, key: FetchedKey, position: FollowerPosition) {
        if self.positions.insert(key, position) != Some(position) {
            self.changed.insert(key);
        }
    }

    /// The partition is not asked for.
    pub fn leave(&mut self, key: FetchedKey) {
        if self.positions.remove(&key).is_some() {
            self.changed.insert(key);
        }
    }

    /// What is asked for at another position than in the last request of the session.
    pub fn changed(&self) -> impl Iterator<Item = (FetchedKey, FollowerPosition)> {
        let position = |key: &FetchedKey| Some((*key, *self.positions.get(key)?));
        self.changed.iter().filter_map(position)
    }
}

/// What a leader remembers of this follower, as far as it has answered.
#[derive(Debug, Default)]
pub struct LeaderSession {
    /// 0 without a session.
    id: i32,
    /// Of the next request; 0 asks for a new session.
    epoch: i32,
    /// What it was told last of each partition.
    told: BTreeMap<FetchedKey, FollowerPosition>,
}

/// The part of a request that is about the session.
#[derive(Debug)]
pub struct SessionPart {
    /// The session's id, 0 for a new one.
    pub id: i32,
    /// The session's epoch, 0 for a new one.
    pub epoch: i32,
    /// Partitions that the leader does not know, or not as they are now.
    pub topics: Vec<FetchTopic>,
    /// Partitions that it is to forget.
    pub forgotten: Vec<ForgottenTopic>,
}

impl LeaderSession {
    /// The next request is to ask for all of `wanted` and for nothing else.
    pub fn next(&mut self, wanted: &mut WantedPositions, bytes_max: i32) -> SessionPart {
        let mut changed = std::mem::take(&mut wanted.changed);
        if self.epoch == 0 {
            self.told.clear();
            changed = wanted.positions.keys().copied().collect();
        }
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        let mut news = BTreeMap::new();
        for key in changed {
            if let Some(position) = wanted.positions.get(&key) {
                if self.told.insert(key, *position) != Some(*position) {
                    news.insert(key, *position);
                }
                continue;
            }
            if self.told.remove(&key).is_none() {
                continue;
            }
            let (topic_id, index) = key;
            if forgotten.last().is_none_or(|last| last.topic_id != topic_id) {
                forgotten.push(ForgottenTopic { topic_id, ..Default::default() });
            }
            forgotten.last_mut().expect("one was put there").partitions.push(index);
        }
        let topics = fetch_topics(&news, bytes_max);
        SessionPart { id: self.id, epoch: self.epoch, topics, forgotten }
    }

    /// What the leader was told last of a partition: what its answer is about.
    #[must_use]
    pub fn told(&self, key: &FetchedKey) -> Option<FollowerPosition> {
        self.told.get(key).copied()
    }

    /// The leader has answered, in the session with this id (0: it keeps none).
    pub fn answered(&mut self, id: i32) {
        if id == 0 {
            *self = Self::default();
            return;
        }
        self.id = id;
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
    }

    /// What the leader remembers is not known: the next request begins another session. It names
    /// the old one, which ends by that.
    pub fn reset(&mut self) {
        self.epoch = 0;
        self.told.clear();
    }

    /// The leader has no session with this id.
    pub fn lost(&mut self) {
        *self = Self::default();
    }
}

/// Partitions as a fetch names them.
pub fn fetch_topics(
    wanted: &BTreeMap<FetchedKey, FollowerPosition>,
    bytes_max: i32,
) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic_id, partition), position) in wanted {
        if topics.last().is_none_or(|last| last.topic_id != *topic_id) {
            topics.push(FetchTopic { topic_id: *topic_id, ..Default::default() });
        }
        topics.last_mut().expect("one was put there").partitions.push(FetchPartition {
            partition: *partition,
            current_leader_epoch: position.leader_epoch,
            fetch_offset: position.end,
            last_fetched_epoch: position.last_epoch,
            log_start_offset: position.log_start,
            partition_max_bytes: bytes_max,
            ..Default::default()
        });
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(end: i64) -> FollowerPosition {
        FollowerPosition { leader: 1, leader_epoch: 3, end, last_epoch: 2, log_start: 0 }
    }

    /// From now on exactly these are wanted.
    fn want(wanted: &mut WantedPositions, all: &[(i32, i64)]) {
        let keys: Vec<FetchedKey> = wanted.positions.keys().copied().collect();
        for key in keys.into_iter().filter(|key| all.iter().all(|(index, _)| *index != key.1)) {
            wanted.leave(key);
        }
        for (index, end) in all {
            wanted.want((Uuid::of(7), *index), position(*end));
        }
    }

    /// The indexes that a request names, and those that it forgets.
    fn named(part: &SessionPart) -> (Vec<i32>, Vec<i32>) {
        let named = part.topics.iter().flat_map(|topic| &topic.partitions);
        let forgotten = part.forgotten.iter().flat_map(|topic| topic.partitions.clone());
        (named.map(|it| it.partition).collect(), forgotten.collect())
    }

    #[test]
    fn only_what_has_changed_is_named_again() {
        let (mut session, mut wanted) = (LeaderSession::default(), WantedPositions::default());
        want(&mut wanted, &[(0, 5), (1, 6)]);
        let first = session.next(&mut wanted, 100);
        assert_eq!((first.id, first.epoch, named(&first)), (0, 0, (vec![0, 1], vec![])));
        session.answered(77);
        want(&mut wanted, &[(0, 5), (1, 9)]);
        let second = session.next(&mut wanted, 100);
        assert_eq!((second.id, second.epoch, named(&second)), (77, 1, (vec![1], vec![])));
        session.answered(77);
        want(&mut wanted, &[(1, 9), (2, 0)]);
        let third = session.next(&mut wanted, 100);
        assert_eq!((third.epoch, named(&third)), (2, (vec![2], vec![0])));
    }

    #[test]
    fn after_a_failure_all_is_named_and_the_old_session_ends() {
        let (mut session, mut wanted) = (LeaderSession::default(), WantedPositions::default());
        want(&mut wanted, &[(0, 5)]);
        let _ = session.next(&mut wanted, 100);
        session.answered(77);
        session.reset();
        want(&mut wanted, &[(0, 5)]);
        let again = session.next(&mut wanted, 100);
        assert_eq!((again.id, again.epoch, named(&again)), (77, 0, (vec![0], vec![])));
        session.answered(78);
        session.lost();
        want(&mut wanted, &[(0, 5)]);
        let fresh = session.next(&mut wanted, 100);
        assert_eq!((fresh.id, fresh.epoch, named(&fresh)), (0, 0, (vec![0], vec![])));
    }

    #[test]
    fn a_leader_that_keeps_no_session_is_told_all_each_time() {
        let (mut session, mut wanted) = (LeaderSession::default(), WantedPositions::default());
        for _ in 0..2 {
            want(&mut wanted, &[(0, 5)]);
            let part = session.next(&mut wanted, 100);
            assert_eq!((part.id, part.epoch, named(&part)), (0, 0, (vec![0], vec![])));
            session.answered(0);
        }
    }
}
