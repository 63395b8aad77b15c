//! Which member of a group has a partition, as far as members know.

use std::collections::BTreeMap;

use super::Place;

/// A member's hold on a partition.
#[derive(Clone, Debug)]
struct Hold {
    member: String,
    /// Until then the coordinator cannot have taken it for gone, in simulated milliseconds.
    lease_ms: u64,
}

/// A generation of a group of the classic protocol.
#[derive(Debug, Default)]
struct Generation {
    leader: Option<String>,
    /// What the leader has given to each member.
    given: BTreeMap<String, Vec<Place>>,
}

/// What is known of all groups.
#[derive(Debug, Default)]
pub struct ModelGroups {
    holds: BTreeMap<(String, Place), Hold>,
    generations: BTreeMap<(String, i32), Generation>,
    /// The latest generation that a member has heard of.
    latest: BTreeMap<String, i32>,
    /// Is nothing promised to members any more?
    is_void: bool,
}

impl ModelGroups {
    /// A member has these partitions now, and will until `lease_ms` at least.
    ///
    /// # Errors
    /// Another has one of them.
    pub fn hold(
        &mut self,
        group: &str,
        member: &str,
        places: &[Place],
        (now_ms, lease_ms): (u64, u64),
    ) -> Result<(), String> {
        for place in places {
            let key = (group.to_owned(), place.clone());
            if let Some(other) = self.holds.get(&key)
                && other.member != member
                && other.lease_ms > now_ms
                && !self.is_void
            {
                let other = &other.member;
                return Err(format!("{group}: {place:?} is {member}'s, and {other} has it still"));
            }
            self.holds.insert(key, Hold { member: member.to_owned(), lease_ms });
        }
        Ok(())
    }

    /// A member has nothing but these any more.
    pub fn keep(&mut self, group: &str, member: &str, places: &[Place]) {
        self.holds.retain(|(of, place), hold| {
            of != group || hold.member != member || places.contains(place)
        });
    }

    /// Does each of these partitions have a member that was heard of lately?
    pub fn is_complete(&self, group: &str, places: &[Place], now_ms: u64) -> bool {
        places.iter().all(|place| {
            let hold = self.holds.get(&(group.to_owned(), place.clone()));
            hold.is_some_and(|hold| hold.lease_ms > now_ms)
        })
    }

    /// A member leads a generation, and gives these partitions to its members.
    ///
    /// # Errors
    /// Another leads it.
    pub fn lead(
        &mut self,
        group: &str,
        generation: i32,
        leader: &str,
        given: BTreeMap<String, Vec<Place>>,
    ) -> Result<(), String> {
        let known = self.generations.entry((group.to_owned(), generation)).or_default();
        if let Some(other) = &known.leader
            && other != leader
            && !self.is_void
        {
            return Err(format!("{group}: generation {generation} is led by {other} and {leader}"));
        }
        *known = Generation { leader: Some(leader.to_owned()), given };
        Ok(())
    }

    /// A member was given these partitions in a generation.
    ///
    /// # Errors
    /// The group's leader gave the member other partitions.
    pub fn given(
        &mut self,
        group: &str,
        generation: i32,
        member: &str,
        places: &[Place],
    ) -> Result<(), String> {
        let latest = self.latest.entry(group.to_owned()).or_default();
        *latest = generation.max(*latest);
        let known = self.generations.entry((group.to_owned(), generation)).or_default();
        match known.given.get(member) {
            Some(due) if due != places && !self.is_void => Err(format!(
                "{group}: in generation {generation} {member} is given {places:?} and not {due:?}"
            )),
            _ => Ok(()),
        }
    }

    /// The latest generation of a group that a member has heard of.
    pub fn latest(&self, group: &str) -> i32 {
        if self.is_void { 0 } else { self.latest.get(group).copied().unwrap_or(0) }
    }

    /// A power cut or a clock has ended what was promised to members.
    pub fn forget(&mut self) {
        *self = Self { is_void: true, ..Self::default() };
    }
}
