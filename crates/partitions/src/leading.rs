//! A partition as its leader's: how far its followers are, and who is in sync.

use bytes::Bytes;
use ottla_replication::{FollowerFetch, InSyncProposal, InSyncTerms, ReadableReplica, StaleFetch};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::following::LeaderEpochEnd;
use crate::owner::Owner;
use crate::partition::Partition;
use crate::reading::PartitionRead;

/// What a follower's fetch has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchNoted {
    /// Could the follower join the in-sync set now? Then the controller is to be asked.
    pub may_join: bool,
}

/// What leads. Each call takes the owner's lock for one turn.
impl Partition {
    /// Is this broker one of its replicas?
    #[must_use]
    pub fn has_replica(&self, broker: NodeId) -> bool {
        self.peek(|owner| owner.assignment().replicas.contains(&broker)).unwrap_or(false)
    }

    /// A follower has fetched: it has everything below what it asks for.
    ///
    /// # Errors
    /// It is no replica, or has started again since; or this node does not lead.
    pub fn fetched_by(&self, fetch: FollowerFetch) -> Result<FetchNoted, StaleFetch> {
        self.turn(StaleFetch, |owner| {
            let leader = owner.leader_mut().ok_or(StaleFetch)?;
            leader.fetched(fetch)?;
            Ok(FetchNoted { may_join: leader.may_ask_for(fetch.follower) })
        })
    }

    /// The followers that a consumer could read `offset` from (KIP-392); none if this node does not
    /// lead.
    #[must_use]
    pub fn readable_from(&self, offset: Offset) -> Vec<ReadableReplica> {
        let readable =
            |owner: &Owner| Some(owner.leader()?.readable_from(offset).collect::<Vec<_>>());
        self.peek(readable).flatten().unwrap_or_default()
    }

    /// Where the log of a follower that ends at `offset`, behind a record of `last_epoch`, parts
    /// from this one; `None` if it is a part of it. Of an epoch that ended before all that is known
    /// here, the end is -1.
    #[must_use]
    pub fn parts_from(&self, offset: Offset, last_epoch: LeaderEpoch) -> Option<LeaderEpochEnd> {
        if last_epoch < 0 {
            return None;
        }
        let (epoch, end) = self.end_of_epoch(last_epoch);
        (epoch < last_epoch || end < offset).then_some(LeaderEpochEnd { epoch, end })
    }

    /// How far it is, without any records.
    #[must_use]
    pub fn read_nothing(&self) -> PartitionRead {
        let ends = self.ends();
        PartitionRead {
            records: Bytes::new(),
            has_more: false,
            high_watermark: ends.high_watermark,
            last_stable: ends.last_stable,
            log_start: ends.log_start,
            aborted: None,
        }
    }

    /// The in-sync set to ask the controller for, if it should be another.
    #[must_use]
    pub fn propose_in_sync(&self, terms: &InSyncTerms<'_>) -> Option<InSyncProposal> {
        self.turn((), |owner| owner.leader_mut().ok_or(()).map(|it| it.propose(terms))).ok()?
    }

    /// The controller has not done what was proposed upon this state of the partition.
    pub fn proposal_refused(&self, partition_epoch: i32) {
        // One that leads no longer has no proposal.
        let _ = self.turn((), |owner| {
            owner.leader_mut().ok_or(()).map(|it| it.proposal_refused(partition_epoch))
        });
    }
}
