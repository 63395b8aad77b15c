//! What goes wrong: crashes, cuts, slow disks, resignations.

use ottla_raft::Input;

use super::message::QuorumEvent;
use super::world::QuorumWorld;
use crate::invariant::InvariantCheck;
use crate::network::Weather;

impl QuorumWorld {
    /// One fault, and the next in a while.
    pub(super) fn fault(&mut self) -> InvariantCheck {
        if self.is_healed {
            return Ok(());
        }
        let pause_ms = self.dice.between(100, 2500);
        self.schedule.after(pause_ms, QuorumEvent::Fault);
        let any = self.dice.index(self.nodes.len());
        let other = self.dice.index(self.nodes.len());
        match self.dice.below(16) {
            0..4 => self.crash_for_a_while(any),
            4 => (0..self.nodes.len()).for_each(|at| self.crash_for_a_while(at)),
            5..7 => self.network.cut(any, other),
            7..10 => {
                let side = self.dice.draw();
                self.network.part(side);
            }
            10..13 => self.network.mend(),
            13 => self.network.weather = Weather::draw(&mut self.dice),
            14 => self.nodes[any].slowness = self.dice.between(1, 40),
            _ => return self.step(any, Input::Resign),
        }
        Ok(())
    }

    fn crash_for_a_while(&mut self, at: usize) {
        if self.nodes[at].live.is_some() {
            self.crash(at);
            let (life, down_ms) = (self.nodes[at].life, self.dice.between(10, 6000));
            self.schedule.after(down_ms, QuorumEvent::Restarted { node: at, life });
        }
    }

    /// The node is gone, with all that is not on its disk. What was being written may be there or
    /// not, a prefix of it at most.
    pub(super) fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(mut live) = node.live.take() else { return };
        self.coverage.crashes += 1;
        let written = self.dice.index(live.persisting.len() + 1);
        if let Some(last) = live.persisting.drain(..written).next_back() {
            node.disk.promised = last;
        }
        if self.dice.chance(500) {
            let kept = self.dice.index(live.log.unflushed() + 1);
            live.log.torn(&mut node.disk.log, kept);
        }
        let lost = live.log.entries.len().saturating_sub(node.disk.log.len());
        self.coverage.lost_records += lost as u64;
        let now_ms = self.schedule.now_ms();
        self.trace.note(now_ms, at + 1, || format!("crashes, {lost} records lost"));
    }

    /// The node starts again, unless it has already.
    pub(super) fn restart(&mut self, at: usize, life: u32) -> InvariantCheck {
        if self.nodes[at].live.is_some() || self.nodes[at].life != life {
            return Ok(());
        }
        let (voters, nodes) = (self.voters.clone(), self.nodes.len());
        self.nodes[at].start(voters, nodes);
        let life = self.nodes[at].life;
        let first_ms = self.dice.between(0, 200);
        self.schedule.after(first_ms, QuorumEvent::Polled { node: at, life });
        let promised = self.nodes[at].disk.promised.clone();
        self.step(at, Input::Started(promised))
    }
}
