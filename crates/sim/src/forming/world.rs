//! The loop: one event after the other, and the invariants after each.

use ottla_broker::forming::{
    Forming, FormingPeer, FormingRefusal, FormingReport, FormingStage, FormingStep,
};
use ottla_raft::ReplicaKey;
use ottla_settings::ClusterList;
use ottla_types::Uuid;

use super::node::{FormingLife, FormingNode};
use super::watch::FormingWatch;
use crate::coverage::Coverage;
use crate::invariant::{Invariant, InvariantCheck, Judge};
use crate::network::{MessageNetwork, Weather};
use crate::random::Dice;
use crate::schedule::EventSchedule;
use crate::trace::Trace;

/// What happens to a node that forms. `life` is the process that it happens to.
#[derive(Clone, Debug, Hash)]
pub(super) enum FormingEvent {
    Asked { from: usize, to: usize, life: u32 },
    Answered { from: usize, to: usize, life: u32, peer: FormingPeer },
    Polled { node: usize, life: u32 },
    Persisted { node: usize, life: u32 },
    Formatted { node: usize, life: u32 },
    Restarted { node: usize, life: u32 },
    Fault,
}

/// The nodes of a list, and everything around them.
#[derive(Debug)]
pub(crate) struct FormingWorld {
    pub(super) dice: Dice,
    pub(super) schedule: EventSchedule<FormingEvent>,
    pub(super) network: MessageNetwork,
    pub(super) nodes: Vec<FormingNode>,
    pub(super) list: ClusterList,
    pub(super) watch: FormingWatch,
    /// What has happened.
    pub trace: Trace,
    /// What was covered.
    pub coverage: Coverage,
    /// The longest that a write to a disk takes, in milliseconds.
    write_ms: u64,
    /// Are faults over?
    pub(super) is_healed: bool,
}

