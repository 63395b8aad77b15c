//! The one step.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;

use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::input::{Durable, Effect, Input, LogEnd, VoteAsked};
use crate::role::Role;
use crate::voters::{ReplicaKey, VoterSet};

/// One replica of the metadata quorum.
#[derive(Clone, Debug)]
pub struct Raft {
    own: ReplicaKey,
    voters: VoterSet,
    log: LogEnd,
    durable: Durable,
    role: Role,
    /// What must be on the disk before the effects behind it may happen.
    held_back: Vec<Effect>,
}

type Effects = Vec<Effect>;

impl Raft {
    /// A replica whose log ends at `log` and names these voters.
    #[must_use]
    pub fn new(own: ReplicaKey, voters: VoterSet, log: LogEnd) -> Self {
        let (durable, role) = (Durable::default(), Role::Unattached);
        Self { own, voters, log, durable, role, held_back: Vec::new() }
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

    /// Takes one input in; returns what is to be done, in order.
    pub fn step(&mut self, input: Input) -> Effects {
        let mut out = Effects::new();
        match input {
            Input::Started(durable) => self.started(durable, &mut out),
            Input::Persisted(durable) => {
                if durable == self.durable {
                    out.append(&mut self.held_back);
                }
            }
            Input::TimedOut => self.timed_out(&mut out),
            Input::Voted { voter, epoch, granted } => self.voted(voter, epoch, granted, &mut out),
            Input::Asked(asked) => self.asked(asked, &mut out),
            Input::Heard { epoch, leader } => self.heard(epoch, leader, &mut out),
            Input::Stored(end) => {
                self.log = end;
                self.holds(self.own, end.offset, &mut out);
            }
            Input::Fetched { follower, end } => self.holds(follower, end, &mut out),
            Input::VotersChanged(voters) => {
                self.voters = voters;
                self.commit(&mut out);
            }
            Input::Resign => {
                if matches!(self.role, Role::Leader { .. }) {
                    self.role = Role::Resigned;
                    out.extend([Effect::StepDown, Effect::WaitElection]);
                }
            }
        }
        out
    }

    /// `then` happens when what is durable now is on the disk.
    fn persist(&mut self, then: Vec<Effect>, out: &mut Effects) {
        self.held_back = then;
        out.push(Effect::Persist(self.durable.clone()));
    }

    fn started(&mut self, durable: Durable, out: &mut Effects) {
        self.durable = durable;
        if self.durable.epoch < self.log.epoch {
            self.durable = Durable { epoch: self.log.epoch, leader: None, voted: None };
        }
        // A leader never resumes: what it had promised as one is gone with its memory.
        self.role = match self.durable.leader {
            Some(leader) if leader == self.own.id => Role::Resigned,
            Some(leader) => Role::Follower { leader },
            None => Role::Unattached,
        };
        if self.voters.is_only(self.own) {
            self.stand(out);
        } else {
            out.push(Effect::WaitElection);
        }
    }

    fn timed_out(&mut self, out: &mut Effects) {
        if !self.voters.has(self.own) || matches!(self.role, Role::Leader { .. }) {
            return;
        }
        match mem::replace(&mut self.role, Role::Unattached) {
            Role::Resigned => {
                self.durable = Durable { epoch: self.durable.epoch + 1, leader: None, voted: None };
                self.persist([Effect::WaitElection].into(), out);
            }
            role => {
                let leader = role.leader(self.own.id);
                let (granted, refused) = (BTreeSet::from([self.own.id]), BTreeSet::new());
                self.role = Role::Prospective { granted, refused, leader };
                if self.voters.majority() <= 1 {
                    return self.stand(out);
                }
                out.extend([Effect::AskVotes(self.question(true)), Effect::WaitElection]);
            }
        }
    }

    fn question(&self, pre_vote: bool) -> VoteAsked {
        VoteAsked { candidate: self.own, epoch: self.durable.epoch, log: self.log, pre_vote }
    }

    /// Becomes a candidate; the only voter is elected by its own vote.
    fn stand(&mut self, out: &mut Effects) {
        self.durable =
            Durable { epoch: self.durable.epoch + 1, leader: None, voted: Some(self.own) };
        if self.voters.is_only(self.own) {
            return self.lead(out);
        }
        let (granted, refused) = (BTreeSet::from([self.own.id]), BTreeSet::new());
        self.role = Role::Candidate { granted, refused };
        self.persist([Effect::AskVotes(self.question(false)), Effect::WaitElection].into(), out);
    }

    fn lead(&mut self, out: &mut Effects) {
        let epoch_start = self.log.offset;
        self.role = Role::Leader { epoch_start, held: BTreeMap::new(), committed: None };
        self.durable.leader = Some(self.own.id);
        self.durable.voted = None;
        self.persist([Effect::OpenEpoch { epoch: self.durable.epoch }].into(), out);
    }

    fn voted(&mut self, voter: NodeId, epoch: LeaderEpoch, yes: bool, out: &mut Effects) {
        if epoch > self.durable.epoch {
            return self.heard(epoch, None, out);
        }
        let majority = self.voters.majority();
        let known = self.voters.iter().any(|known| known.key.id == voter);
        if epoch < self.durable.epoch || !known {
            return;
        }
        let pre_vote = matches!(self.role, Role::Prospective { .. });
        let (Role::Prospective { granted, refused, .. } | Role::Candidate { granted, refused }) =
            &mut self.role
        else {
            return;
        };
        if yes {
            granted.insert(voter)
        } else {
            refused.insert(voter)
        };
        let (won, lost) = (granted.len() >= majority, refused.len() >= majority);
        match (won, lost, pre_vote) {
            (true, _, true) => self.stand(out),
            (true, _, false) => self.lead(out),
            (_, true, true) => {
                self.role = match self.leader() {
                    Some(leader) => Role::Follower { leader },
                    None => Role::Unattached,
                };
            }
            // A candidate that lost waits its timeout out before it asks again.
            _ => {}
        }
    }

    fn asked(&mut self, asked: VoteAsked, out: &mut Effects) {
        if asked.epoch > self.durable.epoch && !asked.pre_vote {
            self.heard(asked.epoch, None, out);
        }
        let current = asked.epoch >= self.durable.epoch && asked.log >= self.log;
        let granted = current
            && match &self.role {
                Role::Unattached | Role::Prospective { leader: None, .. } if asked.pre_vote => true,
                Role::Unattached | Role::Prospective { leader: None, .. } => {
                    self.durable.voted.is_none_or(|voted| voted == asked.candidate)
                        && self.durable.leader.is_none()
                }
                Role::Candidate { .. } | Role::Resigned => asked.pre_vote,
                Role::Follower { .. } | Role::Prospective { .. } | Role::Leader { .. } => false,
            };
        let epoch = self.durable.epoch;
        let answer = Effect::AnswerVote { candidate: asked.candidate, epoch, granted };
        if granted && !asked.pre_vote && self.durable.voted != Some(asked.candidate) {
            self.durable.voted = Some(asked.candidate);
            self.persist([answer].into(), out);
        } else if self.held_back.is_empty() {
            out.push(answer);
        } else {
            self.held_back.push(answer);
        }
    }

    fn heard(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>, out: &mut Effects) {
        let news = epoch > self.durable.epoch
            || epoch == self.durable.epoch && leader.is_some() && self.leader().is_none();
        if !news || leader == Some(self.own.id) {
            return;
        }
        if matches!(self.role, Role::Leader { .. }) {
            out.push(Effect::StepDown);
        }
        let voted = if epoch == self.durable.epoch { self.durable.voted } else { None };
        self.durable = Durable { epoch, leader, voted };
        let (role, wait) = match leader {
            Some(leader) => (Role::Follower { leader }, Effect::WaitFetch),
            None => (Role::Unattached, Effect::WaitElection),
        };
        self.role = role;
        self.persist([wait].into(), out);
    }

    fn holds(&mut self, replica: ReplicaKey, end: Offset, out: &mut Effects) {
        if !self.voters.has(replica) {
            return;
        }
        if let Role::Leader { held, .. } = &mut self.role {
            let known = held.entry(replica.id).or_insert(end);
            *known = end.max(*known);
            self.commit(out);
        }
    }

    /// Commits what a majority holds, once that reaches into the leader's own epoch.
    fn commit(&mut self, out: &mut Effects) {
        let Role::Leader { epoch_start, held, committed } = &mut self.role else { return };
        let end = self.voters.held_by_majority(|id| held.get(&id).copied().unwrap_or(0));
        if let Some(end) = end
            && end > *epoch_start
            && committed.is_none_or(|committed| end > committed)
        {
            *committed = Some(end);
            out.push(Effect::Committed(end));
        }
    }
}
