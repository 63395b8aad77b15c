//! The invariants of elections. Each check looks at what one step could have changed; together
//! with those of the log they hold after every step.

use std::collections::BTreeMap;

use ottla_raft::{Ballot, Effect, Input, Raft, ReplicaKey, Role};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use super::rows::{RoleName, RowEvent, Stand, matching_row};
use super::world::QuorumWorld;
use crate::coverage::Coverage;
use crate::invariant::{Invariant, InvariantCheck, Judge};
use crate::log::SimRecord;

/// What is remembered of the whole history, across all crashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct QuorumWatch {
    /// The leader of each epoch.
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    /// Each record that was ever appended, by epoch and offset: its id, and the epoch before it.
    pub appended: BTreeMap<(LeaderEpoch, Offset), (u64, LeaderEpoch)>,
    /// The committed log.
    pub committed: Vec<SimRecord>,
    /// In which epoch each of its records committed.
    pub committed_in: Vec<LeaderEpoch>,
    /// For whom each voter voted in each epoch.
    votes: BTreeMap<(ReplicaKey, LeaderEpoch), ReplicaKey>,
}

impl QuorumWatch {
    /// How many epochs have had a leader.
    pub fn led_epochs(&self) -> usize {
        self.leaders.len()
    }
}

/// For how long a leader may be without its majority: two rounds of one and a half fetch timeouts,
/// since a contact counts until its round ends.
const CONTACT_MAX_MS: u64 = 6000;

/// What of a step is needed after it.
#[derive(Debug)]
pub(super) struct StepBefore {
    pub stand: Stand,
    event: RowEvent,
    /// The epoch that the input speaks of, if the replica has to be in it afterwards.
    heard: LeaderEpoch,
    /// The replica, where the input is a request of an earlier epoch.
    unchanged: Option<Box<Raft>>,
}

impl StepBefore {
    pub fn of(id: NodeId, raft: &Raft, input: &Input) -> Self {
        let own = raft.epoch();
        let (asks, heard) = match input {
            Input::Asked { asked, .. } => (None, asked.epoch),
            Input::BeginAsked(asked) => (Some(asked.epoch), asked.epoch),
            Input::EndAsked(asked) => (Some(asked.epoch), asked.epoch),
            Input::Fetched(asked) => (Some(asked.epoch), 0),
            Input::SnapshotFetched(asked) => (Some(asked.epoch), 0),
            Input::Voted(answer) => (None, answer.epoch),
            Input::Heard(standing) => (None, standing.epoch),
            Input::FetchAnswered(answered) => (None, answered.standing.epoch),
            _ => (None, 0),
        };
        // A node that hears of itself as a leader that it is not waits for another.
        let leader = match input {
            Input::Heard(standing) => standing.leader,
            Input::BeginAsked(asked) => Some(asked.leader),
            Input::EndAsked(asked) => Some(asked.leader),
            Input::FetchAnswered(answered) => answered.standing.leader,
            _ => None,
        };
        let unchanged = asks.is_some_and(|epoch| epoch < own).then(|| Box::new(raft.clone()));
        let is_own = leader == Some(id);
        Self {
            stand: Stand::of(raft),
            event: RowEvent::of(input),
            heard: if is_own { 0 } else { heard },
            unchanged,
        }
    }
}

impl Judge for QuorumWorld {
    fn now_ms(&self) -> u64 {
        self.schedule.now_ms()
    }

    fn coverage(&mut self) -> &mut Coverage {
        &mut self.coverage
    }
}

