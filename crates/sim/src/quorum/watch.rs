//! The invariants of the quorum. Each check looks at what one step could have changed; together
//! they hold after every step.

use std::collections::BTreeMap;

use ottla_raft::{Ballot, Effect, Input, Role};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use super::rows::{RoleName, Stand, row};
use super::world::QuorumWorld;
use crate::coverage::Coverage;
use crate::invariant::{Invariant, InvariantCheck, Judge};
use crate::log::{SimRecord, count};

/// What is remembered of the whole history, across all crashes.
#[derive(Debug, Default)]
pub(crate) struct QuorumWatch {
    /// The leader of each epoch.
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    /// Each record that was ever appended, by epoch and offset: its id, and the epoch before it.
    appended: BTreeMap<(LeaderEpoch, Offset), (u64, LeaderEpoch)>,
    /// The committed log.
    pub committed: Vec<SimRecord>,
    /// In which epoch each of its records committed.
    committed_in: Vec<LeaderEpoch>,
    /// For whom each voter voted in each epoch.
    votes: BTreeMap<(NodeId, LeaderEpoch), NodeId>,
}

/// For how long a leader may be without its majority: two rounds of one and a half fetch timeouts,
/// since a contact counts until its round ends.
const CONTACT_MAX_MS: u64 = 6000;

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
    pub(super) fn check_step(&mut self, at: usize, before: Stand, input: &Input) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (after, id) = (Stand::of(&live.raft), self.id(at));
        let found = row(before, input, after);
        if let Ok(Some(row)) = found {
            self.coverage.rows[row] += 1;
        }
        self.demand(Invariant::StateMatchesRole, found.is_ok(), |_| {
            format!("node {id}: {}", found.err().unwrap_or_default())
        })?;
        let started = matches!(input, Input::Started(_));
        self.demand(Invariant::EpochMonotonic, started || after.epoch >= before.epoch, |_| {
            format!("node {id} went from epoch {} to {}", before.epoch, after.epoch)
        })?;
        let heard = match input {
            Input::Asked(asked) => asked.epoch,
            Input::Voted(answer) => answer.epoch,
            Input::Heard { epoch, leader } if *leader != Some(id) => *epoch,
            _ => 0,
        };
        self.demand(Invariant::EpochCatchesUp, after.epoch >= heard, |_| {
            format!("node {id} is in epoch {} and has heard of {heard}", after.epoch)
        })?;
        self.check_election(at)?;
        if after.part == RoleName::Leader && before.part != RoleName::Leader {
            self.check_new_leader(at, after.epoch)?;
        }
        Ok(())
    }

    fn check_election(&mut self, at: usize) -> InvariantCheck {
        let id = self.id(at);
        let all: Vec<NodeId> = self.voters.iter().map(|voter| voter.key.id).collect();
        let is_nominee = |role: &Role| {
            matches!(role, Role::Prospective { .. } | Role::Candidate { .. } | Role::Leader { .. })
        };
        let stands = self.role(at).is_some_and(is_nominee);
        self.demand(Invariant::StateMatchesRole, !stands || all.contains(&id), |_| {
            format!("node {id} is no voter and stands for election")
        })?;
        let majority = all.len() / 2 + 1;
        let votes = |ids: &std::collections::BTreeSet<NodeId>| {
            all.iter().filter(|id| ids.contains(id)).count()
        };
        let is_open = match self.role(at) {
            Some(Role::Prospective { granted, refused, .. }) => {
                votes(granted) < majority && all.len() - votes(refused) >= majority
            }
            Some(Role::Candidate { granted, .. }) => votes(granted) < majority,
            _ => true,
        };
        self.demand(Invariant::ElectionDecided, is_open, |world| {
            format!("node {id} of {} voters is still {:?}", all.len(), world.role(at))
        })
    }

    fn check_new_leader(&mut self, at: usize, epoch: LeaderEpoch) -> InvariantCheck {
        let id = self.id(at);
        let first = *self.watch.leaders.entry(epoch).or_insert(id);
        self.demand(Invariant::ElectionSafety, first == id, |_| {
            format!("nodes {first} and {id} both lead epoch {epoch}")
        })?;
        let voted = |voter: NodeId| self.watch.votes.get(&(voter, epoch)) == Some(&id);
        let votes = self.voters.iter().filter(|voter| voted(voter.key.id)).count();
        // The only voter asks for no votes.
        let is_elected = votes > self.voters.len() / 2 || self.voters.len() == 1;
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
    fn has_committed(&self, at: usize, epoch: LeaderEpoch) -> bool {
        let last = self.watch.committed_in.iter().rposition(|committed| *committed < epoch);
        let Some(last) = last else { return true };
        let log = self.nodes[at].live.as_ref().map(|live| &live.log.entries);
        log.and_then(|log| log.get(last)) == self.watch.committed.get(last)
    }

    /// Before anything leaves a node that rests on a promise.
    pub(super) fn check_word(&mut self, at: usize, effect: &Effect) -> InvariantCheck {
        let (id, promised) = (self.id(at), self.nodes[at].disk.promised.clone());
        let (epoch, is_promised, votes_for) = match effect {
            Effect::AnswerVote { candidate, answer }
                if answer.granted && answer.ballot == Ballot::Vote =>
            {
                let voted = promised.voted.map(|voted| voted.id);
                (answer.epoch, voted == Some(candidate.id), Some(candidate.id))
            }
            Effect::AskVotes(asked) if asked.ballot == Ballot::Vote => {
                let voted = promised.voted.map(|voted| voted.id);
                (asked.epoch, voted == Some(id), Some(id))
            }
            Effect::OpenEpoch { epoch } => (*epoch, promised.leader == Some(id), None),
            _ => return Ok(()),
        };
        // In a later epoch nothing more can be promised in this one.
        let is_kept = promised.epoch > epoch || promised.epoch == epoch && is_promised;
        self.demand(Invariant::PromiseBeforeWord, is_kept, |_| {
            format!("node {id} said {effect:?} with {promised:?} on its disk")
        })?;
        let Some(candidate) = votes_for else { return Ok(()) };
        let first = *self.watch.votes.entry((id, epoch)).or_insert(candidate);
        self.demand(Invariant::VoteOnce, first == candidate, |_| {
            format!("node {id} voted for {first} and for {candidate} in epoch {epoch}")
        })
    }

    /// Before a record is appended.
    pub(super) fn check_append(&mut self, at: usize, entry: SimRecord) -> InvariantCheck {
        let id = self.id(at);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let end = live.log.end();
        let is = (entry.id, live.log.epoch_before(live.log.entries.len()));
        let was = *self.watch.appended.entry((entry.epoch, end)).or_insert(is);
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
        self.check_watermark(at, end)?;
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let log = live.log.entries[..count(end)].to_vec();
        let last = log.len() - 1;
        let durable = self.voter_places().into_iter();
        let durable = durable.filter(|at| self.nodes[*at].disk.log.get(last) == log.last());
        let (durable, majority) = (durable.count(), self.voters.len() / 2 + 1);
        self.demand(Invariant::CommittedOnMajorityDurable, durable >= majority, |_| {
            format!("node {id} commits up to {end}, which {durable} voters have on their disks")
        })?;
        let known = self.watch.committed.len().min(log.len());
        let agrees = self.watch.committed[..known] == log[..known];
        self.demand(Invariant::CommittedPrefix, agrees, |_| {
            format!("node {id} commits other records below {end} than had committed before")
        })?;
        let new = log.len().saturating_sub(self.watch.committed.len());
        self.coverage.committed += new as u64;
        self.watch.committed.extend_from_slice(&log[known..]);
        let epoch = self.nodes[at].live.as_ref().map_or(0, |live| live.raft.epoch());
        self.watch.committed_in.resize(self.watch.committed.len(), epoch);
        self.check_later_leaders(at)
    }

    /// A deposed leader that still commits may commit only what its successors have.
    fn check_later_leaders(&mut self, at: usize) -> InvariantCheck {
        let epoch = self.nodes[at].live.as_ref().map_or(0, |live| live.raft.epoch());
        for other in 0..self.nodes.len() {
            let Some(live) = &self.nodes[other].live else { continue };
            let (leads, later) =
                (matches!(live.raft.role(), Role::Leader { .. }), live.raft.epoch());
            if leads && later > epoch {
                let has_all = self.has_committed(other, later);
                self.demand(Invariant::LeaderCompleteness, has_all, |world| {
                    format!("node {} leads without what has just committed", world.id(other))
                })?;
            }
        }
        Ok(())
    }

    /// Before a replica takes note of a high watermark.
    pub(super) fn check_watermark(&mut self, at: usize, high_watermark: Offset) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (known, end, id) = (live.high_watermark, live.log.end(), self.id(at));
        let holds = known <= high_watermark && high_watermark <= end;
        self.demand(Invariant::HwMonotonic, holds, |_| {
            format!("node {id}: from {known} to {high_watermark}, and its log ends at {end}")
        })
    }

    /// Before a follower cuts its log off at `end`.
    pub(super) fn check_cut(&mut self, at: usize, end: Offset) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (known, id) = (live.high_watermark, self.id(at));
        let next = live.log.entries.get(count(end)).copied();
        self.demand(Invariant::NoTruncateBelowHw, end >= known, |_| {
            format!("node {id} cuts at {end}, below its high watermark {known}")
        })?;
        let committed = self.watch.committed.get(count(end)).copied();
        self.demand(Invariant::CommittedPrefix, next.is_none() || next != committed, |_| {
            format!("node {id} cuts off the committed record at {end}")
        })
    }

    /// Has a leader heard of its majority lately?
    pub(super) fn check_quorum(&mut self, at: usize) -> InvariantCheck {
        let (now_ms, id) = (self.schedule.now_ms(), self.id(at));
        let Some(Role::Leader { .. }) = self.role(at) else { return Ok(()) };
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let is_late = |at: &usize| live.contacts[*at] + CONTACT_MAX_MS < now_ms;
        let voters = self.voter_places();
        let near = voters.iter().filter(|voter| **voter == at || !is_late(voter)).count();
        self.demand(Invariant::QuorumChecked, near > voters.len() / 2, |_| {
            format!("node {id} leads and only {near} of {} voters are near", voters.len())
        })
    }
}
