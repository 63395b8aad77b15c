//! Links that delay, lose, double and reorder messages, and that are cut one way or both.

use crate::random::Dice;
use crate::schedule::EventSchedule;

/// How the links behave.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The shortest and the longest usual delay, in milliseconds.
    pub delay_ms: (u64, u64),
    /// How many of 1000 messages are lost.
    pub lost: u64,
    /// How many of 1000 messages come twice.
    pub doubled: u64,
    /// How many of 1000 messages are late, by up to `late_ms` more.
    pub late: u64,
    /// See `late`.
    pub late_ms: u64,
}

impl Weather {
    /// A quiet data centre.
    pub const FAIR: Self = Self { delay_ms: (1, 5), lost: 0, doubled: 0, late: 0, late_ms: 0 };

    /// Some mixture of faults.
    pub fn draw(dice: &mut Dice) -> Self {
        let some = |dice: &mut Dice, most| if dice.chance(500) { dice.below(most) } else { 0 };
        Self {
            delay_ms: (1, dice.between(2, 60)),
            lost: some(dice, 150),
            doubled: some(dice, 150),
            late: some(dice, 150),
            late_ms: dice.between(100, 4000),
        }
    }
}

/// When a message arrives: up to twice.
pub type Arrivals = [Option<u64>; 2];

/// All links between a number of nodes.
#[derive(Clone, Debug)]
pub struct MessageNetwork {
    nodes: usize,
    /// Is the link from one node to another cut? By `from * nodes + to`.
    cut: Vec<bool>,
    /// How all links behave.
    pub weather: Weather,
    /// How many messages were sent.
    pub sent: u64,
    /// How many of them were lost, or met a cut.
    pub lost: u64,
    /// How many of them came twice.
    pub doubled: u64,
}

impl MessageNetwork {
    /// Links between all of `nodes`.
    #[must_use]
    pub fn new(nodes: usize, weather: Weather) -> Self {
        Self { nodes, cut: vec![false; nodes * nodes], weather, sent: 0, lost: 0, doubled: 0 }
    }

    /// After how many milliseconds a message from one node arrives at another.
    pub fn send(&mut self, dice: &mut Dice, from: usize, to: usize) -> Arrivals {
        self.sent += 1;
        if self.cut[from * self.nodes + to] || dice.chance(self.weather.lost) {
            self.lost += 1;
            return [None, None];
        }
        let mut delay = || {
            let (low, high) = self.weather.delay_ms;
            let late = if dice.chance(self.weather.late) { self.weather.late_ms } else { 0 };
            dice.between(low, high) + dice.below(late + 1)
        };
        let first = delay();
        let second = delay();
        let is_doubled = dice.chance(self.weather.doubled);
        self.doubled += u64::from(is_doubled);
        [Some(first), is_doubled.then_some(second)]
    }

    /// Lets a message of one node arrive at another: once, twice or never.
    pub fn carry<E: Clone>(
        &mut self,
        dice: &mut Dice,
        schedule: &mut EventSchedule<E>,
        (from, to): (usize, usize),
        arrival: E,
    ) {
        let [first, second] = self.send(dice, from, to);
        if let Some(delay) = second {
            schedule.after(delay, arrival.clone());
        }
        if let Some(delay) = first {
            schedule.after(delay, arrival);
        }
    }

    /// Cuts the link one way.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut[from * self.nodes + to] = true;
    }

    /// Cuts all links between the nodes whose bit is set in `side` and the others.
    pub fn part(&mut self, side: u64) {
        let is_in = |node: usize| side >> node & 1 == 1;
        for from in 0..self.nodes {
            for to in 0..self.nodes {
                if is_in(from) != is_in(to) {
                    self.cut(from, to);
                }
            }
        }
    }

    /// Mends every cut.
    pub fn mend(&mut self) {
        self.cut.fill(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_link_is_cut_one_way_and_a_partition_both() {
        let (mut dice, mut network) = (Dice::new(1), MessageNetwork::new(3, Weather::FAIR));
        network.cut(0, 1);
        assert_eq!(network.send(&mut dice, 0, 1), [None, None]);
        assert!(network.send(&mut dice, 1, 0)[0].is_some());
        network.mend();
        network.part(0b100);
        for (from, to, passes) in [(0, 1, true), (0, 2, false), (2, 1, false)] {
            assert_eq!(network.send(&mut dice, from, to)[0].is_some(), passes, "{from} to {to}");
        }
    }
}
