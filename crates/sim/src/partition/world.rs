//! The loop: one event after the other, and the invariants after each.

use super::broker::Broker;
use super::message::{Event, Message};
use super::metadata::Journal;
use super::watch::Watch;
use crate::coverage::Coverage;
use crate::invariant::Checked;
use crate::network::{Network, Weather};
use crate::random::Dice;
use crate::schedule::Schedule;
use crate::trace::Trace;

/// A partition, its brokers, and the controller.
#[derive(Debug)]
pub(crate) struct World {
    pub(super) dice: Dice,
    pub(super) schedule: Schedule<Event>,
    pub(super) network: Network,
    pub(super) brokers: Vec<Broker>,
    pub(super) journal: Journal,
    pub(super) watch: Watch,
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

impl World {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        // Another stream than the quorum's of the same seed.
        let mut dice = Dice::new(!seed);
        let count = [2, 3, 3, 3, 4][dice.index(5)];
        let weather = Weather::draw(&mut dice);
        let in_sync_min = 1 + dice.index(3);
        Self {
            schedule: Schedule::new(),
            network: Network::new(count + 1, weather),
            brokers: (1..).map(Broker::new).take(count).collect(),
            journal: Journal::new(count, in_sync_min),
            watch: Watch::default(),
            trace,
            coverage: Coverage::default(),
            in_sync_min,
            next_id: 0,
            is_healed: false,
            dice,
        }
    }

    /// Lives through faults, heals, and must recover.
    pub fn run(&mut self) -> Checked {
        self.found()?;
        for broker in 0..self.brokers.len() {
            let life = self.brokers[broker].life;
            self.schedule.after(broker as u64, Event::Polled { broker, life });
        }
        self.schedule.after(500, Event::SessionsChecked);
        self.schedule.after(500, Event::Produced);
        self.schedule.after(700, Event::Administered);
        self.schedule.after(1500, Event::Fault);
        let faults_end_ms = self.dice.between(3000, 15_000);
        self.run_until(faults_end_ms)?;
        self.settle()?;
        self.coverage.ran(self.schedule.now_ms(), &self.network);
        self.coverage.metadata_records = self.journal.records.len() as u64;
        Ok(())
    }

    pub(super) fn run_until(&mut self, until_ms: u64) -> Checked {
        while let Some(event) = self.schedule.next(until_ms) {
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Checked {
        let node = match &event {
            Event::Arrives { to, .. } => *to,
            Event::Polled { broker, .. } | Event::Restarted { broker, .. } => *broker,
            _ => self.brokers.len(),
        };
        self.trace.event(self.schedule.now_ms(), node + 1, &event);
        match event {
            Event::Arrives { from, to, message } => self.arrives(from, to, message),
            Event::Polled { broker, life } if self.is_life(broker, life) => self.polled(broker),
            Event::Polled { .. } => Ok(()),
            Event::SessionsChecked => self.check_sessions(),
            Event::Produced => self.produce_somewhere(),
            Event::Administered => self.administer(),
            Event::Fault => {
                self.fault();
                Ok(())
            }
            Event::Restarted { broker, life } => {
                self.restart(broker, life);
                Ok(())
            }
        }
    }

    fn arrives(&mut self, from: usize, to: usize, message: Message) -> Checked {
        match message {
            Message::Heartbeat { life, applied } => self.heartbeat(from, life, applied),
            Message::AlterPartition(alter) => self.alter(&alter),
            Message::Metadata { life, upto } if self.is_life(to, life) => self.learn(to, upto),
            Message::Fetch { fetch, life } if self.brokers[to].live.is_some() => {
                self.fetched(to, from, fetch, life)
            }
            Message::Fetched { answer, number, life } if self.is_life(to, life) => {
                self.answered(to, from, answer, number)
            }
            Message::Metadata { .. } | Message::Fetch { .. } | Message::Fetched { .. } => Ok(()),
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
    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let arrival = Event::Arrives { from, to, message };
        self.network.carry(&mut self.dice, &mut self.schedule, (from, to), arrival);
    }
}
