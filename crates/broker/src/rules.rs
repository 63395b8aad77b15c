//! Settings in the form in which the other parts of the node use them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::group::{GroupSettings, Migration, OwnSettings};
use ottla_coordinator::transaction::TransactionSettings;
use ottla_metadata::{Cluster, ControllerSettings, ResourceKind};
use ottla_net::listener::{Bounds, SocketOptions};
use ottla_partitions::{
    Compaction, KeeperSettings, LogOptions, PartitionRules, Retention, ThrottledRoles,
    TimestampKind,
};
use ottla_quorum::LogRetention;
use ottla_quorum::wire::FetchLimits;
use ottla_records::Compression;
use ottla_settings::{
    Scope, Settings, connections_of_addresses, describe_setting, find_setting, in_force,
};
use ottla_types::{NodeId, PartitionIndex};

use crate::hosts::controller::SnapshotRules;
use crate::hosts::quorum_peers::FollowingRules;
use crate::hosts::replica_fetching::FetchingRules;
use crate::hosts::replication_quota::QuotaWindow;

/// How many connections may wait to be accepted, unless the settings say.
const BACKLOG: i32 = 1024;
/// The receive buffer of client sockets, in bytes, unless the settings say.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// One of Kafka's own topics, as the settings have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replication_factor: i16,
    /// The size of its segments in bytes.
    pub segment_bytes: i64,
    /// How many replicas must be in sync.
    pub in_sync_min: i64,
}

/// How the replica that a consumer reads from is chosen (`replica.selector.class`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// It is always the leader.
    Leader,
    /// One in the consumer's rack, if there is one in sync that has the offset.
    SameRack,
}

impl ReplicaSelector {
    /// The selector that Apache Kafka has under this class name.
    #[must_use]
    pub fn named(class: &str) -> Self {
        match class {
            "org.apache.kafka.common.replica.RackAwareReplicaSelector" => Self::SameRack,
            _ => Self::Leader,
        }
    }
}

