//! Settings as those who obey them want to see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::group::{GroupSettings, Migration, OwnSettings};
use ottla_coordinator::transaction::TransactionSettings;
use ottla_metadata::{Cluster, ResourceKind};
use ottla_partitions::{Compaction, KeeperSettings, LogOptions, Retention, Rules, TimestampKind};
use ottla_records::Compression;
use ottla_types::NodeId;

use super::effective::{describe, in_force};
use super::started::Settings;
use super::table::{Scope, find};

/// What a topic's settings mean to its partitions.
#[must_use]
pub fn topic_rules(cluster: &Cluster, settings: &Settings, node: NodeId, topic: &str) -> Rules {
    let text = |name: &str| {
        let setting = find(Scope::Topic, name)?;
        describe(setting, cluster, settings, node, topic).value
    };
    let number = |name: &str| text(name).and_then(|value| value.trim().parse::<i64>().ok());
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
    let hidden = cluster.config(ResourceKind::Topic, topic).get("internal.segment.bytes");
    let hidden = hidden.and_then(|value| value.trim().parse().ok());
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
    let ratio = text("min.cleanable.dirty.ratio").and_then(|it| it.trim().parse::<f64>().ok());
    let compaction = Compaction {
        dirty_millionths: millionths(ratio.unwrap_or(0.5)),
        min_lag_ms: number("min.compaction.lag.ms").unwrap_or(0),
        max_lag_ms: number("max.compaction.lag.ms").unwrap_or(i64::MAX),
        delete_retention_ms: number("delete.retention.ms").unwrap_or(86_400_000),
    };
    Rules {
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
        flush_ms: number("flush.ms").filter(|ms| *ms < i64::MAX).and_then(|ms| ms.try_into().ok()),
        log,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1")]
fn millionths(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * 1e6).round() as u64
}

/// What the settings mean to those who look after logs.
#[must_use]
pub fn keeper_settings(cluster: &Cluster, settings: &Settings, node: NodeId) -> KeeperSettings {
    let text = |name: &str| in_force(name, cluster, settings, node);
    let number = |name: &str| text(name).and_then(|it| it.trim().parse::<u64>().ok());
    let usual = KeeperSettings::default();
    let ms = |name: &str, or: Duration| number(name).map_or(or, Duration::from_millis);
    let runs = text("log.cleaner.enable").as_deref() != Some("false");
    let cleaners = number("log.cleaner.threads").and_then(|it| it.try_into().ok());
    let memory = number("log.cleaner.dedupe.buffer.size").and_then(|it| it.try_into().ok());
    let rate = text("log.cleaner.io.max.bytes.per.second").and_then(|it| it.trim().parse().ok());
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
        migration: migration(cluster, settings, node),
        own: Arc::new(own_settings(cluster)),
        ..usual
    }
}

/// What operators have set for single groups.
fn own_settings(cluster: &Cluster) -> BTreeMap<String, OwnSettings> {
    let one = |group: &str| {
        let all = cluster.config(ResourceKind::Group, group);
        let number = |name: &str| all.get(name).and_then(|it| it.trim().parse().ok());
        let own = OwnSettings {
            session_timeout_ms: number("consumer.session.timeout.ms"),
            heartbeat_interval_ms: number("consumer.heartbeat.interval.ms"),
        };
        (group.to_owned(), own)
    };
    cluster.configured(ResourceKind::Group).map(one).collect()
}

fn migration(cluster: &Cluster, settings: &Settings, node: NodeId) -> Migration {
    let policy = in_force("group.consumer.migration.policy", cluster, settings, node);
    let is = |names: [&str; 2]| {
        policy.as_ref().is_none_or(|it| names.iter().any(|name| name.eq_ignore_ascii_case(it)))
    };
    Migration { up: is(["bidirectional", "upgrade"]), down: is(["bidirectional", "downgrade"]) }
}
