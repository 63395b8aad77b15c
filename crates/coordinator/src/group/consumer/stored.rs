//! What the log knows of one group.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ottla_types::{ErrorCode, Uuid};

use super::record::ConsumerRecord;
use super::topics::TopicCatalog;

/// Partitions by topic id.
pub type TopicIdPartitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// By topic id and partition, an epoch.
pub type Since = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// How far a member has come. The numbers are those of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum MemberState {
    /// It has what it should have.
    #[default]
    Stable = 0,
    /// It has not given up yet what it should.
    Unrevoked = 1,
    /// Others have not given up yet what it should get.
    Unreleased = 2,
}

impl MemberState {
    pub(super) const fn of(number: i8) -> Self {
        match number {
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Stable,
        }
    }
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerMember {
    /// Its name across restarts, if it is a static member.
    pub instance: Option<String>,
    /// Where it runs.
    pub rack: Option<String>,
    /// The client id.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// The topics that it reads.
    pub topics: BTreeSet<String>,
    /// A pattern of further topics.
    pub regex: Option<String>,
    /// How long it may take to give up a partition, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it likes best.
    pub assignor: Option<String>,
    /// What it told as a member that speaks the classic protocol, if it does.
    pub classic: Option<ClassicMetadata>,
}

/// What a member that speaks the classic protocol says beyond that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMetadata {
    /// After how long without a heartbeat it is removed, in milliseconds.
    pub session_timeout_ms: i32,
    /// What it can work with, best first.
    pub protocols: Vec<(String, Bytes)>,
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// Its epoch; -2 of a static member that is away.
    pub epoch: i32,
    /// The epoch before: an answer that got lost is given again.
    pub previous: i32,
    /// How far it has come.
    pub state: MemberState,
    /// What it may read.
    pub assigned: TopicIdPartitions,
    /// What it must give up.
    pub revoking: TopicIdPartitions,
    /// Since which epoch it has each of both (KIP-1251).
    pub since: Since,
}

impl CurrentAssignment {
    /// Since which epoch it has a partition, if it does.
    pub(super) fn since(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.since.get(&topic)?.get(&partition).copied()
    }

    /// The same with the epochs of what it has now: what is new, it has since `epoch`.
    pub(super) fn dated(mut self, before: &Self, epoch: i32) -> Self {
        let of = |topic, partition| before.since(topic, partition).unwrap_or(epoch);
        self.since = self
            .owned()
            .into_iter()
            .map(|(topic, all)| (topic, all.into_iter().map(|it| (it, of(topic, it))).collect()))
            .collect();
        self
    }

    /// What it has, and may still read until it has given it up.
    pub(super) fn owned(&self) -> TopicIdPartitions {
        let mut all = self.assigned.clone();
        for (topic, partitions) in &self.revoking {
            all.entry(*topic).or_default().extend(partitions);
        }
        all
    }
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerGroup {
    /// Rises with every change.
    pub epoch: i32,
    /// Tells whether topics have changed since.
    pub metadata_hash: i64,
    /// Who is in it.
    pub members: BTreeMap<String, ConsumerMember>,
    /// For which epoch the assignment was computed.
    pub target_epoch: i32,
    /// What each member is to have.
    pub targets: BTreeMap<String, TopicIdPartitions>,
    /// What each member has.
    pub current: BTreeMap<String, CurrentAssignment>,
    /// Which topics patterns stood for.
    pub regexes: BTreeMap<String, BTreeSet<String>>,
}

impl ConsumerGroup {
    /// Takes one record in.
    pub fn apply(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch { value: Some((epoch, hash)), .. } => {
                (self.epoch, self.metadata_hash) = (*epoch, *hash);
            }
            ConsumerRecord::Epoch { value: None, .. } => self.epoch = 0,
            ConsumerRecord::Member { member, value, .. } => {
                set_or_remove(&mut self.members, member, value)
            }
            ConsumerRecord::TargetEpoch { value, .. } => self.target_epoch = value.unwrap_or(0),
            ConsumerRecord::Target { member, value, .. } => {
                set_or_remove(&mut self.targets, member, value)
            }
            ConsumerRecord::Current { member, value, .. } => {
                set_or_remove(&mut self.current, member, value)
            }
            ConsumerRecord::Regex { regex, value, .. } => {
                let topics = value.as_ref().map(|(topics, _)| topics.clone());
                set_or_remove(&mut self.regexes, regex, &topics);
            }
        }
    }

    /// Is nothing left of it?
    pub fn is_gone(&self) -> bool {
        // In a compacted log a record may stand before those that it was written after.
        *self == Self { metadata_hash: self.metadata_hash, ..Self::default() }
    }

