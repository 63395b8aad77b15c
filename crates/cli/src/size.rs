//! `ottla size`: from what is wanted to partitions, brokers and disks.

use std::error::Error;

use clap::Args;
use jiff::{Span, SpanRelativeTo, Unit};
use serde_json::{Value, json};

use crate::front::{Environment, Front, SharedOptions, print_to_stderr};
use crate::output::{Cell, OutputTable, column, format_bytes, format_duration};

/// Work out partitions, brokers and disks from throughput, consumers, latency and retention.
#[derive(Args, Debug)]
pub struct Size {
    /// The write rate at the peak, per second: 20MB, 500KB.
    #[arg(long, value_name = "BYTES", value_parser = some_size)]
    throughput: u64,
    /// How large a record is.
    #[arg(long, value_name = "BYTES", value_parser = some_size, default_value = "1KB")]
    record: u64,
    /// How many consumers the largest group has.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    consumers: u64,
    /// How many records one consumer handles in a second; slower consumers need more partitions.
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    consumer_rate: Option<u64>,
    /// How many groups read everything.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    groups: u64,
    /// How long records are kept.
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, default_value = "7d")]
    retention: u64,
    /// How many copies there are of each record.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    replicas: u64,
    /// The time in which a record must be acknowledged.
    #[arg(long, value_name = "TIME", value_parser = parse_millis, default_value = "10ms")]
    latency: u64,
    /// How many bytes one partition takes in a second; measure yours with `ottla bench`.
    #[arg(long, value_name = "BYTES", value_parser = some_size, default_value = "20MB")]
    per_partition: u64,
    /// How many bytes one broker receives and sends in a second.
    #[arg(long, value_name = "BYTES", value_parser = some_size, default_value = "500MB")]
    per_broker: u64,
    /// How large a broker's disk is.
    #[arg(long, value_name = "BYTES", value_parser = some_size, default_value = "2TB")]
    disk: u64,
    #[command(flatten)]
    shared: SharedOptions,
}

/// The largest count that a plan works with.
const COUNT_MAX: u64 = 1_000_000_000;

/// A number of bytes that is not 0.
pub(crate) fn some_size(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("it must be more than 0".to_owned()),
        size => Ok(size),
    }
}

/// A number of bytes: `20MB`, `1.5 GB`, `512`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim().trim_end_matches("/s");
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KB" => 1e3,
        "M" | "MB" => 1e6,
        "G" | "GB" => 1e9,
        "T" | "TB" => 1e12,
        "KIB" => 1024.0,
        "MIB" => 1_048_576.0,
        "GIB" => 1_073_741_824.0,
        _ => return Err(format!("{unit:?} is not a unit of size; use KB, MB or GB, as in 20MB")),
    };
    let number: f64 =
        number.parse().map_err(|_| format!("{text:?} is not a size; write it as 20MB"))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "digits and a point are not negative, and the rest is cut off"
    )]
    Ok((number * factor) as u64)
}

fn parse_millis(text: &str) -> Result<u64, String> {
    let span: Span = text
        .parse()
        .map_err(|_| format!("{text:?} is not a duration; write it as 10ms, 2h or 7d"))?;
    let ms = span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours()));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    ms.map(|it| it.abs() as u64).map_err(|error| error.to_string())
}

fn parse_seconds(text: &str) -> Result<u64, String> {
    parse_millis(text).map(|ms| ms / 1000)
}

/// How much of a disk is used at most, in percent: compaction and catching up need the rest.
const DISK_USED: u64 = 70;
/// How many partitions a broker should lead or follow at most.
const PARTITIONS_MAX: u64 = 4000;

/// What was worked out.
#[derive(Debug, PartialEq, Eq)]
struct SizePlan {
    partitions: u64,
    partitions_by_throughput: u64,
    partitions_by_consumers: u64,
    brokers: u64,
    brokers_by_network: u64,
    brokers_by_disk: u64,
    kept_bytes: u64,
    disk_bytes: u64,
    batch_bytes: u64,
    idle_consumers: u64,
}

