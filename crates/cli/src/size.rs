//! `ottla size`: from what is wanted to partitions, brokers and disks.

use std::error::Error;

use clap::Args;
use jiff::{Span, SpanRelativeTo, Unit};

use crate::front::{Environment, Front, Shared};
use crate::output::{Cell, Table, bytes};

/// Work out partitions, brokers and disks from throughput, consumers, latency and retention.
#[derive(Args, Debug)]
pub struct Size {
    /// What is written in a second, at the peak: 20MB, 500KB.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    throughput: u64,
    /// How large a record is.
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "1KB")]
    record: u64,
    /// How many consumers the largest group has.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    consumers: u64,
    /// How many records one consumer handles in a second; its slowness needs more of them.
    #[arg(long, value_name = "RATE")]
    consumer_rate: Option<u64>,
    /// How many groups read everything.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    groups: u64,
    /// How long records are kept.
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "7d")]
    retention: u64,
    /// How many copies there are of each record.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    replicas: u64,
    /// Within which time a record is to be acknowledged.
    #[arg(long, value_name = "TIME", value_parser = millis, default_value = "10ms")]
    latency: u64,
    /// What one partition takes in a second; measure yours with `ottla bench`.
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "20MB")]
    per_partition: u64,
    /// What one broker takes and gives in a second.
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "500MB")]
    per_broker: u64,
    /// How large a broker's disk is.
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "2TB")]
    disk: u64,
    #[command(flatten)]
    shared: Shared,
}

/// A number of bytes: `20MB`, `1.5 GB`, `512`.
fn size(text: &str) -> Result<u64, String> {
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
        _ => return Err(format!("{unit} is no unit; say 500KB, 20MB, 1.5GB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text} is no size; say 20MB"))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "digits and a point are not negative, and the rest is cut off"
    )]
    Ok((number * factor) as u64)
}

fn millis(text: &str) -> Result<u64, String> {
    let span: Span = text.parse().map_err(|_| format!("{text} is no time; say 10ms, 2h or 7d"))?;
    let ms = span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours()));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    ms.map(|it| it.abs() as u64).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<u64, String> {
    millis(text).map(|ms| ms / 1000)
}

/// How much of a disk is used at most, in percent: compaction and catching up need the rest.
const DISK_USED: u64 = 70;
/// How many partitions a broker should lead or follow at most.
const PARTITIONS_MAX: u64 = 4000;

/// What was worked out.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    partitions: u64,
    by_throughput: u64,
    by_consumers: u64,
    brokers: u64,
    by_network: u64,
    by_disk: u64,
    disk: u64,
    batch: u64,
    idle: u64,
}

fn plan(args: &Size) -> Plan {
    let by_throughput = args.throughput.div_ceil(args.per_partition.max(1)).max(1);
    let records = args.throughput.div_ceil(args.record.max(1));
    let busy = args.consumer_rate.map_or(1, |rate| records.div_ceil(rate.max(1)));
    let by_consumers = args.consumers.max(busy);
    let partitions = by_throughput.max(by_consumers);
    let kept = args.throughput.saturating_mul(args.retention).saturating_mul(args.replicas);
    let disk = kept.saturating_mul(100) / DISK_USED;
    // A broker takes its share of every copy, gives it to the other replicas, and to each group.
    let copies = args.replicas + (args.replicas - args.replicas.min(1)) + args.groups;
    let traffic = args.throughput.saturating_mul(copies);
    let by_network = traffic.div_ceil(args.per_broker.max(1));
    let by_disk = disk.div_ceil(args.disk.max(1));
    let by_count = (partitions * args.replicas).div_ceil(PARTITIONS_MAX);
    let brokers = by_network.max(by_disk).max(by_count).max(args.replicas).max(1);
    // Leaders should be spread evenly.
    let partitions = partitions.div_ceil(brokers.min(partitions)) * brokers.min(partitions);
    Plan {
        partitions,
        by_throughput,
        by_consumers,
        brokers,
        by_network,
        by_disk,
        disk,
        batch: (args.throughput / partitions).saturating_mul(args.latency) / 1000,
        idle: args.consumers.saturating_sub(partitions),
    }
}

pub(crate) async fn run(args: Size, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let found = plan(&args);
    let mut table = Table::new(&["what", "how much", "because"]);
    let number = |it: u64| Cell::Number(i64::try_from(it).unwrap_or(i64::MAX));
    table.row(vec![
        "partitions".into(),
        number(found.partitions),
        format!(
            "{} for {}/s at {}/s each, {} for the consumers; a multiple of the brokers",
            found.by_throughput,
            bytes(args.throughput),
            bytes(args.per_partition),
            found.by_consumers
        )
        .into(),
    ]);
    table.row(vec![
        "brokers".into(),
        number(found.brokers),
        format!(
            "{} for the network, {} for the disks, {} for the replicas",
            found.by_network, found.by_disk, args.replicas
        )
        .into(),
    ]);
    table.row(vec![
        "disk, in all".into(),
        Cell::Bytes(found.disk),
        format!(
            "{} kept in {} copies, {DISK_USED} % full at most",
            bytes(args.throughput.saturating_mul(args.retention)),
            args.replicas
        )
        .into(),
    ]);
    table.row(vec![
        "disk, each broker".into(),
        Cell::Bytes(found.disk / found.brokers),
        format!("of {}", bytes(args.disk)).into(),
    ]);
    table.row(vec![
        "batch".into(),
        Cell::Bytes(found.batch.max(args.record)),
        format!(
            "what reaches a partition within {} ms: batch.size, with linger.ms below that",
            args.latency
        )
        .into(),
    ]);
    if found.batch < args.record {
        eprintln!(
            "Note: within {} ms not one record of {} reaches each partition; fewer partitions, or keys that gather, make better batches.",
            args.latency,
            bytes(args.record)
        );
    }
    if args.replicas < 3 {
        eprintln!(
            "Note: {} replicas survive the loss of {}; 3 with min.insync.replicas=2 is what most choose.",
            args.replicas,
            args.replicas.saturating_sub(1)
        );
    }
    if found.idle > 0 {
        eprintln!("Note: {} of the consumers would have nothing to read.", found.idle);
    }
    let front = Front::new(&args.shared, environment)?;
    front.show(async || Ok(table.clone())).await
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
            shared: Shared::default(),
        }
    }

    #[test]
    fn sizes_follow_from_what_is_wanted() {
        let found = plan(&args());
        // 5 for the throughput, 8 for the consumers; 37 TB of disk need 19 brokers.
        assert_eq!((found.by_throughput, found.by_consumers), (5, 8));
        assert_eq!((found.by_network, found.by_disk, found.brokers), (2, 19, 19));
        assert_eq!((found.partitions, found.idle), (8, 0));
        let slow = plan(&Size { consumer_rate: Some(1000), retention: 3600, ..args() });
        assert_eq!((slow.by_consumers, slow.brokers, slow.partitions), (100, 3, 102));
        assert_eq!(
            ["20MB", "1.5 GB", "512", "1KiB"].map(size),
            [Ok(20_000_000), Ok(1_500_000_000), Ok(512), Ok(1024)]
        );
        assert!(size("20 apples").unwrap_err().contains("no unit"));
        assert_eq!((seconds("7d"), millis("10ms")), (Ok(604_800), Ok(10)));
    }
}
