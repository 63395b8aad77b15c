//! Settings of a group coordinator; the host sends them again when an operator changes one.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;

use super::consumer::{ConsumerGroup, TopicCatalog};

/// The heartbeat interval while a consumer group rebalances, in milliseconds.
const UNSETTLED_HEARTBEAT_MS: i32 = 250;
/// Kafka's default of `group.consumer.heartbeat.interval.ms`.
const CONSUMER_HEARTBEAT_MS: i32 = 5_000;
/// The shortest heartbeat interval of a small consumer group that is stable, in milliseconds.
const HEARTBEAT_MS_MIN: i32 = 1_000;
/// By how much that grows with each group of this coordinator, or member of the group.
const HEARTBEAT_MS_EACH: i32 = 10;

// Members send heartbeats more often while a group rebalances than later, and the
// upper bound of `clamp` is not below the lower one.
const _: () = assert!(UNSETTLED_HEARTBEAT_MS < HEARTBEAT_MS_MIN);
const _: () = assert!(HEARTBEAT_MS_MIN <= CONSUMER_HEARTBEAT_MS);

/// `group.consumer.migration.policy`: between which types a group may change while it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// From classic to consumer, when a member of the consumer protocol joins?
    pub up: bool,
    /// From consumer to classic, when the last such member leaves?
    pub down: bool,
}

impl Default for Migration {
    fn default() -> Self {
        Self { up: true, down: true }
    }
}

/// The settings of one consumer group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnSettings {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Option<i32>,
}

/// The settings of all groups; the defaults are Kafka's.
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

    /// The heartbeat interval for the members of a consumer group, in milliseconds: short while the
    /// group rebalances, otherwise what the operator has set. With the default, it grows from 1 s
    /// to 5 s with the members of the group, or with `groups`, the number of consumer groups of
    /// this coordinator, whichever is larger.
    ///
    /// Example: a stable group of 20 members: 1 s; of 300 members: 3 s; of 500 and more: 5 s.
    #[must_use]
    pub fn consumer_heartbeat_ms(&self, id: &str, group: &ConsumerGroup, groups: usize) -> i32 {
        let own = self.own.get(id).and_then(|it| it.heartbeat_interval_ms);
        let usual = own.unwrap_or(self.consumer_heartbeat_interval_ms);
        if !group.is_settled() {
            return usual.min(UNSETTLED_HEARTBEAT_MS);
        }
        if own.is_some() || usual != CONSUMER_HEARTBEAT_MS {
            return usual;
        }
        let busy = i32::try_from(groups.max(group.members.len())).unwrap_or(i32::MAX);
        busy.saturating_mul(HEARTBEAT_MS_EACH).clamp(HEARTBEAT_MS_MIN, usual)
    }
}