/// What a node keeps from its start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `replica.selector.class`.
    pub replica_selector: ReplicaSelector,
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// `delete.topic.enable`.
    pub deletes_topics: bool,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// `max.request.partition.size.limit`: how many partitions a page of topics has.
    pub page_partitions_max: usize,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`; below zero, a silent connection stays.
    pub idle: Option<Duration>,
    /// `metadata.log.segment.bytes`.
    pub metadata_segment_bytes: u64,
    /// `group.coordinator.rebalance.protocols`: does it have `consumer` (KIP-848)?
    pub serves_consumer_protocol: bool,
    /// `telemetry.max.bytes`: how much a client may push at a time.
    pub telemetry_bytes_max: usize,
    /// `__consumer_offsets`.
    pub offsets_topic: InternalTopic,
    /// `__transaction_state`.
    pub transactions_topic: InternalTopic,
    /// `ottla.metrics.listener`: where the page of metrics is served, if it is.
    pub metrics_listener: Option<String>,
}

/// What the settings that a node was started with mean to it.
#[must_use]
pub fn node_settings(settings: &Settings) -> NodeSettings {
    let number = |name: &str| settings.number(name);
    let size = |name: &str| usize::try_from(number(name)).unwrap_or(0);
    let topic = |prefix: &str| {
        let own = |suffix: &str| number(&format!("{prefix}.{suffix}"));
        InternalTopic {
            partitions: i32::try_from(own("num.partitions")).unwrap_or(50),
            replication_factor: i16::try_from(own("replication.factor")).unwrap_or(1),
            segment_bytes: own("segment.bytes"),
            in_sync_min: own("min.isr"),
        }
    };
    let protocols = settings.items("group.coordinator.rebalance.protocols");
    NodeSettings {
        rack: settings.given("broker.rack").map(str::to_owned),
        replica_selector: ReplicaSelector::named(
            settings.given("replica.selector.class").unwrap_or_default(),
        ),
        partitions: i32::try_from(number("num.partitions")).unwrap_or(1),
        replication_factor: i16::try_from(number("default.replication.factor")).unwrap_or(1),
        deletes_topics: settings.is_on("delete.topic.enable"),
        fetch_sessions_max: size("max.incremental.fetch.session.cache.slots"),
        page_partitions_max: size("max.request.partition.size.limit").max(1),
        request_bytes_max: size("socket.request.max.bytes"),
        idle: u64::try_from(number("connections.max.idle.ms")).ok().map(Duration::from_millis),
        metadata_segment_bytes: u64::try_from(number("metadata.log.segment.bytes"))
            .unwrap_or(1 << 30),
        serves_consumer_protocol: protocols.iter().any(|it| it == "consumer"),
        telemetry_bytes_max: size("telemetry.max.bytes"),
        offsets_topic: topic("offsets.topic"),
        transactions_topic: topic("transaction.state.log"),
        metrics_listener: settings.given("ottla.metrics.listener").map(str::to_owned),
    }
}

/// When snapshots of the metadata are written, and what is kept.
#[must_use]
pub fn snapshot_rules(settings: &Settings) -> SnapshotRules {
    // A negative number is no limit.
    let limit = |name: &str| u64::try_from(settings.number(name)).ok();
    let between = limit("metadata.log.max.record.bytes.between.snapshots");
    let interval_ms = limit("metadata.log.max.snapshot.interval.ms").filter(|ms| *ms > 0);
    SnapshotRules {
        between_bytes: between.unwrap_or(u64::MAX),
        interval: interval_ms.map(Duration::from_millis),
        retention: LogRetention {
            bytes_max: limit("metadata.max.retention.bytes"),
            ms_max: limit("metadata.max.retention.ms"),
        },
    }
}

/// How a member of the metadata quorum follows the leader's log.
#[must_use]
pub fn following_rules(settings: &Settings) -> FollowingRules {
    let bytes = |name: &str| i32::try_from(settings.number(name)).unwrap_or(i32::MAX);
    let retry_ms = u64::try_from(settings.number("controller.quorum.retry.backoff.ms"));
    FollowingRules {
        fetch: FetchLimits {
            records_bytes: bytes("controller.quorum.fetch.max.bytes"),
            snapshot_bytes: bytes("controller.quorum.fetch.snapshot.max.bytes"),
        },
        // Without any wait a node that finds no other would do nothing else.
        retry_after: Duration::from_millis(retry_ms.unwrap_or(0).max(1)),
    }
}

/// What the settings that a node was started with mean to its controller.
#[must_use]
pub fn controller_settings(settings: &Settings) -> ControllerSettings {
    let own = node_settings(settings);
    let balance_ms =
        settings.number("leader.imbalance.check.interval.seconds").saturating_mul(1000);
    let idle_ms = settings.number("metadata.max.idle.interval.ms");
    ControllerSettings {
        partitions: own.partitions,
        replication_factor: own.replication_factor,
        delete_topics: own.deletes_topics,
        balance_ms: settings.is_on("auto.leader.rebalance.enable").then_some(balance_ms),
        unclean_ms: settings.number("unclean.leader.election.interval.ms"),
        idle_ms: Some(idle_ms).filter(|it| *it > 0),
        session_ms: settings.number("broker.session.timeout.ms"),
        ends_sessions_early: settings.is_on("ottla.early.fencing.enable"),
        ..ControllerSettings::default()
    }
}

/// What of a node changes while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `transaction.partition.verification.enable`.
    pub verifies_transactions: bool,
    /// `leader.replication.throttled.rate`, in bytes a second; without a limit the largest number.
    pub leader_bytes_per_second: u64,
    /// `follower.replication.throttled.rate`, the same.
    pub follower_bytes_per_second: u64,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`: how fast partitions move between
    /// directories; `None` is as fast as they can.
    pub move_bytes_per_second: Option<f64>,
}

/// What the settings mean to a node at the moment.
#[must_use]
pub fn settings_in_force(cluster: &Cluster, settings: &Settings, node: NodeId) -> InForce {
    let text = |name: &str| in_force(name, cluster, settings, node);
    let is_on = |name: &str| text(name).as_deref() != Some("false");
    let number = |name: &str| text(name).and_then(|it| it.parse().ok());
    let rate = text("replica.alter.log.dirs.io.max.bytes.per.second");
    InForce {
        fetch_max_bytes: text("fetch.max.bytes")
            .and_then(|it| it.parse().ok())
            .unwrap_or(57_671_680),
        auto_create_topics: is_on("auto.create.topics.enable"),
        verifies_transactions: is_on("transaction.partition.verification.enable"),
        leader_bytes_per_second: number("leader.replication.throttled.rate").unwrap_or(u64::MAX),
        follower_bytes_per_second: number("follower.replication.throttled.rate")
            .unwrap_or(u64::MAX),
        move_bytes_per_second: rate.and_then(|it| it.parse().ok()).filter(|it| *it > 0.0),
    }
}

