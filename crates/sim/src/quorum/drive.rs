//! A replica is given what happens, and what it wants done is done.

use ottla_raft::{BeginAsked, Effect, EndAsked, Input, Moment, QuorumControl, Role, VoteAnswer};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId};

use super::message::{QuorumEvent, QuorumMessage};
use super::node::batch_of;
use super::rows::{RoleName, Stand};
use super::watch::StepBefore;
use super::world::{QuorumWorld, node_index};
use crate::invariant::{Invariant, InvariantCheck, Judge as _, Violation};
use crate::log::{SimRecord, count};

/// How often a node looks what it has to send, in milliseconds.
const POLL_MS: u64 = 400;

impl QuorumWorld {
    /// One step of the replica at a place, checked, and all that follows from it.
    pub(super) fn step(&mut self, at: usize, input: Input) -> InvariantCheck {
        let moment = Moment { now_ms: self.schedule.now_ms(), draw: self.dice.draw() };
        let id = self.id(at);
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        let before = StepBefore::of(id, &live.raft, &input);
        let mut effects = Vec::new();
        live.raft.step(moment, input, &mut effects);
        let leads = matches!(live.raft.role(), Role::Leader(_));
        if before.stand.part != RoleName::Leader && leads {
            live.contacts.fill(moment.now_ms);
        }
        self.check_step(at, &before)?;
        effects.into_iter().try_for_each(|effect| self.carry_out(at, before.stand, effect))
    }

    fn carry_out(&mut self, at: usize, before: Stand, effect: Effect) -> InvariantCheck {
        self.trace.event(self.schedule.now_ms(), at + 1, &effect);
        self.check_word(at, &effect)?;
        match effect {
            Effect::Persist(durable) => {
                let delay = self.write_delay_ms(at);
                let now_ms = self.schedule.now_ms();
                let life = self.nodes[at].life;
                if let Some(live) = &mut self.nodes[at].live {
                    live.persisting.push_back(durable);
                    live.persisted_ms = live.persisted_ms.max(now_ms) + delay;
                    self.schedule.at(live.persisted_ms, QuorumEvent::Persisted { node: at, life });
                }
            }
            Effect::OpenEpoch { epoch, controls, .. } => {
                return self.open_epoch(at, epoch, controls);
            }
            Effect::AppendControls(controls) => return self.append_controls(at, controls),
            Effect::Append { batches } => return self.append_fetched(at, batches),
            Effect::Truncate { end } => return self.cut(at, count(end)),
            Effect::Committed(end) => return self.committed(at, before, end),
            Effect::FreezeSnapshot(id) => {
                // A snapshot is large.
                let delay = self.write_delay_ms(at) * self.dice.between(1, 20);
                let life = self.nodes[at].life;
                self.schedule.after(delay, QuorumEvent::Frozen { node: at, life, id });
            }
            Effect::ReplaceLog(id) => return self.replace_log(at, id),
            // The parts are those of the leader's snapshot, which does not change.
            Effect::WriteSnapshot { .. } => {}
            Effect::StepDown => self.answer_parked(at),
            Effect::AnswerChange { request, error } => self.answer_change(at, request, error),
            Effect::Wait { until_ms } => {
                let life = self.nodes[at].life;
                if let Some(live) = &mut self.nodes[at].live {
                    live.woken_ms = until_ms;
                }
                if let Some(at_ms) = until_ms {
                    self.schedule.at(at_ms, QuorumEvent::Woken { node: at, life, at_ms });
                }
            }
            Effect::Fatal(reason) => {
                let why = format!("node {}: {reason}", self.id(at));
                return self.demand(Invariant::NoFatal, false, |_| why);
            }
            message => self.send_request(at, message),
        }
        Ok(())
    }

