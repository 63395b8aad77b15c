//! A member's way from its current to its target assignment (KIP-848): it gives partitions up,
//! takes the new epoch, and gets those that other members have revoked.

use super::stored::{ConsumerGroup, CurrentAssignment, MemberState, TopicIdPartitions};

/// The member's assignment after a heartbeat with the partitions that it owns (`None`: the request
/// has none).
pub(super) fn reconcile_member(
    group: &ConsumerGroup,
    member: &str,
    owned: Option<&TopicIdPartitions>,
) -> CurrentAssignment {
    let now = group.current.get(member).cloned().unwrap_or_default();
    match now.state {
        // Nothing changes before it has revoked what it must, not even the epoch (KAFKA-19974).
        MemberState::Unrevoked
            if owned.is_none_or(|owned| partitions_overlap(owned, &now.revoking)) =>
        {
            now
        }
        MemberState::Stable if now.epoch == group.target_epoch => now,
        _ => next_assignment(group, member, &now, owned),
    }
}

fn next_assignment(
    group: &ConsumerGroup,
    member: &str,
    now: &CurrentAssignment,
    owned: Option<&TopicIdPartitions>,
) -> CurrentAssignment {
    let none = TopicIdPartitions::new();
    let target = group.targets.get(member).unwrap_or(&none);
    let kept = intersection_of(&now.assigned, target);
    let revoking = difference_of(&now.assigned, target);
    let must_wait = owned.is_none_or(|owned| partitions_overlap(owned, &revoking));
    if !revoking.is_empty() && must_wait {
        let state = MemberState::Unrevoked;
        let next = CurrentAssignment { state, assigned: kept, revoking, ..now.clone() };
        return next.dated(now, now.epoch);
    }
    let mut assigned = kept;
    let mut all_free = true;
    for (topic, partitions) in difference_of(target, &now.assigned) {
        for partition in partitions {
            let is_free = group.owner(topic, partition).is_none_or(|owner| owner == member);
            if is_free {
                assigned.entry(topic).or_default().insert(partition);
            }
            all_free &= is_free;
        }
    }
    let state = if all_free { MemberState::Stable } else { MemberState::Unreleased };
    let previous = if now.epoch == group.target_epoch { now.previous } else { now.epoch };
    let epoch = group.target_epoch;
    let next =
        CurrentAssignment { epoch, previous, state, assigned, ..CurrentAssignment::default() };
    next.dated(now, epoch)
}

fn intersection_of(a: &TopicIdPartitions, b: &TopicIdPartitions) -> TopicIdPartitions {
    filter_partitions(a, |topic, partition| b.get(topic).is_some_and(|it| it.contains(partition)))
}

pub(super) fn difference_of(a: &TopicIdPartitions, b: &TopicIdPartitions) -> TopicIdPartitions {
    filter_partitions(a, |topic, partition| b.get(topic).is_none_or(|it| !it.contains(partition)))
}

fn filter_partitions(
    all: &TopicIdPartitions,
    keep: impl Fn(&ottla_types::Uuid, &i32) -> bool,
) -> TopicIdPartitions {
    let mut found = TopicIdPartitions::new();
    for (topic, partitions) in all {
        for partition in partitions.iter().filter(|it| keep(topic, it)) {
            found.entry(*topic).or_default().insert(*partition);
        }
    }
    found
}

pub(super) fn partitions_overlap(a: &TopicIdPartitions, b: &TopicIdPartitions) -> bool {
    a.iter().any(|(topic, it)| b.get(topic).is_some_and(|other| !it.is_disjoint(other)))
}

/// Is all of `a` in `b`?
pub(super) fn is_within(a: &TopicIdPartitions, b: &TopicIdPartitions) -> bool {
    a.iter().all(|(topic, it)| b.get(topic).is_some_and(|other| it.is_subset(other)))
}
