//! The invariants of the log: what commits, what is cut off, who votes.

use std::sync::Arc;

use ottla_raft::{QuorumControl, ReplicaKey, Role, VoterSet};
use ottla_types::{LeaderEpoch, Offset};

use super::log::SimSnapshot;
use super::world::{QuorumWorld, node_index};
use crate::invariant::{Invariant, InvariantCheck, Judge as _};
use crate::log::{SimRecord, count, offset};

impl QuorumWorld {
    /// Before a record is appended.
    pub(super) fn check_append(&mut self, at: usize, entry: SimRecord) -> InvariantCheck {
        let id = self.id(at);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let end = live.log.end();
        let is = (entry.id, live.log.epoch_before(end));
        let was = *self.watch.appended.entry((entry.epoch, offset(end))).or_insert(is);
        self.demand(Invariant::LogMatching, was == is, |_| {
            format!(
                "node {id} appends record {} behind epoch {} at offset {end} of epoch {}; there \
                 was record {} behind epoch {}",
                is.0, is.1, entry.epoch, was.0, was.1
            )
        })
    }

    /// Before a leader takes note of what has committed.
    pub(super) fn check_commit(&mut self, at: usize, end: Offset) -> InvariantCheck {
        let id = self.id(at);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (last, epoch) = (count(end) - 1, live.raft.epoch());
        let record = live.log.record(last);
        let voters = live.raft.voters().clone();
        let new: Vec<SimRecord> =
            (self.watch.committed.len()..count(end)).filter_map(|at| live.log.record(at)).collect();
        let known = self.watch.committed.len().min(count(end));
        let agrees = (live.log.start()..offset(known))
            .map(count)
            .all(|at| live.log.record(at) == self.watch.committed.get(at).copied());
        let is_durable = |voter: ReplicaKey| self.durable_record(voter, last) == record;
        let durable = voters.iter().filter(|voter| is_durable(voter.key)).count();
        let majority = voters.majority();
        self.demand(Invariant::CommittedOnMajorityDurable, durable >= majority, |_| {
            format!("node {id} commits up to {end}, which {durable} voters have on their disks")
        })?;
        self.demand(Invariant::CommittedPrefix, agrees, |_| {
            format!("node {id} commits other records below {end} than had committed before")
        })?;
        self.coverage.committed += new.len() as u64;
        self.watch.committed.extend(new);
        self.watch.committed_in.resize(self.watch.committed.len(), epoch);
        self.check_later_leaders(at, epoch)
    }

    /// What a voter has, or had when its disk was replaced, on its disk at an offset.
    fn durable_record(&self, voter: ReplicaKey, at: usize) -> Option<SimRecord> {
        let node = self.nodes.get(node_index(voter.id))?;
        if voter.directory.is_zero() || node.key == voter {
            return node.disk.log.record(at);
        }
        self.lost.get(&voter)?.record(at)
    }