fn plan_cluster(args: &Size) -> SizePlan {
    let by_throughput = args.throughput.div_ceil(args.per_partition.max(1)).max(1);
    let records = args.throughput.div_ceil(args.record.max(1));
    let busy = args.consumer_rate.map_or(1, |rate| records.div_ceil(rate.max(1)));
    let by_consumers = args.consumers.max(busy);
    let wanted = by_throughput.max(by_consumers);
    let kept_bytes = args.throughput.saturating_mul(args.retention);
    let disk_bytes = kept_bytes.saturating_mul(args.replicas).saturating_mul(100) / DISK_USED;
    // A broker takes its share of every copy, gives it to the other replicas, and to each group.
    let copies = args.replicas + (args.replicas - args.replicas.min(1)) + args.groups;
    let traffic = args.throughput.saturating_mul(copies);
    let by_network = traffic.div_ceil(args.per_broker.max(1));
    let by_disk = disk_bytes.div_ceil(args.disk.max(1));
    let by_count = wanted.saturating_mul(args.replicas).div_ceil(PARTITIONS_MAX);
    let brokers = by_network.max(by_disk).max(by_count).max(args.replicas).max(1);
    // Each broker leads as many partitions as any other. Fewer partitions than brokers would leave
    // brokers without work, and the others with more than their disks hold.
    let partitions = wanted.checked_next_multiple_of(brokers).unwrap_or(wanted);
    SizePlan {
        partitions,
        partitions_by_throughput: by_throughput,
        partitions_by_consumers: by_consumers,
        brokers,
        brokers_by_network: by_network,
        brokers_by_disk: by_disk,
        kept_bytes,
        disk_bytes,
        batch_bytes: (args.throughput / partitions).saturating_mul(args.latency) / 1000,
        idle_consumers: args.consumers.saturating_sub(partitions),
    }
}

impl SizePlan {
    /// Each line for people: what, how much, and why.
    fn rows(&self, args: &Size) -> [[Cell; 3]; 5] {
        let partitions = format!(
            "{} for {}/s at {}/s each, {} for the consumers; {} on each of {} brokers",
            self.partitions_by_throughput,
            format_bytes(args.throughput),
            format_bytes(args.per_partition),
            self.partitions_by_consumers,
            self.partitions / self.brokers,
            self.brokers,
        );
        let brokers = format!(
            "{} for the network, {} for the disks, {} for the replicas",
            self.brokers_by_network, self.brokers_by_disk, args.replicas
        );
        let disk = format!(
            "{} kept for {}, in {} copies, {DISK_USED} % full at most",
            format_bytes(self.kept_bytes),
            format_duration(args.retention),
            args.replicas
        );
        let batch = format!(
            "what reaches a partition within {} ms: batch.size, with linger.ms below that",
            args.latency
        );
        [
            ["partitions".into(), Cell::count(self.partitions), partitions.into()],
            ["brokers".into(), Cell::count(self.brokers), brokers.into()],
            ["disk, in all".into(), Cell::bytes(self.disk_bytes), disk.into()],
            [
                "disk, each broker".into(),
                Cell::bytes(self.disk_bytes.div_ceil(self.brokers)),
                format!("of {}", format_bytes(args.disk)).into(),
            ],
            ["batch".into(), Cell::bytes(self.batch_bytes.max(args.record)), batch.into()],
        ]
    }

    fn object(&self, args: &Size) -> Value {
        json!({
            "partitions": self.partitions,
            "partitions_for_throughput": self.partitions_by_throughput,
            "partitions_for_consumers": self.partitions_by_consumers,
            "brokers": self.brokers,
            "brokers_for_network": self.brokers_by_network,
            "brokers_for_disks": self.brokers_by_disk,
            "brokers_for_replicas": args.replicas,
            "kept_bytes": self.kept_bytes,
            "retention_seconds": args.retention,
            "disk_bytes": self.disk_bytes,
            "disk_bytes_per_broker": self.disk_bytes.div_ceil(self.brokers),
            "batch_bytes": self.batch_bytes.max(args.record),
            "idle_consumers": self.idle_consumers,
        })
    }

    /// What is worth a thought beside the figures.
    fn notes(&self, args: &Size) -> Vec<String> {
        let mut notes = Vec::new();
        let others = self.brokers_by_network.max(args.replicas);
        if self.brokers_by_disk > others {
            let a_day =
                args.throughput.saturating_mul(args.replicas).saturating_mul(100) / DISK_USED;
            let room = others.saturating_mul(args.disk);
            notes.push(format!(
                "the disks decide: {others} brokers would do if each had {} of disk, or if records were kept for {}. If {}/s is the peak and not the mean, give --throughput the mean for the disks.",
                format_bytes(self.disk_bytes.div_ceil(others)),
                format_duration(room / a_day.max(1)),
                format_bytes(args.throughput),
            ));
        }
        if self.batch_bytes < args.record {
            notes.push(format!(
                "within {} ms not one record of {} reaches each partition; fewer partitions, or keys that gather, make better batches.",
                args.latency,
                format_bytes(args.record)
            ));
        }
        if args.replicas < 3 {
            notes.push(format!(
                "{} {} the loss of {} brokers; 3 with min.insync.replicas=2 is the usual choice.",
                args.replicas,
                if args.replicas == 1 { "replica survives" } else { "replicas survive" },
                args.replicas - 1
            ));
        }
        if self.idle_consumers > 0 {
            notes.push(format!(
                "{} of the consumers would have nothing to read.",
                self.idle_consumers
            ));
        }
        notes
    }
}

