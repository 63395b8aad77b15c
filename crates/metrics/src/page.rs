//! The numbers as text, in the format of Prometheus (0.0.4).
//!
//! A name becomes what the widely used rules for Kafka's JMX beans make of it: domain, type and
//! name in lower case, `PerSec` is left out, a counter ends in `_total`. So
//! `kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=orders` is
//! `kafka_server_brokertopicmetrics_bytesin_total{topic="orders"}`.

use std::fmt::Write as _;

use crate::{MetricName, MetricSample, MetricValue};

/// The quantiles that Kafka shows of a histogram.
const QUANTILES: [(&str, f64); 6] = [
    ("0.5", 0.5),
    ("0.75", 0.75),
    ("0.95", 0.95),
    ("0.98", 0.98),
    ("0.99", 0.99),
    ("0.999", 0.999),
];

/// All samples as one page.
#[must_use]
pub fn page(mut samples: Vec<MetricSample>) -> String {
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::new();
    let mut family = String::new();
    for MetricSample { name, value } in &samples {
        let (own, kind) = match value {
            MetricValue::Counter(_) => (format!("{}_total", flat(name)), "counter"),
            MetricValue::Gauge(_) => (flat(name), "gauge"),
            MetricValue::Histogram(_) => (flat(name), "summary"),
        };
        // Writing to a text does not fail.
        if own != family {
            let MetricName { domain, kind: of, name, .. } = name;
            let _ = writeln!(text, "# HELP {own} {domain}:type={of},name={name}");
            let _ = writeln!(text, "# TYPE {own} {kind}");
            family.clone_from(&own);
        }
        match value {
            MetricValue::Counter(count) => {
                let _ = writeln!(text, "{own}{} {count}", labels(name, None));
            }
            MetricValue::Gauge(number) => {
                let _ = writeln!(text, "{own}{} {number}", labels(name, None));
            }
            MetricValue::Histogram(summary) => {
                for (shown, share) in QUANTILES {
                    let labels = labels(name, Some(("quantile", shown)));
                    let _ = writeln!(text, "{own}{labels} {}", summary.quantile(share));
                }
                let labels = labels(name, None);
                let _ = writeln!(text, "{own}_sum{labels} {}", summary.sum);
                let _ = writeln!(text, "{own}_count{labels} {}", summary.count);
            }
        }
    }
    text
}

/// Domain, type and name as one word of letters, digits and `_`.
fn flat(name: &MetricName) -> String {
    let own = name.name.strip_suffix("PerSec").unwrap_or(name.name);
    let whole = format!("{}_{}_{own}", name.domain, name.kind);
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    whole.chars().map(word).collect()
}

/// The tags as labels: `{topic="orders"}`.
fn labels(name: &MetricName, more: Option<(&str, &str)>) -> String {
    let tags = name.tags.iter().map(|(key, value)| (*key, value.as_str()));
    let all: Vec<String> = tags.chain(more).map(|(key, value)| label(key, value)).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn label(key: &str, value: &str) -> String {
    let key = key.replace('-', "_");
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{key}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn a_page_names_what_prometheus_users_of_kafka_know() {
        let metrics = Metrics::default();
        let topic = |topic: &str| {
            let name = MetricName::new("kafka.server", "BrokerTopicMetrics", "BytesInPerSec");
            metrics.counter(name.tag("topic", topic))
        };
        let (orders, odd) = (topic("orders"), topic("a\"b"));
        orders.add(7);
        odd.add(1);
        let name = MetricName::new("kafka.network", "RequestMetrics", "TotalTimeMs");
        let times = metrics.histogram(name.tag("request", "Produce"), 1_000);
        times.record(2_000);
        let mut samples = metrics.samples();
        let name = MetricName::new("kafka.log", "LogManager", "OfflineLogDirectoryCount");
        samples.push(MetricSample { name, value: MetricValue::Gauge(0.0) });
        let page = page(samples);
        let lines: Vec<&str> = page.lines().collect();
        let request = "kafka_network_requestmetrics_totaltimems";
        let expected = [
            "# HELP kafka_log_logmanager_offlinelogdirectorycount \
                kafka.log:type=LogManager,name=OfflineLogDirectoryCount",
            "# TYPE kafka_log_logmanager_offlinelogdirectorycount gauge",
            "kafka_log_logmanager_offlinelogdirectorycount 0",
            &format!("# HELP {request} kafka.network:type=RequestMetrics,name=TotalTimeMs"),
            &format!("# TYPE {request} summary"),
            &format!("{request}{{request=\"Produce\",quantile=\"0.5\"}} 1.92"),
        ];
        assert_eq!(lines[..6], expected);
        let expected = [
            &format!("{request}_sum{{request=\"Produce\"}} 2"),
            &format!("{request}_count{{request=\"Produce\"}} 1"),
            "# HELP kafka_server_brokertopicmetrics_bytesin_total \
                kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec",
            "# TYPE kafka_server_brokertopicmetrics_bytesin_total counter",
            "kafka_server_brokertopicmetrics_bytesin_total{topic=\"a\\\"b\"} 1",
            "kafka_server_brokertopicmetrics_bytesin_total{topic=\"orders\"} 7",
        ];
        assert_eq!(lines[11..], expected);
    }
}
