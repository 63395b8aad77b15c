//! Elections: timeouts, candidates and votes.

use alloc::collections::BTreeSet;

use ottla_types::{Bug, LeaderEpoch, NodeId, is_planted};

use crate::input::{Ballot, Durable, Effect, LogEnd, Moment, VoteAnswer, VoteAsked};
use crate::raft::{Effects, Raft};
use crate::role::Role;

impl Raft {
    /// What was waited for has not happened in time.
    pub(crate) fn timed_out(&mut self, moment: Moment, out: &mut Effects) {
        if !self.voters.has(self.own) && !matches!(self.role, Role::Leader { .. }) {
            return self.wait(None, out);
        }
        match &self.role {
            Role::Leader { .. } => self.resign(moment, out),
            Role::Resigned => {
                // Never again in this epoch: its records could be other ones than before.
                let epoch = self.durable.epoch + 1;
                self.detach(moment, epoch, out);
            }
            Role::Prospective { .. } => self.lost_pre_votes(moment, out),
            Role::Unattached | Role::Follower { .. } | Role::Candidate { .. } => {
                let leader = self.leader();
                let (granted, refused) = (BTreeSet::from([self.own.id]), BTreeSet::new());
                self.role = Role::Prospective { granted, refused, leader };
                if self.voters.is_only(self.own) {
                    return self.stand(moment, out);
                }
                self.wait_election(moment, out);
                out.push(Effect::AskVotes(self.question(Ballot::PreVote)));
            }
        }
    }

    /// A replica that would not be elected goes back to the leader it knew, or asks again later.
    fn lost_pre_votes(&mut self, moment: Moment, out: &mut Effects) {
        if let Some(leader) = self.leader() {
            self.role = Role::Follower { leader, has_fetched: false };
            self.wait_fetch(moment, out);
        } else {
            self.role = Role::Unattached;
            self.wait_election(moment, out);
        }
    }

    /// Knows no leader of `epoch`, which is a later one.
    fn detach(&mut self, moment: Moment, epoch: LeaderEpoch, out: &mut Effects) {
        let waits_for_election =
            !matches!(self.role, Role::Leader { .. } | Role::Follower { .. } | Role::Resigned);
        self.role = Role::Unattached;
        self.promise(Durable { epoch, leader: None, voted: None }, out);
        if is_planted(Bug::WaitDropped) {
            return self.wait(None, out);
        }
        // A stream of later epochs must not delay this replica's own election without end.
        if !waits_for_election || self.deadline_ms.is_none() {
            self.wait_election(moment, out);
        }
    }

    const fn question(&self, ballot: Ballot) -> VoteAsked {
        VoteAsked { candidate: self.own, epoch: self.durable.epoch, log: self.log, ballot }
    }

    /// Becomes a candidate; the only voter is elected by its own vote.
    pub(crate) fn stand(&mut self, moment: Moment, out: &mut Effects) {
        let epoch = self.durable.epoch + 1;
        let alone = self.voters.is_only(self.own);
        let (leader, voted) =
            if alone { (Some(self.own.id), None) } else { (None, Some(self.own)) };
        self.promise(Durable { epoch, leader, voted }, out);
        if alone {
            self.lead(moment, out);
        } else {
            self.ask_votes(moment, out);
        }
    }

    /// Asks for votes in the epoch in which it has voted for itself.
    pub(crate) fn ask_votes(&mut self, moment: Moment, out: &mut Effects) {
        let (granted, refused) = (BTreeSet::from([self.own.id]), BTreeSet::new());
        self.role = Role::Candidate { granted, refused };
        self.wait_election(moment, out);
        let question = self.question(Ballot::Vote);
        self.when_durable(Effect::AskVotes(question), out);
    }

    fn elected(&mut self, moment: Moment, out: &mut Effects) {
        let (epoch, leader) = (self.durable.epoch, Some(self.own.id));
        self.promise(Durable { epoch, leader, voted: None }, out);
        self.lead(moment, out);
    }

    /// A voter has answered.
    pub(crate) fn voted(&mut self, moment: Moment, answer: VoteAnswer, out: &mut Effects) {
        let VoteAnswer { voter, epoch, ballot, granted: yes } = answer;
        if epoch > self.durable.epoch {
            return self.heard(moment, epoch, None, out);
        }
        let (granted, refused) = match (&mut self.role, ballot) {
            (Role::Prospective { granted, refused, .. }, Ballot::PreVote)
            | (Role::Candidate { granted, refused }, Ballot::Vote)
                if epoch == self.durable.epoch || is_planted(Bug::StaleVoteCounts) =>
            {
                (granted, refused)
            }
            (Role::Candidate { granted, refused }, _) if is_planted(Bug::PreVoteCounts) => {
                (granted, refused)
            }
            // The answer comes too late; and what a pre-vote says is no vote.
            _ => return,
        };
        if yes {
            granted.insert(voter);
        } else {
            refused.insert(voter);
        }
        let (won, lost) = (self.voters.is_majority(granted), self.voters.is_blocked_by(refused));
        match (won, lost, ballot) {
            (true, _, Ballot::PreVote) => self.stand(moment, out),
            (true, _, Ballot::Vote) => self.elected(moment, out),
            (_, true, Ballot::PreVote) => self.lost_pre_votes(moment, out),
            // A candidate that lost waits its timeout out: equal backoffs would collide again.
            _ => {}
        }
    }

