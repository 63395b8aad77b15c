//! What a broker makes of the metadata: it leads, follows, or waits.

use std::collections::{BTreeMap, VecDeque};

use ottla_metadata::PartitionState;
use ottla_replication::{Assignment, Beginning, Leader};
use ottla_types::NodeId;

use super::broker::{BrokerRole, Leading};
use super::metadata::partition_state;
use super::world::PartitionWorld;
use crate::invariant::InvariantCheck;

impl PartitionWorld {
    /// A broker takes the metadata in up to there.
    pub(super) fn learn(&mut self, at: usize, upto: usize) -> InvariantCheck {
        let (id, life) = (self.brokers[at].id, self.brokers[at].life);
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        if upto <= live.applied {
            return Ok(());
        }
        for record in &self.journal.records[live.applied..upto] {
            live.cluster.apply(record);
        }
        live.applied = upto;
        self.check_image(at)?;
        let Some(live) = &self.brokers[at].live else { return Ok(()) };
        // Before its own registration is in it, the metadata speaks of an earlier life.
        if live.broker_epoch(id, life).is_none() {
            return Ok(());
        }
        let Some(state) = partition_state(&live.cluster).cloned() else { return Ok(()) };
        let epoch = live.leading().map(|it| it.leader.assignment().leader_epoch);
        match state.leader {
            leader if leader == id && epoch == Some(state.leader_epoch) => self.lead_on(at, &state),
            leader if leader == id => self.lead(at, &state),
            leader => {
                self.follow(at, leader, &state);
                Ok(())
            }
        }
    }

    fn lead(&mut self, at: usize, state: &PartitionState) -> InvariantCheck {
        let (id, now_ms) = (self.brokers[at].id, self.schedule.now_ms());
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        let before = live.high_watermark;
        let beginning = Beginning {
            end: live.log.end(),
            watermark: before,
            in_sync_min: self.in_sync_min,
            now_ms,
        };
        let leader = Leader::new(id, replica_assignment(state), beginning);
        let (waiting, lives) = (VecDeque::new(), BTreeMap::new());
        live.part = BrokerRole::Leader(Box::new(Leading { leader, waiting, lives }));
        live.fetch = None;
        self.coverage.leaders += 1;
        self.check_new_leader(at, state.leader_epoch)?;
        self.advanced(at)
    }

    /// The same leader of the same epoch; the in-sync set may be another one.
    fn lead_on(&mut self, at: usize, state: &PartitionState) -> InvariantCheck {
        let in_sync_min = self.in_sync_min;
        let Some(leading) = self.brokers[at].live.as_mut().and_then(|it| it.leading_mut()) else {
            return Ok(());
        };
        leading.leader.assigned(replica_assignment(state), in_sync_min);
        self.advanced(at)
    }

    fn follow(&mut self, at: usize, leader: NodeId, state: &PartitionState) {
        let Some(live) = &mut self.brokers[at].live else { return };
        let epoch = state.leader_epoch;
        let is_new =
            !matches!(&live.part, BrokerRole::Follower { epoch: known, .. } if *known == epoch);
        if is_new {
            live.part =
                if leader < 0 { BrokerRole::Idle } else { BrokerRole::Follower { leader, epoch } };
            live.fetch = None;
        }
    }
}

/// What replication needs to know of the partition.
fn replica_assignment(state: &PartitionState) -> Assignment {
    Assignment {
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        replicas: state.replicas.clone(),
        in_sync: state.isr.clone(),
        ..Assignment::default()
    }
}
