//! Other voters, and snapshots: what operators ask for, what nodes ask their leader for, and
//! whether the quorum can bear it.

use std::sync::Arc;

use ottla_raft::{
    Candidacy, ChangeAnswered, ChangeAsked, Input, MembershipChange, QuorumControl, ReplicaKey,
    SnapshotId, VoterSet, is_start_covered,
};

use super::log::SimSnapshot;
use super::message::{ChangeRequester, QuorumEvent, QuorumMessage};
use super::world::QuorumWorld;
use crate::invariant::{Invariant, InvariantCheck, Judge as _};
use crate::log::count;

impl QuorumWorld {
    /// An operator changes the voters, or a node writes a snapshot.
    pub(super) fn operate(&mut self) -> InvariantCheck {
        if self.is_healed {
            return Ok(());
        }
        let pause_ms = self.dice.between(100, self.operator_ms);
        self.schedule.after(pause_ms, QuorumEvent::Operated);
        let any = self.dice.index(self.nodes.len());
        match self.dice.below(8) {
            0..3 => self.snapshot(any),
            3 => self.clean(any),
            4..8 => {
                let leads = (0..self.nodes.len()).filter(|at| self.leads(*at));
                let leaders: Vec<usize> = leads.collect();
                if leaders.is_empty() {
                    return Ok(());
                }
                let leader = leaders[self.dice.index(leaders.len())];
                let Some(change) = self.choose_change(leader, any) else { return Ok(()) };
                self.ask_change(leader, change)
            }
            _ => Ok(()),
        }
    }

    fn ask_change(&mut self, leader: usize, change: MembershipChange) -> InvariantCheck {
        self.next_request += 1;
        let (request, epoch) = (self.next_request, None);
        let answered = ChangeAnswered::WhenCommitted;
        self.step(leader, Input::ChangeAsked(ChangeAsked { request, epoch, change, answered }))
    }

    /// A change that an operator in his senses would make.
    fn choose_change(&mut self, leader: usize, any: usize) -> Option<MembershipChange> {
        let live = self.nodes[leader].live.as_ref()?;
        let voters = live.raft.voters();
        if live.raft.log().kraft_version() < 1 {
            return Some(MembershipChange::Upgrade(1));
        }
        let node = &self.nodes[any];
        match voters.of_node(node.key.id) {
            Some(voter) => {
                // Sometimes the leader itself.
                let key = voter.key;
                let left = voters.without(key.id);
                let bears = !left.is_empty() && self.bears(&left, &[]);
                bears.then_some(MembershipChange::Remove(key))
            }
            None if node.candidacy == Candidacy::Never => None,
            None => Some(MembershipChange::Add(node.voter())),
        }
    }

    /// Can these voters elect a leader while these nodes are down?
    pub(super) fn bears(&self, voters: &VoterSet, down: &[usize]) -> bool {
        let votes =
            |key: ReplicaKey| self.place_of_voter(key).is_some_and(|at| !down.contains(&at));
        let left = voters.iter().filter(|voter| votes(voter.key)).count();
        voters.is_empty() || left >= voters.majority()
    }

    /// The voters as each node knows them, running or not.
    pub(super) fn sets_in_force(&self) -> Vec<VoterSet> {
        let of = |at: usize| match &self.nodes[at].live {
            Some(live) => live.raft.voters().clone(),
            None => self.nodes[at].log_on_disk(&self.first, &self.table).voters().clone(),
        };
        (0..self.nodes.len()).map(of).collect()
    }

