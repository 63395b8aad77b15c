//! What a node counts of its requests, and its state as numbers; by Kafka's names.

use std::sync::OnceLock;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_metrics::{Counter, Histogram, MetricName, MetricSample, MetricValue, Metrics};
use ottla_protocol::ApiKey;

use crate::dispatch::SERVED;
use crate::node::Node;
use crate::request::Api;

/// The numbers of a node.
#[derive(Debug)]
pub struct NodeNumbers {
    metrics: Metrics,
    /// By API key. What no client has asked for yet has no names.
    requests: Vec<RequestNumbers>,
    timing: RequestTiming,
}

/// Are requests timed? That costs two reads of the clock for each, so only where the times are
/// shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestTiming {
    /// Each is.
    Timed,
    /// None is.
    Untimed,
}

/// What is counted of one API.
#[derive(Debug, Default)]
struct RequestNumbers {
    /// From the oldest version on. A counter is made at the first request; another that comes at
    /// once waits for it.
    versions: Vec<OnceLock<Counter>>,
    /// Made at the first request, as above.
    times: OnceLock<Histogram>,
}

/// When a request began, if requests are timed.
#[derive(Clone, Copy, Debug)]
pub struct Begun(Option<Duration>);

impl NodeNumbers {
    /// Counts in these metrics.
    #[must_use]
    pub fn new(metrics: &Metrics, timing: RequestTiming) -> Self {
        let keys = SERVED.iter().map(|api| key_index(api.key) + 1).max().unwrap_or(0);
        let mut requests: Vec<RequestNumbers> = Vec::new();
        requests.resize_with(keys, RequestNumbers::default);
        for api in SERVED {
            let versions = usize::try_from(api.newest - api.oldest + 1).unwrap_or(0);
            requests[key_index(api.key)].versions.resize_with(versions, OnceLock::new);
        }
        Self { metrics: metrics.clone(), requests, timing }
    }

    /// Counts a request that was received.
    pub fn count_request(&self, api: &Api, version: i16) {
        let of_api = self.requests.get(key_index(api.key));
        let version_at = usize::try_from(version - api.oldest).ok();
        let counter = of_api.zip(version_at).and_then(|(of_api, at)| of_api.versions.get(at));
        let named = || {
            let name = MetricName::new("kafka.network", "RequestMetrics", "RequestsPerSec");
            self.metrics.counter(name.tag("request", api.key.name()).tag("version", version))
        };
        if let Some(counter) = counter {
            counter.get_or_init(named).add(1);
        }
    }

    /// A request begins now.
    #[must_use]
    pub fn begin(&self, clock: &Clock) -> Begun {
        Begun((self.timing == RequestTiming::Timed).then(|| clock.monotonic()))
    }

    /// A request that began then is answered now.
    pub fn end(&self, key: ApiKey, begun: Begun, clock: &Clock) {
        let named = || {
            let name = MetricName::new("kafka.network", "RequestMetrics", "TotalTimeMs");
            self.metrics.times(name.tag("request", key.name()))
        };
        if let Some((of_api, begun)) = self.requests.get(key_index(key)).zip(begun.0) {
            let took = clock.monotonic().saturating_sub(begun);
            of_api.times.get_or_init(named).record_time(took);
        }
    }
}

fn key_index(key: ApiKey) -> usize {
    usize::try_from(key.code()).unwrap_or(usize::MAX)
}

/// Everything that is counted, and the node's state.
#[must_use]
pub fn all_samples(node: &Node) -> Vec<MetricSample> {
    let mut samples = node.numbers.metrics.samples();
    let mut gauge = |name: MetricName, number: f64| {
        samples.push(MetricSample { name, value: MetricValue::Gauge(number) });
    };
    let server = |kind, name| MetricName::new("kafka.server", kind, name);
    let connections = node.clients.admission.connections();
    gauge(server("socket-server-metrics", "connection-count"), connections as f64);
    let partitions = node.partitions.all();
    gauge(server("ReplicaManager", "PartitionCount"), partitions.len() as f64);
    let leading = partitions.iter().filter(|partition| partition.ends().leading).count();
    gauge(server("ReplicaManager", "LeaderCount"), leading as f64);
    let offline = node.partitions.directories().iter().filter(|it| !it.is_online).count();
    let name = MetricName::new("kafka.log", "LogManager", "OfflineLogDirectoryCount");
    gauge(name, offline as f64);
    for (lane, waiting) in node.partitions.lanes_waiting() {
        gauge(MetricName::new("ottla", "Lane", "JobsWaiting").tag("lane", lane), waiting as f64);
    }
    let refused = node.numbers.metrics.refused();
    gauge(MetricName::new("ottla", "Metrics", "NamesRefused"), refused as f64);
    for partition in partitions {
        let ends = partition.ends();
        let mut log = |name, number: f64| {
            let name = MetricName::new("kafka.log", "Log", name).tag("topic", partition.topic());
            gauge(name.tag("partition", partition.index()), number);
        };
        log("LogStartOffset", ends.log_start as f64);
        log("LogEndOffset", ends.log_end as f64);
        log("Size", partition.size_bytes() as f64);
    }
    samples
}

#[cfg(test)]
#[path = "numbers_tests.rs"]
mod tests;
