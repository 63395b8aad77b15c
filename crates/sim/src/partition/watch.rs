//! The invariants of replication and of the controller. Each check looks at what one step could
//! have changed; together they hold after every step.

use std::collections::BTreeMap;

use ottla_machine::Turn;
use ottla_metadata::{BrokerRegistration, Cluster, Controller, PartitionState, ProducerIdBlock};
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{LeaderEpoch, NodeId, Offset, ProducerId};

use super::broker::BrokerRole;
use super::world::PartitionWorld;
use crate::coverage::Coverage;
use crate::invariant::{Invariant, InvariantCheck, Judge};
use crate::log::{SimRecord, count};

/// What is remembered of the whole history.
#[derive(Debug, Default)]
pub(crate) struct PartitionWatch {
    /// The leader of each epoch.
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    /// Each record that was ever appended, by epoch and offset: its id, and the epoch before it.
    appended: BTreeMap<(LeaderEpoch, Offset), (u64, LeaderEpoch)>,
    /// What was below some leader's high watermark: acknowledged, and seen by consumers.
    exposed: Vec<SimRecord>,
    /// The leader epoch in which each of its records came below one.
    exposed_in: Vec<LeaderEpoch>,
    /// The end of the last block of producer ids.
    producer_ids: ProducerId,
    /// The metadata as of some offsets, as brokers have had it.
    images: BTreeMap<usize, Cluster>,
}

impl Judge for PartitionWorld {
    fn now_ms(&self) -> u64 {
        self.schedule.now_ms()
    }

    fn coverage(&mut self) -> &mut Coverage {
        &mut self.coverage
    }
}

impl PartitionWorld {
    /// Before a record is appended.
    pub(super) fn check_append(&mut self, at: usize, entry: SimRecord) -> InvariantCheck {
        let id = self.brokers[at].id;
        let Some(live) = &self.brokers[at].live else { return Ok(()) };
        let end = live.log.end();
        let is = (entry.id, live.log.epoch_before(live.log.entries.len()));
        let was = *self.watch.appended.entry((entry.epoch, end)).or_insert(is);
        self.demand(Invariant::ReplicaLogMatching, was == is, |_| {
            format!("broker {id} has {is:?} at offset {end} of epoch {}, not {was:?}", entry.epoch)
        })
    }

    /// Before a follower cuts its log off at `end`, for its leader of `epoch`. What the leader of a
    /// later epoch has committed neither of them can know of.
    pub(super) fn check_cut(
        &mut self,
        at: usize,
        end: Offset,
        epoch: LeaderEpoch,
    ) -> InvariantCheck {
        let (id, next) = (self.brokers[at].id, self.brokers[at].entries().get(count(end)).copied());
        let exposed_in = self.watch.exposed_in.get(count(end)).filter(|it| **it <= epoch);
        let exposed = exposed_in.and(self.watch.exposed.get(count(end))).copied();
        self.demand(Invariant::ConsistentRead, next.is_none() || next != exposed, |_| {
            format!("broker {id} cuts off at {end} what was committed")
        })
    }

    /// A broker begins to lead.
    pub(super) fn check_new_leader(&mut self, at: usize, epoch: LeaderEpoch) -> InvariantCheck {
        let id = self.brokers[at].id;
        let first = *self.watch.leaders.entry(epoch).or_insert(id);
        self.demand(Invariant::SingleLeaderPerLeaderEpoch, first == id, |_| {
            format!("brokers {first} and {id} both lead epoch {epoch}")
        })?;
        let has_all = self.has_exposed(at, epoch);
        self.demand(Invariant::AcknowledgedStays, has_all, |world| {
            let (has, all) = (world.brokers[at].entries().len(), world.watch.exposed.len());
            format!("broker {id} leads epoch {epoch} with {has} records; {all} were acknowledged")
        })
    }

    /// Has a broker everything that was committed before `epoch`?
    fn has_exposed(&self, at: usize, epoch: LeaderEpoch) -> bool {
        let last = self.watch.exposed_in.iter().rposition(|exposed| *exposed < epoch);
        let Some(last) = last else { return true };
        self.brokers[at].entries().get(last) == self.watch.exposed.get(last)
    }

