//! A replica, and the one step that changes it.

use alloc::vec::Vec;

use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

use crate::effect::{Effect, FatalReason};
use crate::input::{Durable, Input, LogEnd, Moment, Standing, Timing};
use crate::membership::Candidacy;
use crate::quorum_log::QuorumLog;
use crate::role::Role;
use crate::voters::{ReplicaKey, Voter, VoterSet};

/// One replica of the metadata quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) own: ReplicaKey,
    /// What this replica says of itself where it votes.
    pub(crate) own_voter: Voter,
    pub(crate) candidacy: Candidacy,
    pub(crate) timing: Timing,
    /// What is in the log, on the disk or not.
    pub(crate) log: QuorumLog,
    /// Where the log ends on the disk: what is not durable counts in no vote and no majority.
    pub(crate) stored: LogEnd,
    /// What has been promised.
    pub(crate) durable: Durable,
    /// What of it is on the disk.
    pub(crate) on_disk: Durable,
    pub(crate) role: Role,
    /// What may happen when `durable` is on the disk.
    held_back: Vec<Effect>,
    /// What is committed, as far as this replica knows.
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) timers: RaftTimers,
    /// The moment of the last [`Effect::Wait`].
    woken_ms: Option<u64>,
    fatal: Option<FatalReason>,
}

/// When what comes to an end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RaftTimers {
    /// The election, the patience with the leader, or the check of the quorum.
    pub role_ms: Option<u64>,
    /// On a leader: the pause between two BeginQuorumEpoch.
    pub begin_ms: Option<u64>,
    /// On a leader: the patience of the one who asked for a change.
    pub change_ms: Option<u64>,
    /// On a follower: the pause between two looks at its entry in the voter set.
    pub update_ms: Option<u64>,
}

/// What a replica starts with.
#[derive(Clone, Debug)]
pub struct RaftSetup {
    /// What this replica is, where it listens, and which versions it speaks.
    pub own: Voter,
    /// Whether it may become a voter.
    pub candidacy: Candidacy,
    /// Its log, all of which is on the disk.
    pub log: QuorumLog,
    /// How long it waits for what.
    pub timing: Timing,
}

pub(crate) type Effects = Vec<Effect>;

impl Raft {
    /// A replica before its start: [`Input::Started`].
    #[must_use]
    pub fn new(setup: RaftSetup) -> Self {
        let RaftSetup { own, candidacy, log, timing } = setup;
        Self {
            own: own.key,
            own_voter: own,
            candidacy,
            timing,
            stored: log.end(),
            log,
            durable: Durable::default(),
            on_disk: Durable::default(),
            role: Role::Unattached,
            held_back: Vec::new(),
            high_watermark: None,
            timers: RaftTimers::default(),
            woken_ms: None,
            fatal: None,
        }
    }