    /// Another replica asks for a vote, or whether it would get one.
    pub(crate) fn asked(&mut self, moment: Moment, asked: VoteAsked, out: &mut Effects) {
        let stays = asked.ballot == Ballot::PreVote && is_planted(Bug::PreVoteStaysBehind);
        if asked.epoch > self.durable.epoch && !stays {
            self.heard(moment, asked.epoch, None, out);
        }
        let granted = self.would_grant(&asked);
        let (candidate, epoch, ballot) = (asked.candidate, self.durable.epoch, asked.ballot);
        if granted && ballot == Ballot::Vote && self.durable.voted.is_none() {
            self.promise(Durable { voted: Some(candidate), ..self.durable.clone() }, out);
            // The candidate has at least as good a chance as this replica.
            self.wait_election(moment, out);
        }
        let answer = VoteAnswer { voter: self.own.id, epoch, ballot, granted };
        if is_planted(Bug::VoteNotPersisted) {
            return out.push(Effect::AnswerVote { candidate, answer });
        }
        self.when_durable(Effect::AnswerVote { candidate, answer }, out);
    }

    fn would_grant(&self, asked: &VoteAsked) -> bool {
        if asked.epoch < self.durable.epoch || !self.is_up_to_date(asked.log) {
            return false;
        }
        match (&self.role, asked.ballot) {
            (Role::Leader { .. }, _) => false,
            (Role::Prospective { leader: Some(_), .. }, Ballot::PreVote)
                if is_planted(Bug::PreVoteRefused) =>
            {
                false
            }
            // A replica that gets fetches or answers of a leader refuses pre-votes; one that only
            // remembers a leader may have lost it, and grants them.
            (Role::Follower { has_fetched, .. }, Ballot::PreVote) => !has_fetched,
            (_, Ballot::PreVote) => true,
            (Role::Unattached | Role::Prospective { .. }, Ballot::Vote) => {
                match self.durable.voted {
                    Some(_) if is_planted(Bug::VoteTwice) => true,
                    Some(voted) => voted.is(asked.candidate),
                    None => self.durable.leader.is_none(),
                }
            }
            (Role::Follower { .. } | Role::Candidate { .. } | Role::Resigned, Ballot::Vote) => {
                false
            }
        }
    }

    /// Does a log that ends there have all that this replica's has?
    fn is_up_to_date(&self, log: LogEnd) -> bool {
        log >= self.log || is_planted(Bug::VoteIgnoresLog)
    }

    /// A message speaks of an epoch and perhaps its leader.
    pub(crate) fn heard(
        &mut self,
        moment: Moment,
        epoch: LeaderEpoch,
        leader: Option<NodeId>,
        out: &mut Effects,
    ) {
        let own = self.durable.epoch;
        let is_news = epoch > own || epoch == own && leader.is_some() && self.leader().is_none();
        if !is_news || leader == Some(self.own.id) {
            return;
        }
        if matches!(self.role, Role::Leader { .. }) {
            out.push(Effect::StepDown);
        }
        let Some(id) = leader else { return self.detach(moment, epoch, out) };
        // Within an epoch a vote is never forgotten.
        let voted = if epoch == own { self.durable.voted } else { None };
        self.role = Role::Follower { leader: id, has_fetched: false };
        self.promise(Durable { epoch, leader, voted }, out);
        self.wait_fetch(moment, out);
    }

    /// The leader is alive.
    pub(crate) fn fetch_answered(
        &mut self,
        moment: Moment,
        from: NodeId,
        epoch: LeaderEpoch,
        out: &mut Effects,
    ) {
        if epoch != self.durable.epoch {
            return;
        }
        if let Role::Follower { leader, has_fetched } = &mut self.role
            && *leader == from
        {
            *has_fetched = true;
            self.wait_fetch(moment, out);
        }
    }

    /// Leads no longer: by its own will, or since a majority does not fetch.
    pub(crate) fn resign(&mut self, moment: Moment, out: &mut Effects) {
        self.role = Role::Resigned;
        out.push(Effect::StepDown);
        self.wait_election(moment, out);
    }
}
