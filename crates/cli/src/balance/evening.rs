//! Evening out: bytes first, then numbers of replicas.
//!
//! Each step takes the broker that is furthest from its fair share, and moves a replica between it
//! and the broker that is furthest on the other side. A move is hardly ever larger than what one
//! has too much or the other too little, so that next to nothing is copied twice; where no replica
//! is small enough, two replicas change places.

use std::collections::BTreeSet;

use super::layout::{BalanceLayout, as_real};

/// How far bytes may be from the fair share in the end, as a part of it.
const BYTES_TOLERANCE: f64 = 0.01;
/// The same, where that makes numbers of replicas even.
const BYTES_TOLERANCE_COUNTS: f64 = 0.02;
/// How far numbers of replicas may be from the mean, as a part of it.
const COUNT_TOLERANCE: f64 = 0.02;
/// Two replicas change places if that copies at most so many times the bytes that it evens out.
const SWAP_COST: f64 = 20.0;
/// A single move is no smaller than this part of the size that would fit best.
const SIZE_LEAST: f64 = 0.05;
/// A single move may be so much larger than what is needed, if none that fits is there.
const SIZE_MOST: f64 = 1.5;

/// A way to bring two brokers nearer to their fair share.
#[derive(Clone, Copy, Debug)]
enum EveningStep {
    /// Move a replica of no more bytes than are needed.
    Fitting,
    /// Move one that is a little larger.
    Larger,
    /// Let two replicas change places.
    Swap,
    /// Move the smallest replica, for the number.
    Smallest,
}

/// Makes bytes even, and with them the numbers of replicas as far as that costs nothing.
pub fn even_bytes(layout: &mut BalanceLayout<'_>) {
    let mut evening = Evening::new(layout);
    let steps = [EveningStep::Fitting, EveningStep::Larger, EveningStep::Swap];
    evening.even_out(Evening::bytes_off, BYTES_TOLERANCE, &steps);
}

/// Makes numbers of replicas even, as far as bytes stay so.
pub fn even_counts(layout: &mut BalanceLayout<'_>) {
    let mut evening = Evening::new(layout);
    // Less than one replica from the mean is as even as it can be.
    let tolerance = COUNT_TOLERANCE.max(0.999 / evening.count.max(1.0));
    evening.even_out(Evening::count_off, tolerance, &[EveningStep::Smallest]);
}

struct Evening<'a, 'b> {
    layout: &'a mut BalanceLayout<'b>,
    /// The fair share of bytes of each broker.
    fair: Vec<f64>,
    /// The fair number of replicas.
    count: f64,
}

impl<'a, 'b> Evening<'a, 'b> {
    fn new(layout: &'a mut BalanceLayout<'b>) -> Self {
        let (fair, count) = (layout.fair_bytes(), layout.fair_count());
        Self { layout, fair, count }
    }

    /// How many bytes a broker has more than its fair share.
    fn excess(&self, at: usize) -> f64 {
        as_real(self.layout.brokers[at].bytes) - self.fair[at]
    }

    /// The same as a part of the share.
    fn bytes_off(&self, at: usize) -> f64 {
        if self.fair[at] > 0.0 { self.excess(at) / self.fair[at] } else { 0.0 }
    }

    /// How many replicas a broker has more than its fair number.
    fn count_excess(&self, at: usize) -> f64 {
        as_real(self.layout.brokers[at].held.len() as u64) - self.count
    }

    fn count_off(&self, at: usize) -> f64 {
        if self.count > 0.0 { self.count_excess(at) / self.count } else { 0.0 }
    }