    /// A leader may have committed more.
    pub(super) fn check_advance(&mut self, at: usize) -> InvariantCheck {
        let id = self.brokers[at].id;
        let Some(live) = &self.brokers[at].live else { return Ok(()) };
        let BrokerRole::Leader(leading) = &live.part else { return Ok(()) };
        let (before, now, end) = (live.high_watermark, leading.leader.watermark(), live.log.end());
        let assignment = leading.leader.assignment();
        let (epoch, in_sync) = (assignment.leader_epoch, assignment.in_sync.clone());
        let partition_epoch = assignment.partition_epoch;
        let required = self.in_sync_min.min(assignment.replicas.len());
        self.demand(Invariant::HwMonotonic, before <= now && now <= end, |_| {
            format!("broker {id}: from {before} to {now}, and its log ends at {end}")
        })?;
        if now == before {
            return Ok(());
        }
        self.demand(Invariant::MinimumKept, in_sync.len() >= required, |_| {
            format!("broker {id} commits up to {now} with {in_sync:?} in sync, {required} needed")
        })?;
        self.check_exposed(at, epoch, now)?;
        // A replica that has lost records is in the leader's in-sync set until the leader learns of
        // it.
        let decided = self.journal.partition().map_or(-1, |state| state.partition_epoch);
        let is_stale = partition_epoch < decided;
        let has =
            |member: &NodeId| is_stale || self.has_lost(*member) || self.has_up_to(*member, now);
        let lacking = in_sync.iter().copied().find(|member| !has(member));
        self.demand(Invariant::CommittedOnInSync, lacking.is_none(), |_| {
            format!("broker {id} commits up to {now}, and {lacking:?} of {in_sync:?} lacks some")
        })?;
        self.check_candidates()
    }

    /// Has a broker the committed records below `end`?
    fn has_up_to(&self, id: NodeId, end: Offset) -> bool {
        let Some(last) = count(end).checked_sub(1) else { return true };
        let broker = self.brokers.iter().find(|broker| broker.id == id);
        broker.is_some_and(|it| it.entries().get(last) == self.watch.exposed.get(last))
    }

    fn has_lost(&self, id: NodeId) -> bool {
        self.brokers.iter().any(|broker| broker.id == id && broker.has_lost)
    }

    /// What a consumer has read, or a producer knows to be safe, is never another record.
    fn check_exposed(&mut self, at: usize, epoch: LeaderEpoch, end: Offset) -> InvariantCheck {
        let log = self.brokers[at].entries()[..count(end)].to_vec();
        let known = self.watch.exposed.len().min(log.len());
        let agrees = self.watch.exposed[..known] == log[..known];
        self.demand(Invariant::ConsistentRead, agrees, |_| {
            format!("other records than before are committed below {end}")
        })?;
        self.watch.exposed.extend_from_slice(&log[known..]);
        self.watch.exposed_in.resize(self.watch.exposed.len(), epoch);
        Ok(())
    }

    /// Every replica that may be elected has all committed records.
    fn check_candidates(&mut self) -> InvariantCheck {
        let Some(state) = self.journal.partition() else { return Ok(()) };
        let candidates: Vec<NodeId> = state.isr.iter().chain(&state.elr).copied().collect();
        let end = crate::log::offset(self.watch.exposed.len());
        let lacks = |id: &NodeId| !self.has_lost(*id) && !self.has_up_to(*id, end);
        let lacking = candidates.iter().copied().find(lacks);
        self.demand(Invariant::LeaderCandidateCompleteness, lacking.is_none(), |_| {
            format!("{lacking:?} of {candidates:?} lacks some of the {end} committed records")
        })
    }

