//! What a leader does: opens its epoch, commits, and checks that a majority still follows.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ottla_types::{Bug, ErrorCode, LeaderEpoch, NodeId, Offset, is_planted};

use crate::effect::Effect;
use crate::fetching::{FetchAsked, FetchVerdict, SnapshotAsked};
use crate::input::{LogEnd, Moment, Standing};
use crate::quorum_log::{LogBatch, QuorumControl};
use crate::raft::{Effects, Raft};
use crate::role::{Leadership, ReplicaProgress, Role};
use crate::voters::{ReplicaKey, Voter};

/// After how long without a fetch an observer is forgotten, in milliseconds.
const OBSERVER_FORGOTTEN_MS: u64 = 300_000;
/// How many replicas that do not vote are remembered at most.
const OBSERVERS_MAX: usize = 1000;

impl Raft {
    /// Leads the epoch that it has promised to lead; `granted` have elected it.
    pub(crate) fn lead(
        &mut self,
        moment: Moment,
        granted: impl IntoIterator<Item = NodeId>,
        out: &mut Effects,
    ) {
        let mut leadership =
            Leadership { granted: granted.into_iter().collect(), ..Leadership::default() };
        let own = ReplicaProgress { end: self.stored.offset, ..ReplicaProgress::default() };
        leadership.replicas.insert(self.own, own);
        if self.log.kraft_version() < 1 {
            leadership.introduced = Some(self.log.voters().with(self.own_voter.clone()));
        }
        let (epoch, granted) =
            (self.durable.epoch, leadership.granted.iter().copied().collect::<Vec<_>>());
        let controls = self.opening_controls();
        self.role = Role::Leader(Box::new(leadership));
        let opening = Effect::OpenEpoch { epoch, granted, controls };
        if is_planted(Bug::EpochNotPersisted) {
            out.push(opening);
        } else {
            self.when_durable(opening, out);
        }
        self.wait_contacts(moment);
    }

    /// The first leader of all writes down who votes, and a leader that listens elsewhere than
    /// the log says writes that down.
    fn opening_controls(&self) -> Vec<QuorumControl> {
        let (kraft_version, voters) = (self.log.kraft_version(), self.log.voters());
        let is_written = self.log.voters_offset().is_some_and(|offset| offset >= 0);
        let is_known = voters.of_node(self.own.id) == Some(&self.own_voter);
        if kraft_version < 1 || is_written && is_known {
            return Vec::new();
        }
        let voters = voters.with(self.own_voter.clone());
        [QuorumControl::KraftVersion(kraft_version), QuorumControl::Voters(voters)].into()
    }

    /// A batch is in this leader's log. The first of its epoch opens it: it may lie behind
    /// records that are not durable yet, so that only the log knows where it is.
    pub(crate) fn appended(&mut self, moment: Moment, batch: LogBatch, out: &mut Effects) {
        self.log.appended(&batch);
        let opens = self.role.leadership().is_some_and(|it| it.epoch_start.is_none());
        if opens && batch.epoch == self.durable.epoch {
            if let Some(leadership) = self.role.leadership_mut() {
                leadership.epoch_start = Some(batch.base);
            }
            self.begin_due(moment, out);
        }
        self.change_appended(&batch, out);
        if batch.controls.is_empty() {
            self.commit(moment, out);
        } else {
            self.quorum_changed(moment, out);
        }
    }

    /// The log ends there on this replica's disk.
    pub(crate) fn stored(&mut self, moment: Moment, end: LogEnd, out: &mut Effects) {
        self.stored = end;
        let own = self.own;
        if let Some(leadership) = self.role.leadership_mut() {
            let known = leadership.replicas.entry(own).or_default();
            known.end = end.offset.max(known.end);
            self.commit(moment, out);
        }
    }

    /// A replica fetches from where the logs agree: it has everything before, and is alive.
    pub(crate) fn fetched(&mut self, moment: Moment, asked: &FetchAsked, out: &mut Effects) {
        let follower = asked.follower;
        if follower.id < 0 {
            return;
        }
        match self.fetch_verdict(asked) {
            FetchVerdict::Valid { .. } => {}
            FetchVerdict::Refused(ErrorCode::UNKNOWN_LEADER_EPOCH) => {
                return self.heard_of_later(moment, asked.epoch, out);
            }
            _ => return,
        }
        let leader_end = self.log.end().offset;
        if let Some(leadership) = self.role.leadership_mut() {
            let known = leadership.replicas.entry(follower).or_default();
            known.note_fetch(moment.now_ms, asked.end.offset, leader_end);
        }
        self.forget_observers(moment.now_ms);
        self.heard_from(moment, follower);
        self.commit(moment, out);
    }