/// How many connections the settings allow.
#[must_use]
pub fn connection_bounds(cluster: &Cluster, settings: &Settings, node: NodeId) -> Bounds {
    let text = |name: &str| in_force(name, cluster, settings, node).unwrap_or_default();
    let number = |name: &str| text(name).parse().unwrap_or(usize::MAX);
    let own = connections_of_addresses(&text("max.connections.per.ip.overrides"));
    Bounds {
        total: number("max.connections"),
        per_address: number("max.connections.per.ip"),
        of_address: own
            .unwrap_or_default()
            .into_iter()
            .map(|(address, most)| (address, usize::try_from(most).unwrap_or(0)))
            .collect(),
    }
}

/// The value in force of a topic's setting.
fn topic_setting(
    name: &str,
    cluster: &Cluster,
    settings: &Settings,
    node: NodeId,
    topic: &str,
) -> Option<String> {
    let setting = find_setting(Scope::Topic, name)?;
    describe_setting(setting, cluster, settings, node, topic).value
}

/// What a topic's settings mean to its partitions.
#[must_use]
pub fn topic_rules(
    cluster: &Cluster,
    settings: &Settings,
    node: NodeId,
    topic: &str,
) -> PartitionRules {
    let text = |name: &str| topic_setting(name, cluster, settings, node, topic);
    let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok());
    let size = |name: &str, or: u64| number(name).and_then(|it| it.try_into().ok()).unwrap_or(or);
    let policy = text("cleanup.policy").unwrap_or_default();
    let has = |wanted: &str| policy.split(',').any(|it| it.trim() == wanted);
    let codec = text("compression.type").unwrap_or_default();
    let compression = Compression::named(&codec);
    let level = match compression {
        Some(codec) => number(&format!("compression.{}.level", codec.name())),
        None => None,
    };
    let timestamps = if text("message.timestamp.type").as_deref() == Some("LogAppendTime") {
        TimestampKind::Append
    } else {
        TimestampKind::Create {
            before_max_ms: number("message.timestamp.before.max.ms").unwrap_or(i64::MAX),
            after_max_ms: number("message.timestamp.after.max.ms").unwrap_or(3_600_000),
        }
    };
    let hidden = number("internal.segment.bytes").and_then(|it| it.try_into().ok());
    let usual = LogOptions::default();
    let log = LogOptions {
        segment_bytes: hidden.unwrap_or_else(|| size("segment.bytes", usual.segment_bytes)),
        segment_ms: number("segment.ms").unwrap_or(usual.segment_ms),
        segment_jitter_ms: number("segment.jitter.ms").unwrap_or(0),
        index_interval_bytes: size("index.interval.bytes", usual.index_interval_bytes),
        index_bytes_max: usize::try_from(size("segment.index.bytes", 10 << 20)).unwrap_or(10 << 20),
        flush_messages: number("flush.messages").unwrap_or(i64::MAX),
        producer_expiry_ms: in_force("producer.id.expiration.ms", cluster, settings, node)
            .and_then(|value| value.parse().ok())
            .unwrap_or(usual.producer_expiry_ms),
    };
    let retention = Retention {
        ms: number("retention.ms").filter(|ms| *ms >= 0),
        bytes: number("retention.bytes").and_then(|bytes| bytes.try_into().ok()),
    };
    let ratio = text("min.cleanable.dirty.ratio").and_then(|it| it.parse::<f64>().ok());
    let compaction = Compaction {
        dirty_millionths: to_millionths(ratio.unwrap_or(0.5)),
        min_lag_ms: number("min.compaction.lag.ms").unwrap_or(0),
        max_lag_ms: number("max.compaction.lag.ms").unwrap_or(i64::MAX),
        delete_retention_ms: number("delete.retention.ms").unwrap_or(86_400_000),
    };
    PartitionRules {
        batch_bytes_max: usize::try_from(size("max.message.bytes", 1_048_588)).unwrap_or(1_048_588),
        in_sync_min: usize::try_from(size("min.insync.replicas", 1)).unwrap_or(1),
        compacted: has("compact"),
        delete_allowed: has("delete"),
        compression,
        level: level.and_then(|level| i32::try_from(level).ok()),
        timestamps,
        retention: if has("delete") { retention } else { Retention::default() },
        compaction: has("compact").then_some(compaction),
        delete_delay_ms: size("file.delete.delay.ms", 60_000),
        // Of one partition, see [`throttled_partitions`].
        throttled: ThrottledRoles::default(),
        flush_ms: number("flush.ms").filter(|ms| *ms < i64::MAX).and_then(|ms| ms.try_into().ok()),
        log,
    }
}

/// Which partitions of a topic are throttled on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThrottledPartitions {
    /// Where it leads (`leader.replication.throttled.replicas`).
    leading: ThrottledList,
    /// Where it follows (`follower.replication.throttled.replicas`).
    following: ThrottledList,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ThrottledList {
    All,
    These(BTreeSet<PartitionIndex>),
}

