//! The leader's side of AlterPartition: which replicas leave and join the in-sync set.

use ottla_metadata::BrokerRegistration;
use ottla_replication::InSyncTerms;
use ottla_types::NodeId;

use super::message::{IncarnatedMember, PartitionMessage, ProposedInSync};
use super::world::PartitionWorld;
use crate::invariant::InvariantCheck;

/// `replica.lag.time.max.ms`.
const LAG_MS: u64 = 2500;

impl PartitionWorld {
    /// Asks for another in-sync set, if that is due; asks again for one that is not decided.
    pub(super) fn look_after_in_sync(&mut self, at: usize) -> InvariantCheck {
        let (id, life, now_ms) =
            (self.brokers[at].id, self.brokers[at].life, self.schedule.now_ms());
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        let Some(own_epoch) = live.broker_epoch(id, life) else { return Ok(()) };
        let cluster = live.cluster.clone();
        let Some(leading) = live.leading_mut() else { return Ok(()) };
        let may_join = |other: NodeId, epoch: i64| {
            let serves = |it: &BrokerRegistration| it.is_active() && it.epoch == epoch;
            cluster.broker(other).is_some_and(serves)
        };
        let terms = InSyncTerms { now_ms, lag_max_ms: LAG_MS, own_epoch, may_join: &may_join };
        let Some(proposal) = leading.leader.propose(&terms) else { return Ok(()) };
        let members = proposal.in_sync.into_iter();
        let alter = ProposedInSync {
            leader: id,
            broker_epoch: own_epoch,
            term: self.journal.term,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            in_sync: members
                .map(|it| IncarnatedMember { id: it.id, broker_epoch: it.broker_epoch })
                .collect(),
        };
        self.send(at, self.controller(), PartitionMessage::AlterPartition(alter));
        self.advanced(at)
    }
}
