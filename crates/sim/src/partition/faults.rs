//! What goes wrong: processes die, the power fails, links are cut.

use super::broker::{Crash, SimBroker};
use super::message::PartitionEvent;
use super::world::PartitionWorld;
use crate::invariant::InvariantCheck;
use crate::log::{SimLog, offset};
use crate::network::Weather;

/// How a broker's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokerEnd {
    /// Everything is flushed, and the epoch of its registration is written down.
    Clean {
        epoch: i64,
    },
    Crash(Crash),
}

impl PartitionWorld {
    /// One fault, and the next in a while.
    pub(super) fn fault(&mut self) -> InvariantCheck {
        if self.is_healed {
            return Ok(());
        }
        let pause_ms = self.dice.between(100, 2500);
        self.schedule.after(pause_ms, PartitionEvent::Fault);
        let any = self.dice.index(self.brokers.len());
        let (from, to) = (self.any_node(), self.any_node());
        match self.dice.below(15) {
            0..4 => self.crash_for_a_while(any),
            4 => (0..self.brokers.len()).for_each(|at| self.crash_for_a_while(at)),
            5 => self.network.cut(from, to),
            // Away from the controller, and perhaps from no other broker.
            6 => {
                let controller = self.controller();
                self.network.cut(any, controller);
                self.network.cut(controller, any);
            }
            7 => {
                let side = self.dice.draw();
                self.network.part(side);
            }
            8..11 => self.network.mend(),
            11 => self.network.weather = Weather::draw(&mut self.dice),
            12 => self.stop_in_order(any),
            13 => return self.fail_over(),
            _ => return self.impersonate(any),
        }
        Ok(())
    }

    /// The broker asks the controller for its stop.
    fn stop_in_order(&mut self, at: usize) {
        if let Some(live) = &mut self.brokers[at].live {
            live.is_stopping = true;
        }
    }

    /// The controller lets a broker stop, which writes its epoch down.
    pub(super) fn may_stop(&mut self, at: usize) {
        let broker = &self.brokers[at];
        if let Some(live) = broker.live.as_ref().filter(|live| live.is_stopping)
            && let Some(epoch) = live.broker_epoch(broker.id, broker.life).or(live.registered)
        {
            self.coverage.orderly_stops += 1;
            self.end(at, BrokerEnd::Clean { epoch });
        }
    }

    fn any_node(&mut self) -> usize {
        self.dice.index(self.brokers.len() + 1)
    }

    /// The broker is gone for a while.
    fn crash_for_a_while(&mut self, at: usize) {
        let broker = &self.brokers[at];
        let Some(live) = &broker.live else { return };
        // A stop is clean only if the broker knows the epoch that it has to write down.
        let known = live.broker_epoch(broker.id, broker.life);
        let clean = known.filter(|_| self.dice.chance(150));
        let wanted = if self.dice.chance(400) { Crash::Power } else { Crash::Process };
        let can_lose = self.is_bearable(Crash::Power);
        let kind = if can_lose { wanted } else { Crash::Process };
        match clean {
            Some(epoch) => self.end(at, BrokerEnd::Clean { epoch }),
            None if self.is_bearable(kind) => self.end(at, BrokerEnd::Crash(kind)),
            None => {}
        }
    }

    fn end(&mut self, at: usize, end: BrokerEnd) {
        let broker = &mut self.brokers[at];
        let Some(mut live) = broker.live.take() else { return };
        self.coverage.crashes += 1;
        broker.clean_epoch = -1;
        match end {
            BrokerEnd::Clean { epoch } => broker.clean_epoch = epoch,
            BrokerEnd::Crash(kind) => broker.weakness = Some(kind),
        }
        if end == BrokerEnd::Crash(Crash::Power) {
            let kept = self.dice.index(live.log.unflushed() + 1);
            live.log.torn(&mut broker.disk, kept);
            let kept = SimLog::open(&broker.disk);
            self.coverage.lost_records += (live.log.entries.len() - kept.entries.len()) as u64;
            broker.has_lost = true;
            live.log = kept;
        }
        broker.disk = live.log.entries;
        broker.checkpoint = broker.checkpoint.min(offset(broker.disk.len()));
        let (life, left) = (broker.life, broker.disk.len());
        let down_ms = self.dice.between(10, 6000);
        self.trace.note(self.schedule.now_ms(), at + 1, || format!("{end:?}, {left} records left"));
        self.schedule.after(down_ms, PartitionEvent::Restarted { broker: at, life });
    }

    /// May another broker crash so? Acknowledged records survive as long as fewer brokers than
    /// `min.insync.replicas` have ended uncleanly, and are not in sync again, if one of them has
    /// lost anything; the controller cannot tell which of them has (KIP-966).
    fn is_bearable(&self, kind: Crash) -> bool {
        let weak = self.brokers.iter().filter_map(|broker| broker.weakness);
        let loses = kind == Crash::Power || weak.clone().any(|it| it == Crash::Power);
        let bearable = self.in_sync_min.min(self.brokers.len()) - 1;
        !loses || weak.count() < bearable
    }

    /// Brokers that are in sync in their present life are as good as any.
    pub(super) fn note_recovered(&mut self) {
        let Some(state) = self.journal.partition() else { return };
        let cluster = self.journal.controller.cluster();
        for broker in &mut self.brokers {
            let incarnation = SimBroker::incarnation(broker.id, broker.life);
            let is_known =
                cluster.broker(broker.id).is_some_and(|it| it.incarnation == incarnation);
            if is_known && broker.live.is_some() && state.isr.contains(&broker.id) {
                broker.weakness = None;
            }
        }
    }

    /// The broker starts again, unless it has already.
    pub(super) fn restart(&mut self, at: usize, life: u32) {
        if self.brokers[at].live.is_some() || self.brokers[at].life != life {
            return;
        }
        self.brokers[at].start();
        let life = self.brokers[at].life;
        self.schedule.after(1, PartitionEvent::Polled { broker: at, life });
    }
}
