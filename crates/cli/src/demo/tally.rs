//! What of the trucks' positions was sent, acknowledged and read, and what is missing.
//!
//! Each truck numbers its positions. All of a truck are in one partition and are sent one after the
//! other, so a reader sees them in the order of their numbers: a number that comes twice at two
//! offsets is a duplicate, and an acknowledged one that never comes is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_types::Offset;

/// The number of a truck.
pub(super) type TruckId = u32;

/// A position by its truck and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PositionId {
    /// The truck.
    pub truck: TruckId,
    /// Its number, from 0 on.
    pub number: u64,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum DemoEvent {
    /// Positions were handed to a producer.
    Sent(u64),
    /// Those of one partition have been acknowledged, at this time.
    Acknowledged {
        /// The partition.
        partition: i32,
        /// Which.
        positions: Vec<PositionId>,
        /// When, by the monotonic clock.
        at: Duration,
    },
    /// Positions were given up without an answer; they may have been written or not.
    GivenUp {
        /// The partition.
        partition: i32,
        /// Which.
        positions: Vec<PositionId>,
        /// The last error.
        why: String,
    },
    /// One was read.
    Read {
        /// In which partition.
        partition: i32,
        /// At which offset.
        offset: Offset,
        /// Which.
        position: PositionId,
        /// Where the truck is.
        shown: String,
    },
    /// Something to be printed.
    Note(String),
}

/// The reading of one truck.
#[derive(Debug, Default)]
struct TruckTally {
    /// One more than the highest number that was acknowledged.
    acknowledged: u64,
    /// One more than the highest number that was read.
    read: u64,
    /// Lower ones that were not read.
    missing: BTreeSet<u64>,
    /// Those that were given up.
    given_up: BTreeSet<u64>,
}

impl TruckTally {
    /// Acknowledged and passed over by the reader.
    fn lost(&self) -> u64 {
        let is_lost = |it: &&u64| **it < self.acknowledged && !self.given_up.contains(it);
        self.missing.iter().filter(is_lost).count() as u64
    }

    /// Acknowledged and not yet read.
    fn unread(&self) -> u64 {
        if self.read >= self.acknowledged {
            return 0;
        }
        let given_up = self.given_up.range(self.read..self.acknowledged).count() as u64;
        self.acknowledged - self.read - given_up
    }
}

/// The sums of all trucks.
#[derive(Debug, Default)]
pub(super) struct DemoTally {
    /// Handed to producers.
    pub sent: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Given up without an answer.
    pub given_up: u64,
    /// Read, each once.
    pub read: u64,
    /// Written twice, at two offsets.
    pub duplicates: u64,
    /// Read again at the same offset, as a group may after its coordinator moved.
    pub read_again: u64,
    /// The longest time between two acknowledgements of a partition.
    pub longest_gap: Duration,
    /// When each partition was last acknowledged something.
    last_acknowledged: BTreeMap<i32, Duration>,
    /// The offset after the last that was read.
    positions: BTreeMap<i32, Offset>,
    trucks: BTreeMap<TruckId, TruckTally>,
    /// Where each truck was seen last.
    seen: BTreeMap<TruckId, String>,
}

impl DemoTally {
    /// Takes in what has happened; `Some` is to be printed.
    pub fn note(&mut self, event: DemoEvent) -> Option<String> {
        match event {
            DemoEvent::Sent(count) => self.sent += count,
            DemoEvent::Acknowledged { partition, positions, at } => {
                self.acknowledged += positions.len() as u64;
                if let Some(before) = self.last_acknowledged.insert(partition, at) {
                    self.longest_gap = self.longest_gap.max(at.saturating_sub(before));
                }
                for PositionId { truck, number } in positions {
                    let truck = self.trucks.entry(truck).or_default();
                    truck.acknowledged = truck.acknowledged.max(number + 1);
                }
            }
            DemoEvent::GivenUp { partition, positions, why } => {
                let count = positions.len();
                self.given_up += count as u64;
                for PositionId { truck, number } in positions {
                    self.trucks.entry(truck).or_default().given_up.insert(number);
                }
                return Some(format!("partition {partition}: {count} positions given up: {why}"));
            }
            DemoEvent::Read { partition, offset, position, shown } => {
                self.note_read(partition, offset, position);
                self.seen.insert(position.truck, shown);
            }
            DemoEvent::Note(text) => return Some(text),
        }
        None
    }