    /// A replica fetches in a later epoch than this leader's. If it does not vote any more it asks
    /// for no election that would bring the others there, and never goes back: so this leader goes
    /// to it. Kafka's stays, and such a replica waits for the next election.
    fn heard_of_later(&mut self, moment: Moment, epoch: LeaderEpoch, out: &mut Effects) {
        if matches!(self.role, Role::Leader(_)) {
            self.heard(moment, Standing { epoch, leader: None }, out);
        }
    }

    /// A replica fetches a part of a snapshot: it is alive.
    pub(crate) fn snapshot_fetched(&mut self, moment: Moment, asked: &SnapshotAsked) {
        if self.check_leads(asked.epoch).is_ok() && asked.follower.id != self.own.id {
            self.heard_from(moment, asked.follower);
        }
    }

    /// A replica lives; does a majority? (KAFKA-15489)
    pub(crate) fn heard_from(&mut self, moment: Moment, follower: ReplicaKey) {
        if !self.log.voters().has(follower) {
            return;
        }
        let needed = self.contacts_needed();
        if let Some(leadership) = self.role.leadership_mut() {
            leadership.contacts.insert(follower.id);
            if leadership.contacts.len() >= needed {
                leadership.contacts.clear();
                self.wait_contacts(moment);
            }
        }
    }

    /// How many other voters must fetch for this leader to stay.
    fn contacts_needed(&self) -> usize {
        let voters = self.log.voters();
        voters.majority() - usize::from(voters.has(self.own))
    }

    /// A leader that a majority does not fetch from for one and a half fetch timeouts resigns.
    fn wait_contacts(&mut self, moment: Moment) {
        let until = moment.now_ms + self.timing.fetch_ms + self.timing.fetch_ms / 2;
        let checks = self.contacts_needed() > 0 && !is_planted(Bug::QuorumUnchecked);
        self.timers.role_ms = checks.then_some(until);
    }

    /// Strangers may fetch under any number of names.
    fn forget_observers(&mut self, now_ms: u64) {
        let (own, voters) = (self.own, self.log.voters());
        let is_gone = |progress: &ReplicaProgress| {
            progress.fetched_ms.is_some_and(|at| at + OBSERVER_FORGOTTEN_MS <= now_ms)
        };
        let stays = |key: &ReplicaKey| *key == own || voters.has(*key);
        if let Some(leadership) = self.role.leadership_mut() {
            let replicas = &mut leadership.replicas;
            if replicas.len().saturating_sub(voters.len()) > OBSERVERS_MAX {
                let oldest = replicas.iter().filter(|(key, _)| !stays(key));
                let oldest = oldest.min_by_key(|(_, it)| it.fetched_ms).map(|(key, _)| *key);
                oldest.map(|key| replicas.remove(&key));
            }
            replicas.retain(|key, progress| stays(key) || !is_gone(progress));
        }
    }

    /// Other voters are in force, or another level of `kraft.version`.
    pub(crate) fn leads_other_voters(&mut self, moment: Moment, out: &mut Effects) {
        let needed = self.contacts_needed();
        let waits = self.timers.role_ms.is_some();
        let (voters, is_upgraded) = (self.log.voters(), self.log.kraft_version() >= 1);
        if let Some(leadership) = self.role.leadership_mut() {
            leadership.contacts.retain(|id| voters.of_node(*id).is_some());
            if is_upgraded {
                leadership.introduced = None;
            }
            // The wait that was for another majority begins again; for a leader without others
            // it ends.
            if waits != (needed > 0) || leadership.contacts.len() >= needed {
                leadership.contacts.clear();
                self.wait_contacts(moment);
            }
        }
        self.commit(moment, out);
    }

    /// Tells the voters that have not fetched for half a fetch timeout who leads, and how often.
    pub(crate) fn begin_due(&mut self, moment: Moment, out: &mut Effects) {
        let pause_ms = self.timing.fetch_ms / 2;
        let voters = self.silent_voters(moment.now_ms, pause_ms);
        if !voters.is_empty() {
            out.push(Effect::BeginEpoch { epoch: self.durable.epoch, voters });
        }
        self.timers.begin_ms = Some(moment.now_ms + pause_ms);
    }

