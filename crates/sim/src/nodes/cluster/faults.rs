//! What goes wrong in a cluster, one thing after the other, and how it is made good. A node that is
//! down may stay down, and a link that is cut may stay cut, while other things go wrong.

use std::net::IpAddr;
use std::time::Duration;

use ottla_storage::{Fate, Fault};

use super::plan::{node_address, node_id};
use super::world::{ClusterWorld, START_S, client_address};
use crate::invariant::{Invariant, InvariantCheck};
use crate::nodes::machine::SimMachine;
use crate::nodes::network::StreamWeather;
use crate::nodes::plan::FaultKind;

/// After how many changes the power goes at most, if it goes in the middle of writing.
const CHANGES_MAX: u64 = 40;

/// How long after it a failure of the disk may be met, in milliseconds: longer than any disk takes.
const LATE_MS_MAX: u64 = 1_000;

impl ClusterWorld {
    /// All faults of the plan.
    pub(super) fn hurt(&mut self) -> InvariantCheck {
        for _ in 0..self.plan.fault_count {
            self.pause()?;
            let node = self.some_node();
            // What the system has written back by itself survives.
            if self.dice.chance(300) {
                self.machines[node].disk.write_back();
            }
            let kind = self.plan.faults[self.dice.index(self.plan.faults.len())];
            *self.coverage.faults.entry(kind).or_default() += 1;
            self.note(&format!("{}, node {}", kind.name(), node_id(node)));
            self.befall(kind, node)?;
            self.mend_some();
        }
        self.pause()
    }

    fn some_node(&mut self) -> usize {
        self.dice.index(self.machines.len())
    }

    fn pause(&mut self) -> InvariantCheck {
        let ms = self.dice.between(1, self.plan.pause_ms_max);
        self.pass(Duration::from_millis(ms))
    }

    fn befall(&mut self, kind: FaultKind, node: usize) -> InvariantCheck {
        match kind {
            FaultKind::Crash => self.crash(node),
            FaultKind::CrashInWrite => {
                self.write_until_dark(node)?;
                self.crash(node);
            }
            FaultKind::PowerCut => self.power_cut(node, None),
            FaultKind::PowerCutInWrite => {
                self.write_until_dark(node)?;
                self.power_cut(node, None);
            }
            FaultKind::PowerCuts => {
                let fate = self.some_fate();
                let count = self.several();
                for other in 0..count {
                    self.power_cut((node + other) % self.machines.len(), Some(fate));
                }
            }
            FaultKind::Crashes => {
                let count = self.several();
                (0..count).for_each(|other| self.crash((node + other) % self.machines.len()));
            }
            FaultKind::CrashLeader => {
                if let Some(leader) = self.some_leader() {
                    self.note(&format!("the leader is node {}", node_id(leader)));
                    self.crash(leader);
                }
            }
            FaultKind::Restart => self.machines[node].leave(&mut self.executor),
            FaultKind::CutOneWay | FaultKind::CutPeers => {
                let other = (node + 1) % self.machines.len();
                self.cut(node_address(node), node_address(other));
            }
            FaultKind::CutOff => {
                let number = self.dice.between(1, u64::from(self.clients));
                let client = client_address(u32::try_from(number).unwrap_or(1));
                self.cut(node_address(node), client);
            }
            FaultKind::CutOffNode => self.cut_off(node),
            FaultKind::CutOffLeader => {
                let leader = self.some_leader().unwrap_or(node);
                self.note(&format!("the leader is node {}", node_id(leader)));
                self.cut_off(leader);
            }
            FaultKind::Break => {
                for _ in 0..self.dice.between(1, 3) {
                    self.network.break_some();
                }
            }
            FaultKind::Jump => {
                let ms = i64::try_from(self.dice.below(3_600_000)).unwrap_or(0) - 1_800_000;
                self.machines[node].jump(ms);
            }
            FaultKind::DiskFails => self.fail_disk(node)?,
            FaultKind::DiskFull => {
                let room = self.dice.below(2_000);
                let disk = self.machines[node].disk.clone();
                disk.set_capacity(Some(disk.used_bytes() + room));
                self.pause()?;
                disk.set_capacity(None);
            }
        }
        Ok(())
    }

