//! The assignment of partitions to a classic group's members, which its leader makes
//! (`partition.assignment.strategy`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_protocol::shared::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition as Owned,
};
use ottla_protocol::{DecodeError, Decoder, Encoder, LengthForm, Message};
use ottla_types::TopicPartition;

use crate::partitions::Partitions;

/// How partitions are shared out among the members of a classic group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic is cut into ranges, one for each member (`range`).
    Range,
    /// All partitions in turn (`roundrobin`).
    RoundRobin,
    /// Evenly, and as before where that is possible (`sticky`).
    Sticky,
    /// The same, and members go on reading partitions that they keep (`cooperative-sticky`).
    CooperativeSticky,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidate {
    pub id: String,
    pub instance: Option<String>,
    pub topics: BTreeSet<String>,
    /// What it has read so far, as of which generation.
    pub owned: Partitions,
    pub generation: i32,
}

impl Assignor {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky];

    /// As members call it among themselves.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of this name, or of the Java class that is called so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let short = name.rsplit('.').next().unwrap_or(name).trim_end_matches("Assignor");
        let same =
            |it: &Self| it.name() == name || it.name().replace('-', "").eq_ignore_ascii_case(short);
        Self::ALL.into_iter().find(same)
    }

    /// Do members go on reading the partitions that they keep, during a rebalance?
    #[must_use]
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// What a member says of itself to this assignor.
    pub(crate) fn subscription(
        self,
        topics: &BTreeSet<String>,
        owned: &Partitions,
        generation: i32,
    ) -> ConsumerProtocolSubscription {
        let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for place in owned {
            by_topic.entry(place.topic.to_string()).or_default().push(place.partition);
        }
        let user_data = (self == Self::Sticky).then(|| encode_user_data(&by_topic, generation));
        let owned = by_topic.into_iter();
        let owned =
            owned.map(|(topic, partitions)| Owned { topic, partitions, ..Default::default() });
        ConsumerProtocolSubscription {
            topics: topics.iter().cloned().collect(),
            user_data: user_data.flatten(),
            // With an eager assignor the member has revoked everything.
            owned_partitions: if self.is_cooperative() { owned.collect() } else { Vec::new() },
            generation_id: generation,
            ..Default::default()
        }
    }

    /// A member from what it says.
    pub(crate) fn candidate(
        self,
        id: String,
        instance: Option<String>,
        metadata: &Bytes,
    ) -> Result<Candidate, DecodeError> {
        let mut d = Decoder::new(metadata.clone());
        let version = d.i16()?.clamp(0, *ConsumerProtocolSubscription::VERSIONS.end());
        let said = ConsumerProtocolSubscription::decode(&mut d, version)?;
        let mut candidate = Candidate {
            id,
            instance,
            topics: said.topics.into_iter().collect(),
            owned: flatten_partitions(
                said.owned_partitions.into_iter().map(|it| (it.topic, it.partitions)),
            ),
            generation: said.generation_id,
        };
        if self == Self::Sticky {
            // What another client remembers in its own way is no reason to fail.
            let known = said.user_data.and_then(|it| decode_user_data(it).ok());
            (candidate.owned, candidate.generation) = known.unwrap_or_default();
        }
        Ok(candidate)
    }

    /// What each member is to read. `sizes` is how many partitions each topic has.
    pub(crate) fn assign(
        self,
        members: &[Candidate],
        sizes: &BTreeMap<String, i32>,
    ) -> BTreeMap<String, Partitions> {
        match self {
            Self::Range => assign_range(members, sizes),
            Self::RoundRobin => round_robin(members, sizes),
            Self::Sticky => assign_sticky(members, sizes),
            Self::CooperativeSticky => {
                let mut all = assign_sticky(members, sizes);
                let owners = current_owners(members, sizes);
                for (id, mine) in &mut all {
                    // A partition that another member reads is not assigned until that member has
                    // revoked it.
                    mine.retain(|place| {
                        owners.get(place).is_none_or(|owner| *owner == id.as_str())
                    });
                }
                all
            }
        }
    }
}

fn flatten_partitions(all: impl Iterator<Item = (String, Vec<i32>)>) -> Partitions {
    all.flat_map(|(topic, partitions)| {
        partitions.into_iter().map(move |it| TopicPartition::new(topic.as_str(), it))
    })
    .collect()
}

/// What a sticky member remembers, in the form of Java's `StickyAssignorUserData`.
fn encode_user_data(by_topic: &BTreeMap<String, Vec<i32>>, generation: i32) -> Option<Bytes> {
    let mut e = Encoder::new();
    let all: Vec<_> = by_topic.iter().collect();
    e.array(LengthForm::Fixed, &all, |e, (topic, partitions)| {
        e.string(LengthForm::Fixed, topic)?;
        e.array(LengthForm::Fixed, partitions, |e, partition| {
            e.i32(*partition);
            Ok(())
        })
    })
    .ok()?;
    e.i32(generation);
    Some(e.into_chunks().concat().into())
}

