//! Settings that contradict each other, although each value for itself is allowed.
//!
//! The rules are Kafka's: of a topic, of a group, of a broker at its start, and of a broker whose
//! settings change while it runs. Each looks at the values that would be in force.

use std::net::IpAddr;

use crate::table::{Scope, find_setting};
use crate::value::Value;

/// Looks up what would be in force: the value as text, by the setting's name.
pub type InForceOf<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The values of one scope that would be in force, with their types.
struct View<'a> {
    scope: Scope,
    text: InForceOf<'a>,
}

impl View<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        find_setting(self.scope, name)?.read(&(self.text)(name)?).ok()
    }

    fn whole(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Whole(number) => Some(number),
            _ => None,
        }
    }

    fn items(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    /// `low` must not be above `high`.
    fn in_order(&self, low: &str, high: &str) -> Result<(), String> {
        match (self.whole(low), self.whole(high)) {
            (Some(least), Some(most)) if least > most => {
                Err(format!("{low} ({least}) must be less than or equal to {high} ({most})"))
            }
            _ => Ok(()),
        }
    }

    /// `low` must be below `high`.
    fn below(&self, low: &str, high: &str) -> Result<(), String> {
        match (self.whole(low), self.whole(high)) {
            (Some(least), Some(most)) if least >= most => {
                Err(format!("{low} ({least}) must be less than {high} ({most})"))
            }
            _ => Ok(()),
        }
    }

    /// The first of these that is set, in the unit of its row.
    fn first(&self, names: &[(&str, i64)]) -> Option<i64> {
        let mut found =
            names.iter().filter_map(|(name, unit)| Some(self.whole(name)?.saturating_mul(*unit)));
        found.next()
    }
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Do a topic's settings contradict each other?
///
/// # Errors
/// The settings that contradict each other, and how.
pub fn check_topic(text: InForceOf<'_>) -> Result<(), String> {
    let view = View { scope: Scope::Topic, text };
    view.in_order("min.compaction.lag.ms", "max.compaction.lag.ms")?;
    if view.value("remote.storage.enable") == Some(Value::Boolean(true)) {
        return Err(
            "remote.storage.enable=true needs tiered storage, which this broker does not have"
                .to_owned(),
        );
    }
    Ok(())
}

/// Do a group's settings contradict each other, or what the broker allows to groups? `broker`
/// looks up the broker's settings.
///
/// # Errors
/// The settings that contradict each other, and how.
pub fn check_group(text: InForceOf<'_>, broker: InForceOf<'_>) -> Result<(), String> {
    let (view, bounds) =
        (View { scope: Scope::Group, text }, View { scope: Scope::Broker, text: broker });
    for setting in crate::table::in_scope(Scope::Group) {
        let name = setting.name;
        let Some((value, (kind, rest))) = view.whole(name).zip(name.split_once('.')) else {
            continue;
        };
        // The most standby replicas have a name of their own.
        let rest_most = if rest == "num.standby.replicas" { "standby.replicas" } else { rest };
        let least = format!("group.{kind}.min.{rest}");
        if let Some(bound) = bounds.whole(&least).filter(|bound| value < *bound) {
            return Err(format!("{name} ({value}) must be at least {least} ({bound})"));
        }
        let most = format!("group.{kind}.max.{rest_most}");
        if let Some(bound) = bounds.whole(&most).filter(|bound| value > *bound) {
            return Err(format!("{name} ({value}) must be no more than {most} ({bound})"));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let of = |rest: &str| format!("{kind}.{rest}");
        view.below(&of("heartbeat.interval.ms"), &of("session.timeout.ms"))?;
    }
    Ok(())
}

/// Do a broker's settings contradict each other?
///
/// # Errors
/// The settings that contradict each other, and how.
pub fn check_broker(text: InForceOf<'_>) -> Result<(), String> {
    let view = View { scope: Scope::Broker, text };
    check_log(&view)?;
    view.in_order("replica.fetch.wait.max.ms", "replica.socket.timeout.ms")?;
    view.in_order("replica.fetch.wait.max.ms", "replica.lag.time.max.ms")?;
    check_connections(&view)?;
    for kind in ["consumer", "share", "streams"] {
        check_group_bounds(&view, kind)?;
    }
    check_share(&view)?;
    view.in_order("group.streams.num.standby.replicas", "group.streams.max.standby.replicas")?;
    let protocols = view.items("group.coordinator.rebalance.protocols");
    if !protocols.is_empty() && !protocols.iter().any(|it| it == "classic") {
        return Err("group.coordinator.rebalance.protocols must contain classic".to_owned());
    }
    for name in
        ["offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"]
    {
        let code = view.whole(name).filter(|code| !(0..=4).contains(code));
        if let Some(code) = code {
            return Err(format!("{name} ({code}) must be the number of a codec, 0 to 4"));
        }
    }
    Ok(())
}

/// May a broker start with these settings?
///
/// # Errors
/// The settings that contradict each other, and how.
pub fn check_start(text: InForceOf<'_>) -> Result<(), String> {
    let view = View { scope: Scope::Broker, text };
    view.in_order("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms")?;
    check_broker(text)
}

fn check_log(view: &View<'_>) -> Result<(), String> {
    let roll = view.first(&[("log.roll.ms", 1), ("log.roll.hours", HOUR)]);
    if let Some(roll) = roll.filter(|roll| *roll < 1) {
        return Err(format!("log.roll.ms ({roll}) must be at least 1"));
    }
    let jitter = view.first(&[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", HOUR)]);
    if let Some(jitter) = jitter.filter(|jitter| *jitter < 0) {
        return Err(format!("log.roll.jitter.ms ({jitter}) must be at least 0"));
    }
    let names =
        [("log.retention.ms", 1), ("log.retention.minutes", MINUTE), ("log.retention.hours", HOUR)];
    if view.first(&names) == Some(0) {
        return Err("log.retention.ms (0) must be -1 (unlimited) or at least 1".to_owned());
    }
    let threads = view.whole("log.cleaner.threads").unwrap_or(1);
    let memory = view.whole("log.cleaner.dedupe.buffer.size").unwrap_or(i64::MAX);
    if memory.checked_div(threads).is_none_or(|each| each <= 1 << 20) {
        return Err(format!(
            "log.cleaner.dedupe.buffer.size ({memory}) must be more than 1 MiB (1048576) for each of \
             the log.cleaner.threads ({threads})"
        ));
    }
    Ok(())
}

fn check_connections(view: &View<'_>) -> Result<(), String> {
    let queued = view.whole("queued.max.request.bytes").unwrap_or(-1);
    if queued > 0 {
        view.in_order("socket.request.max.bytes", "queued.max.request.bytes")?;
    }
    let text = (view.text)("max.connections.per.ip.overrides").unwrap_or_default();
    let rows = connections_of_addresses(&text)?;
    if view.whole("max.connections.per.ip") == Some(0) && rows.is_empty() {
        return Err(
            "max.connections.per.ip can be 0 only with max.connections.per.ip.overrides".to_owned()
        );
    }
    if view.whole("connections.max.idle.ms").is_some_and(|idle| idle >= 0) {
        view.below("connection.failed.authentication.delay.ms", "connections.max.idle.ms")?;
    }
    Ok(())
}

/// Reads `max.connections.per.ip.overrides`: addresses, and how many connections each may have.
/// The names of hosts, which Kafka looks up, are refused: they would have to be looked up again and
/// again.
///
/// # Errors
/// A pair that is not `address:number`.
pub fn connections_of_addresses(text: &str) -> Result<Vec<(IpAddr, i32)>, String> {
    const NAME: &str = "max.connections.per.ip.overrides";
    let mut all = Vec::new();
    // What is empty at the end is nothing, as where Java splits.
    let text = text.trim().trim_end_matches([',', ' ']);
    for pair in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let wrong = |why: &str| format!("Invalid value {pair} for configuration {NAME}: {why}");
        let (address, most) =
            pair.rsplit_once(':').ok_or_else(|| wrong("it must be address:number"))?;
        let most = most.trim().parse().map_err(|_| wrong("it must be address:number"))?;
        let address = address.trim().parse().map_err(|_| {
            wrong("it must be an address of IPv4 or IPv6: names of hosts are not looked up")
        })?;
        all.push((address, most));
    }
    Ok(all)
}

/// The bounds of what groups of one kind may set, and the broker's own values between them.
fn check_group_bounds(view: &View<'_>, kind: &str) -> Result<(), String> {
    for what in ["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"] {
        let least = format!("group.{kind}.min.{what}");
        let most = format!("group.{kind}.max.{what}");
        let own = format!("group.{kind}.{what}");
        view.in_order(&least, &most)?;
        view.in_order(&least, &own)?;
        view.in_order(&own, &most)?;
    }
    view.below(
        &format!("group.{kind}.heartbeat.interval.ms"),
        &format!("group.{kind}.session.timeout.ms"),
    )
}

fn check_share(view: &View<'_>) -> Result<(), String> {
    let assignors = view.items("group.share.assignors");
    if let Some(other) = assignors.iter().find(|it| *it != "simple") {
        return Err(format!("group.share.assignors has {other}, but only simple exists here"));
    }
    if assignors.len() > 1 {
        let count = assignors.len();
        return Err(format!("group.share.assignors must contain one assignor, not {count}"));
    }
    for (least, own, most) in [
        (
            "group.share.min.delivery.count.limit",
            "group.share.delivery.count.limit",
            "group.share.max.delivery.count.limit",
        ),
        (
            "group.share.min.partition.max.record.locks",
            "group.share.partition.max.record.locks",
            "group.share.max.partition.max.record.locks",
        ),
        (
            "group.share.min.record.lock.duration.ms",
            "group.share.record.lock.duration.ms",
            "group.share.max.record.lock.duration.ms",
        ),
    ] {
        view.in_order(least, own)?;
        view.in_order(own, most)?;
    }
    view.in_order("group.share.max.size", "group.share.max.share.sessions")
}

/// Threads whose number may at most halve or double while a broker runs.
const THREADS: [&str; 10] = [
    "num.io.threads",
    "num.network.threads",
    "num.replica.fetchers",
    "num.recovery.threads.per.data.dir",
    "background.threads",
    "log.cleaner.threads",
    "remote.log.reader.threads",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
];
/// What must be above zero once a running broker changes it.
const ABOVE_ZERO: [&str; 5] = [
    "max.connections",
    "max.connection.creation.rate",
    "remote.log.index.file.cache.total.size.bytes",
    "remote.log.manager.copy.max.bytes.per.second",
    "remote.log.manager.fetch.max.bytes.per.second",
];

/// May a running broker change from the values of `before` to those of `after`?
///
/// # Errors
/// Why the change is refused.
pub fn check_change(before: InForceOf<'_>, after: InForceOf<'_>) -> Result<(), String> {
    check_broker(after)?;
    let was = View { scope: Scope::Broker, text: before };
    let view = View { scope: Scope::Broker, text: after };
    for name in THREADS {
        let (Some(now), Some(then)) = (was.whole(name), view.whole(name)) else { continue };
        if then != now && (then < 1 || then < now / 2 || then > now * 2) {
            return Err(format!(
                "{name} ({then}) can change at most to half or double its current value ({now})"
            ));
        }
    }
    for name in ABOVE_ZERO {
        let (now, then) = (was.whole(name), view.whole(name));
        if let Some(then) = then.filter(|it| *it <= 0 && now != then) {
            return Err(format!("{name} ({then}) must be at least 1"));
        }
    }
    check_local_retention(&view)
}

/// What stays on the local disk of a tiered partition is a part of the whole.
fn check_local_retention(view: &View<'_>) -> Result<(), String> {
    let names =
        [("log.retention.ms", 1), ("log.retention.minutes", MINUTE), ("log.retention.hours", HOUR)];
    let whole_ms = view.first(&names).filter(|it| *it >= 0);
    let whole_bytes = view.whole("log.retention.bytes").filter(|it| *it >= 0);
    for (name, whole) in
        [("log.local.retention.ms", whole_ms), ("log.local.retention.bytes", whole_bytes)]
    {
        let Some((whole, local)) = whole.zip(view.whole(name)) else { continue };
        if local == -1 || local > whole {
            return Err(format!("{name} ({local}) must be -2 or up to the retention of {whole}"));
        }
    }
    Ok(())
}
