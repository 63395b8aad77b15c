//! The settings that a group coordinator obeys; the host replaces them when an operator does.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;

use super::consumer::TopicCatalog;

/// How soon a member of a group that is not settled is to come back, in milliseconds.
const UNSETTLED_HEARTBEAT_MS: i32 = 250;
/// Kafka's default of `group.consumer.heartbeat.interval.ms`.
const CONSUMER_HEARTBEAT_MS: i32 = 5_000;
/// How often members come at most, in milliseconds.
const HEARTBEAT_MS_MIN: i32 = 1_000;
/// By how much that grows with each group and member.
const HEARTBEAT_MS_EACH: i32 = 10;

// A group that is being rebalanced hears from its members more often than one that is not, and the
// upper bound of `clamp` is not below the lower one.
const _: () = assert!(UNSETTLED_HEARTBEAT_MS < HEARTBEAT_MS_MIN);
const _: () = assert!(HEARTBEAT_MS_MIN <= CONSUMER_HEARTBEAT_MS);

/// Between which kinds groups may change while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// From classic to consumer, when a member of the new protocol joins?
    pub up: bool,
    /// From consumer to classic, when the last such member goes?
    pub down: bool,
}

impl Default for Migration {
    fn default() -> Self {
        Self { up: true, down: true }
    }
}

/// What the operator decided about one group whose coordinator assigns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnSettings {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Option<i32>,
}

/// What the operator decided about groups; the defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub members_max: usize,
    /// How long a new member may wait in its first join; Kafka has no setting for it.
    pub new_member_join_timeout_ms: i32,
    /// `offset.metadata.max.bytes`, counted like Kafka in UTF-16 units.
    pub offset_metadata_units_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_check_interval_ms: i64,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`
    pub consumer_members_max: usize,
    /// `group.consumer.migration.policy`
    pub migration: Migration,
    /// What was set for single groups.
    pub own: Arc<BTreeMap<String, OwnSettings>>,
    /// The topics that there are.
    pub topics: Arc<TopicCatalog>,
    /// `max.message.bytes` of `__consumer_offsets`: no turn writes more.
    pub batch_bytes_max: usize,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: i32::MAX as usize,
            new_member_join_timeout_ms: 300_000,
            offset_metadata_units_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_check_interval_ms: 600_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: CONSUMER_HEARTBEAT_MS,
            consumer_members_max: i32::MAX as usize,
            migration: Migration::default(),
            own: Arc::default(),
            topics: Arc::default(),
            batch_bytes_max: 1_048_588,
        }
    }
}

impl GroupSettings {
    /// After how long without a heartbeat a member of this group is removed, in milliseconds.
    #[must_use]
    pub fn consumer_session_ms(&self, group: &str) -> i32 {
        let own = self.own.get(group).and_then(|it| it.session_timeout_ms);
        own.unwrap_or(self.consumer_session_timeout_ms)
    }

    /// When a member is to come back, in milliseconds: soon, while its group is on its way to a new
    /// assignment. Otherwise as often as the operator says; who has said nothing gets members that
    /// learn of a change within a second, as long as `busy` (groups here, or members of the group)
    /// is so few that nobody feels it.
    #[must_use]
    pub fn consumer_heartbeat_ms(&self, group: &str, is_settled: bool, busy: usize) -> i32 {
        let own = self.own.get(group).and_then(|it| it.heartbeat_interval_ms);
        let usual = own.unwrap_or(self.consumer_heartbeat_interval_ms);
        if !is_settled {
            return usual.min(UNSETTLED_HEARTBEAT_MS);
        }
        if own.is_some() || usual != CONSUMER_HEARTBEAT_MS {
            return usual;
        }
        let busy = i32::try_from(busy).unwrap_or(i32::MAX);
        busy.saturating_mul(HEARTBEAT_MS_EACH).clamp(HEARTBEAT_MS_MIN, usual)
    }
}
