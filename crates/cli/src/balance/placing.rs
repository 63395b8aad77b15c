//! Replicas that must find a broker: of brokers that leave, of partitions that get more, of racks
//! that hold more of a partition than they need to.

use std::cmp::Reverse;

use super::layout::{BalanceLayout, as_real};
use super::{BrokerShare, PlanObstacle};

/// Moves all replicas off leaving brokers, and gives partitions the replicas that they lack.
///
/// # Errors
/// No broker has room for one of them.
pub fn place_needed(layout: &mut BalanceLayout<'_>) -> Result<(), PlanObstacle> {
    // The largest first: small ones even out what those have left uneven.
    let movable = (0..layout.partitions.len()).filter(|at| layout.partitions[*at].is_movable);
    let mut order: Vec<usize> = movable.collect();
    order.sort_by_key(|at| (Reverse(layout.partitions[*at].bytes), *at));
    for at in order {
        let leaves = |it: &usize| layout.brokers[*it].share == BrokerShare::Leaving;
        let leaving: Vec<usize> =
            layout.partitions[at].replicas.iter().copied().filter(leaves).collect();
        for from in leaving {
            let to = best_broker(layout, at, Some(from)).ok_or_else(|| layout.no_room(at))?;
            layout.move_replica(at, from, to);
        }
        while layout.partitions[at].replicas.len() < layout.partitions[at].factor {
            let to = best_broker(layout, at, None).ok_or_else(|| layout.no_room(at))?;
            layout.add_replica(at, to);
        }
    }
    Ok(())
}

/// Moves replicas from racks that hold more of their partition than another rack.
pub fn spread_racks(layout: &mut BalanceLayout<'_>) {
    for at in 0..layout.partitions.len() {
        if !layout.partitions[at].is_movable {
            continue;
        }
        for from in layout.partitions[at].replicas.clone() {
            let beside = layout.count_in_rack(at, from, Some(from));
            if beside == 0 || layout.brokers[from].share != BrokerShare::Full {
                continue;
            }
            if let Some(to) = best_broker(layout, at, Some(from))
                && layout.count_in_rack(at, to, Some(from)) < beside
            {
                layout.move_replica(at, from, to);
            }
        }
    }
}

/// The broker whose rack has the fewest replicas of a partition, and of those the one that would
/// be loaded least.
fn best_broker(layout: &BalanceLayout<'_>, at: usize, from: Option<usize>) -> Option<usize> {
    let bytes = layout.partitions[at].bytes;
    let (fair, count) = (layout.fair_bytes(), layout.fair_count().max(1.0));
    let load = |to: usize| {
        let it = &layout.brokers[to];
        as_real(it.bytes + bytes) / fair[to].max(1.0) + as_real(it.held.len() as u64 + 1) / count
    };
    let all = layout.full_brokers().into_iter().filter(|to| layout.can_take(at, *to));
    let ranked = all.map(|to| (layout.count_in_rack(at, to, from), load(to), to));
    let best = ranked.min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    best.map(|(_, _, to)| to)
}

impl BalanceLayout<'_> {
    fn no_room(&self, at: usize) -> PlanObstacle {
        PlanObstacle::NoRoom { place: self.place_of(at), bytes: self.partitions[at].bytes }
    }
}
