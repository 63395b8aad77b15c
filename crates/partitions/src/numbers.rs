//! What is counted of partitions, by Kafka's names.

use std::path::Path;
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_metrics::{Counter, Histogram, MetricName, Metrics};

use crate::partitions::Partitions;

/// What goes into a topic's partitions and out of them. It is gone with the topic's last partition.
#[derive(Debug)]
pub(crate) struct TopicFlow {
    topic: Flow,
    all: Arc<Flow>,
}

/// The same of one topic, or of all.
#[derive(Debug)]
pub(crate) struct Flow {
    messages_in: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl Flow {
    pub(crate) fn new(metrics: &Metrics, topic: Option<&str>) -> Self {
        let counter = |name| {
            let name = MetricName::new("kafka.server", "BrokerTopicMetrics", name);
            metrics.counter(match topic {
                Some(topic) => name.tag("topic", topic),
                None => name,
            })
        };
        Self {
            messages_in: counter("MessagesInPerSec"),
            bytes_in: counter("BytesInPerSec"),
            bytes_out: counter("BytesOutPerSec"),
        }
    }
}

impl TopicFlow {
    pub(crate) fn new(metrics: &Metrics, topic: &str, all: Arc<Flow>) -> Self {
        Self { topic: Flow::new(metrics, Some(topic)), all }
    }

    /// So much was appended.
    pub(crate) fn appended(&self, bytes: usize, records: i64) {
        for flow in [&self.topic, &*self.all] {
            flow.bytes_in.add(bytes as u64);
            flow.messages_in.add(u64::try_from(records).unwrap_or(0));
        }
    }

    /// So much was given to a consumer.
    pub(crate) fn fetched(&self, bytes: usize) {
        self.topic.bytes_out.add(bytes as u64);
        self.all.bytes_out.add(bytes as u64);
    }
}

/// How long the disk of a data directory takes.
#[derive(Debug)]
pub(crate) struct DiskTimes {
    clock: Clock,
    flushes: Histogram,
}

impl DiskTimes {
    pub(crate) fn new(metrics: &Metrics, clock: &Clock, directory: &Path) -> Self {
        let name = MetricName::new("kafka.log", "LogFlushStats", "LogFlushRateAndTimeMs");
        let name = name.tag("directory", directory.display());
        Self { clock: clock.clone(), flushes: metrics.times(name) }
    }

    /// Makes something durable, and records how long that took.
    pub(crate) fn flushing<T>(&self, flush: impl FnOnce() -> T) -> T {
        let begun = self.clock.monotonic();
        let done = flush();
        let took = self.clock.monotonic().saturating_sub(begun);
        self.flushes.record_time(took);
        done
    }
}

impl Partitions {
    /// Where it is counted what happens to them.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many jobs wait for a thread of each lane, by the lane's name.
    #[must_use]
    pub fn lanes_waiting(&self) -> [(&'static str, usize); 4] {
        let lanes = &self.lanes;
        [
            ("sync", lanes.sync.waiting()),
            ("upkeep", lanes.upkeep.waiting()),
            ("cleaning", lanes.cleaning.waiting()),
            ("reading", lanes.reading.waiting()),
        ]
    }
}
