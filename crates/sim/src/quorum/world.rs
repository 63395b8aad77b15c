//! The loop: one event after the other, and the invariants after each.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_raft::{Candidacy, QuorumControl, ReplicaKey, Voter, VoterSet};
use ottla_types::{NodeId, Uuid};

use super::log::DiskLog;
use super::message::{QuorumEvent, QuorumMessage};
use super::node::{ControlTable, FirstQuorum, QuorumNode, SharedNode};
use super::watch::QuorumWatch;
use crate::coverage::Coverage;
use crate::invariant::InvariantCheck;
use crate::network::{MessageNetwork, Weather};
use crate::random::Dice;
use crate::schedule::EventSchedule;
use crate::trace::Trace;

/// A quorum and everything around it.
#[derive(Clone, Debug)]
pub(crate) struct QuorumWorld {
    pub(super) dice: Dice,
    pub(super) schedule: EventSchedule<QuorumEvent>,
    pub(super) network: MessageNetwork,
    pub(super) nodes: Vec<SharedNode>,
    pub(super) first: Arc<FirstQuorum>,
    pub(super) table: ControlTable,
    /// What was on disks that were replaced, by the key of the replica.
    pub(super) lost: BTreeMap<ReplicaKey, DiskLog>,
    pub(super) watch: QuorumWatch,
    /// What has happened.
    pub trace: Trace,
    /// What was covered.
    pub coverage: Coverage,
    /// The id of the next record.
    pub(super) next_id: u64,
    /// The number of the next request for other voters.
    pub(super) next_request: u64,
    /// How many records an answer to a fetch has at most.
    pub(super) answer_max: usize,
    /// How many bytes a part of a snapshot has at most.
    pub(super) part_max: u64,
    /// The longest that a write to a disk takes, in milliseconds.
    pub(super) write_ms: u64,
    /// The pause between two requests of the operator at most, in milliseconds; none comes if 0.
    pub(super) operator_ms: u64,
    /// Whether replicas fetch.
    pub(super) fetching: Fetching,
    /// Are there nodes that know no pre-votes?
    pub(super) has_old: bool,
    /// Are faults over?
    pub(super) is_healed: bool,
}

/// Whether replicas fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetching {
    /// Whenever they can; one that knows no leader asks any node.
    WhenDue,
    /// Not now.
    Withheld,
    /// Now; one that knows no leader asks this node.
    Now { asks: usize },
}

