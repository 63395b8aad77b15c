//! A classic group as only this leader knows it: members between two generations, and requests that
//! wait for an answer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ottla_machine::Ticket;
use ottla_protocol::group::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use ottla_types::TimestampMs;

use super::command::MemberClient;

/// The state of a classic group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum GroupState {
    /// It has no members; it may have offsets.
    #[default]
    Empty,
    /// A rebalance has begun: members have to send JoinGroup.
    Preparing,
    /// JoinGroup is answered; the leader's assignment (SyncGroup) has not come.
    Completing,
    /// Every member has an assignment.
    Stable,
}

impl GroupState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing => "PreparingRebalance",
            Self::Completing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member of a classic group.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassicMember {
    /// `group.instance.id`, if it is a static member (KIP-345).
    pub instance: Option<String>,
    pub client: MemberClient,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// The assignors that it supports, the preferred one first, with its metadata for each.
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// Its JoinGroup that waits for an answer, and that request's version.
    pub joining: Option<(Ticket, i16)>,
    /// Its SyncGroup that waits for an answer.
    pub syncing: Option<Ticket>,
}

/// A classic group.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassicGroup {
    pub state: GroupState,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub members: BTreeMap<String, ClassicMember>,
    /// Instance ids of static members, and their current member ids.
    pub statics: BTreeMap<String, String>,
    /// Member ids that were handed out (`MEMBER_ID_REQUIRED`) and have not been used yet (KIP-394).
    pub pending: BTreeSet<String>,
    /// When it entered its state, in milliseconds.
    pub since_ms: TimestampMs,
    /// During the initial rebalance delay: until when it may last at most, and whether a member has
    /// joined since it was last extended (KIP-134).
    ///
    /// Example with a delay of 3 s and a rebalance timeout of 300 s: a joins at 0 s, b at 2 s; at 3
    /// s the delay is extended to 6 s because of b; at 6 s no member has come, and the join ends.
    pub gathering: Option<(TimestampMs, bool)>,
}

impl ClassicGroup {
    /// The group as of its last written generation.
    pub fn from_log(value: &GroupMetadataValue) -> Self {
        let mut live = Self {
            state: if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable },
            generation: value.generation,
            protocol_type: Some(value.protocol_type.clone()).filter(|it| !it.is_empty()),
            protocol: value.protocol.clone(),
            leader: value.leader.clone(),
            since_ms: value.current_state_timestamp,
            ..Self::default()
        };
        for it in &value.members {
            let protocol = value.protocol.clone().unwrap_or_default();
            let member = ClassicMember {
                instance: it.group_instance_id.clone(),
                client: MemberClient { id: it.client_id.clone(), host: it.client_host.clone() },
                session_timeout_ms: it.session_timeout,
                rebalance_timeout_ms: it.rebalance_timeout,
                protocols: [(protocol, it.subscription.clone())].into(),
                assignment: it.assignment.clone(),
                ..ClassicMember::default()
            };
            if let Some(instance) = &it.group_instance_id {
                live.statics.insert(instance.clone(), it.member_id.clone());
            }
            live.members.insert(it.member_id.clone(), member);
        }
        live
    }

    /// The group's record.
    pub fn to_log(&self) -> GroupMetadataValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&String, &ClassicMember)| MemberMetadata {
            member_id: id.clone(),
            group_instance_id: member.instance.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
            ..Default::default()
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.since_ms,
            members: self.members.iter().map(member).collect(),
            ..Default::default()
        }
    }

    /// What must hold between two turns and does not.
    pub fn broken_rule(&self) -> Option<&'static str> {
        use GroupState::{Completing, Empty, Preparing, Stable};
        if self.state == Empty && !self.members.is_empty() {
            return Some("an empty group has members");
        }
        if matches!(self.state, Completing | Stable) && self.members.is_empty() {
            return Some("a generation without members");
        }
        let leader = self.leader.as_ref();
        if self.state == Completing && !leader.is_some_and(|id| self.members.contains_key(id)) {
            return Some("the group waits for the assignment of a leader that is not a member");
        }
        if self.pending.iter().any(|id| self.members.contains_key(id)) {
            return Some("a member id is in use and handed out for the first use at once");
        }
        let names =
            self.members.iter().filter_map(|(id, member)| Some((member.instance.as_ref()?, id)));
        if self.statics.len() != names.clone().count()
            || !names.clone().all(|(name, id)| self.statics.get(name) == Some(id))
        {
            return Some("the names of static members do not match the members");
        }
        for member in self.members.values() {
            if member.joining.is_some() && self.state != Preparing {
                return Some("a JoinGroup waits, and the group is not preparing a rebalance");
            }
            if member.syncing.is_some() && self.state != Completing {
                return Some("a SyncGroup waits, and the group does not wait for an assignment");
            }
        }
        None
    }

    pub fn enter(&mut self, state: GroupState, now_ms: TimestampMs) {
        self.state = state;
        self.since_ms = now_ms;
    }

    pub fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// The longest rebalance timeout of all members.
    pub fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|it| i64::from(it.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    /// Is one of these protocols supported by every member? `but` is a member that is not asked.
    pub fn agrees(&self, kind: &str, protocols: &[(String, Bytes)], but: Option<&str>) -> bool {
        let mut others = self.members.iter().filter(|(id, _)| Some(id.as_str()) != but).peekable();
        if others.peek().is_none() {
            return !kind.is_empty() && !protocols.is_empty();
        }
        let mut all: Vec<&ClassicMember> = others.map(|(_, member)| member).collect();
        if self.protocol_type.as_deref() != Some(kind) {
            return false;
        }
        let first = all.pop();
        let supports =
            |member: &ClassicMember, name: &str| member.protocols.iter().any(|it| it.0 == name);
        protocols.iter().any(|(name, _)| {
            first.is_none_or(|first| supports(first, name))
                && all.iter().all(|member| supports(member, name))
        })
    }

    /// The protocol that all members support and most members prefer.
    pub fn choose(&self) -> Option<String> {
        let supports =
            |member: &ClassicMember, name: &str| member.protocols.iter().any(|it| it.0 == name);
        let common = |name: &str| self.members.values().all(|it| supports(it, name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.iter().max_by_key(|(_, count)| **count);
        most.map(|(name, _)| String::from(*name))
    }
}

/// A group that the caller has looked up, or created, in the same turn.
pub(super) fn known_group<'a>(
    groups: &'a mut BTreeMap<String, ClassicGroup>,
    group: &str,
) -> &'a mut ClassicGroup {
    groups.get_mut(group).expect("the caller knows the group")
}

impl ClassicMember {
    /// Its metadata for this protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}
