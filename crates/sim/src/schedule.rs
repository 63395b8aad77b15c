//! What will happen, by simulated time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Events in the order of their time; those of one moment in the order in which they were added.
#[derive(Clone, Debug)]
pub struct EventSchedule<E> {
    heap: BinaryHeap<Reverse<Due<E>>>,
    added: u64,
    now_ms: u64,
}

#[derive(Clone, Debug)]
struct Due<E> {
    at_ms: u64,
    number: u64,
    event: E,
}

impl<E> EventSchedule<E> {
    /// Nothing will happen, and it is time 0.
    #[must_use]
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), added: 0, now_ms: 0 }
    }

    /// Simulated milliseconds since the start.
    #[must_use]
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Lets `event` happen in `delay_ms` from now.
    pub fn after(&mut self, delay_ms: u64, event: E) {
        self.at(self.now_ms + delay_ms, event);
    }

    /// Lets `event` happen at `at_ms`, or now if that has passed.
    pub fn at(&mut self, at_ms: u64, event: E) {
        self.added += 1;
        let due = Due { at_ms: at_ms.max(self.now_ms), number: self.added, event };
        self.heap.push(Reverse(due));
    }

    /// The next event up to `until_ms`; the time moves to it, or to `until_ms` if there is none.
    pub fn next(&mut self, until_ms: u64) -> Option<E> {
        let is_due = self.heap.peek().is_some_and(|Reverse(due)| due.at_ms <= until_ms);
        let due = if is_due { self.heap.pop() } else { None };
        self.now_ms = due.as_ref().map_or(until_ms, |Reverse(due)| due.at_ms);
        due.map(|Reverse(due)| due.event)
    }

    /// Takes all events out; the time stays.
    pub fn drain(&mut self) -> impl Iterator<Item = E> {
        std::mem::take(&mut self.heap).into_iter().map(|Reverse(due)| due.event)
    }
}

impl<E> Default for EventSchedule<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Due<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_age() {
        let mut schedule = EventSchedule::new();
        for (delay, name) in [(5, "c"), (1, "a"), (1, "b"), (9, "d")] {
            schedule.after(delay, name);
        }
        let mut next = || schedule.next(8);
        assert_eq!([next(), next(), next(), next()], [Some("a"), Some("b"), Some("c"), None]);
        assert_eq!(schedule.now_ms(), 8);
    }
}