    /// The topics that a member reads, those that its pattern stands for too.
    pub fn topics_of<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a String> {
        let more = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        member.topics.iter().chain(more.into_iter().flatten())
    }

    /// The topics that any member reads.
    pub fn topics(&self) -> BTreeSet<&String> {
        self.members.values().flat_map(|member| self.topics_of(member)).collect()
    }

    /// Tells whether one of its topics has changed.
    pub fn hash(&self, topics: &TopicCatalog) -> i64 {
        topics.hash(self.topics().into_iter())
    }

    /// Who has a partition, or has not given it up yet.
    pub fn owner(&self, topic: Uuid, partition: i32) -> Option<&str> {
        let has = |places: &TopicIdPartitions| {
            places.get(&topic).is_some_and(|it| it.contains(&partition))
        };
        let found = self.current.iter().find(|(_, it)| has(&it.assigned) || has(&it.revoking));
        found.map(|(member, _)| member.as_str())
    }

    /// The static member of this name.
    pub fn holder(&self, instance: &str) -> Option<&String> {
        let mut all = self.members.iter();
        let found = all.find(|(_, it)| it.instance.as_deref() == Some(instance));
        found.map(|(member, _)| member)
    }

    /// Is there something that this member is to have, and another has not given up yet?
    pub fn waits(&self, member: &str) -> bool {
        let none = CurrentAssignment::default();
        let now = self.current.get(member).unwrap_or(&none);
        let has =
            |topic: &Uuid, it: &i32| now.assigned.get(topic).is_some_and(|all| all.contains(it));
        let mut target = self.targets.get(member).into_iter().flatten();
        target.any(|(topic, partitions)| {
            let mut missing = partitions.iter().filter(|it| !has(topic, it));
            missing.any(|it| self.owner(*topic, *it).is_some_and(|owner| owner != member))
        })
    }

    /// As Kafka's tools show it.
    pub fn state(&self) -> &'static str {
        if self.members.is_empty() {
            return "Empty";
        }
        if self.epoch > self.target_epoch {
            return "Assigning";
        }
        let is_there = |it: &CurrentAssignment| it.epoch == self.target_epoch;
        let all = self.members.keys().all(|member| self.current.get(member).is_some_and(is_there));
        if all && self.is_settled() { "Stable" } else { "Reconciling" }
    }

    /// Has every member what it is to have? One that is away needs nothing.
    pub fn is_settled(&self) -> bool {
        let there = self.members.keys().all(|member| {
            self.current.get(member).is_some_and(|it| {
                it.state == MemberState::Stable && (it.epoch == self.target_epoch || it.epoch == -2)
            })
        });
        there && self.epoch == self.target_epoch
    }

    /// May this member, or somebody who is none, commit or ask for offsets?
    ///
    /// # Errors
    /// It is no member, or has another epoch (a classic member: another generation).
    pub fn may_commit(&self, member: &str, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < 0 && (self.members.is_empty() || member.is_empty()) {
            let is_free = self.members.is_empty();
            return if is_free { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) };
        }
        let (Some(current), Some(said)) = (self.current.get(member), self.members.get(member))
        else {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        let is_classic = said.classic.is_some();
        match current.epoch == epoch {
            true => Ok(()),
            false if is_classic => Err(ErrorCode::ILLEGAL_GENERATION),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    /// May a member that has come further commit for a partition as of an epoch before? If it has
    /// had the partition since then (KIP-1251).
    pub fn may_commit_late(&self, member: &str, epoch: i32, topic: Uuid, partition: i32) -> bool {
        let is_modern = self.members.get(member).is_some_and(|it| it.classic.is_none());
        let Some(now) = self.current.get(member).filter(|_| is_modern) else { return false };
        now.since(topic, partition).is_some_and(|since| (since..now.epoch).contains(&epoch))
    }

    /// What takes the group out of the log.
    pub(super) fn tombstones(&self, id: &str) -> Vec<ConsumerRecord> {
        let group = || String::from(id);
        let mut all = Vec::new();
        for member in self.members.keys() {
            all.extend(ConsumerRecord::no_member(id, member));
        }
        let regexes = self.regexes.keys().cloned();
        all.extend(regexes.map(|regex| ConsumerRecord::Regex {
            group: group(),
            regex,
            value: None,
        }));
        all.push(ConsumerRecord::TargetEpoch { group: group(), value: None });
        all.push(ConsumerRecord::Epoch { group: group(), value: None });
        all
    }
}

fn set_or_remove<V: Clone>(all: &mut BTreeMap<String, V>, key: &str, value: &Option<V>) {
    match value {
        Some(value) => all.insert(String::from(key), value.clone()),
        None => all.remove(key),
    };
}