impl ThrottledPartitions {
    /// In which roles a partition is.
    #[must_use]
    pub fn roles_of(&self, index: PartitionIndex) -> ThrottledRoles {
        let has = |list: &ThrottledList| match list {
            ThrottledList::All => true,
            ThrottledList::These(these) => these.contains(&index),
        };
        ThrottledRoles { as_leader: has(&self.leading), as_follower: has(&self.following) }
    }
}

/// Which partitions of a topic are throttled on this node.
#[must_use]
pub fn throttled_partitions(
    cluster: &Cluster,
    settings: &Settings,
    node: NodeId,
    topic: &str,
) -> ThrottledPartitions {
    let text = |name: &str| topic_setting(name, cluster, settings, node, topic);
    let list = |text: Option<String>| {
        let text = text.unwrap_or_default();
        if text.trim() == "*" {
            return ThrottledList::All;
        }
        let replica = |item: &str| {
            let (index, broker) = item.trim().split_once(':')?;
            Some((index.parse().ok()?, broker.parse::<NodeId>().ok()?))
        };
        let here = text.split(',').filter_map(replica).filter(|(_, broker)| *broker == node);
        ThrottledList::These(here.map(|(index, _)| index).collect())
    };
    ThrottledPartitions {
        leading: list(text("leader.replication.throttled.replicas")),
        following: list(text("follower.replication.throttled.replicas")),
    }
}