pub(crate) fn run_size(args: Size, environment: &Environment) -> Result<(), Box<dyn Error>> {
    args.shared.refuse_watch("size")?;
    let found = plan_cluster(&args);
    let mut table = OutputTable::new(&[column("what"), column("how much"), column("because")]);
    found.rows(&args).into_iter().for_each(|row| table.row(row.into()));
    table.in_json(vec![found.object(&args)]);
    for note in found.notes(&args) {
        print_to_stderr(format!("Note: {note}"));
    }
    Ok(Front::new(&args.shared, environment)?.print(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Size {
        Size {
            throughput: 100_000_000,
            record: 1000,
            consumers: 8,
            consumer_rate: None,
            groups: 2,
            retention: 86_400,
            replicas: 3,
            latency: 10,
            per_partition: 20_000_000,
            per_broker: 500_000_000,
            disk: 2_000_000_000_000,
            shared: SharedOptions::default(),
        }
    }

    #[test]
    fn sizes_follow_from_what_is_wanted() {
        let found = plan_cluster(&args());
        // 5 for the throughput, 8 for the consumers; 37 TB of disk need 19 brokers.
        assert_eq!((found.partitions_by_throughput, found.partitions_by_consumers), (5, 8));
        assert_eq!((found.brokers_by_network, found.brokers_by_disk, found.brokers), (2, 19, 19));
        assert_eq!((found.partitions, found.idle_consumers), (19, 0));
        let slow = plan_cluster(&Size { consumer_rate: Some(1000), retention: 3600, ..args() });
        assert_eq!((slow.partitions_by_consumers, slow.brokers, slow.partitions), (100, 3, 102));
        assert_eq!(
            ["20MB", "1.5 GB", "512", "1KiB"].map(parse_bytes),
            [Ok(20_000_000), Ok(1_500_000_000), Ok(512), Ok(1024)]
        );
        assert!(parse_bytes("20 apples").unwrap_err().contains("not a unit"));
        assert!(some_size("0").is_err());
        assert_eq!((parse_seconds("7d"), parse_millis("10ms")), (Ok(604_800), Ok(10)));
    }

    #[test]
    fn every_plan_is_possible() {
        let mut notes = 0;
        for throughput in [1, 1_000_000, 50_000_000, 5_000_000_000, u64::MAX] {
            for retention in [0, 3600, 604_800, 31_536_000] {
                for (consumers, replicas) in [(1, 1), (12, 3), (1000, 3), (1_000_000_000, 5)] {
                    let args = Size { throughput, retention, consumers, replicas, ..args() };
                    let found = plan_cluster(&args);
                    let text = format!("{args:?}: {found:?}");
                    assert!(
                        found.brokers >= replicas && found.partitions >= found.brokers,
                        "{text}"
                    );
                    assert_eq!(found.partitions % found.brokers, 0, "{text}");
                    // What a broker holds fits on its disk, and no broker is without a partition.
                    let each = found.partitions / found.brokers * replicas;
                    assert!(each >= 1, "{text}");
                    let of_partition = found.disk_bytes / (found.partitions * replicas);
                    assert!(of_partition.saturating_mul(each) <= args.disk, "{text}");
                    notes += found.notes(&args).len();
                }
            }
        }
        assert_ne!(notes, 0);
        let readme = Size { throughput: 50_000_000, consumers: 12, retention: 604_800, ..args() };
        let found = plan_cluster(&readme);
        assert_eq!((found.brokers, found.partitions), (65, 65));
        let note = found.notes(&readme).concat();
        assert!(
            note.contains(
                "3 brokers would do if each had 43.2 TB of disk, or if records were kept for 7 h"
            ),
            "{note}"
        );
        let because = OutputTable::new(&[column("a"), column("b"), column("c")]);
        let mut shown = because;
        found.rows(&readme).into_iter().for_each(|row| shown.row(row.into()));
        let shown = shown.show(crate::output::OutputFormat::Table, false);
        assert!(shown.contains("30.2 TB kept for 7 days, in 3 copies"), "{shown}");
    }
}
