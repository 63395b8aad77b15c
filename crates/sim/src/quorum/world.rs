//! The loop: one event after the other, and the invariants after each.

use ottla_raft::{Voter, VoterSet};
use ottla_types::NodeId;

use super::message::{QuorumEvent, QuorumMessage};
use super::node::QuorumNode;
use super::watch::QuorumWatch;
use crate::coverage::Coverage;
use crate::invariant::InvariantCheck;
use crate::network::{MessageNetwork, Weather};
use crate::random::Dice;
use crate::schedule::EventSchedule;
use crate::trace::Trace;

/// A quorum and everything around it.
#[derive(Debug)]
pub(crate) struct QuorumWorld {
    pub(super) dice: Dice,
    pub(super) schedule: EventSchedule<QuorumEvent>,
    pub(super) network: MessageNetwork,
    pub(super) nodes: Vec<QuorumNode>,
    pub(super) voters: VoterSet,
    pub(super) watch: QuorumWatch,
    /// What has happened.
    pub trace: Trace,
    /// What was covered.
    pub coverage: Coverage,
    /// The id of the next record.
    pub(super) next_id: u64,
    /// How many records an answer to a fetch has at most.
    pub(super) answer_max: usize,
    /// The longest that a write to a disk takes, in milliseconds.
    pub(super) write_ms: u64,
    /// Are faults over?
    pub(super) is_healed: bool,
}

impl QuorumWorld {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut dice = Dice::new(seed);
        // Three and five are what people run; the others are where arithmetic goes wrong.
        let voters = [1, 2, 3, 3, 3, 3, 4, 4, 5, 5][dice.index(10)];
        let observers = usize::from(dice.chance(300));
        let nodes: Vec<QuorumNode> = (1..).map(QuorumNode::new).take(voters + observers).collect();
        let voter = |node: &QuorumNode| Voter {
            key: node.key,
            endpoints: Vec::new(),
            kraft_versions: (0, 1),
        };
        let weather = Weather::draw(&mut dice);
        Self {
            schedule: EventSchedule::new(),
            network: MessageNetwork::new(nodes.len(), weather),
            voters: VoterSet::of(nodes[..voters].iter().map(voter)),
            watch: QuorumWatch::default(),
            trace,
            coverage: Coverage::default(),
            next_id: 0,
            answer_max: dice.between(1, 8).try_into().unwrap_or(1),
            write_ms: dice.between(1, 60),
            is_healed: false,
            nodes,
            dice,
        }
    }

    /// Lives through faults, heals, and must recover.
    pub fn run(&mut self) -> InvariantCheck {
        for at in 0..self.nodes.len() {
            let start_ms = self.dice.below(500);
            self.schedule.after(start_ms, QuorumEvent::Restarted { node: at, life: 0 });
        }
        self.schedule.after(500, QuorumEvent::Proposed);
        self.schedule.after(1500, QuorumEvent::Fault);
        let faults_end_ms = self.dice.between(4000, 20_000);
        self.run_until(faults_end_ms)?;
        self.settle()?;
        self.coverage.ran(self.schedule.now_ms(), &self.network);
        Ok(())
    }

    pub(super) fn run_until(&mut self, until_ms: u64) -> InvariantCheck {
        while let Some(event) = self.schedule.next(until_ms) {
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: QuorumEvent) -> InvariantCheck {
        let node = match &event {
            QuorumEvent::Arrives { to, .. } => *to,
            QuorumEvent::Woken { node, .. }
            | QuorumEvent::Persisted { node, .. }
            | QuorumEvent::Flushed { node, .. }
            | QuorumEvent::Polled { node, .. }
            | QuorumEvent::Unparked { node, .. }
            | QuorumEvent::Restarted { node, .. } => *node,
            QuorumEvent::Proposed | QuorumEvent::Fault => self.nodes.len(),
        };
        self.trace.event(self.schedule.now_ms(), node + 1, &event);
        match event {
            QuorumEvent::Arrives { from, to, message } => self.arrives(from, to, message),
            QuorumEvent::Proposed => self.propose_somewhere(),
            QuorumEvent::Fault => self.fault(),
            QuorumEvent::Restarted { node, life } => self.restart(node, life),
            QuorumEvent::Woken { node, life, at_ms } if self.is_life(node, life) => {
                self.woken(node, at_ms)
            }
            QuorumEvent::Persisted { node, life } if self.is_life(node, life) => {
                self.persisted(node)
            }
            QuorumEvent::Flushed { node, life, generation, end } if self.is_life(node, life) => {
                self.flushed(node, generation, end)
            }
            QuorumEvent::Polled { node, life } if self.is_life(node, life) => self.polled(node),
            QuorumEvent::Unparked { node, life, follower, number } if self.is_life(node, life) => {
                self.unpark(node, follower, number);
                Ok(())
            }
            // What was waited for in an earlier life happens no more.
            _ => Ok(()),
        }
    }

    pub(super) fn is_life(&self, at: usize, life: u32) -> bool {
        self.nodes[at].live.is_some() && self.nodes[at].life == life
    }

    /// Sends a message over the network.
    pub(super) fn send(&mut self, from: usize, to: usize, message: QuorumMessage) {
        let arrival = QuorumEvent::Arrives { from, to, message };
        self.network.carry(&mut self.dice, &mut self.schedule, (from, to), arrival);
    }

    /// How long a write to a node's disk takes, in milliseconds.
    pub(super) fn write_delay_ms(&mut self, at: usize) -> u64 {
        let most = if self.is_healed { 3 } else { self.write_ms };
        self.dice.between(0, most) * self.nodes[at].slowness
    }

    pub(super) fn voter_places(&self) -> Vec<usize> {
        self.voters.iter().map(|voter| place(voter.key.id)).collect()
    }

    pub(super) fn id(&self, at: usize) -> NodeId {
        self.nodes[at].key.id
    }
}

/// Where a node stands in the list of nodes.
pub(super) fn place(id: NodeId) -> usize {
    usize::try_from(id - 1).expect("ids start at 1")
}
