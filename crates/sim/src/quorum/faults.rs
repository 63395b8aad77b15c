//! What goes wrong: crashes, cuts, slow and replaced disks, resignations.

use ottla_raft::{Candidacy, Input};

use super::message::QuorumEvent;
use super::world::QuorumWorld;
use crate::invariant::InvariantCheck;
use crate::network::Weather;

/// What of a node's unfinished writes was on its disk when it crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WrittenBefore {
    /// How many of its promises, the oldest first.
    pub promises: usize,
    /// How many records, after what was cut off was gone; `None` if the log was as before.
    pub records: Option<usize>,
}

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
        match self.dice.below(18) {
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
            15 => self.wipe(any),
            16 => {
                // A firewall resets a connection and refuses the next.
                let (life, by) = (self.nodes[any].life, other);
                self.schedule.after(1, QuorumEvent::Refused { node: any, life, by });
            }
            _ => return self.step(any, Input::Resign),
        }
        Ok(())
    }

    fn crash_for_a_while(&mut self, at: usize) {
        if self.nodes[at].live.is_some() {
            self.crash(at);
            self.nodes[at].is_host_up = self.dice.chance(500);
            if self.nodes[at].is_host_up {
                self.reset_connections(at);
            }
            let (life, down_ms) = (self.nodes[at].life, self.dice.between(10, 6000));
            self.schedule.after(down_ms, QuorumEvent::Restarted { node: at, life });
        }
    }

    /// The host of a process that is gone closes its connections.
    fn reset_connections(&mut self, at: usize) {
        for to in 0..self.nodes.len() {
            let heard_ms = self.network.send(&mut self.dice, at, to)[0];
            if let Some(delay_ms) = heard_ms.filter(|_| self.nodes[to].live.is_some()) {
                let life = self.nodes[to].life;
                self.schedule.after(delay_ms, QuorumEvent::Refused { node: to, life, by: at });
            }
        }
    }

    /// The node is gone, with all that is not on its disk. What was being written may be there or
    /// not, a prefix of it at most.
    pub(super) fn crash(&mut self, at: usize) {
        if let Some(live) = &self.nodes[at].live {
            let promises = self.dice.index(live.persisting.len() + 1);
            let is_torn = self.dice.chance(500);
            let records = is_torn.then(|| self.dice.index(live.log.unflushed() + 1));
            self.crash_after(at, WrittenBefore { promises, records });
        }
    }

    /// The node is gone, and so much of what it was writing is on its disk.
    pub(super) fn crash_after(&mut self, at: usize, written: WrittenBefore) {
        let node = &mut *self.nodes[at];
        let Some(mut live) = node.live.take() else { return };
        self.coverage.crashes += 1;
        if let Some(last) = live.persisting.drain(..written.promises).next_back() {
            node.disk.promised = last;
        }
        if let Some(records) = written.records {
            live.log.torn(&mut node.disk.log, records);
        }
        let lost = live.log.end().saturating_sub(node.disk.log.end());
        self.coverage.lost_records += lost as u64;
        let now_ms = self.schedule.now_ms();
        self.trace.note(now_ms, at + 1, || format!("crashes, {lost} records lost"));
    }

    /// The node stops, and starts with an empty disk, as a replica that has promised nothing. The
    /// quorum must bear it: a majority of all voters that any node knows has its disk still, and
    /// knows that it votes.
    fn wipe(&mut self, at: usize) {
        let key = self.nodes[at].key;
        let is_voter = |voters: &ottla_raft::VoterSet| voters.iter().any(|voter| voter.key == key);
        let sets = self.sets_in_force();
        let mut known = sets.iter().filter(|voters| !voters.is_empty());
        let gone = [vec![at], self.unaware_voters(&sets)].concat();
        let bears = known.all(|voters| is_voter(voters) && self.bears(voters, &gone));
        if !bears || self.has_old || self.nodes[at].candidacy == Candidacy::Never {
            return;
        }
        self.crash_for_a_while(at);
        if self.nodes[at].live.is_none() {
            self.coverage.wiped += 1;
            self.lost.insert(key, self.nodes[at].disk.log.clone());
            self.nodes[at].wipe();
            let now_ms = self.schedule.now_ms();
            self.trace.note(now_ms, at + 1, || "its disk is replaced".to_owned());
        }
    }

    /// The node starts again, unless it has already.
    pub(super) fn restart(&mut self, at: usize, life: u32) -> InvariantCheck {
        if self.nodes[at].live.is_some() || self.nodes[at].life != life {
            return Ok(());
        }
        let nodes = self.nodes.len();
        self.nodes[at].start(&self.first, &self.table, nodes);
        let life = self.nodes[at].life;
        let first_ms = self.dice.between(0, 200);
        self.schedule.after(first_ms, QuorumEvent::Polled { node: at, life });
        let promised = self.nodes[at].disk.promised.clone();
        self.step(at, Input::Started(promised))
    }
}