    /// What it is.
    #[must_use]
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// The epoch it is in.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.durable.epoch
    }

    /// What it has promised in the epoch, on the disk or not yet.
    #[must_use]
    pub const fn durable(&self) -> &Durable {
        &self.durable
    }

    /// What it knows of its log.
    #[must_use]
    pub const fn log(&self) -> &QuorumLog {
        &self.log
    }

    /// Where the log ends on this replica's disk.
    #[must_use]
    pub const fn stored_end(&self) -> LogEnd {
        self.stored
    }

    /// The voters in force.
    #[must_use]
    pub fn voters(&self) -> &VoterSet {
        self.log.voters()
    }

    /// The leader it knows of.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.role.leader(self.own.id)
    }

    /// What it says in every answer. That it leads it says when that is on its disk: else, after
    /// a crash, others would hold it for the leader and it would not.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_open = self.on_disk == self.durable || !matches!(self.role, Role::Leader(_));
        Standing { epoch: self.durable.epoch, leader: self.leader().filter(|_| is_open) }
    }

    /// As a leader: the high watermark to send to followers. Until something of its own epoch has
    /// committed it sends none, since an earlier leader may have sent a later one.
    #[must_use]
    pub fn committed(&self) -> Option<Offset> {
        self.role.leadership().and_then(|it| it.committed)
    }

    /// What is committed, as far as this replica knows: the part of its log that it may use.
    #[must_use]
    pub const fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// Takes one input in; adds to `out` what is to be done, in order.
    pub fn step(&mut self, moment: Moment, input: Input, out: &mut Vec<Effect>) {
        if self.fatal.is_some() {
            return;
        }
        match input {
            Input::Started(durable) => self.started(moment, durable, out),
            Input::Persisted(durable) => {
                self.on_disk = durable;
                if self.on_disk == self.durable {
                    out.append(&mut self.held_back);
                }
            }
            Input::TimedOut => self.timed_out(moment, out),
            Input::Voted(answer) => self.voted(moment, answer, out),
            Input::Asked { asked, voter } => self.asked(moment, asked, voter, out),
            Input::Heard(standing) => self.heard(moment, standing, out),
            Input::BeginAsked(asked) => self.begin_asked(moment, asked, out),
            Input::EndAsked(asked) => self.end_asked(moment, asked, out),
            Input::LeaderUnreachable { leader } => self.leader_unreachable(moment, leader),
            Input::Appended(batch) => self.appended(moment, batch, out),
            Input::Stored(end) => self.stored(moment, end, out),
            Input::Fetched(asked) => self.fetched(moment, &asked, out),
            Input::FetchAnswered(answered) => self.fetch_answered(moment, answered, out),
            Input::SnapshotFetched(asked) => self.snapshot_fetched(moment, &asked),
            Input::SnapshotAnswered(answered) => self.snapshot_answered(moment, answered, out),
            Input::SnapshotFrozen { id, controls } => {
                self.snapshot_frozen(moment, id, controls, out);
            }
            Input::SnapshotTaken(id) => self.log.snapshot_taken(id),
            Input::Cleaned { start } => self.log.cleaned(start),
            Input::ChangeAsked(asked) => self.change_asked(moment, asked, out),
            Input::VersionsAnswered { voter, versions } => {
                self.versions_answered(moment, voter, versions, out);
            }
            Input::ChangeAnswered { leader, error } => self.change_answered(moment, leader, error),
            Input::Resign => {
                if matches!(self.role, Role::Leader(_)) {
                    self.resign(moment, out);
                }
            }
        }
        self.wait_next(out);
    }

    /// What was waited for has not happened in time.
    fn timed_out(&mut self, moment: Moment, out: &mut Effects) {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= moment.now_ms);
        if is_due(self.timers.change_ms) {
            self.end_change(ErrorCode::REQUEST_TIMED_OUT, out);
        }
        if is_due(self.timers.begin_ms) {
            self.begin_due(moment, out);
        }
        if is_due(self.timers.update_ms) {
            self.update_due(moment, out);
        }
        if is_due(self.timers.role_ms) {
            self.role_timed_out(moment, out);
        }
    }

    /// Promises something; what rested on an earlier promise is not done any more.
    pub(crate) fn promise(&mut self, durable: Durable, out: &mut Effects) {
        self.held_back.clear();
        if durable != self.durable {
            self.durable = durable;
            out.push(Effect::Persist(self.durable.clone()));
        }
    }

    /// `then` happens when all that is promised is on the disk.
    pub(crate) fn when_durable(&mut self, then: Effect, out: &mut Effects) {
        if self.on_disk == self.durable {
            out.push(then);
        } else {
            self.held_back.push(then);
        }
    }

    /// The next moment at which something comes to an end, if it is another one.
    fn wait_next(&mut self, out: &mut Effects) {
        let RaftTimers { role_ms, begin_ms, change_ms, update_ms } = self.timers;
        let until_ms = [role_ms, begin_ms, change_ms, update_ms].into_iter().flatten().min();
        if self.woken_ms != until_ms {
            self.woken_ms = until_ms;
            out.push(Effect::Wait { until_ms });
        }
    }

    /// May this replica stand for election? A voter may, and one that was a voter before a change
    /// that has not committed as far as it knows: it may be the only one that has the change, and
    /// a log that others must have before they can be elected.
    #[must_use]
    pub fn may_stand(&self) -> bool {
        if self.log.voters().has(self.own) {
            return true;
        }
        let known = self.high_watermark.unwrap_or(0);
        let is_open = self.log.voters_offset().is_some_and(|offset| offset >= known);
        is_open && self.log.voters_before().has(self.own)
    }

    /// Waits for an election timeout. A replica that may not stand waits for no election, only
    /// one that has led for the next epoch.
    pub(crate) fn wait_election(&mut self, moment: Moment) {
        let election_ms = self.timing.election_ms;
        let spread = moment.draw % election_ms.max(1);
        self.wait_to_stand(moment.now_ms + election_ms + spread);
    }

    fn wait_to_stand(&mut self, until_ms: u64) {
        let waits = matches!(self.role, Role::Resigned) || self.may_stand();
        self.timers.role_ms = waits.then_some(until_ms);
    }

    /// As [`Self::wait_election`], where no leader is known that it could disturb: at a start, and
    /// after it has led. What it asks then is whether it would be elected, and those who hear from
    /// a leader say no. Apache's nodes wait a whole election timeout here.
    pub(crate) fn wait_briefly(&mut self, moment: Moment) {
        let spread = (self.timing.election_ms / 4).max(1);
        self.wait_to_stand(moment.now_ms + moment.draw % spread);
    }

    /// Waits for the leader as long as it may leave a fetch without an answer. An observer that
    /// may become a voter waits too: others may know already that it votes, and ask it.
    pub(crate) fn wait_fetch(&mut self, moment: Moment) {
        let until = moment.now_ms + self.timing.fetch_ms;
        let waits = self.candidacy.may_vote() || self.may_stand();
        self.timers.role_ms = waits.then_some(until);
    }

    /// The protocol is broken.
    pub(crate) fn fail(&mut self, reason: FatalReason, out: &mut Effects) {
        self.fatal = Some(reason);
        self.timers = RaftTimers::default();
        out.push(Effect::Fatal(reason));
    }

    /// The log says other things of the quorum than before: this replica may vote now, or may not
    /// any more.
    pub(crate) fn quorum_changed(&mut self, moment: Moment, out: &mut Effects) {
        let waits = self.timers.role_ms.is_some();
        match &self.role {
            Role::Leader(_) => self.leads_other_voters(moment, out),
            Role::Resigned => {}
            _ if !self.may_stand() => self.timers.role_ms = None,
            Role::Follower(_) if !waits => self.wait_fetch(moment),
            _ if !waits => self.wait_election(moment),
            _ => {}
        }
    }
}
