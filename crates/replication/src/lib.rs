//! One partition's in-sync set and watermarks, as its leader sees them (KIP-497, KIP-966).
//!
//! Pure: appends and fetches are its input, the high watermark its output.
//! A node of its own is the smallest case: it is the only member of the in-sync set, so what it
//! appends is committed at once.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ottla_types::{Bug, LeaderEpoch, NO_OFFSET, NodeId, Offset, is_planted};

/// What the cluster's metadata says of one partition, as far as replication needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// The leader, or -1.
    pub leader: NodeId,
    /// How often the leader changed.
    pub leader_epoch: LeaderEpoch,
    /// How often anything of the partition changed.
    pub partition_epoch: i32,
    /// All that hold a copy, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those that have all that is committed.
    pub in_sync: Vec<NodeId>,
}

/// An acks=all write was refused: too few replicas are in sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEnoughReplicas {
    /// How many are in sync.
    pub in_sync: usize,
    /// How many are required.
    pub required: usize,
}

/// From where, and on which terms, a node begins to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Where its log ends.
    pub end: Offset,
    /// The high watermark that it knew before, from a checkpoint or as a follower.
    pub watermark: Offset,
    /// `min.insync.replicas`, as configured. It counts from the first moment: with fewer replicas
    /// in sync than this, a new leader may not even commit what is in its log (KIP-966).
    pub in_sync_min: usize,
}

/// The leader's view of its followers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    me: NodeId,
    assignment: Assignment,
    /// `min.insync.replicas`, as configured.
    in_sync_min: usize,
    epoch_start: Offset,
    end: Offset,
    watermark: Offset,
    /// Replicas that the controller was asked to add to the in-sync set, and may have added
    /// already.
    joining: Vec<NodeId>,
    followers: BTreeMap<NodeId, Follower>,
}

/// What a leader knows of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Follower {
    /// The epoch of the registration in which it fetched last; -1 if it has not (KIP-903).
    broker_epoch: i64,
    /// Where its log ends; -1 until it has fetched in this leader epoch.
    end: Offset,
}

impl Follower {
    const UNKNOWN: Self = Self { broker_epoch: -1, end: NO_OFFSET };
}

impl Leader {
    /// Node `me` begins to lead.
    #[must_use]
    pub fn new(me: NodeId, assignment: Assignment, beginning: Beginning) -> Self {
        let Beginning { end, watermark, in_sync_min } = beginning;
        let followers = assignment.replicas.iter().filter(|id| **id != me);
        let followers = followers.map(|id| (*id, Follower::UNKNOWN)).collect();
        let mut leader = Self {
            me,
            assignment,
            in_sync_min,
            epoch_start: end,
            end,
            watermark: watermark.min(end),
            joining: Vec::new(),
            followers,
        };
        if is_planted(Bug::MinimumTooLate) {
            leader.in_sync_min = 1;
            leader.advance();
            leader.in_sync_min = in_sync_min;
        }
        leader.advance();
        leader
    }

    /// Takes over what the metadata says now of the same leader epoch, and the minimum as of the
    /// same offset; may move the watermark. Both at once: the old in-sync set under the new
    /// minimum, or the other way round, could commit what no member of the new set has.
    pub fn assigned(&mut self, assignment: Assignment, in_sync_min: usize) -> Option<Offset> {
        self.in_sync_min = in_sync_min;
        self.followers.retain(|id, _| assignment.replicas.contains(id));
        for id in assignment.replicas.iter().filter(|id| **id != self.me) {
            self.followers.entry(*id).or_insert(Follower::UNKNOWN);
        }
        self.assignment = assignment;
        self.advance()
    }

    /// The controller is asked for this in-sync set; until it is known to be decided, nothing
    /// commits that a new member lacks. The set that it was asked for last, if it was not granted,
    /// counts no longer: the empty set asks for nothing.
    ///
    /// New members do not help to reach `min.insync.replicas` before the controller has them: it
    /// may still elect a replica that left the set while too few were in it (KIP-966).
    pub fn proposed(&mut self, in_sync: &[NodeId]) {
        let is_new = |id: &NodeId| !self.assignment.in_sync.contains(id);
        self.joining = in_sync.iter().copied().filter(is_new).collect();
    }

    /// The leader's own log now ends at `end`; may move the watermark.
    pub fn appended(&mut self, end: Offset) -> Option<Offset> {
        self.end = end;
        self.advance()
    }

    /// `follower`, in the registration of this epoch, has everything below `offset`; may move the
    /// watermark. What it had in an earlier life it can have lost since, however late its fetch
    /// comes.
    pub fn fetched(
        &mut self,
        follower: NodeId,
        broker_epoch: i64,
        offset: Offset,
    ) -> Option<Offset> {
        let known = self.followers.get_mut(&follower)?;
        if broker_epoch < known.broker_epoch && !is_planted(Bug::EarlierLifeCounts) {
            return None;
        }
        *known = Follower { broker_epoch, end: offset.min(self.end) };
        self.advance()
    }

    /// May an acks=all write be appended?
    ///
    /// # Errors
    /// Fewer replicas are in sync than `min.insync.replicas` asks for.
    pub fn may_append_for_all(&self) -> Result<(), NotEnoughReplicas> {
        let (in_sync, required) = (self.assignment.in_sync.len(), self.required());
        if in_sync < required { Err(NotEnoughReplicas { in_sync, required }) } else { Ok(()) }
    }