impl QuorumWorld {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut dice = Dice::new(seed);
        // Three and five are what people run; the others are where arithmetic goes wrong.
        let voters = [1, 2, 3, 3, 3, 3, 4, 4, 5, 5][dice.index(10)];
        let observers = dice.index(3);
        let mut nodes: Vec<QuorumNode> =
            (1..).map(QuorumNode::new).take(voters + observers).collect();
        // Without pre-votes a voter that has missed its removal carries others into epochs in
        // which the leader cannot find them; so where the voters change all know them (KIP-996).
        let has_old = dice.chance(100);
        let changes = !has_old && dice.chance(700);
        for (at, node) in nodes.iter_mut().enumerate() {
            node.knows_pre_votes = !has_old || dice.chance(700);
            // A broker that is no controller is among the observers only.
            let kinds = [Candidacy::ByOperator, Candidacy::Automatic, Candidacy::Never];
            let kinds = if has_old { &kinds[..1] } else { &kinds[..] };
            node.candidacy =
                kinds[dice.index(if at < voters { 2.min(kinds.len()) } else { kinds.len() })];
        }
        let weather = Weather::draw(&mut dice);
        let named = if dice.chance(200) { VotersNamed::InSettings } else { VotersNamed::OnDisks };
        let first = first_quorum(&mut nodes[..voters], named);
        Self {
            network: MessageNetwork::new(nodes.len(), weather),
            trace,
            answer_max: dice.between(1, 8).try_into().unwrap_or(1),
            part_max: dice.between(50, 300),
            write_ms: dice.between(1, 60),
            operator_ms: if changes { dice.between(200, 5000) } else { 0 },
            has_old,
            dice,
            ..Self::of_nodes(nodes, first)
        }
    }

    /// These nodes on a network that loses nothing, with disks that are done at once.
    pub(super) fn of_nodes(nodes: Vec<QuorumNode>, first: FirstQuorum) -> Self {
        Self {
            schedule: EventSchedule::new(),
            network: MessageNetwork::new(nodes.len(), Weather::FAIR),
            first: Arc::new(first),
            table: ControlTable::new(),
            lost: BTreeMap::new(),
            watch: QuorumWatch::default(),
            trace: Trace::hashed(),
            coverage: Coverage::default(),
            next_id: 0,
            next_request: 0,
            answer_max: 8,
            part_max: 300,
            write_ms: 0,
            operator_ms: 0,
            fetching: Fetching::WhenDue,
            has_old: false,
            is_healed: false,
            nodes: nodes.into_iter().map(SharedNode::of).collect(),
            dice: Dice::new(0),
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
        if self.operator_ms > 0 {
            self.schedule.after(1000, QuorumEvent::Operated);
        }
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

    pub(super) fn happen(&mut self, event: QuorumEvent) -> InvariantCheck {
        let place = place_of(&event);
        let traced = place.map_or(self.nodes.len(), |(node, _)| node);
        self.trace.event(self.schedule.now_ms(), traced + 1, &event);
        if let Some((node, Some(life))) = place
            && !self.is_life(node, life)
        {
            // What was waited for in an earlier life happens no more.
            return Ok(());
        }
        match event {
            QuorumEvent::Arrives { from, to, message } => self.arrives(from, to, message),
            QuorumEvent::Proposed => self.propose_somewhere(),
            QuorumEvent::Operated => self.operate(),
            QuorumEvent::Fault => self.fault(),
            QuorumEvent::Restarted { node, life } => self.restart(node, life),
            QuorumEvent::Woken { node, at_ms, .. } => self.woken(node, at_ms),
            QuorumEvent::Persisted { node, .. } => self.persisted(node),
            QuorumEvent::Flushed { node, generation, end, .. } => {
                self.flushed(node, generation, end)
            }
            QuorumEvent::Frozen { node, id, .. } => self.frozen(node, id),
            QuorumEvent::Polled { node, .. } => self.polled(node),
            QuorumEvent::Refused { node, by, .. } => self.refused(node, by),
            QuorumEvent::Unparked { node, follower, number, .. } => {
                self.unpark(node, follower, number);
                Ok(())
            }
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

    pub(super) fn id(&self, at: usize) -> NodeId {
        self.nodes[at].key.id
    }

    /// The voters as a running node knows them.
    pub(super) fn voters_of(&self, at: usize) -> VoterSet {
        let live = self.nodes[at].live.as_ref();
        live.map_or_else(VoterSet::default, |live| live.raft.voters().clone())
    }

    /// Where the node of a voter stands, if the node has the disk still that votes.
    pub(super) fn place_of_voter(&self, voter: ReplicaKey) -> Option<usize> {
        let at = node_index(voter.id);
        let is_there = voter.directory.is_zero() || self.nodes.get(at)?.key == voter;
        is_there.then_some(at)
    }
}

/// Where the first voters are named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum VotersNamed {
    /// In the settings (kraft.version 0).
    InSettings,
    /// On their disks (kraft.version 1).
    OnDisks,
}

/// The voters that the first nodes have from the start: of the settings or on their disks.
pub(super) fn first_quorum(nodes: &mut [QuorumNode], named: VotersNamed) -> FirstQuorum {
    if named == VotersNamed::InSettings {
        let voter = |node: &QuorumNode| Voter {
            key: ReplicaKey { directory: Uuid::ZERO, ..node.key },
            kraft_versions: (0, 0),
            ..node.voter()
        };
        let static_voters = VoterSet::of(nodes.iter().map(voter));
        return FirstQuorum { static_voters, format: Vec::new() };
    }
    nodes.iter_mut().for_each(|node| node.disk.is_formatted = true);
    let voters = VoterSet::of(nodes.iter().map(QuorumNode::voter));
    let format = vec![QuorumControl::KraftVersion(1), QuorumControl::Voters(voters)];
    FirstQuorum { static_voters: VoterSet::default(), format }
}

/// Where an event happens, and in which life of the node, if only in one.
const fn place_of(event: &QuorumEvent) -> Option<(usize, Option<u32>)> {
    match event {
        QuorumEvent::Arrives { to, .. } => Some((*to, None)),
        QuorumEvent::Restarted { node, .. } => Some((*node, None)),
        QuorumEvent::Woken { node, life, .. }
        | QuorumEvent::Persisted { node, life }
        | QuorumEvent::Flushed { node, life, .. }
        | QuorumEvent::Frozen { node, life, .. }
        | QuorumEvent::Polled { node, life }
        | QuorumEvent::Refused { node, life, .. }
        | QuorumEvent::Unparked { node, life, .. } => Some((*node, Some(*life))),
        QuorumEvent::Proposed | QuorumEvent::Operated | QuorumEvent::Fault => None,
    }
}

/// Where a node stands in the list of nodes.
pub(super) fn node_index(id: NodeId) -> usize {
    usize::try_from(id - 1).expect("ids start at 1")
}