impl FormingWorld {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        // Another stream than those of the other worlds of the same seed.
        let mut dice = Dice::new(seed ^ 0x666f_726d_696e_6720);
        let count = [1, 2, 3, 3, 3, 3, 4, 5][dice.index(8)];
        let items: Vec<String> = (1..=count).map(|id| format!("node-{id}:9092")).collect();
        let list = ClusterList::parse(&items.join(",")).expect("a list");
        let weather = Weather::draw(&mut dice);
        Self {
            schedule: EventSchedule::new(),
            network: MessageNetwork::new(count, weather),
            nodes: list.nodes().iter().map(|it| FormingNode::new(it.id)).collect(),
            list,
            watch: FormingWatch::default(),
            trace,
            coverage: Coverage::default(),
            write_ms: dice.between(1, 400),
            is_healed: false,
            dice,
        }
    }

    /// Lives through faults, heals, and must recover.
    pub fn run(&mut self) -> InvariantCheck {
        for node in 0..self.nodes.len() {
            let start_ms = self.dice.below(2000);
            self.schedule.after(start_ms, FormingEvent::Restarted { node, life: 0 });
        }
        self.schedule.after(500, FormingEvent::Fault);
        let faults_end_ms = self.dice.between(2000, 12_000);
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

    fn happen(&mut self, event: FormingEvent) -> InvariantCheck {
        let (node, life) = match &event {
            FormingEvent::Asked { to, .. } => (*to, None),
            FormingEvent::Answered { to, life, .. } => (*to, Some(*life)),
            FormingEvent::Polled { node, life }
            | FormingEvent::Persisted { node, life }
            | FormingEvent::Formatted { node, life } => (*node, Some(*life)),
            FormingEvent::Restarted { node, .. } => (*node, None),
            FormingEvent::Fault => (self.nodes.len(), None),
        };
        self.trace.event(self.schedule.now_ms(), node + 1, &event);
        let is_past = |it: &FormingNode| life.is_some_and(|life| life != it.life);
        if self
            .nodes
            .get(node)
            .is_some_and(|it| is_past(it) || (life.is_some() && it.live.is_none()))
        {
            return Ok(());
        }
        match event {
            FormingEvent::Asked { from, to, life } => self.asked(from, to, life),
            FormingEvent::Answered { from, to, peer, .. } => self.answered(from, to, peer),
            FormingEvent::Polled { node, .. } => self.polled(node),
            FormingEvent::Persisted { node, .. } => self.persisted(node),
            FormingEvent::Formatted { node, .. } => self.formatted(node),
            FormingEvent::Restarted { node, life } => self.restart(node, life),
            FormingEvent::Fault => {
                self.fault();
                Ok(())
            }
        }
    }

    /// A process starts, unless one runs.
    pub(super) fn restart(&mut self, at: usize, life: u32) -> InvariantCheck {
        let node = &self.nodes[at];
        if node.live.is_some() || node.life != life {
            return Ok(());
        }
        let directory = self.fresh_id();
        let key = ReplicaKey { id: self.nodes[at].id, directory };
        let node = &mut self.nodes[at];
        node.life += 1;
        if let Some(cluster_id) = &node.disk.formatted {
            node.live = Some(FormingLife::Serves(cluster_id.clone()));
            return Ok(());
        }
        let stored = node.disk.stored.clone();
        let forming = Forming::begin(self.list.clone(), key, stored.clone());
        let forming = forming.expect("the list stays the same");
        let goes_on = stored.is_none_or(|stored| stored == *forming.report());
        node.live = Some(FormingLife::Forms(Box::new(forming), None));
        let life = node.life;
        self.demand(Invariant::PromisesSurvive, goes_on, |world| {
            format!("node {} has {:?} on its disk", at + 1, world.nodes[at].disk.stored)
        })?;
        self.schedule.after(0, FormingEvent::Polled { node: at, life });
        Ok(())
    }

    /// Asks all others again.
    fn polled(&mut self, at: usize) -> InvariantCheck {
        let life = self.nodes[at].life;
        let pause_ms = self.dice.between(100, 300);
        self.schedule.after(pause_ms, FormingEvent::Polled { node: at, life });
        if !matches!(self.nodes[at].live, Some(FormingLife::Forms(..))) {
            return Ok(());
        }
        for to in (0..self.nodes.len()).filter(|to| *to != at) {
            // A host that answers nothing is found out at some time.
            if self.nodes[to].answer().is_none() && self.dice.chance(500) {
                self.hear(at, to, FormingPeer::Unreachable("connection refused".to_owned()));
            }
            let asked = FormingEvent::Asked { from: at, to, life };
            self.network.carry(&mut self.dice, &mut self.schedule, (at, to), asked);
        }
        self.step(at)
    }

    fn asked(&mut self, from: usize, to: usize, life: u32) -> InvariantCheck {
        let Some(peer) = self.nodes[to].answer() else { return Ok(()) };
        if let FormingPeer::Forming(report) = &peer {
            let stored = self.nodes[to].disk.stored.as_ref();
            let durable = stored.map_or(&FormingStage::Blank, |it| &it.stage);
            let is_durable = report.stage == *durable;
            self.demand(Invariant::PromiseBeforeWord, is_durable, |_| {
                format!("node {} says what is not on its disk", to + 1)
            })?;
        }
        let answer = FormingEvent::Answered { from: to, to: from, life, peer };
        self.network.carry(&mut self.dice, &mut self.schedule, (to, from), answer);
        Ok(())
    }

    fn hear(&mut self, at: usize, from: usize, peer: FormingPeer) {
        let id = self.nodes[from].id;
        if let Some(FormingLife::Forms(forming, _)) = &mut self.nodes[at].live {
            forming.heard(id, peer);
        }
    }

    fn answered(&mut self, from: usize, at: usize, peer: FormingPeer) -> InvariantCheck {
        self.hear(at, from, peer);
        self.step(at)
    }

    /// What the node does next, unless its disk is busy.
    fn step(&mut self, at: usize) -> InvariantCheck {
        let fresh = self.fresh_id();
        let delay_ms = self.write_delay_ms();
        let node = &mut self.nodes[at];
        let life = node.life;
        let Some(FormingLife::Forms(forming, writing @ None)) = &mut node.live else {
            return Ok(());
        };
        match forming.next_step(fresh) {
            Ok(FormingStep::Wait) => {}
            Ok(FormingStep::Persist(stage)) => {
                *writing = Some(stage);
                self.schedule.after(delay_ms, FormingEvent::Persisted { node: at, life });
            }
            Ok(FormingStep::Found(founding)) => {
                node.live = Some(FormingLife::Formats(founding.cluster_id));
                self.schedule.after(delay_ms, FormingEvent::Formatted { node: at, life });
            }
            Ok(FormingStep::Join { cluster_id }) => {
                node.live = Some(FormingLife::Formats(cluster_id));
                self.schedule.after(delay_ms, FormingEvent::Formatted { node: at, life });
            }
            Err(refusal) => return self.refused(at, &refusal),
        }
        Ok(())
    }

    /// The process ends with an error. Its operator does what that says.
    fn refused(&mut self, at: usize, refusal: &FormingRefusal) -> InvariantCheck {
        let is_meant = matches!(refusal, FormingRefusal::OtherCluster { .. });
        self.demand(Invariant::OneClusterForms, is_meant, |_| {
            format!("node {}: {refusal}", at + 1)
        })?;
        self.remove_promise(at);
        Ok(())
    }

    /// The operator stops a node, removes its `forming.properties`, and starts it again.
    pub(super) fn remove_promise(&mut self, at: usize) {
        let now_ms = self.schedule.now_ms();
        self.trace.note(now_ms, at + 1, || "its operator removes forming.properties".to_owned());
        self.nodes[at].live = None;
        self.nodes[at].disk.stored = None;
        let life = self.nodes[at].life;
        self.schedule.after(50, FormingEvent::Restarted { node: at, life });
    }

    fn persisted(&mut self, at: usize) -> InvariantCheck {
        let Some(FormingLife::Forms(forming, writing)) = &mut self.nodes[at].live else {
            return Ok(());
        };
        let Some(stage) = writing.take() else { return Ok(()) };
        forming.persisted(stage);
        let report = forming.report().clone();
        self.store(at, report)?;
        self.step(at)
    }

    /// A report is on the disk.
    pub(super) fn store(&mut self, at: usize, report: FormingReport) -> InvariantCheck {
        match &report.stage {
            FormingStage::Promised(founding) => self.watch.promised(report.key, founding),
            FormingStage::Decided(founding) => {
                self.coverage.founded += u64::from(self.watch.is_first(founding));
                self.check_promises(founding)?;
            }
            FormingStage::Joining { .. } => self.coverage.joined += 1,
            FormingStage::Blank => {}
        }
        self.nodes[at].disk.stored = Some(report);
        self.check_clusters()
    }

    fn formatted(&mut self, at: usize) -> InvariantCheck {
        let node = &mut self.nodes[at];
        let Some(FormingLife::Formats(cluster_id)) = &node.live else { return Ok(()) };
        node.disk.formatted = Some(cluster_id.clone());
        node.disk.stored = None;
        node.live = Some(FormingLife::Serves(cluster_id.clone()));
        self.check_clusters()
    }

    /// How long a write takes, in milliseconds.
    fn write_delay_ms(&mut self) -> u64 {
        let most = if self.is_healed { 3 } else { self.write_ms };
        self.dice.between(0, most)
    }

    /// An id that no other has.
    fn fresh_id(&mut self) -> Uuid {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.dice.draw().to_be_bytes());
        id[8..].copy_from_slice(&self.dice.draw().to_be_bytes());
        Uuid(id)
    }
}

impl Judge for FormingWorld {
    fn now_ms(&self) -> u64 {
        self.schedule.now_ms()
    }

    fn coverage(&mut self) -> &mut Coverage {
        &mut self.coverage
    }
}