    /// The controller has written something.
    pub(super) fn check_metadata(&mut self, before: Option<&PartitionState>) -> InvariantCheck {
        let cluster = self.journal.controller.cluster();
        let Some(state) = self.journal.partition().cloned() else { return Ok(()) };
        let serves = |id: &NodeId| cluster.broker(*id).is_some_and(BrokerRegistration::is_active);
        let mut members = state.isr.iter().chain(&state.elr);
        let is_valid = members.all(|id| state.replicas.contains(id))
            && !state.isr.iter().any(|id| state.elr.contains(id))
            && state.isr.iter().all(serves)
            && (state.isr.len() < self.in_sync_min.min(state.replicas.len())
                || state.elr.is_empty())
            && (state.leader < 0 || state.isr.contains(&state.leader));
        self.demand(Invariant::ValidControllerIsrAndElr, is_valid, |_| format!("{state:?}"))?;
        if let Some(before) = before {
            let (old, new) = (before.leader_epoch, state.leader_epoch);
            let changed = *before != state;
            let moved = before.leader != state.leader;
            let is_later = old <= new
                && (!moved || old < new)
                && (!changed || before.partition_epoch < state.partition_epoch);
            self.demand(Invariant::EpochsGrow, is_later, |_| {
                format!("{before:?} became {state:?}")
            })?;
        }
        self.note_recovered();
        self.check_candidates()?;
        self.check_snapshot()
    }

    /// The epochs of the partition after a record are those that the record stands for.
    pub(super) fn check_counted(
        &mut self,
        before: &PartitionState,
        record: &PartitionChangeRecord,
    ) -> InvariantCheck {
        let Some(after) = self.journal.partition().cloned() else { return Ok(()) };
        let names_leader = record.leader != -2;
        let is_counted = after.partition_epoch == before.partition_epoch + 1
            && after.leader_epoch == before.leader_epoch + i32::from(names_leader);
        self.demand(Invariant::ChangesCounted, is_counted, |_| {
            format!("{before:?} became {after:?} by {record:?}")
        })
    }

    /// The image is what its own snapshot makes, and what the whole log makes.
    fn check_snapshot(&mut self) -> InvariantCheck {
        // Both replay everything; now and then is enough for what never changes back.
        if !self.dice.chance(100) {
            return Ok(());
        }
        let image = self.journal.controller.cluster().clone();
        let mut from_snapshot = Cluster::default();
        image.to_records().iter().for_each(|record| from_snapshot.apply(record));
        self.demand(Invariant::SnapshotEqualsReplay, from_snapshot == image, |_| {
            format!("a snapshot makes {from_snapshot:?} of {image:?}")
        })?;
        let mut from_log = Cluster::default();
        self.journal.records.iter().for_each(|record| from_log.apply(record));
        self.demand(Invariant::ImageEqualsReplay, from_log == image, |_| {
            format!("the log makes {from_log:?}, not {image:?}")
        })
    }

    /// Two controllers of one image decide the same.
    pub(super) fn check_decision(
        &mut self,
        turn: &Turn<Controller>,
        twin: &Turn<Controller>,
    ) -> InvariantCheck {
        let is_same = turn.records == twin.records && turn.replies == twin.replies;
        self.demand(Invariant::DecisionFromImage, is_same, |_| {
            format!("{:?} and {:?}", turn.records, twin.records)
        })
    }

    /// All brokers that have the metadata up to one offset have the same.
    pub(super) fn check_image(&mut self, at: usize) -> InvariantCheck {
        let id = self.brokers[at].id;
        let Some(live) = &self.brokers[at].live else { return Ok(()) };
        let (applied, image) = (live.applied, live.cluster.clone());
        let first = self.watch.images.entry(applied).or_insert_with(|| image.clone());
        let is_same = *first == image;
        self.demand(Invariant::ImageEqualsReplay, is_same, |_| {
            format!("broker {id} has another image of the first {applied} records")
        })
    }

    /// Has a fetch of an earlier life of a follower moved its leader?
    pub(super) fn check_earlier_life(
        &mut self,
        follower: NodeId,
        is_moved: bool,
    ) -> InvariantCheck {
        self.demand(Invariant::EarlierLifeIgnored, !is_moved, |_| {
            format!("a fetch of an earlier life of broker {follower} counted")
        })
    }

    /// No producer id is given away twice.
    pub(super) fn check_producer_ids(&mut self, ids: ProducerIdBlock) -> InvariantCheck {
        let ProducerIdBlock { first, count } = ids;
        let known = self.watch.producer_ids;
        self.watch.producer_ids = known.max(first + i64::from(count));
        self.demand(Invariant::ProducerIdsOnce, first >= known, |_| {
            format!("a block begins at {first}, and all below {known} are given away")
        })
    }
}
