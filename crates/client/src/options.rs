//! Options by Kafka's names, with Kafka's defaults.

use std::time::Duration;

use ottla_types::nearest;

use crate::assign::Assignor;

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// There is no option of this name.
    #[error("unknown option {name}{}", .near.map_or_else(String::new, |it| format!("; did you mean {it}?")))]
    Unknown {
        /// The name.
        name: String,
        /// The one that looks most like it.
        near: Option<&'static str>,
    },
    /// It cannot have this value.
    #[error("{name} cannot be {value:?}: {why}")]
    Value {
        /// The option.
        name: &'static str,
        /// The value.
        value: String,
        /// What it can be.
        why: String,
    },
}

/// Where reading starts when no offset is known (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record (`earliest`).
    Beginning,
    /// After the last record (`latest`).
    #[default]
    End,
    /// Nowhere: it is an error (`none`).
    Nowhere,
}

/// How a group shares partitions out (`group.protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of the members does (`classic`).
    #[default]
    Classic,
    /// The coordinator does (`consumer`, KIP-848).
    Consumer,
}

/// Which records of transactions are read (`isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// All.
    #[default]
    Uncommitted,
    /// Those of committed transactions, once they are.
    Committed,
}

/// How a consumer reads.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// `group.id`
    pub group: Option<String>,
    /// `group.instance.id`
    pub instance: Option<String>,
    /// `group.protocol`
    pub protocol: GroupProtocol,
    /// `group.remote.assignor`
    pub remote_assignor: Option<String>,
    /// `partition.assignment.strategy`, best first.
    pub assignors: Vec<Assignor>,
    /// `auto.offset.reset`
    pub start: Start,
    /// `isolation.level`
    pub isolation: IsolationLevel,
    /// `enable.auto.commit`
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `session.timeout.ms`
    pub session_timeout_ms: i32,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`
    pub rebalance_timeout_ms: i32,
    /// `metadata.max.age.ms`
    pub metadata_age: Duration,
    /// `fetch.max.wait.ms`
    pub fetch_wait_ms: i32,
    /// `fetch.min.bytes`
    pub fetch_bytes_min: i32,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: i32,
    /// `max.partition.fetch.bytes`
    pub partition_bytes_max: i32,
    /// `allow.auto.create.topics`
    pub create_topics: bool,
    /// `client.rack`
    pub rack: String,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            group: None,
            instance: None,
            protocol: GroupProtocol::default(),
            remote_assignor: None,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            start: Start::default(),
            isolation: IsolationLevel::default(),
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            session_timeout_ms: 45_000,
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout_ms: 300_000,
            metadata_age: Duration::from_secs(300),
            fetch_wait_ms: 500,
            fetch_bytes_min: 1,
            fetch_bytes_max: 50 << 20,
            partition_bytes_max: 1 << 20,
            create_topics: true,
            rack: String::new(),
        }
    }
}

/// Names that Kafka's consumer knows and this one has no use for.
const UNUSED: &[&str] = &[
    "auto.include.jmx.reporter",
    "bootstrap.servers",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "config.providers",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "enable.metrics.push",
    "exclude.internal.topics",
    "interceptor.classes",
    "key.deserializer",
    "max.poll.records",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "send.buffer.bytes",
    "share.acknowledgement.mode",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "value.deserializer",
];

pub(crate) fn put_value<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

pub(crate) fn parse_number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.trim().parse().map_err(|_| "it must be a number".to_owned())
}

pub(crate) fn parse_millis(value: &str) -> Result<Duration, String> {
    parse_number(value).map(Duration::from_millis)
}

pub(crate) fn parse_flag(value: &str) -> Result<bool, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

pub(crate) fn one_of<T: Copy>(value: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(value.trim()));
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    found.map(|(_, it)| *it).ok_or_else(|| format!("it must be {}", names.join(" or ")))
}

pub(crate) fn non_empty_text(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|it| !it.is_empty())
}

const USED: &[Named<ConsumerOptions>] = &[
    ("allow.auto.create.topics", |it, value| put_value(&mut it.create_topics, parse_flag(value))),
    ("auto.commit.interval.ms", |options, value| {
        put_value(&mut options.auto_commit_interval, parse_millis(value))
    }),
    ("auto.offset.reset", |options, value| {
        let all =
            [("earliest", Start::Beginning), ("latest", Start::End), ("none", Start::Nowhere)];
        put_value(&mut options.start, one_of(value, &all))
    }),
    ("client.rack", |it, value| put_value(&mut it.rack, Ok(value.to_owned()))),
    ("enable.auto.commit", |it, value| put_value(&mut it.auto_commit, parse_flag(value))),
    ("fetch.max.bytes", |it, value| put_value(&mut it.fetch_bytes_max, parse_number(value))),
    ("fetch.max.wait.ms", |it, value| put_value(&mut it.fetch_wait_ms, parse_number(value))),
    ("fetch.min.bytes", |it, value| put_value(&mut it.fetch_bytes_min, parse_number(value))),
    ("group.id", |it, value| put_value(&mut it.group, Ok(non_empty_text(value)))),
    ("group.instance.id", |it, value| put_value(&mut it.instance, Ok(non_empty_text(value)))),
    ("group.protocol", |options, value| {
        let all = [("classic", GroupProtocol::Classic), ("consumer", GroupProtocol::Consumer)];
        put_value(&mut options.protocol, one_of(value, &all))
    }),
    ("group.remote.assignor", |options, value| {
        put_value(&mut options.remote_assignor, Ok(non_empty_text(value)))
    }),
    ("heartbeat.interval.ms", |options, value| {
        put_value(&mut options.heartbeat_interval, parse_millis(value))
    }),
    ("isolation.level", |options, value| {
        let all = [
            ("read_uncommitted", IsolationLevel::Uncommitted),
            ("read_committed", IsolationLevel::Committed),
        ];
        put_value(&mut options.isolation, one_of(value, &all))
    }),
    ("max.partition.fetch.bytes", |options, value| {
        put_value(&mut options.partition_bytes_max, parse_number(value))
    }),
    ("max.poll.interval.ms", |options, value| {
        put_value(&mut options.rebalance_timeout_ms, parse_number(value))
    }),
    ("metadata.max.age.ms", |it, value| put_value(&mut it.metadata_age, parse_millis(value))),
    ("partition.assignment.strategy", |options, value| {
        let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
        let all: Option<Vec<Assignor>> = names.map(Assignor::named).collect();
        let known = Assignor::ALL.map(Assignor::name).join(", ");
        options.assignors = all
            .filter(|all| !all.is_empty())
            .ok_or_else(|| format!("it must be a list of {known}"))?;
        Ok(())
    }),
    ("session.timeout.ms", |it, value| put_value(&mut it.session_timeout_ms, parse_number(value))),
];

/// A setting's name, and what it does to the options.
pub(crate) type Named<O> = (&'static str, fn(&mut O, &str) -> Result<(), String>);

/// The options of a kind of client.
pub(crate) struct OptionTable<O: 'static> {
    /// Those that do something.
    pub used: &'static [Named<O>],
    /// Those that are taken without effect.
    pub unused: &'static [&'static str],
}

/// Sets the option of this name; one that is not used stays without effect.
pub(crate) fn put_named<O>(
    options: &mut O,
    table: &OptionTable<O>,
    name: &str,
    value: &str,
) -> Result<(), OptionError> {
    let OptionTable { used, unused } = table;
    if let Some((name, set)) = used.iter().find(|(known, _)| *known == name) {
        let value = value.to_owned();
        return set(options, &value).map_err(|why| OptionError::Value { name, value, why });
    }
    if unused.contains(&name) || ["ssl.", "sasl."].iter().any(|it| name.starts_with(it)) {
        return Ok(());
    }
    let all = used.iter().map(|(known, _)| *known).chain(unused.iter().copied());
    Err(OptionError::Unknown { name: name.to_owned(), near: nearest(all, name) })
}

impl ConsumerOptions {
    /// Sets one.
    ///
    /// # Errors
    /// There is no such option, or it cannot have that value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        put_named(self, &OptionTable { used: USED, unused: UNUSED }, name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_kafkas_names_and_what_is_none_gets_a_hint() {
        let mut options = ConsumerOptions::default();
        options.set("auto.offset.reset", "earliest").unwrap();
        options.set("partition.assignment.strategy", "roundrobin,sticky").unwrap();
        options.set("ssl.truststore.location", "x").unwrap();
        assert_eq!(options.start, Start::Beginning);
        assert_eq!(options.assignors, [Assignor::RoundRobin, Assignor::Sticky]);
        let told = |name: &str, value: &str| {
            ConsumerOptions::default().set(name, value).unwrap_err().to_string()
        };
        assert_eq!(
            told("auto.ofset.reset", "earliest"),
            "unknown option auto.ofset.reset; did you mean auto.offset.reset?"
        );
        assert_eq!(told("colour", "red"), "unknown option colour");
        assert_eq!(
            told("isolation.level", "some"),
            "isolation.level cannot be \"some\": it must be read_uncommitted or read_committed"
        );
        assert_eq!(
            told("session.timeout.ms", "soon"),
            "session.timeout.ms cannot be \"soon\": it must be a number"
        );
    }
}
