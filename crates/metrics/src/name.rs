//! Names as Kafka's JMX beans have them.

use std::fmt;

/// A name, such as `kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=orders`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricName {
    /// The part of the system: `kafka.server`, `kafka.network`, `kafka.log`; `ottla` for what
    /// Kafka does not have.
    pub domain: &'static str,
    /// What is counted, as `type`.
    pub kind: &'static str,
    /// Which number of it; as in Kafka it ends in `PerSec` if it counts, and its readers make
    /// the rate.
    pub name: &'static str,
    /// The tags, such as `topic`; in Kafka's order.
    pub tags: Vec<(&'static str, String)>,
}

impl MetricName {
    /// A name without tags.
    #[must_use]
    pub const fn new(domain: &'static str, kind: &'static str, name: &'static str) -> Self {
        Self { domain, kind, name, tags: Vec::new() }
    }

    /// The same with one tag more.
    #[must_use]
    pub fn tag(mut self, key: &'static str, value: impl ToString) -> Self {
        self.tags.push((key, value.to_string()));
        self
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:type={},name={}", self.domain, self.kind, self.name)?;
        self.tags.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}
