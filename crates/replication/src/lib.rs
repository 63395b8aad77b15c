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

mod follower;
mod in_sync;
mod readable;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ottla_types::{Bug, LeaderEpoch, NO_OFFSET, NodeId, Offset, is_planted};

pub use follower::FollowerFetch;
use follower::FollowerProgress;
use in_sync::PendingProposal;
pub use in_sync::{InSyncMember, InSyncProposal, InSyncTerms};
pub use readable::ReadableReplica;

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
    /// Those whose brokers are registered and not fenced.
    pub live: Vec<NodeId>,
}

/// An acks=all write was refused: too few replicas are in sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEnoughReplicas {
    /// How many are in sync.
    pub in_sync: usize,
    /// How many are required.
    pub required: usize,
}

/// A fetch that counts for nothing: its broker is no replica, or has started again since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleFetch;

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
    /// Now, in milliseconds of a clock that is not set: the members of the in-sync set have as
    /// long as any to fetch for the first time.
    pub now_ms: u64,
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
    /// The in-sync set that the controller was asked for, and has not decided as far as is known.
    pending: Option<PendingProposal>,
    followers: BTreeMap<NodeId, FollowerProgress>,
}

impl Leader {
    /// Node `me` begins to lead.
    #[must_use]
    pub fn new(me: NodeId, assignment: Assignment, beginning: Beginning) -> Self {
        let Beginning { end, watermark, in_sync_min, now_ms } = beginning;
        let others = assignment.replicas.iter().filter(|id| **id != me);
        // A member of the in-sync set has a while to come; the others must show themselves.
        let seen = |id: &NodeId| {
            let caught_up_ms = assignment.in_sync.contains(id).then_some(now_ms);
            let has_all = caught_up_ms.is_some() && is_planted(Bug::InSyncHasAll);
            let known = if has_all { end } else { NO_OFFSET };
            (*id, FollowerProgress { caught_up_ms, end: known, ..FollowerProgress::UNKNOWN })
        };
        let followers = others.map(seen).collect();
        let mut leader = Self {
            me,
            assignment,
            in_sync_min,
            epoch_start: end,
            end,
            watermark: watermark.min(end),
            pending: None,
            followers,
        };
        if is_planted(Bug::AllIsCommitted) {
            leader.watermark = end;
        }
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
            self.followers.entry(*id).or_insert(FollowerProgress::UNKNOWN);
        }
        let is_decided = |it: &PendingProposal| assignment.partition_epoch > it.partition_epoch;
        let is_over = self.pending.as_ref().is_some_and(is_decided);
        if is_over || is_planted(Bug::ProposalForgotten) {
            self.pending = None;
        }
        let known = core::mem::replace(&mut self.assignment, assignment);
        if is_planted(Bug::NewMembersIgnored) {
            self.assignment.in_sync.retain(|id| known.in_sync.contains(id));
        }
        self.advance()
    }

    /// The leader's own log now ends at `end`; may move the watermark.
    pub fn appended(&mut self, end: Offset) -> Option<Offset> {
        self.end = end;
        self.advance()
    }

    /// A follower has fetched: it has everything below the offset that it asks for; may move the
    /// watermark. What it had in an earlier life it can have lost since, however late its fetch
    /// comes.
    ///
    /// # Errors
    /// It is no replica, or the fetch is of an earlier life of it.
    pub fn fetched(&mut self, fetch: FollowerFetch) -> Result<Option<Offset>, StaleFetch> {
        let known = self.followers.get_mut(&fetch.follower).ok_or(StaleFetch)?;
        let is_old = fetch.broker_epoch < known.broker_epoch;
        if is_old && !is_planted(Bug::EarlierLifeCounts) {
            return Err(StaleFetch);
        }
        known.fetched(fetch, self.end);
        Ok(self.advance())
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

    /// Where the leader's log ends.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// A topic with fewer replicas than `min.insync.replicas` can still be written (KIP-966).
    fn required(&self) -> usize {
        self.in_sync_min.min(self.assignment.replicas.len())
    }

    /// The lowest end of the in-sync set and of those that join it, unless too few are in it;
    /// never goes back.
    fn advance(&mut self) -> Option<Offset> {
        let joining = self.pending.as_ref().map_or(&[][..], |it| &it.joining);
        let early = if is_planted(Bug::JoiningCounts) { joining.len() } else { 0 };
        let is_enough = self.assignment.in_sync.len() + early >= self.required();
        if !is_enough && !is_planted(Bug::MinimumIgnored) {
            return None;
        }
        let joining = if is_planted(Bug::JoiningIgnored) { &[] } else { joining };
        let members = self.assignment.in_sync.iter().chain(joining);
        let ends = members.map(|id| {
            if *id == self.me || is_planted(Bug::FollowersIgnored) {
                self.end
            } else {
                self.followers.get(id).map_or(NO_OFFSET, |it| it.end)
            }
        });
        let lowest = if is_planted(Bug::MajorityIsEnough) {
            end_of_majority(ends.collect())
        } else {
            ends.min().unwrap_or(NO_OFFSET)
        };
        if lowest <= self.watermark {
            return None;
        }
        self.watermark = lowest;
        Some(lowest)
    }
}

/// What more than half of them have.
fn end_of_majority(mut ends: Vec<Offset>) -> Offset {
    ends.sort_unstable();
    ends.get(ends.len().saturating_sub(1) / 2).copied().unwrap_or(NO_OFFSET)
}

#[cfg(test)]
mod tests;
