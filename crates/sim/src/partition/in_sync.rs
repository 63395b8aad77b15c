//! The leader's side of AlterPartition: which replicas leave and join the in-sync set.

use ottla_types::NodeId;

use super::broker::{BrokerMemory, Proposed};
use super::message::{InSyncProposal, IncarnatedMember, PartitionMessage};
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
        let wanted = wanted(live, id, now_ms);
        let Some(leading) = live.leading_mut() else { return Ok(()) };
        if leading.proposed.is_none() {
            let Some(in_sync) = wanted else { return Ok(()) };
            let partition_epoch = leading.leader.assignment().partition_epoch;
            leading.leader.proposed(&in_sync);
            leading.proposed = Some(Proposed { in_sync, partition_epoch });
        }
        let Some(proposed) = leading.proposed.clone() else { return Ok(()) };
        let watermark = leading.leader.watermark();
        // A member that has restarted since must have come up again, in its new life.
        let is_fit = |other: &NodeId| {
            *other == id || leading.followers.get(other).is_some_and(|it| it.end >= watermark)
        };
        if !proposed.in_sync.iter().all(is_fit) {
            return Ok(());
        }
        let member = |other: &NodeId| IncarnatedMember {
            id: *other,
            broker_epoch: leading.followers.get(other).map_or(own_epoch, |it| it.broker_epoch),
        };
        let alter = InSyncProposal {
            leader: id,
            broker_epoch: own_epoch,
            term: self.journal.term,
            leader_epoch: leading.leader.assignment().leader_epoch,
            partition_epoch: proposed.partition_epoch,
            in_sync: proposed.in_sync.iter().map(member).collect(),
        };
        self.send(at, self.controller(), PartitionMessage::AlterPartition(alter));
        self.advanced(at)
    }
}

/// The in-sync set that a leader would have; `None` if it has it.
fn wanted(live: &BrokerMemory, id: NodeId, now_ms: u64) -> Option<Vec<NodeId>> {
    let leading = live.leading()?;
    let assignment = leading.leader.assignment();
    let lags = |other: &NodeId| {
        *other != id
            && leading.followers.get(other).is_none_or(|it| it.caught_up_ms + LAG_MS < now_ms)
    };
    let (behind, near): (Vec<NodeId>, Vec<NodeId>) =
        assignment.in_sync.iter().partition(|it| lags(it));
    if !behind.is_empty() {
        return Some(near);
    }
    let least = leading.leader.watermark().max(leading.leader.epoch_start());
    let may_come = |other: &NodeId| {
        let serves = |epoch| {
            live.cluster.broker(*other).is_some_and(|it| it.is_active() && it.epoch == epoch)
        };
        !assignment.in_sync.contains(other)
            && leading
                .followers
                .get(other)
                .is_some_and(|it| it.end >= least && serves(it.broker_epoch))
    };
    let new: Vec<NodeId> = assignment.replicas.iter().copied().filter(may_come).collect();
    (!new.is_empty()).then(|| [assignment.in_sync.clone(), new].concat())
}
