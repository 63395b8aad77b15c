//! Preferred leaders: which replica of each partition stands first.
//!
//! Another order of the same replicas copies nothing. A broker that leads too many hands one on to
//! a broker that holds the partition, which may hand one of its own on in turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::layout::BalanceLayout;
use super::{BrokerShare, PlanScope};

/// Makes numbers of preferred leaders even, by the order of replicas only.
pub fn even_leaders(layout: &mut BalanceLayout<'_>, scope: PlanScope) {
    let mut counts = layout.leader_counts();
    let mut led: Vec<Vec<usize>> = vec![Vec::new(); layout.brokers.len()];
    for (at, it) in layout.partitions.iter().enumerate() {
        let is_free = it.is_movable && (scope == PlanScope::All || it.is_changed());
        if let Some(leader) = it.replicas.first().filter(|_| is_free) {
            led[*leader].push(at);
        }
    }
    while let Some(path) = find_any_handover(layout, &counts, &led) {
        for HandedOn { partition, from, to } in path {
            let replicas = &mut layout.partitions[partition].replicas;
            if let Some(at) = replicas.iter().position(|it| *it == to) {
                replicas.swap(0, at);
            }
            led[from].retain(|it| *it != partition);
            led[to].push(partition);
            counts[from] -= 1;
            counts[to] += 1;
        }
    }
}

/// A partition whose preferred leader changes.
#[derive(Clone, Copy, Debug)]
struct HandedOn {
    partition: usize,
    from: usize,
    to: usize,
}

/// A way from the broker that leads most of those from which there is one.
fn find_any_handover(
    layout: &BalanceLayout<'_>,
    counts: &[usize],
    led: &[Vec<usize>],
) -> Option<Vec<HandedOn>> {
    let mut order = layout.full_brokers();
    order.sort_by_key(|at| (Reverse(counts[*at]), *at));
    order.iter().find_map(|from| find_handover(layout, counts, led, *from))
}

/// The shortest way from a broker to one that leads at least two fewer.
fn find_handover(
    layout: &BalanceLayout<'_>,
    counts: &[usize],
    led: &[Vec<usize>],
    first: usize,
) -> Option<Vec<HandedOn>> {
    let mut reached: BTreeMap<usize, Option<HandedOn>> = BTreeMap::from([(first, None)]);
    let mut queue = VecDeque::from([first]);
    while let Some(from) = queue.pop_front() {
        if counts[from] + 2 <= counts[first] {
            let mut path = Vec::new();
            let mut at = from;
            while let Some(step) = reached.get(&at).copied().flatten() {
                path.push(step);
                at = step.from;
            }
            return Some(path);
        }
        for partition in led[from].iter().copied() {
            for to in layout.partitions[partition].replicas.iter().skip(1).copied() {
                let takes = layout.brokers[to].share == BrokerShare::Full;
                if takes && !reached.contains_key(&to) {
                    reached.insert(to, Some(HandedOn { partition, from, to }));
                    queue.push_back(to);
                }
            }
        }
    }
    None
}
