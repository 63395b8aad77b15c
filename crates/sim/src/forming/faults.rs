//! Crashes, cuts, replaced disks; and what must come of it when they are over.

use ottla_broker::forming::{FormingReport, FormingStage, Founding};

use super::node::{FormingLife, FormingNode, SimFormingDisk};
use super::world::{FormingEvent, FormingWorld};
use crate::invariant::{Invariant, InvariantCheck, Judge};
use crate::network::Weather;

/// How soon after the faults all nodes have a cluster, in simulated milliseconds.
const FORMED_MS: u64 = 60_000;
/// How often the operator looks what the nodes wait for.
const LOOKED_MS: u64 = 3000;

impl FormingWorld {
    /// One fault, and the next in a while.
    pub(super) fn fault(&mut self) {
        if self.is_healed {
            return;
        }
        let pause_ms = self.dice.between(50, 1500);
        self.schedule.after(pause_ms, FormingEvent::Fault);
        let any = self.dice.index(self.nodes.len());
        match self.dice.below(12) {
            0..4 => self.crash_for_a_while(any),
            4 => (0..self.nodes.len()).for_each(|at| self.crash_for_a_while(at)),
            5 => {
                let side = self.dice.draw();
                self.network.part(side);
            }
            6..8 => self.network.mend(),
            8 => self.network.weather = Weather::draw(&mut self.dice),
            9 => {
                let other = self.dice.index(self.nodes.len());
                self.network.cut(any, other);
            }
            _ => self.wipe(any),
        }
    }

    /// The process is gone. What was being written is on the disk or not.
    fn crash(&mut self, at: usize) {
        let live = self.nodes[at].live.take();
        self.coverage.crashes += u64::from(live.is_some());
        let is_written = self.dice.chance(500);
        match live {
            Some(FormingLife::Forms(forming, Some(stage))) if is_written => {
                let report = FormingReport { stage, ..forming.report().clone() };
                if let FormingStage::Promised(founding) = &report.stage {
                    self.watch.promised(report.key, founding);
                }
                self.nodes[at].disk.stored = Some(report);
            }
            Some(FormingLife::Formats(cluster_id)) if is_written => {
                self.nodes[at].disk.formatted = Some(cluster_id);
            }
            _ => {}
        }
    }

    fn crash_for_a_while(&mut self, at: usize) {
        if self.nodes[at].live.is_some() {
            self.crash(at);
            let (life, down_ms) = (self.nodes[at].life, self.dice.between(1, 3000));
            self.schedule.after(down_ms, FormingEvent::Restarted { node: at, life });
        }
    }

    /// The node comes back with an empty disk.
    fn wipe(&mut self, at: usize) {
        self.crash_for_a_while(at);
        if self.nodes[at].live.is_none() {
            self.coverage.wiped += 1;
            self.nodes[at].disk = SimFormingDisk::default();
            let now_ms = self.schedule.now_ms();
            self.trace.note(now_ms, at + 1, || "its disk is replaced".to_owned());
        }
    }

    /// Heals: all nodes run, and must come to have one cluster.
    pub(super) fn settle(&mut self) -> InvariantCheck {
        self.is_healed = true;
        self.network.mend();
        self.network.weather = Weather::FAIR;
        for at in 0..self.nodes.len() {
            self.restart(at, self.nodes[at].life)?;
        }
        let until_ms = self.schedule.now_ms() + FORMED_MS;
        while !self.has_one_cluster() && self.schedule.now_ms() < until_ms {
            self.run_until(self.schedule.now_ms() + LOOKED_MS)?;
            self.operate();
        }
        let has_one = self.has_one_cluster();
        self.demand(Invariant::FormingEnds, has_one, Self::picture)
    }

    fn has_one_cluster(&self) -> bool {
        let cluster_of = |node: &FormingNode| match &node.live {
            Some(FormingLife::Serves(cluster_id)) => Some(cluster_id.clone()),
            _ => None,
        };
        let mut clusters = self.nodes.iter().map(cluster_of);
        let first = clusters.next().flatten();
        first.is_some() && clusters.all(|other| other == first)
    }

    /// The operator does what the log says: where the coordinator's disk was replaced after others
    /// had promised, and no node is formatted, their promises are removed.
    fn operate(&mut self) {
        if self.nodes.iter().any(|it| it.disk.cluster().is_some()) {
            return;
        }
        let coordinator = self.nodes[0].key();
        let is_void = |founding: &Founding| {
            coordinator.is_some_and(|key| founding.directory_of(key.id) != Some(key.directory))
        };
        for at in 1..self.nodes.len() {
            let stage = self.nodes[at].disk.stored.as_ref().map(|it| &it.stage);
            if let Some(FormingStage::Promised(founding)) = stage
                && is_void(founding)
            {
                self.remove_promise(at);
            }
        }
    }
}
