//! What only this leader knows: members between two generations, and requests that wait.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ottla_machine::Ticket;
use ottla_protocol::group::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use ottla_types::TimestampMs;

use super::command::MemberClient;

/// Where a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum GroupState {
    /// Nobody is in it; it may have offsets.
    #[default]
    Empty,
    /// Members are called together.
    Preparing,
    /// All know the generation; the leader's assignment is awaited.
    Completing,
    /// Everybody has an assignment.
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

/// A member.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassicMember {
    /// Its name across restarts, if it is a static member (KIP-345).
    pub instance: Option<String>,
    pub client: MemberClient,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// What it can work with, best first.
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// Its JoinGroup that waits, and that request's version.
    pub joining: Option<(Ticket, i16)>,
    /// Its SyncGroup that waits.
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
    /// Static members' names, and the ids they have at the moment.
    pub statics: BTreeMap<String, String>,
    /// Ids that were given out and have not come back yet.
    pub pending: BTreeSet<String>,
    /// When it came into its state, in milliseconds.
    pub since_ms: TimestampMs,
    /// While the first members are waited for: until when at most. Somebody came meanwhile?
    pub gathering: Option<(TimestampMs, bool)>,
}

impl ClassicGroup {
    /// The group as its last generation left it.
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

    /// What the log is to know of it.
    pub fn to_log(&self) -> GroupMetadataValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, it): (&String, &ClassicMember)| MemberMetadata {
            member_id: id.clone(),
            group_instance_id: it.instance.clone(),
            client_id: it.client.id.clone(),
            client_host: it.client.host.clone(),
            rebalance_timeout: it.rebalance_timeout_ms,
            session_timeout: it.session_timeout_ms,
            subscription: it.metadata(protocol),
            assignment: it.assignment.clone(),
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

    pub fn enter(&mut self, state: GroupState, now_ms: TimestampMs) {
        self.state = state;
        self.since_ms = now_ms;
    }

    pub fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// The longest time that any member wants to have for joining.
    pub fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|it| i64::from(it.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    /// Can every member work with one of these protocols?
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

    /// The protocol that all can work with and most like best.
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

/// The group, which the caller has looked up, or made, in the same turn.
pub(super) fn known_group<'a>(
    groups: &'a mut BTreeMap<String, ClassicGroup>,
    group: &str,
) -> &'a mut ClassicGroup {
    groups.get_mut(group).expect("the caller knows the group")
}

impl ClassicMember {
    /// What it says about itself under this protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}
