//! A replica is given what happens, and what it wants done is done.

use ottla_raft::{Effect, Input, Moment, Role, VoteAnswer, VoteAsked};
use ottla_types::{LeaderEpoch, NodeId};

use super::message::{QuorumEvent, QuorumMessage};
use super::rows::{RoleName, Stand};
use super::world::{QuorumWorld, place};
use crate::invariant::InvariantCheck;
use crate::log::{SimRecord, offset};

/// How often a node looks what it has to send, in milliseconds.
const POLL_MS: u64 = 400;
/// How long a voter may be silent before the leader announces itself: half a fetch timeout.
const SILENCE_MS: u64 = 1000;

impl QuorumWorld {
    /// One step of the replica at a place, checked, and all that follows from it.
    pub(super) fn step(&mut self, at: usize, input: Input) -> InvariantCheck {
        let moment = Moment { now_ms: self.schedule.now_ms(), draw: self.dice.draw() };
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        let before = Stand::of(&live.raft);
        let mut effects = Vec::new();
        live.raft.step(moment, input.clone(), &mut effects);
        if before.part != RoleName::Leader && matches!(live.raft.role(), Role::Leader { .. }) {
            live.contacts.fill(moment.now_ms);
        }
        self.check_step(at, before, &input)?;
        effects.into_iter().try_for_each(|effect| self.carry_out(at, effect))
    }

    fn carry_out(&mut self, at: usize, effect: Effect) -> InvariantCheck {
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
                Ok(())
            }
            Effect::AskVotes(asked) => {
                self.ask_votes(at, asked);
                Ok(())
            }
            Effect::AnswerVote { candidate, answer } => {
                self.answer_vote(at, candidate.id, answer);
                Ok(())
            }
            Effect::OpenEpoch { epoch } => self.open_epoch(at, epoch),
            Effect::Committed(end) => self.committed(at, end),
            Effect::StepDown => {
                if let Some(live) = &mut self.nodes[at].live {
                    live.parked.clear();
                }
                Ok(())
            }
            Effect::Wait { until_ms } => {
                let life = self.nodes[at].life;
                if let Some(live) = &mut self.nodes[at].live {
                    live.woken_ms = until_ms;
                }
                if let Some(at_ms) = until_ms {
                    self.schedule.at(at_ms, QuorumEvent::Woken { node: at, life, at_ms });
                }
                Ok(())
            }
        }
    }

    fn ask_votes(&mut self, at: usize, asked: VoteAsked) {
        let life = self.nodes[at].life;
        for to in self.voter_places() {
            if to != at {
                self.send(at, to, QuorumMessage::AskVote { asked, life });
            }
        }
    }

    fn answer_vote(&mut self, at: usize, candidate: NodeId, answer: VoteAnswer) {
        let Some(live) = &self.nodes[at].live else { return };
        let to = place(candidate);
        // An answer that waited for the disk may be of an epoch that has passed.
        let is_current = answer.epoch == live.raft.epoch();
        let leader = if is_current { live.raft.leader() } else { None };
        let life = live.lives[to];
        self.send(at, to, QuorumMessage::Vote { answer, leader, life });
    }

    fn open_epoch(&mut self, at: usize, epoch: LeaderEpoch) -> InvariantCheck {
        self.coverage.elections += 1;
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        let start = live.log.end();
        live.fetch = None;
        self.append(at, epoch)?;
        self.step(at, Input::EpochOpened { epoch, start })?;
        self.announce(at, 0);
        Ok(())
    }

    /// A leader appends a new record of its own.
    pub(super) fn append(&mut self, at: usize, epoch: LeaderEpoch) -> InvariantCheck {
        self.next_id += 1;
        let entry = SimRecord { epoch, id: self.next_id };
        self.check_append(at, entry)?;
        if let Some(live) = &mut self.nodes[at].live {
            live.log.append(entry);
        }
        self.flush(at);
        self.answer_parked(at);
        Ok(())
    }

    /// Announces the leader to voters that have been silent so long.
    fn announce(&mut self, at: usize, silence_ms: u64) {
        let now_ms = self.schedule.now_ms();
        for to in self.voter_places() {
            let Some(live) = &self.nodes[at].live else { return };
            if to != at && live.contacts[to] + silence_ms <= now_ms {
                let (leader, epoch) = (self.id(at), live.raft.epoch());
                self.send(at, to, QuorumMessage::BeginEpoch { leader, epoch });
            }
        }
    }

    pub(super) fn woken(&mut self, at: usize, at_ms: u64) -> InvariantCheck {
        let waits = self.nodes[at].live.as_ref().is_some_and(|it| it.woken_ms == Some(at_ms));
        if waits { self.step(at, Input::TimedOut) } else { Ok(()) }
    }

    pub(super) fn persisted(&mut self, at: usize) -> InvariantCheck {
        let node = &mut self.nodes[at];
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
            let (generation, end) = (live.log.generation, live.log.entries.len());
            self.schedule.after(delay, QuorumEvent::Flushed { node: at, life, generation, end });
        }
    }

    pub(super) fn flushed(&mut self, at: usize, generation: u32, end: usize) -> InvariantCheck {
        let node = &mut self.nodes[at];
        let Some(live) = &mut node.live else { return Ok(()) };
        live.log.is_flushing = false;
        if live.log.generation == generation {
            live.log.flushed(&mut node.disk.log, end);
            let end = live.log.durable_end();
            self.step(at, Input::Stored(end))?;
        }
        self.flush(at);
        self.fetch_if_due(at);
        Ok(())
    }

    pub(super) fn polled(&mut self, at: usize) -> InvariantCheck {
        self.check_quorum(at)?;
        let life = self.nodes[at].life;
        let is_leader = self.role(at).is_some_and(|role| matches!(role, Role::Leader { .. }));
        if is_leader {
            self.announce(at, SILENCE_MS);
        } else {
            self.fetch_if_due(at);
        }
        self.schedule.after(POLL_MS, QuorumEvent::Polled { node: at, life });
        Ok(())
    }

    /// A client's record goes to any node that leads.
    pub(super) fn propose_somewhere(&mut self) -> InvariantCheck {
        let pause_ms = self.dice.between(20, 600);
        self.schedule.after(pause_ms, QuorumEvent::Proposed);
        let at = self.dice.index(self.nodes.len());
        self.propose(at).map(|_| ())
    }

    /// Does a node take the record?
    pub(super) fn propose(&mut self, at: usize) -> Result<bool, crate::invariant::Violation> {
        let Some(Role::Leader { epoch_start: Some(_), .. }) = self.role(at) else {
            return Ok(false);
        };
        let epoch = self.nodes[at].live.as_ref().map_or(0, |live| live.raft.epoch());
        self.append(at, epoch).map(|()| true)
    }

    pub(super) fn role(&self, at: usize) -> Option<&Role> {
        self.nodes[at].live.as_ref().map(|live| live.raft.role())
    }

    fn committed(&mut self, at: usize, end: i64) -> InvariantCheck {
        self.check_commit(at, end)?;
        if let Some(live) = &mut self.nodes[at].live {
            debug_assert!(end <= offset(live.log.entries.len()), "committed what is not there");
            live.high_watermark = end;
        }
        self.answer_parked(at);
        Ok(())
    }
}
