//! The loop: one event after the other, and the invariants after each.

use super::broker::SimBroker;
use super::message::{PartitionEvent, PartitionMessage};
use super::metadata::ControllerJournal;
use super::watch::PartitionWatch;
use crate::coverage::Coverage;
use crate::invariant::InvariantCheck;
use crate::network::{MessageNetwork, Weather};
use crate::random::Dice;
use crate::schedule::EventSchedule;
use crate::trace::Trace;

/// A partition, its brokers, and the controller.
#[derive(Debug)]
pub(crate) struct PartitionWorld {
    pub(super) dice: Dice,
    pub(super) schedule: EventSchedule<PartitionEvent>,
    pub(super) network: MessageNetwork,
    pub(super) brokers: Vec<SimBroker>,
    pub(super) journal: ControllerJournal,
    pub(super) watch: PartitionWatch,
    /// What has happened.
    pub trace: Trace,
    /// What was covered.
    pub coverage: Coverage,
    /// `min.insync.replicas` of the topic.
    pub(super) in_sync_min: usize,
    /// The id of the next record.
    pub(super) next_id: u64,
    /// Are faults over?
    pub(super) is_healed: bool,
}

impl PartitionWorld {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        // Another stream than the quorum's of the same seed.
        let mut dice = Dice::new(!seed);
        let count = [2, 3, 3, 3, 4][dice.index(5)];
        let weather = Weather::draw(&mut dice);
        let in_sync_min = 1 + dice.index(3);
        Self {
            schedule: EventSchedule::new(),
            network: MessageNetwork::new(count + 1, weather),
            brokers: (1..).map(SimBroker::new).take(count).collect(),
            journal: ControllerJournal::new(count, in_sync_min),
            watch: PartitionWatch::default(),
            trace,
            coverage: Coverage::default(),
            in_sync_min,
            next_id: 0,
            is_healed: false,
            dice,
        }
    }

    /// Lives through faults, heals, and must recover.
    pub fn run(&mut self) -> InvariantCheck {
        self.found()?;
        for broker in 0..self.brokers.len() {
            let life = self.brokers[broker].life;
            self.schedule.after(broker as u64, PartitionEvent::Polled { broker, life });
        }
        self.schedule.after(500, PartitionEvent::SessionsChecked);
        self.schedule.after(500, PartitionEvent::Produced);
        self.schedule.after(700, PartitionEvent::Administered);
        self.schedule.after(1500, PartitionEvent::Fault);
        let faults_end_ms = self.dice.between(3000, 15_000);
        self.run_until(faults_end_ms)?;
        self.settle()?;
        self.coverage.ran(self.schedule.now_ms(), &self.network);
        self.coverage.metadata_records = self.journal.records.len() as u64;
        Ok(())
    }

    pub(super) fn run_until(&mut self, until_ms: u64) -> InvariantCheck {
        while let Some(event) = self.schedule.next(until_ms) {
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: PartitionEvent) -> InvariantCheck {
        let node = match &event {
            PartitionEvent::Arrives { to, .. } => *to,
            PartitionEvent::Polled { broker, .. } | PartitionEvent::Restarted { broker, .. } => {
                *broker
            }
            _ => self.brokers.len(),
        };
        self.trace.event(self.schedule.now_ms(), node + 1, &event);
        match event {
            PartitionEvent::Arrives { from, to, message } => self.arrives(from, to, message),
            PartitionEvent::Polled { broker, life } if self.is_life(broker, life) => {
                self.polled(broker)
            }
            PartitionEvent::Polled { .. } => Ok(()),
            PartitionEvent::TimerDue { timer, at_ms } => self.fire_timer(timer, at_ms),
            PartitionEvent::SessionsChecked => self.check_sessions(),
            PartitionEvent::Produced => self.produce_somewhere(),
            PartitionEvent::Administered => self.administer(),
            PartitionEvent::Fault => self.fault(),
            PartitionEvent::Restarted { broker, life } => {
                self.restart(broker, life);
                Ok(())
            }
        }
    }

    fn arrives(&mut self, from: usize, to: usize, message: PartitionMessage) -> InvariantCheck {
        match message {
            PartitionMessage::Register(asked) => self.register(from, asked),
            PartitionMessage::Heartbeat(told) => self.heartbeat(from, told),
            PartitionMessage::Registered { life, broker_epoch } if self.is_life(to, life) => {
                self.learn_epoch(to, None, Some(broker_epoch));
                Ok(())
            }
            PartitionMessage::StaleEpoch { life, broker_epoch } if self.is_life(to, life) => {
                self.learn_epoch(to, Some(broker_epoch), None);
                Ok(())
            }
            PartitionMessage::MayStop { life } if self.is_life(to, life) => {
                self.may_stop(to);
                Ok(())
            }
            PartitionMessage::AlterPartition(alter) => self.alter(from, &alter),
            PartitionMessage::Altered { life, answer } if self.is_life(to, life) => {
                self.altered(to, answer)
            }
            PartitionMessage::Metadata { life, upto } if self.is_life(to, life) => {
                self.learn(to, upto)
            }
            PartitionMessage::Fetch { fetch, life } if self.brokers[to].live.is_some() => {
                self.fetched(to, from, fetch, life)
            }
            PartitionMessage::Fetched { answer, number, life } if self.is_life(to, life) => {
                self.answered(to, from, answer, number)
            }
            PartitionMessage::Metadata { .. }
            | PartitionMessage::Registered { .. }
            | PartitionMessage::StaleEpoch { .. }
            | PartitionMessage::MayStop { .. }
            | PartitionMessage::Altered { .. }
            | PartitionMessage::Fetch { .. }
            | PartitionMessage::Fetched { .. } => Ok(()),
        }
    }

    pub(super) fn is_life(&self, at: usize, life: u32) -> bool {
        self.brokers[at].live.is_some() && self.brokers[at].life == life
    }

    /// Where the controller stands among the nodes of the network.
    pub(super) fn controller(&self) -> usize {
        self.brokers.len()
    }

    /// Sends a message over the network.
    pub(super) fn send(&mut self, from: usize, to: usize, message: PartitionMessage) {
        let arrival = PartitionEvent::Arrives { from, to, message };
        self.network.carry(&mut self.dice, &mut self.schedule, (from, to), arrival);
    }
}
