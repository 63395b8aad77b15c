//! Elections: timeouts, candidates and votes.

use alloc::collections::BTreeSet;

use ottla_types::{Bug, ErrorCode, LeaderEpoch, NodeId, is_planted};

use crate::effect::Effect;
use crate::input::{Ballot, Durable, LogEnd, Moment, Standing, VoteAnswer, VoteAsked};
use crate::raft::{Effects, Raft};
use crate::role::{Following, Role};
use crate::voters::ReplicaKey;

impl Raft {
    /// What a replica of its role waits for has not happened in time.
    pub(crate) fn role_timed_out(&mut self, moment: Moment, out: &mut Effects) {
        let may_stand = self.may_stand();
        match &self.role {
            Role::Leader(_) => self.resign(moment, out),
            Role::Resigned => {
                // Never again in this epoch: its records could be other ones than before.
                let epoch = self.durable.epoch + 1;
                self.detach(moment, epoch, out);
                self.wait_briefly(moment);
            }
            _ if !may_stand => self.lost_sight(),
            Role::Prospective { .. } => self.lost_pre_votes(moment),
            Role::Unattached | Role::Follower(_) | Role::Candidate { .. } => {
                let leader = self.leader();
                let (granted, refused) = (BTreeSet::from([self.own.id]), BTreeSet::new());
                self.role = Role::Prospective { granted, refused, leader };
                self.timers.update_ms = None;
                if self.log.voters().is_only(self.own) {
                    return self.stand(moment, out);
                }
                self.wait_election(moment);
                out.push(self.question(Ballot::PreVote));
            }
        }
    }

    /// An observer's leader is silent: it stands for no election, but does not speak for that
    /// leader any more when it is asked.
    fn lost_sight(&mut self) {
        self.timers.role_ms = None;
        if let Role::Follower(following) = &mut self.role {
            following.has_fetched = false;
        }
    }

    /// A replica that would not be elected goes back to the leader it knew, or asks again later.
    fn lost_pre_votes(&mut self, moment: Moment) {
        if let Some(leader) = self.leader() {
            self.role = Role::Follower(Following::of(leader));
            self.timers.update_ms = Some(moment.now_ms + self.timing.fetch_ms);
            self.wait_fetch(moment);
        } else {
            self.role = Role::Unattached;
            self.wait_election(moment);
        }
    }

    /// Knows no leader of `epoch`, which is a later one.
    pub(crate) fn detach(&mut self, moment: Moment, epoch: LeaderEpoch, out: &mut Effects) {
        let waits_for_election =
            !matches!(self.role, Role::Leader(_) | Role::Follower(_) | Role::Resigned);
        self.steps_down(out);
        self.role = Role::Unattached;
        self.timers.update_ms = None;
        self.promise(Durable { epoch, leader: None, voted: None }, out);
        if is_planted(Bug::WaitDropped) {
            self.timers.role_ms = None;
        } else if !waits_for_election || self.timers.role_ms.is_none() {
            // A stream of later epochs must not delay this replica's own election without end.
            self.wait_election(moment);
        }
    }

    /// The question to all other voters.
    fn question(&self, ballot: Ballot) -> Effect {
        let (candidate, epoch, log) = (self.own, self.durable.epoch, self.stored);
        let asked = VoteAsked { candidate, epoch, log, ballot };
        Effect::AskVotes { asked, voters: self.log.voters().others(self.own).collect() }
    }

    /// Becomes a candidate; the only voter is elected by its own vote.
    pub(crate) fn stand(&mut self, moment: Moment, out: &mut Effects) {
        let epoch = self.durable.epoch + 1;
        let alone = self.log.voters().is_only(self.own);
        let (leader, voted) =
            if alone { (Some(self.own.id), None) } else { (None, Some(self.own)) };
        self.promise(Durable { epoch, leader, voted }, out);
        if alone {
            self.lead(moment, [self.own.id], out);
        } else {
            self.ask_votes(moment, out);
        }
    }

    /// Asks for votes in the epoch in which it has voted for itself.
    pub(crate) fn ask_votes(&mut self, moment: Moment, out: &mut Effects) {
        let (granted, refused) = (BTreeSet::from([self.own.id]), BTreeSet::new());
        self.role = Role::Candidate { granted, refused };
        self.wait_election(moment);
        let question = self.question(Ballot::Vote);
        self.when_durable(question, out);
    }

    fn elected(&mut self, moment: Moment, granted: BTreeSet<NodeId>, out: &mut Effects) {
        let (epoch, leader) = (self.durable.epoch, Some(self.own.id));
        self.promise(Durable { epoch, leader, voted: None }, out);
        self.lead(moment, granted, out);
    }

