//! A host for tests: applies at once, keeps every record and reply, and drives the clock by hand.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ottla_types::{Offset, TimestampMs};

use crate::{Alarm, Machine, Note, Ticket, Turn};

/// Runs one machine with a journal that commits at once and a clock that stands still.
#[derive(Debug)]
pub struct MachineBench<M: Machine> {
    /// The machine under test.
    pub machine: M,
    /// Everything it wrote, in order.
    pub records: Vec<M::Record>,
    /// Everything that it wants operators to read, in order.
    pub notes: Vec<Note>,
    /// The clock, in milliseconds.
    pub now_ms: TimestampMs,
    timers: BTreeMap<M::Timer, TimestampMs>,
    tickets: u64,
}

impl<M: Machine> MachineBench<M> {
    /// `machine` at time `now_ms`.
    pub fn new(machine: M, now_ms: TimestampMs) -> Self {
        Self {
            machine,
            records: Vec::new(),
            notes: Vec::new(),
            now_ms,
            timers: BTreeMap::new(),
            tickets: 0,
        }
    }

    /// Runs a command; returns its ticket and the replies that left, for any ticket.
    pub fn run(&mut self, command: M::Command) -> (Ticket, Vec<(Ticket, M::Reply)>) {
        self.tickets += 1;
        let mut turn = Turn::new(self.now_ms, Ticket(self.tickets));
        turn.base_offset = Offset::try_from(self.records.len()).unwrap_or(Offset::MAX);
        self.machine.decide(command, &mut turn);
        for record in &turn.records {
            self.machine.apply(record);
        }
        self.machine.check_turn(&turn.records);
        self.records.append(&mut turn.records);
        self.notes.append(&mut turn.notes);
        for alarm in turn.alarms {
            match alarm {
                Alarm::Set { timer, at_ms } => drop(self.timers.insert(timer, at_ms)),
                Alarm::Start { timer, at_ms } => drop(self.timers.entry(timer).or_insert(at_ms)),
                Alarm::Cancel { timer } => drop(self.timers.remove(&timer)),
            }
        }
        (Ticket(self.tickets), turn.replies)
    }

    /// Lets `ms` pass, firing each timer at its own moment; returns the replies that left.
    pub fn pass(&mut self, ms: i64) -> Vec<(Ticket, M::Reply)> {
        let until = self.now_ms + ms;
        let mut replies = Vec::new();
        while let Some((timer, at)) = self.next_timer(until) {
            self.timers.remove(&timer);
            self.now_ms = self.now_ms.max(at);
            replies.extend(self.run(M::expired(timer)).1);
        }
        self.now_ms = until;
        replies
    }

    /// The timers that are set, by name, with the moment each fires.
    pub fn timers(&self) -> &BTreeMap<M::Timer, TimestampMs> {
        &self.timers
    }

    fn next_timer(&self, until: TimestampMs) -> Option<(M::Timer, TimestampMs)> {
        let due = self.timers.iter().filter(|(_, at)| **at <= until);
        due.min_by_key(|(_, at)| **at).map(|(timer, at)| (timer.clone(), *at))
    }
}