fn decode_user_data(bytes: Bytes) -> Result<(Partitions, i32), DecodeError> {
    let mut d = Decoder::new(bytes);
    let all = d.array(LengthForm::Fixed, |d| {
        Ok((d.string(LengthForm::Fixed)?, d.array(LengthForm::Fixed, Decoder::i32)?))
    })?;
    // Before version 1 there was no generation.
    let generation = d.i32().unwrap_or(-1);
    Ok((flatten_partitions(all.into_iter()), generation))
}

/// Members in the order in which they take their turns: static ones keep theirs.
fn in_order<'a>(members: impl Iterator<Item = &'a Candidate>) -> Vec<&'a Candidate> {
    let mut all: Vec<&Candidate> = members.collect();
    all.sort_by_key(|it| (it.instance.is_none(), &it.instance, &it.id));
    all
}

fn empty_assignment(members: &[Candidate]) -> BTreeMap<String, Partitions> {
    members.iter().map(|it| (it.id.clone(), Partitions::new())).collect()
}

fn assign_range(
    members: &[Candidate],
    sizes: &BTreeMap<String, i32>,
) -> BTreeMap<String, Partitions> {
    let mut all = empty_assignment(members);
    for (topic, size) in sizes {
        let readers = in_order(members.iter().filter(|it| it.topics.contains(topic)));
        let count = i32::try_from(readers.len()).unwrap_or(i32::MAX).max(1);
        let (share, more) = (size / count, size % count);
        let mut next = 0;
        for (reader, at) in readers.into_iter().zip(0..) {
            let upto = next + share + i32::from(at < more);
            let mine = (next..upto).map(|it| TopicPartition::new(topic.as_str(), it));
            all.entry(reader.id.clone()).or_default().extend(mine);
            next = upto;
        }
    }
    all
}

fn round_robin(
    members: &[Candidate],
    sizes: &BTreeMap<String, i32>,
) -> BTreeMap<String, Partitions> {
    let mut all = empty_assignment(members);
    let turns = in_order(members.iter());
    let mut at = 0;
    for place in all_partitions(sizes) {
        let next = (0..turns.len()).map(|step| (at + step) % turns.len());
        let mut next = next.filter(|it| turns[*it].topics.contains(&*place.topic));
        if let Some(found) = next.next() {
            at = found + 1;
            all.entry(turns[found].id.clone()).or_default().insert(place);
        }
    }
    all
}

fn all_partitions(sizes: &BTreeMap<String, i32>) -> impl Iterator<Item = TopicPartition> {
    sizes.iter().flat_map(|(topic, size)| {
        (0..*size).map(move |partition| TopicPartition::new(topic.as_str(), partition))
    })
}

/// The present owner of each partition: of two members that claim one, that of the later
/// generation.
fn current_owners<'a>(
    members: &'a [Candidate],
    sizes: &BTreeMap<String, i32>,
) -> BTreeMap<&'a TopicPartition, &'a str> {
    let mut all: BTreeMap<&TopicPartition, (&str, i32)> = BTreeMap::new();
    for member in members {
        let exists = |place: &&TopicPartition| {
            member.topics.contains(&*place.topic)
                && sizes.get(&*place.topic).is_some_and(|size| place.partition < *size)
        };
        for place in member.owned.iter().filter(exists) {
            let later = all.get(place).is_none_or(|(_, known)| *known < member.generation);
            if later {
                all.insert(place, (&member.id, member.generation));
            }
        }
    }
    all.into_iter().map(|(place, (owner, _))| (place, owner)).collect()
}

fn assign_sticky(
    members: &[Candidate],
    sizes: &BTreeMap<String, i32>,
) -> BTreeMap<String, Partitions> {
    let mut all = empty_assignment(members);
    let owners = current_owners(members, sizes);
    let mut free = Vec::new();
    for place in all_partitions(sizes) {
        match owners.get(&place) {
            Some(owner) => drop(all.entry((*owner).to_owned()).or_default().insert(place)),
            None => free.push(place),
        }
    }
    let reads =
        |id: &str, topic: &str| members.iter().any(|it| it.id == id && it.topics.contains(topic));
    for place in free {
        let mut able: Vec<(usize, String)> = all
            .iter()
            .filter(|(id, _)| reads(id, &place.topic))
            .map(|(id, mine)| (mine.len(), id.clone()))
            .collect();
        able.sort();
        if let Some((_, id)) = able.into_iter().next() {
            all.entry(id).or_default().insert(place);
        }
    }
    // From the member with most to the one with fewest, as long as that makes loads more even.
    loop {
        let mut loads: Vec<(usize, String)> =
            all.iter().map(|(id, mine)| (mine.len(), id.clone())).collect();
        loads.sort();
        let moved = loads.iter().rev().find_map(|(most, from)| {
            loads.iter().take_while(|(least, _)| least + 1 < *most).find_map(|(_, to)| {
                let place = all[from].iter().rev().find(|it| reads(to, &it.topic))?;
                Some((from.clone(), to.clone(), place.clone()))
            })
        });
        let Some((from, to, place)) = moved else { return all };
        all.entry(from).or_default().remove(&place);
        all.entry(to).or_default().insert(place);
    }
}

#[cfg(test)]
#[path = "assign_tests.rs"]
mod tests;
