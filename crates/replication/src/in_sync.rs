//! Which replicas leave and join the in-sync set: what a leader asks the controller for (KIP-497).

use alloc::vec::Vec;

use ottla_types::{Bug, LeaderEpoch, NodeId, is_planted};

use crate::Leader;

/// On which terms a leader looks after its in-sync set.
pub struct InSyncTerms<'a> {
    /// Now, in milliseconds of a clock that is not set.
    pub now_ms: u64,
    /// After how long without having had everything a follower leaves, in milliseconds
    /// (`replica.lag.time.max.ms`).
    pub lag_max_ms: u64,
    /// The epoch of the leader's own registration.
    pub own_epoch: i64,
    /// May a broker whose registration has this epoch be in sync? Not if it is fenced, about to
    /// stop, or has started again since (KIP-841, KIP-903).
    pub may_join: &'a dyn Fn(NodeId, i64) -> bool,
}

/// An in-sync set that a leader asks the controller for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSyncProposal {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Upon which state of the partition it was made.
    pub partition_epoch: i32,
    /// The set.
    pub in_sync: Vec<InSyncMember>,
}

/// A member of an in-sync set, in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InSyncMember {
    /// The broker.
    pub id: NodeId,
    /// The epoch of the registration in which its leader saw it.
    pub broker_epoch: i64,
}

/// A proposal until the controller has decided it. It is repeated as it is, with the lives of its
/// members in which it was made: then an answer is about it whenever it comes (KAFKA-15221).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PendingProposal {
    pub partition_epoch: i32,
    in_sync: Vec<InSyncMember>,
    /// Those that are new in it. The controller may have added them already: until it is known
    /// whether, nothing commits that one of them lacks.
    ///
    /// They do not help to reach `min.insync.replicas` before the controller has them: it may
    /// still elect a replica that left the set while too few were in it (KIP-966).
    pub joining: Vec<NodeId>,
}

impl Leader {
    /// What to ask the controller for now, if anything: another in-sync set, or again the one that
    /// is not decided.
    pub fn propose(&mut self, terms: &InSyncTerms<'_>) -> Option<InSyncProposal> {
        if self.pending.is_none() {
            let wanted = self.wanted_in_sync(terms)?;
            let is_new = |id: &NodeId| !self.assignment.in_sync.contains(id);
            let joining = wanted.iter().copied().filter(is_new).collect();
            let member = |id: NodeId| {
                // -1 of a member that has not fetched from this leader: the controller takes it
                // in any life, as the partition's epoch shows that it has not left since.
                let seen = self.followers.get(&id).map_or(-1, |it| it.broker_epoch);
                let broker_epoch = if id == self.me { terms.own_epoch } else { seen };
                InSyncMember { id, broker_epoch }
            };
            let in_sync = wanted.into_iter().map(member).collect();
            let partition_epoch = self.assignment.partition_epoch;
            self.pending = Some(PendingProposal { partition_epoch, in_sync, joining });
        }
        let pending = self.pending.as_ref()?;
        Some(InSyncProposal {
            leader_epoch: self.assignment.leader_epoch,
            partition_epoch: pending.partition_epoch,
            in_sync: pending.in_sync.clone(),
        })
    }

    /// The controller has refused what was proposed upon this state of the partition, and is known
    /// not to have done it.
    pub fn proposal_refused(&mut self, partition_epoch: i32) {
        let is_heard = !is_planted(Bug::RefusalUnheard);
        self.pending.take_if(|it| it.partition_epoch == partition_epoch && is_heard);
    }

    /// Could a replica that is not in sync join the in-sync set now? To be asked after its fetch.
    #[must_use]
    pub fn may_ask_for(&self, follower: NodeId) -> bool {
        self.pending.is_none()
            && !self.assignment.in_sync.contains(&follower)
            && self.followers.get(&follower).is_some_and(|it| it.end >= self.joining_end())
    }

    /// What a replica must have to join: all that is committed, and all of earlier leaders.
    fn joining_end(&self) -> i64 {
        if is_planted(Bug::LackingJoins) {
            return 0;
        }
        if is_planted(Bug::EarlierLeadersForgotten) {
            return self.watermark;
        }
        self.watermark.max(self.epoch_start)
    }

    /// The in-sync set that this leader would have; `None` if it has it.
    fn wanted_in_sync(&self, terms: &InSyncTerms<'_>) -> Option<Vec<NodeId>> {
        let InSyncTerms { now_ms, lag_max_ms, may_join, .. } = *terms;
        let lags = |id: &NodeId| {
            let known = self.followers.get(id);
            *id != self.me && known.is_none_or(|it| it.lags(self.end, now_ms, lag_max_ms))
        };
        let (behind, near): (Vec<NodeId>, Vec<NodeId>) =
            self.assignment.in_sync.iter().partition(|id| lags(id));
        if !behind.is_empty() {
            return Some(near);
        }
        let least = self.joining_end();
        let joins = |id: &NodeId| {
            let known = self.followers.get(id);
            !self.assignment.in_sync.contains(id)
                && known.is_some_and(|it| it.end >= least && may_join(*id, it.broker_epoch))
        };
        let new: Vec<NodeId> =
            self.assignment.replicas.iter().copied().filter(|id| joins(id)).collect();
        (!new.is_empty()).then(|| [self.assignment.in_sync.clone(), new].concat())
    }
}