    /// A deposed leader that still commits may commit only what its successors have.
    fn check_later_leaders(&mut self, at: usize, epoch: LeaderEpoch) -> InvariantCheck {
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            let Some(live) = &self.nodes[other].live else { continue };
            let later = live.raft.epoch();
            if later > epoch && matches!(live.raft.role(), Role::Leader(_)) {
                let has_all = self.has_committed(other, later);
                self.demand(Invariant::LeaderCompleteness, has_all, |world| {
                    format!("node {} leads without what has just committed", world.id(other))
                })?;
            }
        }
        Ok(())
    }

    /// Before a replica that does not lead takes note of what has committed.
    pub(super) fn check_known_committed(&mut self, at: usize, end: Offset) -> InvariantCheck {
        let id = self.id(at);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let last = count(end).checked_sub(1);
        let own = last.and_then(|last| live.log.record(last));
        let committed = last.and_then(|last| self.watch.committed.get(last)).copied();
        self.demand(Invariant::CommittedPrefix, last.is_none() || own == committed, |_| {
            format!("node {id} holds {own:?} for committed below {end}, which is {committed:?}")
        })
    }

    /// Before a replica takes note of a high watermark.
    pub(super) fn check_watermark(&mut self, at: usize, high_watermark: Offset) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (known, end, id) = (live.high_watermark, offset(live.log.end()), self.id(at));
        let holds = known <= high_watermark && high_watermark <= end;
        self.demand(Invariant::HwMonotonic, holds, |_| {
            format!("node {id}: from {known} to {high_watermark}, and its log ends at {end}")
        })
    }

    /// Before a follower cuts its log off at `end`.
    pub(super) fn check_cut(&mut self, at: usize, end: usize) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (known, id) = (live.high_watermark, self.id(at));
        let next = live.log.record(end);
        self.demand(Invariant::NoTruncateBelowHw, offset(end) >= known, |_| {
            format!("node {id} cuts at {end}, below its high watermark {known}")
        })?;
        let committed = self.watch.committed.get(end).copied();
        self.demand(Invariant::CommittedPrefix, next.is_none() || next != committed, |_| {
            format!("node {id} cuts off the committed record at {end}")
        })
    }

    /// Before a snapshot takes the place of a node's log.
    pub(super) fn check_replace(
        &mut self,
        at: usize,
        snapshot: &Arc<SimSnapshot>,
    ) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (known, id, end) = (live.high_watermark, self.id(at), snapshot.id.end);
        let is_voters = live.raft.voters().clone();
        let follows = matches!(live.raft.role(), Role::Follower(_));
        self.demand(Invariant::StateMatchesRole, follows, |_| {
            format!("node {id} installs a snapshot of {end} and follows no leader")
        })?;
        self.demand(Invariant::NoTruncateBelowHw, end >= known, |_| {
            format!("node {id} installs a snapshot of {end}, below its high watermark {known}")
        })?;
        self.check_snapshot(at, snapshot)?;
        let voters = snapshot.controls.iter().find_map(|control| match control {
            QuorumControl::Voters(voters) => Some(voters),
            QuorumControl::KraftVersion(_) => None,
        });
        let holds = voters.is_none_or(|voters| *voters == is_voters);
        self.demand(Invariant::VotersOfLog, holds, |_| {
            format!("node {id} has other voters than the snapshot of {end} that it installs")
        })
    }

    /// A snapshot holds what has committed, and who voted there.
    pub(super) fn check_snapshot(&mut self, at: usize, snapshot: &SimSnapshot) -> InvariantCheck {
        let (id, end) = (self.id(at), count(snapshot.id.end));
        let holds = self.watch.committed.get(..end) == Some(snapshot.records.as_slice());
        self.demand(Invariant::SnapshotEqualsReplay, holds, |_| {
            format!("node {id}: the snapshot of {end} is of other records than have committed")
        })?;
        let of_log = self.quorum_below(end);
        let same = of_log == snapshot.controls;
        self.demand(Invariant::VotersOfLog, same, |_| {
            format!(
                "node {id}: the snapshot of {end} says {:?}, the log {of_log:?}",
                snapshot.controls
            )
        })
    }

    /// What the committed log below `end` says of the quorum.
    fn quorum_below(&self, end: usize) -> Vec<QuorumControl> {
        let (mut version, mut voters) = (None, None);
        for control in &self.first.format {
            note_control(control, &mut version, &mut voters);
        }
        for record in &self.watch.committed[..end] {
            for control in self.table.get(&record.id).into_iter().flatten() {
                note_control(control, &mut version, &mut voters);
            }
        }
        let version = version.map(QuorumControl::KraftVersion);
        version.into_iter().chain(voters.map(QuorumControl::Voters)).collect()
    }

    /// Before a leader appends what changes the quorum.
    pub(super) fn check_change(&mut self, at: usize, controls: &[QuorumControl]) -> InvariantCheck {
        let id = self.id(at);
        let before = self.voters_of(at);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let uncommitted = live.raft.log().voters_offset();
        let is_settled = uncommitted.is_none_or(|offset| offset < live.high_watermark);
        let is_upgrade = before.iter().any(|voter| voter.key.directory.is_zero());
        let opens = live.raft.leads().is_none();
        for control in controls {
            let QuorumControl::Voters(voters) = control else { continue };
            let overlaps = before.overlaps(voters) || is_upgrade;
            self.demand(Invariant::VoterSetsOverlap, overlaps && !voters.is_empty(), |_| {
                format!("node {id} goes from the voters {before:?} to {voters:?}")
            })?;
            self.demand(Invariant::VoterSetsOverlap, is_settled || opens, |_| {
                format!(
                    "node {id} changes the voters, and those at {uncommitted:?} have not committed"
                )
            })?;
            let committed = self.nodes[at].live.as_ref().and_then(|live| live.raft.committed());
            self.demand(Invariant::VoterSetsOverlap, committed.is_some() || opens, |_| {
                format!("node {id} changes the voters, and nothing of its epoch has committed")
            })?;
        }
        Ok(())
    }

    /// The voters that a running node goes by are those of its log.
    pub(super) fn check_voters(&mut self, at: usize) -> InvariantCheck {
        let id = self.id(at);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let mut voters: Option<&VoterSet> = None;
        let controls = (count(live.log.start())..live.log.end())
            .filter_map(|at| live.log.record(at))
            .filter_map(|record| self.table.get(&record.id))
            .flatten();
        let base = live.log.snapshots.first().filter(|it| it.id.end == live.log.start());
        let format = self.first.format.iter().filter(|_| self.nodes[at].disk.is_formatted);
        let first = base.map_or_else(Vec::new, |it| it.controls.iter().collect());
        for control in format.chain(first).chain(controls) {
            if let QuorumControl::Voters(set) = control {
                voters = Some(set);
            }
        }
        let settings = || self.nodes[at].static_voters(&self.first);
        let expected = voters.cloned().unwrap_or_else(settings);
        let own = live.raft.voters().clone();
        let holds = own == expected;
        self.demand(Invariant::VotersOfLog, holds, |_| {
            format!("node {id} goes by the voters {own:?}; its log says {expected:?}")
        })
    }
}

fn note_control(control: &QuorumControl, version: &mut Option<i16>, voters: &mut Option<VoterSet>) {
    match control {
        QuorumControl::KraftVersion(to) => *version = Some(*to),
        QuorumControl::Voters(to) => *voters = Some(to.clone()),
    }
}