    /// Takes the broker that is furthest off, until none is beyond the tolerance or none can be
    /// brought nearer.
    fn even_out(&mut self, off: fn(&Self, usize) -> f64, tolerance: f64, steps: &[EveningStep]) {
        let full = self.layout.full_brokers();
        let mut stuck = BTreeSet::new();
        // Each step brings two brokers nearer, so this ends by itself; the bound makes it sure.
        for _ in 0..self.layout.partitions.len().saturating_mul(8) {
            let mut ranked: Vec<(f64, usize)> =
                full.iter().map(|at| (off(self, *at), *at)).collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let free = ranked.iter().filter(|(_, at)| !stuck.contains(at));
            let Some(&(most, at)) = free.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs())) else {
                break;
            };
            if most.abs() <= tolerance {
                break;
            }
            let lower = || ranked.iter().filter(|(off, _)| *off < 0.0).map(|(_, at)| *at);
            let higher = || ranked.iter().rev().filter(|(off, _)| *off > 0.0).map(|(_, at)| *at);
            let is_done = steps.iter().any(|step| match most > 0.0 {
                true => lower().any(|to| self.try_step(*step, at, to)),
                false => higher().any(|from| self.try_step(*step, from, at)),
            });
            if !is_done {
                stuck.insert(at);
            }
        }
    }

    /// Takes a step between two brokers; `false` if there is no replica for it.
    fn try_step(&mut self, step: EveningStep, from: usize, to: usize) -> bool {
        match step {
            EveningStep::Fitting => self.move_fitting(from, to),
            EveningStep::Larger => self.move_larger(from, to),
            EveningStep::Swap => self.swap_replicas(from, to),
            EveningStep::Smallest => self.move_smallest(from, to),
        }
    }

    /// What one has too much, or the other too little.
    fn needed_bytes(&self, from: usize, to: usize) -> f64 {
        self.excess(from).min(-self.excess(to))
    }

    fn move_fitting(&mut self, from: usize, to: usize) -> bool {
        let needed = self.needed_bytes(from, to);
        // Where replicas are to be moved for their number, too, each brings its part of the bytes.
        let count = self.count_excess(from).min(-self.count_excess(to)).max(1.0);
        let wanted = needed / count;
        self.move_nearest(from, to, SizeRange { wanted, least: wanted * SIZE_LEAST, most: needed })
    }

    fn move_larger(&mut self, from: usize, to: usize) -> bool {
        let wanted = self.needed_bytes(from, to);
        let range = SizeRange { wanted, least: wanted * SIZE_LEAST, most: wanted * SIZE_MOST };
        self.move_nearest(from, to, range)
    }

    /// Moves the replica whose size is nearest to the wanted one.
    fn move_nearest(&mut self, from: usize, to: usize, range: SizeRange) -> bool {
        let layout = &self.layout;
        let held = &layout.brokers[from].held;
        let size = |at: usize| as_real(layout.partitions[at].bytes);
        // The largest stand first.
        let split = held.partition_point(|at| size(*at) >= range.wanted);
        let mut larger =
            held[..split].iter().rev().take_while(|at| size(**at) <= range.most).peekable();
        let mut smaller = held[split..]
            .iter()
            .take_while(|at| size(**at) >= range.least && size(**at) > 0.0)
            .peekable();
        let found = loop {
            let is_larger = match (larger.peek(), smaller.peek()) {
                (Some(above), Some(below)) => {
                    size(**above) - range.wanted <= range.wanted - size(**below)
                }
                (above, _) => above.is_some(),
            };
            let Some(at) = (if is_larger { larger.next() } else { smaller.next() }) else {
                return false;
            };
            if size(*at) <= range.most && layout.can_move(*at, from, to) {
                break *at;
            }
        };
        self.layout.move_replica(found, from, to);
        true
    }

    /// Lets a replica change places with a smaller one.
    fn swap_replicas(&mut self, from: usize, to: usize) -> bool {
        let needed = self.needed_bytes(from, to);
        let layout = &self.layout;
        let (given, taken) = (&layout.brokers[from].held, &layout.brokers[to].held);
        let size = |at: usize| as_real(layout.partitions[at].bytes);
        let smallest_first = given.iter().rev().skip_while(|at| size(**at) < needed / 3.0);
        let affordable = smallest_first.take_while(|at| size(**at) <= needed * SWAP_COST);
        let found = affordable.copied().find_map(|large| {
            let first = taken.partition_point(|at| size(*at) > size(large) - needed / 3.0);
            let near = taken[first..].iter().copied();
            let near = near.take_while(|at| size(large) - size(*at) <= needed * SIZE_MOST);
            let cost = |small: &usize| size(large) + size(*small) <= needed * SWAP_COST;
            let fits = |small: &usize| {
                layout.can_move(large, from, to) && layout.can_move(*small, to, from)
            };
            near.filter(cost).find(fits).map(|small| (large, small))
        });
        let Some((large, small)) = found else { return false };
        self.layout.move_replica(large, from, to);
        self.layout.move_replica(small, to, from);
        true
    }

    /// Moves the smallest replica, if bytes stay even.
    fn move_smallest(&mut self, from: usize, to: usize) -> bool {
        let count = |at: usize| self.layout.brokers[at].held.len();
        if count(from) < count(to) + 2 {
            return false;
        }
        let room_to = self.fair[to].mul_add(BYTES_TOLERANCE_COUNTS, -self.excess(to));
        let room_from = self.fair[from].mul_add(BYTES_TOLERANCE_COUNTS, self.excess(from));
        // A broker is far below its share only where others have replicas too large to be moved;
        // one more that it loses does not matter then.
        let room_from = if room_from < 0.0 { room_to } else { room_from };
        let room = room_to.min(room_from).max(0.0);
        let layout = &self.layout;
        let size = |at: usize| as_real(layout.partitions[at].bytes);
        let small = layout.brokers[from].held.iter().rev().copied();
        let found =
            small.take_while(|at| size(*at) <= room).find(|at| layout.can_move(*at, from, to));
        let Some(found) = found else { return false };
        self.layout.move_replica(found, from, to);
        true
    }
}

/// Which sizes a move may have.
struct SizeRange {
    wanted: f64,
    least: f64,
    most: f64,
}