    /// A disk fails for a while.
    fn fail_disk(&mut self, node: usize) -> InvariantCheck {
        let faults = [Fault::Writes, Fault::Syncs, Fault::Reads, Fault::ReadOnly];
        let fault = faults[self.dice.index(faults.len())];
        self.note(&format!("{fault:?}"));
        self.machines[node].set_fault(Some(fault));
        self.pause()?;
        self.machines[node].set_fault(None);
        if fault == Fault::Syncs {
            // What a failed sync was to make durable can be read, and is not on the disk,
            // and no later sync will bring it there: only a start of the machine shows it.
            self.power_cut(node, None);
        }
        Ok(())
    }

    /// How many nodes something befalls at once: from two to all.
    fn several(&mut self) -> usize {
        2 + self.dice.index(self.machines.len() - 1)
    }

    fn cut(&mut self, from: IpAddr, to: IpAddr) {
        let ways = self.dice.below(3);
        if ways != 1 {
            self.network.cut(from, to);
        }
        if ways != 2 {
            self.network.cut(to, from);
        }
    }

    /// Cuts all links between a node and the others, one way or both ways.
    fn cut_off(&mut self, node: usize) {
        let ways = self.dice.below(3);
        let here = node_address(node);
        for other in (0..self.machines.len()).filter(|other| *other != node).map(node_address) {
            if ways != 1 {
                self.network.cut(here, other);
            }
            if ways != 2 {
                self.network.cut(other, here);
            }
        }
    }

    /// Lets a node write until its disk takes no more, in the middle of something.
    fn write_until_dark(&mut self, node: usize) -> InvariantCheck {
        let changes = self.dice.below(CHANGES_MAX);
        self.machines[node].disk.cut_power_after(changes);
        self.pause()
    }

    /// The process is killed; the system closes its connections.
    pub(super) fn crash(&mut self, node: usize) {
        self.machines[node].kill(&mut self.executor, None);
        self.judge.forget(node);
    }

    /// The power of a node goes.
    pub(super) fn power_cut(&mut self, node: usize, fate: Option<Fate>) {
        let fate = fate.unwrap_or_else(|| self.some_fate());
        self.network.power_off(node_address(node));
        self.machines[node].kill(&mut self.executor, Some(fate));
        self.judge.forget(node);
    }

    fn some_fate(&mut self) -> Fate {
        match self.dice.below(3) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn(self.dice.draw()),
        }
    }

    /// Some nodes that are down are started, and links that are cut are mended, or not.
    fn mend_some(&mut self) {
        if self.dice.chance(500) {
            self.network.mend();
        }
        for node in 0..self.machines.len() {
            self.clear_failure(node);
            if self.machines[node].is_down() && self.dice.chance(600) {
                self.note(&format!("node {} is started", node_id(node)));
                self.start_node(node);
            }
        }
    }

    /// A node that could not start or go on is down.
    fn clear_failure(&mut self, node: usize) {
        if let Some(why) = self.machines[node].failure() {
            self.coverage.failures += 1;
            self.note(&format!("node {} is down: {why}", node_id(node)));
            self.crash(node);
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&mut self) -> InvariantCheck {
        self.note("the faults are over");
        self.network.mend();
        self.network.set_weather(StreamWeather::FAIR);
        self.start_those_down();
        // A write that has met the failing disk may take a node down only now.
        let end = self.now_ms() + LATE_MS_MAX;
        while self.now_ms() < end {
            self.pass(Duration::from_millis(50))?;
        }
        self.start_those_down();
        let what = "nodes stop that were asked to";
        self.until(START_S, Invariant::NodeRecovers, what, |world| {
            !world.machines.iter().any(SimMachine::is_stopping)
        })?;
        self.start_those_down();
        Ok(())
    }

    fn start_those_down(&mut self) {
        for node in 0..self.machines.len() {
            self.clear_failure(node);
            if self.machines[node].is_down() {
                self.start_node(node);
            }
        }
    }
}
