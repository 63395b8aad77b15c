//! The server-side assignors `uniform` and `range`: which member is to have which partitions.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use ottla_types::Uuid;

use super::stored::{ConsumerGroup, TopicIdPartitions};
use super::topics::TopicCatalog;

/// The names of the assignors, the default first.
pub(super) const ASSIGNORS: [&str; 2] = ["uniform", "range"];

/// A partition of a topic.
type TopicIdPartition = (Uuid, i32);

/// The subscriptions of a group's members.
struct Readers<'a> {
    /// The topics of each member.
    topics: BTreeMap<&'a str, BTreeSet<Uuid>>,
    /// Every topic that a member subscribes to, and how many partitions it has.
    sizes: BTreeMap<Uuid, i32>,
}

/// The assignor that most members want.
pub(super) fn preferred_assignor(group: &ConsumerGroup) -> &str {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in group.members.values().filter_map(|it| it.assignor.as_deref()) {
        *votes.entry(name).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map_or(ASSIGNORS[0], |(name, _)| name)
}

/// The target assignment of each member.
pub(super) fn assign_partitions(
    group: &ConsumerGroup,
    topics: &TopicCatalog,
) -> BTreeMap<String, TopicIdPartitions> {
    let mut sizes = BTreeMap::new();
    let mut read = BTreeMap::new();
    for (id, member) in &group.members {
        let of_member: BTreeSet<Uuid> = group
            .topics_of(member)
            .filter_map(|name| topics.find(name))
            .map(|(topic, partitions)| {
                sizes.insert(topic, partitions);
                topic
            })
            .collect();
        read.insert(id.as_str(), of_member);
    }
    let readers = Readers { topics: read, sizes };
    let found = if preferred_assignor(group) == "range" {
        assign_by_range(group, &readers)
    } else {
        assign_uniformly(group, &readers)
    };
    found.into_iter().map(|(member, places)| (String::from(member), by_topic(places))).collect()
}

fn by_topic(places: BTreeSet<TopicIdPartition>) -> TopicIdPartitions {
    let mut all = TopicIdPartitions::new();
    for (topic, partition) in places {
        all.entry(topic).or_default().insert(partition);
    }
    all
}

/// Each topic is cut into as many ranges as it has readers; topics of one size are cut alike.
fn assign_by_range<'a>(
    group: &'a ConsumerGroup,
    readers: &Readers<'a>,
) -> BTreeMap<&'a str, BTreeSet<TopicIdPartition>> {
    let mut all: BTreeMap<&str, BTreeSet<TopicIdPartition>> =
        readers.topics.keys().map(|member| (*member, BTreeSet::new())).collect();
    for (topic, size) in &readers.sizes {
        let mut those: Vec<&str> = readers
            .topics
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| *member)
            .collect();
        // A static member keeps its range when it comes back under another id.
        let instance = |member: &str| group.members.get(member).and_then(|it| it.instance.clone());
        those.sort_by_key(|member| (instance(member).is_none(), instance(member), *member));
        let count = i32::try_from(those.len()).unwrap_or(i32::MAX).max(1);
        let (share, more) = (size / count, size % count);
        let mut next = 0;
        for (member, at) in those.into_iter().zip(0..) {
            let upto = next + share + i32::from(at < more);
            all.entry(member).or_default().extend((next..upto).map(|it| (*topic, it)));
            next = upto;
        }
    }
    all
}

/// As even as subscriptions allow, and as close to the last assignment as that permits.
///
/// Example: members a and b had 4 partitions each of 8, and c joins. Each is to have 8 / 3, so a
/// and b keep 3, and c gets the 2 that are free.
fn assign_uniformly<'a>(
    group: &'a ConsumerGroup,
    readers: &Readers<'a>,
) -> BTreeMap<&'a str, BTreeSet<TopicIdPartition>> {
    let mut all: BTreeMap<&str, BTreeSet<TopicIdPartition>> = BTreeMap::new();
    let mut free: BTreeSet<TopicIdPartition> = readers
        .sizes
        .iter()
        .flat_map(|(topic, size)| (0..*size).map(move |partition| (*topic, partition)))
        .collect();
    let count = readers.topics.len().max(1);
    let is_alike = readers.topics.values().all(|it| it.len() == readers.sizes.len());
    let (share, mut more) = (free.len() / count, free.len() % count);
    for (member, topics) in &readers.topics {
        let before = group.targets.get(*member).into_iter().flatten();
        let before = before
            .filter(|(topic, _)| topics.contains(*topic))
            .flat_map(|(topic, partitions)| partitions.iter().map(move |it| (*topic, *it)));
        // Where all subscribe to the same topics, each member keeps its fair share and no more.
        let mut most = if is_alike { share } else { usize::MAX };
        let mut kept = BTreeSet::new();
        for place in before {
            if kept.len() == most && is_alike && more > 0 && most == share {
                most += 1;
                more -= 1;
            }
            if kept.len() < most && free.remove(&place) {
                kept.insert(place);
            }
        }
        all.insert(*member, kept);
    }
    let mut loads: BTreeSet<(usize, &str)> =
        all.iter().map(|(member, places)| (places.len(), *member)).collect();
    for place in free {
        let reads = |member: &str| readers.topics[member].contains(&place.0);
        let Some(least) = loads.iter().find(|(_, member)| reads(member)).copied() else { continue };
        loads.remove(&least);
        loads.insert((least.0 + 1, least.1));
        all.entry(least.1).or_default().insert(place);
    }
    if !is_alike {
        even_out(&mut all, &mut loads, readers);
    }
    all
}

/// Moves partitions from the member with most to the one with least, as long as that evens them
/// out.
fn even_out<'a>(
    all: &mut BTreeMap<&'a str, BTreeSet<TopicIdPartition>>,
    loads: &mut BTreeSet<(usize, &'a str)>,
    readers: &Readers<'a>,
) {
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    let next = |loads: &BTreeSet<(usize, &'a str)>, settled: &BTreeSet<&str>| {
        loads.iter().rev().find(|(_, member)| !settled.contains(member)).copied()
    };
    while let Some(most) = next(loads, &settled) {
        let moved = loads.iter().take_while(|it| it.0 + 1 < most.0).find_map(|least| {
            let topics = &readers.topics[least.1];
            let place = all[most.1].iter().find(|place| topics.contains(&place.0));
            place.map(|place| (*least, *place))
        });
        let Some((least, place)) = moved else {
            settled.insert(most.1);
            continue;
        };
        for (load, delta) in [(most, false), (least, true)] {
            loads.remove(&load);
            loads.insert((if delta { load.0 + 1 } else { load.0 - 1 }, load.1));
        }
        all.entry(most.1).or_default().remove(&place);
        all.entry(least.1).or_default().insert(place);
    }
}