    /// What the metadata says.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Where this leader's epoch begins in the log.
    #[must_use]
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// Everything below is committed: no clean election can lose it.
    #[must_use]
    pub fn watermark(&self) -> Offset {
        self.watermark
    }

    /// A topic with fewer replicas than `min.insync.replicas` can still be written (KIP-966).
    fn required(&self) -> usize {
        self.in_sync_min.min(self.assignment.replicas.len())
    }

    /// The lowest end of the in-sync set and of those that join it, unless too few are in it;
    /// never goes back.
    fn advance(&mut self) -> Option<Offset> {
        let early = if is_planted(Bug::JoiningCounts) { self.joining.len() } else { 0 };
        let is_enough = self.assignment.in_sync.len() + early >= self.required();
        if !is_enough && !is_planted(Bug::MinimumIgnored) {
            return None;
        }
        let joining = if is_planted(Bug::JoiningIgnored) { &[] } else { &self.joining[..] };
        let members = self.assignment.in_sync.iter().chain(joining);
        let ends = members.map(|id| {
            if *id == self.me || is_planted(Bug::FollowersIgnored) {
                self.end
            } else {
                self.followers.get(id).map_or(NO_OFFSET, |it| it.end)
            }
        });
        let lowest = ends.min().unwrap_or(NO_OFFSET);
        if lowest <= self.watermark {
            return None;
        }
        self.watermark = lowest;
        Some(lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn leader(in_sync: &[NodeId]) -> Leader {
        let assignment = Assignment {
            leader: 1,
            replicas: vec![1, 2, 3],
            in_sync: in_sync.to_vec(),
            ..Assignment::default()
        };
        Leader::new(1, assignment, Beginning { end: 0, watermark: 0, in_sync_min: 1 })
    }

    #[test]
    fn a_new_leader_commits_nothing_while_fewer_than_the_minimum_are_in_sync() {
        let beginning = |in_sync_min| Beginning { end: 10, watermark: 4, in_sync_min };
        let assignment = leader(&[1]).assignment;
        let strict = Leader::new(1, assignment.clone(), beginning(2));
        assert_eq!(strict.watermark(), 4, "replica 1 alone is in sync, 2 must be");
        let loose = Leader::new(1, assignment, beginning(1));
        assert_eq!(loose.watermark(), 10);
    }

    #[test]
    fn alone_in_the_in_sync_set_every_append_is_committed_at_once() {
        let mut leader = leader(&[1]);
        assert_eq!(leader.appended(10), Some(10));
        assert_eq!(leader.appended(10), None);
        assert_eq!(leader.watermark(), 10);
    }

    #[test]
    fn the_watermark_waits_for_the_slowest_member_of_the_in_sync_set() {
        let mut leader = leader(&[1, 2, 3]);
        assert_eq!(leader.appended(10), None);
        assert_eq!(leader.fetched(2, 5, 10), None);
        assert_eq!(leader.fetched(3, 5, 4), Some(4));
        assert_eq!(leader.fetched(3, 5, 10), Some(10));
        assert_eq!(leader.fetched(9, 5, 10), None, "not a replica");
    }

    #[test]
    fn too_few_in_sync_replicas_stop_acks_all_and_the_watermark() {
        let mut leader = leader(&[1]);
        let assignment = leader.assignment.clone();
        leader.assigned(assignment.clone(), 2);
        let refused = NotEnoughReplicas { in_sync: 1, required: 2 };
        assert_eq!(leader.may_append_for_all(), Err(refused));
        assert_eq!(leader.appended(10), None);
        assert_eq!(leader.assigned(assignment, 1), Some(10));
    }

    #[test]
    fn a_lower_minimum_counts_only_with_the_in_sync_set_of_its_time() {
        let mut leader = leader(&[1]);
        leader.assigned(leader.assignment.clone(), 2);
        leader.appended(10);
        let joined = Assignment { in_sync: vec![1, 2], ..leader.assignment.clone() };
        assert_eq!(leader.assigned(joined, 1), None, "replica 2 has nothing yet");
    }

    #[test]
    fn a_late_fetch_of_a_followers_earlier_life_does_not_count() {
        let mut leader = leader(&[1, 2]);
        leader.appended(10);
        assert_eq!(leader.fetched(2, 8, 4), Some(4));
        assert_eq!(leader.fetched(2, 7, 10), None, "before it restarted");
        assert_eq!(leader.fetched(2, 8, 10), Some(10));
    }

    #[test]
    fn who_joins_holds_the_watermark_back_and_counts_for_no_minimum() {
        let mut leader = leader(&[1, 2]);
        leader.proposed(&[1, 2, 3]);
        leader.appended(10);
        assert_eq!(
            leader.fetched(2, 5, 10),
            None,
            "replica 3 lacks it, and may be in sync already"
        );
        assert_eq!(leader.fetched(3, 5, 10), Some(10));
        let strict = Assignment { in_sync: vec![1], ..leader.assignment.clone() };
        leader.assigned(strict, 2);
        leader.proposed(&[1, 3]);
        leader.appended(12);
        assert_eq!(leader.fetched(3, 5, 12), None, "the controller may elect replica 2 still");
    }

    #[test]
    fn more_required_replicas_than_there_are_means_all_there_are() {
        let assignment =
            Assignment { leader: 1, replicas: vec![1], in_sync: vec![1], ..Assignment::default() };
        let leader = Leader::new(1, assignment, Beginning { end: 0, watermark: 0, in_sync_min: 2 });
        assert_eq!(leader.may_append_for_all(), Ok(()));
    }
}