    /// The nodes that do not vote as far as they know. One that does not know yet that it votes may
    /// have a log that is ahead, and then it gives its vote to no voter and asks for none.
    pub(super) fn unaware_voters(&self, sets: &[VoterSet]) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| !sets[*at].has(self.nodes[*at].key)).collect()
    }

    /// A message about other voters arrives.
    pub(super) fn membership_arrives(
        &mut self,
        from: usize,
        to: usize,
        message: QuorumMessage,
    ) -> InvariantCheck {
        match message {
            QuorumMessage::AskVersions => {
                let versions = self.nodes[to].voter().kraft_versions;
                self.send(to, from, QuorumMessage::Versions { versions });
                Ok(())
            }
            QuorumMessage::Versions { versions } => {
                let voter = self.id(from);
                self.step(to, Input::VersionsAnswered { voter, versions: Ok(versions) })
            }
            QuorumMessage::AskChange { change, life } => {
                // A voter that says where it listens is alive.
                let epoch = self.standing(to).epoch;
                let key = self.nodes[from].key;
                self.note_contact(to, key, epoch);
                self.next_request += 1;
                let (request, answered) = (self.next_request, ChangeAnswered::WhenAppended);
                if let Some(live) = &mut self.nodes[to].live {
                    live.changes.push(ChangeRequester { request, from, life });
                }
                let asked = ChangeAsked { request, epoch: None, change, answered };
                self.step(to, Input::ChangeAsked(asked))
            }
            _ => Ok(()),
        }
    }

    /// A node writes a snapshot of what has committed.
    fn snapshot(&mut self, at: usize) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let end = live.high_watermark;
        let last = live.log.snapshots.last().map_or(0, |it| it.id.end);
        if end <= last {
            return Ok(());
        }
        let id = SnapshotId { end, epoch: live.log.epoch_before(count(end)) };
        let known = live.raft.log();
        let version = known.kraft_version_at(end - 1);
        let mut controls = Vec::new();
        if version > 0 {
            controls.push(QuorumControl::KraftVersion(version));
            let voters = known.voters_at(end - 1).cloned();
            controls.extend(voters.map(QuorumControl::Voters));
        }
        let records = live.log.records_below(count(end));
        let snapshot = Arc::new(SimSnapshot { id, records, controls });
        self.check_snapshot(at, &snapshot)?;
        self.coverage.snapshots += 1;
        let node = &mut *self.nodes[at];
        if let Some(live) = &mut node.live {
            live.log.add_snapshot(&mut node.disk.log, snapshot);
        }
        self.step(at, Input::SnapshotTaken(id))
    }

    /// A node deletes what is in one of its snapshots.
    fn clean(&mut self, at: usize) -> InvariantCheck {
        let node = &mut *self.nodes[at];
        let Some(live) = &mut node.live else { return Ok(()) };
        let ids: Vec<SnapshotId> = live.log.snapshots.iter().map(|it| it.id).collect();
        // A snapshot covers more than is on the disk, if the end of the log is not.
        let durable = live.log.durable_end().offset;
        let ids: Vec<SnapshotId> = ids.into_iter().filter(|id| id.end <= durable).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let start = ids[self.dice.index(ids.len())];
        if start.end <= live.log.start() {
            return Ok(());
        }
        live.log.clean(&mut node.disk.log, start);
        self.step(at, Input::Cleaned { start })?;
        self.check_start(at)
    }

    /// A snapshot that was fetched is on the disk.
    pub(super) fn frozen(&mut self, at: usize, id: SnapshotId) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let fetched = live.download.as_ref().filter(|it| it.id == id);
        let Some(controls) = fetched.map(|it| it.controls.clone()) else { return Ok(()) };
        self.step(at, Input::SnapshotFrozen { id, controls })?;
        self.fetch_if_due(at);
        Ok(())
    }

    /// A snapshot takes the place of a node's log.
    pub(super) fn replace_log(&mut self, at: usize, id: SnapshotId) -> InvariantCheck {
        let node = &self.nodes[at];
        let Some(snapshot) = node.live.as_ref().and_then(|live| live.download.clone()) else {
            return Ok(());
        };
        self.check_replace(at, &snapshot)?;
        self.coverage.fetched_snapshots += 1;
        let node = &mut *self.nodes[at];
        if let Some(live) = &mut node.live {
            debug_assert_eq!(snapshot.id, id, "another snapshot");
            live.log.replace(&mut node.disk.log, snapshot);
            live.download = None;
        }
        self.check_start(at)
    }

    fn check_start(&mut self, at: usize) -> InvariantCheck {
        let (id, disk) = (self.id(at), &self.nodes[at].disk.log);
        let ids: Vec<SnapshotId> = disk.snapshots.iter().map(|it| it.id).collect();
        let start = crate::log::offset(disk.base);
        let is_covered = is_start_covered(start, &ids);
        self.demand(Invariant::StartCovered, is_covered, |_| {
            format!("node {id}: the log starts at {start} and the snapshots are {ids:?}")
        })
    }
}