    /// A voter has answered.
    pub(crate) fn voted(&mut self, moment: Moment, answer: VoteAnswer, out: &mut Effects) {
        let VoteAnswer { voter, epoch, ballot, granted: yes, error } = answer;
        let is_prospective = matches!(self.role, Role::Prospective { .. });
        if error == ErrorCode::UNSUPPORTED_VERSION && ballot == Ballot::PreVote && is_prospective {
            // A voter of before KIP-996 answers votes only.
            return self.stand(moment, out);
        }
        if epoch > self.durable.epoch {
            return self.heard(moment, Standing { epoch, leader: None }, out);
        }
        if error.is_error() {
            return;
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
        let voters = self.log.voters();
        let (won, lost) = (voters.is_majority(granted), voters.is_blocked_by(refused));
        let granted = granted.clone();
        match (won, lost, ballot) {
            (true, _, Ballot::PreVote) => self.stand(moment, out),
            (true, _, Ballot::Vote) => self.elected(moment, granted, out),
            (_, true, Ballot::PreVote) => self.lost_pre_votes(moment),
            // A candidate that lost waits its timeout out: equal backoffs would collide again.
            _ => {}
        }
    }

    /// Another replica asks for a vote, or whether it would get one. That it votes is not looked
    /// at: the voters that this replica knows may be old.
    pub(crate) fn asked(
        &mut self,
        moment: Moment,
        asked: VoteAsked,
        voter: Option<ReplicaKey>,
        out: &mut Effects,
    ) {
        let (candidate, ballot) = (asked.candidate, asked.ballot);
        let checked = self.check_question(&asked);
        let stays = ballot == Ballot::PreVote && is_planted(Bug::PreVoteStaysBehind);
        if checked.is_ok() && asked.epoch > self.durable.epoch && !stays {
            self.heard(moment, Standing { epoch: asked.epoch, leader: None }, out);
        }
        let checked = checked.and_then(|()| self.check_addressed(voter));
        let granted = checked.is_ok() && self.would_grant(&asked);
        if granted && ballot == Ballot::Vote && self.durable.voted.is_none() {
            self.promise(Durable { voted: Some(candidate), ..self.durable.clone() }, out);
            // The candidate has at least as good a chance as this replica.
            self.wait_election(moment);
        }
        let (epoch, error) = (self.durable.epoch, checked.err().unwrap_or_default());
        let answer = VoteAnswer { voter: self.own.id, epoch, ballot, granted, error };
        if is_planted(Bug::VoteNotPersisted) {
            return out.push(Effect::AnswerVote { candidate, answer });
        }
        self.when_durable(Effect::AnswerVote { candidate, answer }, out);
    }

    /// Can a replica ask this? A candidate has no record of its epoch yet; one that only asks
    /// whether it would be elected may have.
    fn check_question(&self, asked: &VoteAsked) -> Result<(), ErrorCode> {
        let LogEnd { epoch, offset } = asked.log;
        let is_late = match asked.ballot {
            Ballot::PreVote => epoch > asked.epoch,
            Ballot::Vote => epoch >= asked.epoch,
        };
        if epoch < 0 || offset < 0 || is_late || asked.candidate.id < 0 {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if asked.epoch < self.durable.epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        Ok(())
    }

    /// Is a request for a voter for this replica, and not for another one of the same node, whose
    /// disk is gone with all that it had promised?
    pub(crate) fn check_addressed(&self, voter: Option<ReplicaKey>) -> Result<(), ErrorCode> {
        let is_for_this = voter.is_none_or(|voter| voter.is(self.own));
        let is_for_this = is_for_this || is_planted(Bug::WipedVoterVotes);
        if is_for_this { Ok(()) } else { Err(ErrorCode::INVALID_VOTER_KEY) }
    }

    fn would_grant(&self, asked: &VoteAsked) -> bool {
        if asked.epoch < self.durable.epoch || !self.is_up_to_date(asked.log) {
            return false;
        }
        match (&self.role, asked.ballot) {
            (Role::Leader(_), _) => false,
            (Role::Prospective { leader: Some(_), .. }, Ballot::PreVote)
                if is_planted(Bug::PreVoteRefused) =>
            {
                false
            }
            // A replica that hears from a leader refuses pre-votes; one that only remembers a
            // leader may have lost it, and grants them.
            (Role::Follower(following), Ballot::PreVote) => !following.has_fetched,
            (_, Ballot::PreVote) => true,
            (Role::Unattached | Role::Prospective { .. }, Ballot::Vote) => {
                match self.durable.voted {
                    Some(_) if is_planted(Bug::VoteTwice) => true,
                    Some(voted) => voted.is(asked.candidate),
                    None => self.durable.leader.is_none(),
                }
            }
            (Role::Follower(_) | Role::Candidate { .. } | Role::Resigned, Ballot::Vote) => false,
        }
    }

    /// Does a log that ends there have all that this replica's has?
    fn is_up_to_date(&self, log: LogEnd) -> bool {
        log >= self.stored || is_planted(Bug::VoteIgnoresLog)
    }
}
