//! A consumer group as the log has it.

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

/// The state of a member's reconciliation. The numbers are those of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum MemberState {
    /// It has its target assignment.
    #[default]
    Stable = 0,
    /// It has not yet revoked the partitions that it must.
    Unrevoked = 1,
    /// Other members have not yet revoked partitions of its target assignment.
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

/// A member's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerMember {
    /// `group.instance.id`, if it is a static member.
    pub instance: Option<String>,
    /// `client.rack`.
    pub rack: Option<String>,
    /// The client id.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// The topics that it subscribes to by name.
    pub topics: BTreeSet<String>,
    /// The pattern that it subscribes to.
    pub regex: Option<String>,
    /// How long it may take to revoke a partition, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it prefers.
    pub assignor: Option<String>,
    /// What a member that uses the classic protocol has beyond that.
    pub classic: Option<ClassicMetadata>,
}

/// The metadata of a member that uses the classic protocol, beside its `ConsumerMember`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMetadata {
    /// After how long without a heartbeat it is removed, in milliseconds.
    pub session_timeout_ms: i32,
    /// The assignors that it supports, the preferred one first, with its metadata for each.
    pub protocols: Vec<(String, Bytes)>,
}

/// The current assignment of a member.
///
/// Example: a member at epoch 5 has t-0 and t-1, and its target at epoch 6 is t-1 and t-2. It must
/// revoke t-0: `Unrevoked`, epoch 5, assigned t-1, revoking t-0. It has revoked t-0: epoch 6,
/// assigned t-1, `Unreleased` while another member has t-2; then `Stable` with t-1 and t-2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// Its epoch; -2 of a static member that is away.
    pub epoch: i32,
    /// The epoch before. A heartbeat with it is accepted: the answer with the new one may be lost.
    pub previous: i32,
    /// The state of its reconciliation.
    pub state: MemberState,
    /// The partitions that it may read.
    pub assigned: TopicIdPartitions,
    /// The partitions that it must revoke.
    pub revoking: TopicIdPartitions,
    /// For each partition of both, the member epoch at which it got it (KIP-1251).
    pub since: Since,
}

impl CurrentAssignment {
    /// The member epoch at which it got a partition, if it has it.
    pub(super) fn since(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.since.get(&topic)?.get(&partition).copied()
    }

    /// The same with `since` filled in: partitions that it did not have before, since `epoch`.
    pub(super) fn dated(mut self, before: &Self, epoch: i32) -> Self {
        let of = |topic, partition| before.since(topic, partition).unwrap_or(epoch);
        self.since = self
            .owned()
            .into_iter()
            .map(|(topic, all)| (topic, all.into_iter().map(|it| (it, of(topic, it))).collect()))
            .collect();
        self
    }

    /// All partitions that it may be reading: assigned, and not yet revoked.
    pub(super) fn owned(&self) -> TopicIdPartitions {
        let mut all = self.assigned.clone();
        for (topic, partitions) in &self.revoking {
            all.entry(*topic).or_default().extend(partitions);
        }
        all
    }
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerGroup {
    /// The group epoch: rises with every change of members, subscriptions or topics.
    pub epoch: i32,
    /// A hash of the subscribed topics: another value means that a topic has changed.
    pub metadata_hash: i64,
    /// The members.
    pub members: BTreeMap<String, ConsumerMember>,
    /// The assignment epoch: for which group epoch the target assignment was computed.
    pub target_epoch: i32,
    /// The target assignment of each member.
    pub targets: BTreeMap<String, TopicIdPartitions>,
    /// The current assignment of each member.
    pub current: BTreeMap<String, CurrentAssignment>,
    /// The topics that each pattern was resolved to.
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

    /// Has the group no records left?
    pub fn is_gone(&self) -> bool {
        // In a compacted log a record may stand before those that it was written after.
        *self == Self { metadata_hash: self.metadata_hash, ..Self::default() }
    }

    /// The topics that a member subscribes to, by name or by pattern.
    pub fn topics_of<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a String> {
        let more = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        member.topics.iter().chain(more.into_iter().flatten())
    }

    /// The topics that any member subscribes to.
    pub fn topics(&self) -> BTreeSet<&String> {
        self.members.values().flat_map(|member| self.topics_of(member)).collect()
    }

    /// The hash of the subscribed topics, to compare with `metadata_hash`.
    pub fn hash(&self, topics: &TopicCatalog) -> i64 {
        topics.hash(self.topics().into_iter())
    }

    /// The member that has a partition, or has not given it up yet.
    pub fn owner(&self, topic: Uuid, partition: i32) -> Option<&str> {
        let has = |places: &TopicIdPartitions| {
            places.get(&topic).is_some_and(|it| it.contains(&partition))
        };
        let found = self.current.iter().find(|(_, it)| has(&it.assigned) || has(&it.revoking));
        found.map(|(member, _)| member.as_str())
    }

    /// The id of the static member with this instance id.
    pub fn holder(&self, instance: &str) -> Option<&String> {
        let mut all = self.members.iter();
        let found = all.find(|(_, it)| it.instance.as_deref() == Some(instance));
        found.map(|(member, _)| member)
    }

    /// Has another member not yet revoked a partition of this member's target assignment?
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

    /// Has every member its target assignment? A static member that is away (epoch -2) counts as
    /// if.
    pub fn is_settled(&self) -> bool {
        let there = self.members.keys().all(|member| {
            self.current.get(member).is_some_and(|assignment| {
                assignment.state == MemberState::Stable
                    && (assignment.epoch == self.target_epoch || assignment.epoch == -2)
            })
        });
        there && self.epoch == self.target_epoch
    }

    /// May a client commit or fetch offsets as this member, or without a member id?
    ///
    /// # Errors
    /// - `UNKNOWN_MEMBER_ID`: the group has no such member, or has members and the request names
    ///   none;
    /// - `STALE_MEMBER_EPOCH`: the member has another epoch;
    /// - `ILLEGAL_GENERATION`: the same, of a member that uses the classic protocol.
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

    /// May a member commit for a partition with an earlier epoch? If it has had the partition since
    /// then (KIP-1251).
    ///
    /// Example: a member got t-0 at epoch 3 and is at epoch 5: commits for t-0 with epoch 3 or 4
    /// are accepted, with epoch 2 they are not.
    pub fn may_commit_late(&self, member: &str, epoch: i32, topic: Uuid, partition: i32) -> bool {
        let is_modern = self.members.get(member).is_some_and(|it| it.classic.is_none());
        let Some(now) = self.current.get(member).filter(|_| is_modern) else { return false };
        now.since(topic, partition).is_some_and(|since| (since..now.epoch).contains(&epoch))
    }

    /// What must hold between two turns and does not.
    pub(in crate::group) fn broken_rule(&self) -> Option<&'static str> {
        let is_member = |id: &String| self.members.contains_key(id);
        if !self.targets.keys().all(is_member) {
            return Some("a target assignment of no member");
        }
        if !self.current.keys().all(is_member) {
            return Some("a current assignment of no member");
        }
        if self.target_epoch > self.epoch {
            return Some("the assignment epoch is larger than the group epoch");
        }
        if self.current.values().any(|current| current.epoch > self.target_epoch) {
            return Some("a member epoch is larger than the assignment epoch");
        }
        let used = |pattern: &String| {
            self.members.values().any(|member| member.regex.as_ref() == Some(pattern))
        };
        (!self.regexes.keys().all(used))
            .then_some("a resolved pattern that no member subscribes to")
    }

    /// The tombstones that delete the group.
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
