//! A replica, and the one step that changes it.

use alloc::vec::Vec;

use ottla_types::{Bug, LeaderEpoch, NodeId, Offset, is_planted};

use crate::input::{Durable, Effect, Input, LogEnd, Moment, Timing};
use crate::role::Role;
use crate::voters::{ReplicaKey, VoterSet};

/// One replica of the metadata quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) own: ReplicaKey,
    pub(crate) voters: VoterSet,
    pub(crate) timing: Timing,
    /// Where the log ends on the disk: what is not durable counts in no vote and no majority.
    pub(crate) log: LogEnd,
    /// What has been promised.
    pub(crate) durable: Durable,
    /// What of it is on the disk.
    on_disk: Durable,
    pub(crate) role: Role,
    /// What may happen when `durable` is on the disk.
    held_back: Vec<Effect>,
    /// When the election, the patience with the leader or the check of the quorum ends.
    pub(crate) deadline_ms: Option<u64>,
}

pub(crate) type Effects = Vec<Effect>;

impl Raft {
    /// A replica whose log ends at `log` and names these voters.
    #[must_use]
    pub fn new(own: ReplicaKey, voters: VoterSet, log: LogEnd, timing: Timing) -> Self {
        let (durable, on_disk) = (Durable::default(), Durable::default());
        let (role, held_back, deadline_ms) = (Role::Unattached, Vec::new(), None);
        Self { own, voters, timing, log, durable, on_disk, role, held_back, deadline_ms }
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

    /// The voters in force.
    #[must_use]
    pub const fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// The leader it knows of.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.role.leader(self.own.id)
    }

    /// As a leader: the high watermark to send to followers. Until something of its own epoch has
    /// committed it sends none, since an earlier leader may have sent a later one.
    #[must_use]
    pub fn committed(&self) -> Option<Offset> {
        match self.role {
            Role::Leader { committed, .. } => committed,
            _ => None,
        }
    }

    /// Takes one input in; adds to `out` what is to be done, in order.
    pub fn step(&mut self, moment: Moment, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Started(durable) => self.started(moment, durable, out),
            Input::Persisted(durable) => {
                self.on_disk = durable;
                if self.on_disk == self.durable {
                    out.append(&mut self.held_back);
                }
            }
            Input::TimedOut => {
                if self.deadline_ms.is_some_and(|deadline| deadline <= moment.now_ms) {
                    self.timed_out(moment, out);
                }
            }
            Input::Voted(answer) => self.voted(moment, answer, out),
            Input::Asked(asked) => self.asked(moment, asked, out),
            Input::Heard { epoch, leader } => self.heard(moment, epoch, leader, out),
            Input::Stored(end) => self.stored(end, out),
            Input::EpochOpened { epoch, start } => self.epoch_opened(epoch, start, out),
            Input::FetchAnswered { leader, epoch } => {
                self.fetch_answered(moment, leader, epoch, out);
            }
            Input::Fetched { follower, end } => self.fetched(moment, follower, end, out),
            Input::VotersChanged(voters) => self.voters_changed(moment, voters, out),
            Input::Resign => {
                if matches!(self.role, Role::Leader { .. }) {
                    self.resign(moment, out);
                }
            }
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

    /// Waits until `until_ms`, and for nothing else.
    pub(crate) fn wait(&mut self, until_ms: Option<u64>, out: &mut Effects) {
        if self.deadline_ms != until_ms {
            self.deadline_ms = until_ms;
            out.push(Effect::Wait { until_ms });
        }
    }

    /// Waits for an election timeout; a replica that does not vote waits for no election.
    pub(crate) fn wait_election(&mut self, moment: Moment, out: &mut Effects) {
        let election_ms = self.timing.election_ms;
        let spread = moment.draw % election_ms.max(1);
        let until = moment.now_ms + election_ms + spread;
        self.wait(self.voters.has(self.own).then_some(until), out);
    }

    /// Waits for the leader as long as it may leave a fetch without an answer.
    pub(crate) fn wait_fetch(&mut self, moment: Moment, out: &mut Effects) {
        let until = moment.now_ms + self.timing.fetch_ms;
        self.wait(self.voters.has(self.own).then_some(until), out);
    }

    fn started(&mut self, moment: Moment, durable: Durable, out: &mut Effects) {
        self.on_disk = durable.clone();
        self.durable = durable;
        if self.durable.epoch < self.log.epoch {
            let epoch = self.log.epoch;
            self.promise(Durable { epoch, leader: None, voted: None }, out);
        }
        if self.voters.is_only(self.own) {
            return self.stand(moment, out);
        }
        match (self.durable.leader, self.durable.voted) {
            // A leader never resumes: what it had promised as one is gone with its memory.
            (Some(leader), _) if leader == self.own.id && is_planted(Bug::LeaderResumes) => {
                self.lead(moment, out);
            }
            (Some(leader), _) if leader == self.own.id => {
                self.role = Role::Resigned;
                self.wait_election(moment, out);
            }
            (Some(leader), _) => {
                self.role = Role::Follower { leader, has_fetched: false };
                self.wait_fetch(moment, out);
            }
            (None, Some(voted)) if voted == self.own && self.voters.has(self.own) => {
                self.ask_votes(moment, out);
            }
            (None, _) => {
                self.role = Role::Unattached;
                self.wait_election(moment, out);
            }
        }
    }

    /// A membership change can make this replica a voter, or no longer one.
    fn voters_changed(&mut self, moment: Moment, voters: VoterSet, out: &mut Effects) {
        self.voters = voters;
        match (&self.role, self.voters.has(self.own)) {
            (Role::Leader { .. }, _) => {}
            (_, false) => self.wait(None, out),
            (Role::Follower { .. }, true) if self.deadline_ms.is_none() => {
                self.wait_fetch(moment, out);
            }
            (_, true) if self.deadline_ms.is_none() => self.wait_election(moment, out),
            _ => {}
        }
        self.commit(out);
    }
}
