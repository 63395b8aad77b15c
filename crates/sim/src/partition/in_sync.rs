//! The leader's side of AlterPartition: which replicas leave and join the in-sync set.

use ottla_metadata::BrokerRegistration;
use ottla_replication::InSyncTerms;
use ottla_types::{ErrorCode, NodeId};

use super::broker::InSyncAskedFor;
use super::message::{InSyncAnswer, IncarnatedMember, PartitionMessage, ProposedInSync};
use super::world::PartitionWorld;
use crate::invariant::InvariantCheck;

/// `replica.lag.time.max.ms`.
const LAG_MS: u64 = 2500;
/// After how long a request without an answer is given up, in milliseconds.
const ASKED_GIVEN_UP_MS: u64 = 1000;

impl PartitionWorld {
    /// Asks for another in-sync set, if that is due; asks again for one that is not decided.
    pub(super) fn look_after_in_sync(&mut self, at: usize) -> InvariantCheck {
        let (id, life, now_ms) =
            (self.brokers[at].id, self.brokers[at].life, self.schedule.now_ms());
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        let Some(own_epoch) = live.broker_epoch(id, life) else { return Ok(()) };
        if live.asked.is_some_and(|it| now_ms - it.since_ms < ASKED_GIVEN_UP_MS) {
            return Ok(());
        }
        let cluster = live.cluster.clone();
        let Some(leading) = live.leading_mut() else { return Ok(()) };
        let may_join = |other: NodeId, epoch: i64| {
            let serves = |it: &BrokerRegistration| it.is_active() && it.epoch == epoch;
            cluster.broker(other).is_some_and(serves)
        };
        let terms = InSyncTerms { now_ms, lag_max_ms: LAG_MS, own_epoch, may_join: &may_join };
        let Some(proposal) = leading.leader.propose(&terms) else { return Ok(()) };
        live.requests += 1;
        let number = live.requests;
        live.asked = Some(InSyncAskedFor { number, since_ms: now_ms });
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
            life,
            number,
        };
        self.send(at, self.controller(), PartitionMessage::AlterPartition(alter));
        self.advanced(at)
    }

    /// The controller has answered. Only a refusal counts: what is true comes with the metadata.
    /// The answer to a request that was given up says nothing about the one after it.
    pub(super) fn altered(&mut self, at: usize, answer: InSyncAnswer) -> InvariantCheck {
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        if live.asked.take_if(|it| it.number == answer.number).is_none() {
            return Ok(());
        }
        let InSyncAnswer { code, asked_epoch, partition_epoch, .. } = answer;
        let had_it = code == ErrorCode::NONE && partition_epoch == asked_epoch;
        if let Some(leading) = live.leading_mut().filter(|_| had_it || is_refusal(code)) {
            leading.leader.proposal_refused(asked_epoch);
            self.coverage.in_sync_refusals += 1;
        }
        self.advanced(at)
    }
}

/// Does this code say that the controller has not done what it was asked for?
fn is_refusal(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::INELIGIBLE_REPLICA | ErrorCode::OPERATION_NOT_ATTEMPTED)
}