    fn silent_voters(&self, now_ms: u64, pause_ms: u64) -> Vec<ReplicaKey> {
        let Some(leadership) = self.role.leadership() else { return Vec::new() };
        let is_silent = |key: &ReplicaKey| {
            let fetched_ms = leadership.progress_of(*key).and_then(|it| it.fetched_ms);
            fetched_ms.is_none_or(|at| at + pause_ms <= now_ms)
        };
        self.log.voters().others(self.own).filter(is_silent).collect()
    }

    /// Commits what a majority holds, once that reaches into the leader's own epoch.
    pub(crate) fn commit(&mut self, moment: Moment, out: &mut Effects) {
        if let Some(end) = self.next_commit() {
            if let Some(leadership) = self.role.leadership_mut() {
                leadership.committed = Some(end);
            }
            self.high_watermark = self.high_watermark.max(Some(end));
            out.push(Effect::Committed(end));
            self.change_committed(moment, end, out);
        }
    }

    fn next_commit(&self) -> Option<Offset> {
        let leadership = self.role.leadership()?;
        let start = leadership.epoch_start?;
        let voters = if is_planted(Bug::OldMajorityCommits) {
            self.log.voters_before()
        } else {
            self.log.voters()
        };
        let held = |voter: &Voter| leadership.progress_of(voter.key).map_or(0, |it| it.end);
        let end = if is_planted(Bug::RemovedLeaderCounts) && !voters.has(self.own) {
            voters.with(self.own_voter.clone()).held_by_majority(held)?
        } else {
            voters.held_by_majority(held)?
        };
        let is_of_epoch = end > start || is_planted(Bug::OldEpochCommits) && end > 0;
        let is_new = leadership.committed.is_none_or(|committed| end > committed);
        (is_of_epoch && is_new).then_some(end)
    }

    /// Leads no longer: by its own will, or since a majority does not fetch. Those that have
    /// more of the log are to stand first.
    pub(crate) fn resign(&mut self, moment: Moment, out: &mut Effects) {
        let mut voters: Vec<ReplicaKey> = self.log.voters().others(self.own).collect();
        if let Some(leadership) = self.role.leadership() {
            let end = |key: &ReplicaKey| leadership.progress_of(*key).map_or(-1, |it| it.end);
            voters.sort_by_key(|key| (-end(key), *key));
        }
        self.steps_down(out);
        self.role = Role::Resigned;
        if !voters.is_empty() {
            out.push(Effect::EndEpoch { epoch: self.durable.epoch, voters });
        }
        self.wait_election(moment);
    }

    /// What a leader leaves behind.
    pub(crate) fn steps_down(&mut self, out: &mut Effects) {
        if matches!(self.role, Role::Leader(_)) {
            self.end_change(ErrorCode::NOT_LEADER_OR_FOLLOWER, out);
            self.timers.begin_ms = None;
            out.push(Effect::StepDown);
        }
    }

    /// The epoch that this replica leads, once it is open.
    #[must_use]
    pub fn leads(&self) -> Option<LeaderEpoch> {
        let is_open = self.role.leadership().is_some_and(|it| it.epoch_start.is_some());
        is_open.then_some(self.durable.epoch)
    }

    /// How far each replica is that has fetched from this leader, and the leader itself.
    pub fn replicas(&self) -> impl Iterator<Item = (&ReplicaKey, &ReplicaProgress)> {
        self.role.leadership().into_iter().flat_map(|it| it.replicas.iter())
    }
}

impl Leadership {
    /// How far a voter is. Before kraft.version 1 the voter set knows no directories, and what
    /// any replica of the node has told is the voter's.
    fn progress_of(&self, voter: ReplicaKey) -> Option<&ReplicaProgress> {
        if voter.directory.is_zero() || is_planted(Bug::DirectoryIgnored) {
            let of_node = self.replicas.iter().filter(|(key, _)| key.id == voter.id);
            return of_node.map(|(_, progress)| progress).max_by_key(|it| it.end);
        }
        self.replicas.get(&voter)
    }
}

impl ReplicaProgress {
    fn note_fetch(&mut self, now_ms: u64, end: Offset, leader_end: Offset) {
        if end >= leader_end {
            self.caught_up_ms = Some(now_ms);
        } else if self.leader_end > 0 && end >= self.leader_end {
            self.caught_up_ms = self.caught_up_ms.max(self.fetched_ms);
        }
        self.leader_end = leader_end;
        self.fetched_ms = Some(now_ms);
        // An earlier fetch may come later.
        self.end = self.end.max(end);
    }
}