    fn note_read(&mut self, partition: i32, offset: Offset, position: PositionId) {
        let next = self.positions.entry(partition).or_default();
        if offset < *next {
            self.read_again += 1;
            return;
        }
        *next = offset + 1;
        let PositionId { truck, number } = position;
        let truck = self.trucks.entry(truck).or_default();
        if number >= truck.read {
            truck.missing.extend(truck.read..number);
            truck.read = number + 1;
        } else if !truck.missing.remove(&number) {
            self.duplicates += 1;
            return;
        }
        self.read += 1;
    }

    /// Acknowledged, and passed over by the reader.
    pub fn lost(&self) -> u64 {
        self.trucks.values().map(TruckTally::lost).sum()
    }

    /// Acknowledged, and not read yet.
    pub fn unread(&self) -> u64 {
        self.trucks.values().map(TruckTally::unread).sum()
    }

    /// The gap since a partition was last acknowledged something counts, too, while it lasts.
    pub fn note_waiting(&mut self, now: Duration) {
        let waiting = self.last_acknowledged.values().map(|at| now.saturating_sub(*at)).max();
        self.longest_gap = self.longest_gap.max(waiting.unwrap_or_default());
    }

    /// The first trucks that were seen, and where they are.
    pub fn seen(&self, count: usize) -> Vec<&str> {
        self.seen.values().take(count).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(at_ms: u64, numbers: &[u64]) -> DemoEvent {
        let positions =
            numbers.iter().map(|number| PositionId { truck: 1, number: *number }).collect();
        DemoEvent::Acknowledged { partition: 0, positions, at: Duration::from_millis(at_ms) }
    }

    fn read(offset: Offset, number: u64) -> DemoEvent {
        let position = PositionId { truck: 1, number };
        DemoEvent::Read { partition: 0, offset, position, shown: format!("number {number}") }
    }

    #[test]
    fn what_was_acknowledged_and_passed_over_is_lost() {
        let mut tally = DemoTally::default();
        for event in [
            DemoEvent::Sent(4),
            acknowledged(10, &[0]),
            acknowledged(50, &[1, 2]),
            read(0, 0),
            read(1, 2),
        ] {
            assert_eq!(tally.note(event), None);
        }
        assert_eq!((tally.lost(), tally.unread(), tally.read), (1, 0, 2));
        assert_eq!(tally.longest_gap, Duration::from_millis(40));
        // One that was given up may be missing.
        let positions = vec![PositionId { truck: 1, number: 3 }];
        let why = "timed out".to_owned();
        let note = tally.note(DemoEvent::GivenUp { partition: 0, positions, why });
        assert_eq!(note.as_deref(), Some("partition 0: 1 positions given up: timed out"));
        tally.note(acknowledged(60, &[4, 5]));
        assert_eq!((tally.lost(), tally.unread()), (1, 2));
        tally.note(read(2, 4));
        assert_eq!((tally.lost(), tally.unread(), tally.given_up), (1, 1, 1));
        assert_eq!(tally.seen(3), ["number 4"]);
    }

    #[test]
    fn a_record_is_a_duplicate_at_another_offset_only() {
        let mut tally = DemoTally::default();
        tally.note(acknowledged(0, &[0, 1]));
        for event in [read(0, 0), read(1, 1), read(0, 0), read(1, 1)] {
            tally.note(event);
        }
        assert_eq!((tally.duplicates, tally.read_again, tally.read), (0, 2, 2));
        tally.note(read(2, 1));
        assert_eq!((tally.duplicates, tally.read, tally.lost()), (1, 2, 0));
    }

    #[test]
    fn a_gap_counts_while_it_lasts() {
        let mut tally = DemoTally::default();
        tally.note_waiting(Duration::from_secs(9));
        assert_eq!(tally.longest_gap, Duration::ZERO, "nothing was written yet");
        tally.note(acknowledged(1000, &[0]));
        tally.note_waiting(Duration::from_secs(3));
        assert_eq!(tally.longest_gap, Duration::from_secs(2));
    }
}
