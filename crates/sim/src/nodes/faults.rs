//! What goes wrong, one thing after the other, and how it is made good.

use std::time::Duration;

use ottla_storage::{Fate, Fault};

use super::network::StreamWeather;
use super::plan::FaultKind;
use super::world::{NODE, NodeWorld};
use crate::invariant::InvariantCheck;

/// After how many changes the power goes at most, if it goes in the middle of writing.
const CHANGES_MAX: u64 = 60;

/// How long after it a failure of the disk may be met, in milliseconds: longer than any disk takes.
const LATE_MS_MAX: u64 = 1_000;

impl NodeWorld {
    /// All faults of the plan.
    pub(super) fn hurt(&mut self) -> InvariantCheck {
        for _ in 0..self.plan.fault_count {
            self.pause()?;
            // What the system has written back by itself survives.
            if self.dice.chance(300) {
                self.machine.disk.write_back();
            }
            let at = self.dice.index(self.plan.faults.len());
            let kind = self.plan.faults[at];
            self.note(kind.name());
            *self.coverage.faults.entry(kind).or_default() += 1;
            self.befall(kind)?;
            self.mend_node()?;
        }
        self.pause()
    }

    fn pause(&mut self) -> InvariantCheck {
        let ms = self.dice.between(1, self.plan.pause_ms_max);
        self.pass(Duration::from_millis(ms))
    }

    fn befall(&mut self, kind: FaultKind) -> InvariantCheck {
        match kind {
            FaultKind::Crash => self.crash(),
            FaultKind::CrashInWrite => {
                self.write_until_dark()?;
                self.crash();
            }
            FaultKind::PowerCut => self.power_cut(),
            FaultKind::PowerCutInWrite => {
                self.write_until_dark()?;
                self.power_cut();
            }
            FaultKind::Restart => {
                if self.machine.is_up() {
                    self.stop_node()?;
                }
            }
            FaultKind::CutOneWay => {
                let client = self.some_client();
                let (from, to) =
                    if self.dice.chance(500) { (NODE, client) } else { (client, NODE) };
                self.network.cut(from, to);
                self.pause()?;
                self.network.mend();
            }
            FaultKind::CutOff => {
                let client = self.some_client();
                self.network.cut(NODE, client);
                self.network.cut(client, NODE);
                self.pause()?;
                self.network.mend();
            }
            FaultKind::Break => {
                for _ in 0..self.dice.between(1, 3) {
                    self.network.break_some();
                }
            }
            FaultKind::Jump => {
                // Timers of coordinators go by the wall clock: one that is set back would hold them
                // up for as long, and one that is set forward ends sessions at once.
                let ms = i64::try_from(self.dice.below(3_600_000)).unwrap_or(0) - 500;
                self.machine.jump(ms);
                self.shared.model.borrow_mut().groups.forget();
            }
            FaultKind::DiskFails => {
                let faults = [Fault::Writes, Fault::Syncs, Fault::Reads, Fault::ReadOnly];
                let fault = faults[self.dice.index(faults.len())];
                self.note(&format!("{fault:?}"));
                self.machine.set_fault(Some(fault));
                self.pause()?;
                self.machine.set_fault(None);
                if fault == Fault::Syncs {
                    // What a failed sync was to make durable can be read, and is not on the disk,
                    // and no later sync will bring it there: only a start of the machine shows it.
                    self.power_cut();
                }
            }
            FaultKind::DiskFull => {
                let room = self.dice.below(2_000);
                self.machine.disk.set_capacity(Some(self.machine.disk.used_bytes() + room));
                self.pause()?;
                self.machine.disk.set_capacity(None);
            }
            FaultKind::PowerCuts
            | FaultKind::Crashes
            | FaultKind::CrashLeader
            | FaultKind::CutPeers
            | FaultKind::CutOffNode
            | FaultKind::CutOffLeader => unreachable!("a node that is alone has no others"),
        }
        Ok(())
    }

    /// Lets the node write until the disk takes no more, in the middle of something.
    fn write_until_dark(&mut self) -> InvariantCheck {
        let changes = self.dice.below(CHANGES_MAX);
        self.machine.disk.cut_power_after(changes);
        self.pause()
    }

    fn crash(&mut self) {
        // The system closes its connections.
        self.machine.kill(&mut self.executor, None);
    }

    fn power_cut(&mut self) {
        self.network.power_off(NODE);
        let fate = match self.dice.below(3) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn(self.dice.draw()),
        };
        self.machine.kill(&mut self.executor, Some(fate));
        self.lose_what_was_not_durable();
    }

    /// What was promised by a node that does not make every record durable may be gone.
    fn lose_what_was_not_durable(&mut self) {
        if !self.plan.is_durable {
            let era = self.shared.era.get() + 1;
            self.shared.era.set(era);
            self.shared.model.borrow_mut().power_cut(era);
        }
    }

    /// Makes sure that a node runs, or will.
    fn mend_node(&mut self) -> InvariantCheck {
        if self.machine.failure().is_some() {
            self.coverage.failures += 1;
            self.note("the node is down, and is started again");
            self.crash();
        }
        if self.machine.is_down() {
            if self.dice.chance(700) {
                self.pause()?;
            }
            self.network.power_on(NODE);
            self.start_node();
        }
        Ok(())
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&mut self) -> InvariantCheck {
        self.note("the faults are over");
        self.network.mend();
        self.network.power_on(NODE);
        self.network.set_weather(StreamWeather::FAIR);
        self.mend_node()?;
        // A write that has met the failing disk may take the node down only now.
        let end = self.now_ms() + LATE_MS_MAX;
        while self.machine.failure().is_none() && self.now_ms() < end {
            self.pass(Duration::from_millis(50))?;
        }
        self.mend_node()?;
        self.until_up()
    }
}