impl QuorumWorld {
    /// After a step of a replica.
    pub(super) fn check_step(&mut self, at: usize, before: &StepBefore) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (after, id) = (Stand::of(&live.raft), self.id(at));
        let is_unchanged = before.unchanged.as_ref().is_none_or(|raft| **raft == live.raft);
        let found = matching_row(before.stand, before.event, after);
        if let Ok(Some(row)) = found {
            self.coverage.rows[row] += 1;
        }
        if before.unchanged.is_some() {
            self.demand(Invariant::EarlierEpochIgnored, is_unchanged, |_| {
                format!("node {id}, {:?}: {before:?}", after)
            })?;
        }
        self.demand(Invariant::StateMatchesRole, found.is_ok(), |_| {
            format!("node {id}: {}", found.err().unwrap_or_default())
        })?;
        let started = matches!(before.event, RowEvent::Started(_));
        let falls = after.epoch < before.stand.epoch;
        self.demand(Invariant::EpochMonotonic, started || !falls, |_| {
            format!("node {id} went from epoch {} to {}", before.stand.epoch, after.epoch)
        })?;
        self.demand(Invariant::EpochCatchesUp, after.epoch >= before.heard, |_| {
            format!("node {id} is in epoch {} and has heard of {}", after.epoch, before.heard)
        })?;
        self.check_election(at)?;
        if after.part == RoleName::Leader && before.stand.part != RoleName::Leader {
            self.check_new_leader(at, after.epoch)?;
        }
        Ok(())
    }

    fn check_election(&mut self, at: usize) -> InvariantCheck {
        let (id, key) = (self.id(at), self.nodes[at].key);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (role, voters) = (live.raft.role(), live.raft.voters());
        // A leader that has removed itself leads until that has committed.
        let stands = matches!(role, Role::Prospective { .. } | Role::Candidate { .. });
        let known = live.raft.log();
        let is_open = known.voters_offset().is_some_and(|at| at >= live.high_watermark);
        let is_voter = voters.has(key) || is_open && known.voters_before().has(key);
        let (all, majority) = (voters.len(), voters.majority());
        let votes = |ids: &std::collections::BTreeSet<NodeId>| {
            voters.iter().filter(|voter| ids.contains(&voter.key.id)).count()
        };
        let is_open = match role {
            Role::Prospective { granted, refused, .. } => {
                votes(granted) < majority && all - votes(refused) >= majority
            }
            Role::Candidate { granted, .. } => votes(granted) < majority,
            _ => true,
        };
        self.demand(Invariant::StateMatchesRole, !stands || is_voter, |_| {
            format!("node {id} is no voter and stands for election")
        })?;
        self.demand(Invariant::ElectionDecided, is_open, |world| {
            format!("node {id} of {all} voters is still {:?}", world.role(at))
        })
    }

    fn check_new_leader(&mut self, at: usize, epoch: LeaderEpoch) -> InvariantCheck {
        let (id, key) = (self.id(at), self.nodes[at].key);
        let first = *self.watch.leaders.entry(epoch).or_insert(id);
        self.demand(Invariant::ElectionSafety, first == id, |_| {
            format!("nodes {first} and {id} both lead epoch {epoch}")
        })?;
        let voters = self.voters_of(at);
        let voted = |voter: ReplicaKey| {
            let is_voter = |by: &ReplicaKey| *by == voter || voter.directory.is_zero();
            let node = ReplicaKey { directory: ottla_types::Uuid::ZERO, ..voter };
            let of_node = self.watch.votes.range((node, LeaderEpoch::MIN)..);
            let of_node = of_node.take_while(|((by, _), _)| by.id == voter.id);
            of_node.filter(|((by, of), _)| *of == epoch && is_voter(by)).any(|(_, to)| *to == key)
        };
        let votes = voters.iter().filter(|voter| voted(voter.key)).count();
        // The only voter asks for no votes.
        let is_elected = votes >= voters.majority() || voters.is_only(key);
        self.demand(Invariant::ElectedByVotes, is_elected, |_| {
            format!("node {id} leads epoch {epoch} with {votes} votes")
        })?;
        let has_all = self.has_committed(at, epoch);
        self.demand(Invariant::LeaderCompleteness, has_all, |world| {
            let count = world.watch.committed.len();
            format!("node {id} leads epoch {epoch} without all of the {count} committed records")
        })
    }

    /// Does the log of a node have all that committed before `epoch`? (What commits in later
    /// epochs need not be there: votes can be so late that a leader is elected after its
    /// successor.) Logs that agree in one record agree up to there.
    pub(super) fn has_committed(&self, at: usize, epoch: LeaderEpoch) -> bool {
        let last = self.watch.committed_in.iter().rposition(|committed| *committed < epoch);
        let Some(last) = last else { return true };
        let log = self.nodes[at].live.as_ref().map(|live| &live.log);
        log.and_then(|log| log.record(last)) == self.watch.committed.get(last).copied()
    }

    /// Before anything leaves a node that rests on a promise.
    pub(super) fn check_word(&mut self, at: usize, effect: &Effect) -> InvariantCheck {
        let (id, key) = (self.id(at), self.nodes[at].key);
        let promised = self.nodes[at].disk.promised.clone();
        let (epoch, is_promised, votes_for) = match effect {
            Effect::AnswerVote { candidate, answer }
                if answer.granted && answer.ballot == Ballot::Vote =>
            {
                (answer.epoch, promised.voted == Some(*candidate), Some(*candidate))
            }
            Effect::AskVotes { asked, .. } if asked.ballot == Ballot::Vote => {
                (asked.epoch, promised.voted == Some(key), Some(key))
            }
            Effect::OpenEpoch { epoch, .. } => (*epoch, promised.leader == Some(id), None),
            _ => return Ok(()),
        };
        // In a later epoch nothing more can be promised in this one.
        let is_kept = promised.epoch > epoch || promised.epoch == epoch && is_promised;
        self.demand(Invariant::PromiseBeforeWord, is_kept, |_| {
            format!("node {id} said {effect:?} with {promised:?} on its disk")
        })?;
        let Some(candidate) = votes_for else { return Ok(()) };
        let first = *self.watch.votes.entry((key, epoch)).or_insert(candidate);
        self.demand(Invariant::VoteOnce, first == candidate, |_| {
            format!("node {id} voted for {first:?} and for {candidate:?} in epoch {epoch}")
        })
    }

    /// Has a leader heard of its majority lately?
    pub(super) fn check_quorum(&mut self, at: usize) -> InvariantCheck {
        let (now_ms, id) = (self.schedule.now_ms(), self.id(at));
        let Some(Role::Leader(_)) = self.role(at) else { return Ok(()) };
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        if live.changed_ms + CONTACT_MAX_MS >= now_ms {
            // Other voters were asked for at first.
            return Ok(());
        }
        let voters = live.raft.voters();
        let is_near = |voter: ReplicaKey| {
            let place = super::world::node_index(voter.id);
            place == at || live.contacts[place] + CONTACT_MAX_MS >= now_ms
        };
        let near = voters.iter().filter(|voter| is_near(voter.key)).count();
        let (all, majority) = (voters.len(), voters.majority());
        self.demand(Invariant::QuorumChecked, near >= majority, |_| {
            format!("node {id} leads and only {near} of {all} voters are near")
        })
    }
}