    /// Sends what a replica wants sent.
    fn send_request(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::AskVotes { asked, voters } => {
                let life = self.nodes[at].life;
                for voter in voters {
                    let message = QuorumMessage::AskVote { asked, voter, life };
                    self.send(at, node_index(voter.id), message);
                }
            }
            Effect::AnswerVote { candidate, answer } => self.answer_vote(at, candidate.id, answer),
            Effect::BeginEpoch { epoch, voters } => {
                for voter in voters {
                    let leader = self.id(at);
                    let asked = BeginAsked { leader, epoch, voter: Some(voter) };
                    self.send(at, node_index(voter.id), QuorumMessage::BeginEpoch { asked });
                }
            }
            Effect::EndEpoch { epoch, voters } => {
                for voter in &voters {
                    let (leader, preferred) = (self.id(at), voters.clone());
                    let asked = EndAsked { leader, epoch, preferred };
                    self.send(at, node_index(voter.id), QuorumMessage::EndEpoch { asked });
                }
            }
            Effect::AnswerBegin { leader, error } | Effect::AnswerEnd { leader, error } => {
                let standing = self.standing(at);
                let message = QuorumMessage::EpochAnswer { standing, error };
                self.send(at, node_index(leader), message);
            }
            Effect::AskVersions(voter) => {
                self.send(at, node_index(voter.key.id), QuorumMessage::AskVersions);
            }
            Effect::AskChange { leader, change } => {
                let life = self.nodes[at].life;
                self.send(at, node_index(leader), QuorumMessage::AskChange { change, life });
            }
            _ => {}
        }
    }

    fn answer_vote(&mut self, at: usize, candidate: NodeId, answer: VoteAnswer) {
        let Some(live) = &self.nodes[at].live else { return };
        let to = node_index(candidate);
        // An answer that waited for the disk may be of an epoch that has passed.
        let standing = live.raft.standing();
        let is_current = answer.epoch == standing.epoch;
        let leader = standing.leader.filter(|_| is_current);
        let standing = ottla_raft::Standing { epoch: answer.epoch, leader };
        let life = live.lives[to];
        self.send(at, to, QuorumMessage::Vote { answer, standing, life });
    }

    fn open_epoch(
        &mut self,
        at: usize,
        epoch: LeaderEpoch,
        controls: Vec<QuorumControl>,
    ) -> InvariantCheck {
        self.coverage.elections += 1;
        if let Some(live) = &mut self.nodes[at].live {
            live.fetch = None;
        }
        self.append(at, epoch, controls)
    }

    fn append_controls(&mut self, at: usize, controls: Vec<QuorumControl>) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let epoch = live.raft.epoch();
        self.append(at, epoch, controls)
    }

    /// A leader appends a new record of its own.
    pub(super) fn append(
        &mut self,
        at: usize,
        epoch: LeaderEpoch,
        controls: Vec<QuorumControl>,
    ) -> InvariantCheck {
        self.next_id += 1;
        let entry = SimRecord { epoch, id: self.next_id };
        if !controls.is_empty() {
            self.check_change(at, &controls)?;
            self.table.insert(entry.id, controls);
        }
        self.check_append(at, entry)?;
        let now_ms = self.schedule.now_ms();
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        let batch = batch_of(&self.table, live.log.end(), entry);
        live.log.append(entry);
        if !batch.controls.is_empty() {
            live.changed_ms = now_ms;
        }
        self.flush(at);
        self.step(at, Input::Appended(batch))?;
        self.answer_parked(at);
        Ok(())
    }

    pub(super) fn woken(&mut self, at: usize, at_ms: u64) -> InvariantCheck {
        let waits = self.nodes[at].live.as_ref().is_some_and(|it| it.woken_ms == Some(at_ms));
        if waits { self.step(at, Input::TimedOut) } else { Ok(()) }
    }

    pub(super) fn persisted(&mut self, at: usize) -> InvariantCheck {
        let node = &mut *self.nodes[at];
        let Some(durable) = node.live.as_mut().and_then(|it| it.persisting.pop_front()) else {
            return Ok(());
        };
        node.disk.promised = durable.clone();
        self.step(at, Input::Persisted(durable))
    }

    /// Begins to make the log durable, if it is not.
    pub(super) fn flush(&mut self, at: usize) {
        let delay = self.write_delay_ms(at);
        let life = self.nodes[at].life;
        let Some(live) = &mut self.nodes[at].live else { return };
        if !live.log.is_flushing && !live.log.is_flushed() {
            live.log.is_flushing = true;
            let (generation, end) = (live.log.generation, live.log.end());
            self.schedule.after(delay, QuorumEvent::Flushed { node: at, life, generation, end });
        }
    }

    pub(super) fn flushed(&mut self, at: usize, generation: u32, end: usize) -> InvariantCheck {
        let node = &mut *self.nodes[at];
        let Some(live) = &mut node.live else { return Ok(()) };
        live.log.is_flushing = false;
        if live.log.generation == generation {
            live.log.flushed(&mut node.disk.log, end);
            let end = live.log.durable_end();
            self.step(at, Input::Stored(end))?;
        }
        self.check_voters(at)?;
        self.flush(at);
        self.fetch_if_due(at);
        Ok(())
    }

    pub(super) fn polled(&mut self, at: usize) -> InvariantCheck {
        self.check_quorum(at)?;
        let life = self.nodes[at].life;
        self.fetch_if_due(at);
        self.schedule.after(POLL_MS, QuorumEvent::Polled { node: at, life });
        Ok(())
    }

    /// The node's connection was reset and refused by the process at another place.
    pub(super) fn refused(&mut self, at: usize, by: usize) -> InvariantCheck {
        if let Some(live) = &mut self.nodes[at].live
            && live.fetch.is_some_and(|it| it.to == by)
        {
            live.fetch = None;
        }
        let leader = self.id(by);
        self.step(at, Input::LeaderUnreachable { leader })
    }

    /// A client's record goes to any node that leads.
    pub(super) fn propose_somewhere(&mut self) -> InvariantCheck {
        let pause_ms = self.dice.between(20, 600);
        self.schedule.after(pause_ms, QuorumEvent::Proposed);
        let at = self.dice.index(self.nodes.len());
        self.propose(at).map(|_| ())
    }

    /// Does a node take the record?
    pub(super) fn propose(&mut self, at: usize) -> Result<bool, Violation> {
        let Some(epoch) = self.nodes[at].live.as_ref().and_then(|live| live.raft.leads()) else {
            return Ok(false);
        };
        self.append(at, epoch, Vec::new()).map(|()| true)
    }

    pub(super) fn role(&self, at: usize) -> Option<&Role> {
        self.nodes[at].live.as_ref().map(|live| live.raft.role())
    }

    fn committed(&mut self, at: usize, before: Stand, end: i64) -> InvariantCheck {
        self.check_watermark(at, end)?;
        if before.part == RoleName::Leader {
            self.check_commit(at, end)?;
        } else {
            self.check_known_committed(at, end)?;
        }
        if let Some(live) = &mut self.nodes[at].live {
            live.high_watermark = end;
        }
        self.answer_parked(at);
        Ok(())
    }

    fn answer_change(&mut self, at: usize, request: u64, error: ErrorCode) {
        if error.is_none() {
            self.coverage.changes += 1;
        } else {
            self.coverage.refused_changes += 1;
        }
        let Some(live) = &mut self.nodes[at].live else { return };
        let found = live.changes.iter().position(|it| it.request == request);
        if let Some(found) = found {
            let asker = live.changes.remove(found);
            let message = QuorumMessage::ChangeAnswer { error, life: asker.life };
            self.send(at, asker.from, message);
        }
    }
}