/// How the rate of throttled replicas is measured.
#[must_use]
pub fn quota_window(settings: &Settings) -> QuotaWindow {
    let number = |name: &str| u64::try_from(settings.number(name)).unwrap_or(1);
    QuotaWindow {
        samples: usize::try_from(number("replication.quota.window.num")).unwrap_or(usize::MAX),
        sample: Duration::from_secs(number("replication.quota.window.size.seconds")),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1")]
fn to_millionths(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * 1e6).round() as u64
}

/// The settings of the upkeep of logs.
#[must_use]
pub fn keeper_settings(cluster: &Cluster, settings: &Settings, node: NodeId) -> KeeperSettings {
    let text = |name: &str| in_force(name, cluster, settings, node);
    let number = |name: &str| text(name).and_then(|it| it.parse::<u64>().ok());
    let usual = KeeperSettings::default();
    let ms = |name: &str, or: Duration| number(name).map_or(or, Duration::from_millis);
    let runs = text("log.cleaner.enable").as_deref() != Some("false");
    let cleaners = number("log.cleaner.threads").and_then(|it| it.try_into().ok());
    let memory = number("log.cleaner.dedupe.buffer.size").and_then(|it| it.try_into().ok());
    let rate = text("log.cleaner.io.max.bytes.per.second").and_then(|it| it.parse().ok());
    KeeperSettings {
        retention_check: ms("log.retention.check.interval.ms", usual.retention_check),
        cleaners: if runs { cleaners.unwrap_or(usual.cleaners) } else { 0 },
        cleaner_memory_bytes: memory.unwrap_or(usual.cleaner_memory_bytes),
        cleaner_bytes_per_second: rate.unwrap_or(f64::MAX),
        cleaner_backoff: ms("log.cleaner.backoff.ms", usual.cleaner_backoff),
        ..usual
    }
}

/// What the settings mean to the transaction coordinators.
#[must_use]
pub fn transaction_settings(
    cluster: &Cluster,
    settings: &Settings,
    node: NodeId,
) -> TransactionSettings {
    let number =
        |name: &str| in_force(name, cluster, settings, node).and_then(|it| it.parse::<i64>().ok());
    let usual = TransactionSettings::default();
    TransactionSettings {
        timeout_max_ms: number("transaction.max.timeout.ms")
            .and_then(|it| i32::try_from(it).ok())
            .unwrap_or(usual.timeout_max_ms),
        id_expiration_ms: number("transactional.id.expiration.ms")
            .unwrap_or(usual.id_expiration_ms),
        expiration_check_ms: number("transaction.remove.expired.transaction.cleanup.interval.ms")
            .unwrap_or(usual.expiration_check_ms),
    }
}

/// What the settings mean to the group coordinators.
#[must_use]
pub fn group_settings(cluster: &Cluster, settings: &Settings, node: NodeId) -> GroupSettings {
    let number =
        |name: &str| in_force(name, cluster, settings, node).and_then(|it| it.parse::<i64>().ok());
    let small =
        |name: &str, or: i32| number(name).and_then(|it| i32::try_from(it).ok()).unwrap_or(or);
    let usual = GroupSettings::default();
    let minutes = number("offsets.retention.minutes");
    GroupSettings {
        session_timeout_min_ms: small("group.min.session.timeout.ms", usual.session_timeout_min_ms),
        session_timeout_max_ms: small("group.max.session.timeout.ms", usual.session_timeout_max_ms),
        initial_rebalance_delay_ms: small(
            "group.initial.rebalance.delay.ms",
            usual.initial_rebalance_delay_ms,
        ),
        members_max: usize::try_from(small("group.max.size", i32::MAX)).unwrap_or(usize::MAX),
        offset_metadata_units_max: usize::try_from(small("offset.metadata.max.bytes", 4096))
            .unwrap_or(4096),
        offsets_retention_ms: minutes.map_or(usual.offsets_retention_ms, |it| it * 60_000),
        offsets_check_interval_ms: number("offsets.retention.check.interval.ms")
            .unwrap_or(usual.offsets_check_interval_ms),
        consumer_session_timeout_ms: small(
            "group.consumer.session.timeout.ms",
            usual.consumer_session_timeout_ms,
        ),
        consumer_heartbeat_interval_ms: small(
            "group.consumer.heartbeat.interval.ms",
            usual.consumer_heartbeat_interval_ms,
        ),
        consumer_members_max: usize::try_from(small("group.consumer.max.size", i32::MAX))
            .unwrap_or(usize::MAX),
        migration: migration_policy(cluster, settings, node),
        own: Arc::new(own_settings(cluster)),
        ..usual
    }
}

/// What operators have set for single groups.
fn own_settings(cluster: &Cluster) -> BTreeMap<String, OwnSettings> {
    let one = |group: &str| {
        let all = cluster.config(ResourceKind::Group, group);
        let number = |name: &str| {
            let setting = find_setting(Scope::Group, name)?;
            setting.shown(all.get(name)?).parse().ok()
        };
        let own = OwnSettings {
            session_timeout_ms: number("consumer.session.timeout.ms"),
            heartbeat_interval_ms: number("consumer.heartbeat.interval.ms"),
        };
        (group.to_owned(), own)
    };
    cluster.configured(ResourceKind::Group).map(one).collect()
}

fn migration_policy(cluster: &Cluster, settings: &Settings, node: NodeId) -> Migration {
    let policy = in_force("group.consumer.migration.policy", cluster, settings, node);
    let is = |names: [&str; 2]| {
        policy.as_ref().is_none_or(|it| names.iter().any(|name| name.eq_ignore_ascii_case(it)))
    };
    Migration { up: is(["bidirectional", "upgrade"]), down: is(["bidirectional", "downgrade"]) }
}

/// How a follower fetches.
#[must_use]
pub fn fetching_rules(settings: &Settings) -> FetchingRules {
    let number = |name| i32::try_from(settings.number(name)).unwrap_or(i32::MAX);
    FetchingRules {
        wait_max: duration_of(settings, "replica.fetch.wait.max.ms"),
        bytes_min: number("replica.fetch.min.bytes"),
        partition_bytes_max: number("replica.fetch.max.bytes"),
        bytes_max: number("replica.fetch.response.max.bytes"),
        backoff: duration_of(settings, "replica.fetch.backoff.ms"),
        answer_limit: duration_of(settings, "replica.socket.timeout.ms"),
    }
}

/// After how long without having had everything a follower is not in sync any more.
#[must_use]
pub fn replica_lag_max(settings: &Settings) -> Duration {
    duration_of(settings, "replica.lag.time.max.ms")
}

fn duration_of(settings: &Settings, name: &str) -> Duration {
    Duration::from_millis(u64::try_from(settings.number(name)).unwrap_or(0))
}

/// How client sockets are set up.
#[must_use]
pub fn socket_options(settings: &Settings) -> SocketOptions {
    // What was not asked for is not what Kafka takes: its 100 KB keep a fast producer waiting,
    // and what the system would choose lets so much pile up that TCP stalls.
    let given = |name| settings.given(name).and_then(|value| value.parse::<i64>().ok());
    let size = |given: i64| usize::try_from(given).ok().filter(|size| *size > 0);
    let backlog = given("socket.listen.backlog.size").and_then(|it| i32::try_from(it).ok());
    SocketOptions {
        backlog: backlog.unwrap_or(BACKLOG),
        receive_bytes: given("socket.receive.buffer.bytes")
            .map_or(Some(RECEIVE_BUFFER_BYTES), size),
        send_bytes: given("socket.send.buffer.bytes").and_then(size),
    }
}

#[cfg(test)]
#[path = "obeyed_tests.rs"]
mod obeyed_tests;
