//! `ottla bench`: what the cluster does on this machine, in half a minute.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use ottla_client::{
    ChangeMode, Client, ClientError, Consumer, ConsumerOptions, NewTopic, Producer,
    ProducerOptions, ProducerRecord, Start, Stop, TopicPartition,
};
use ottla_clock::Clock;
use ottla_types::ErrorCode;

use crate::front::{Environment, Front, SharedOptions, print_to_stderr};
use crate::output::{Cell, OutputTable, column, titled};
use crate::progress::ProgressLine;

/// The prefix of its topics' names.
pub(crate) const TOPIC_PREFIX: &str = "ottla-bench-";

/// Write, read and time records in a topic of its own, and print throughput and latency.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// How many records to write and read.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 500_000)]
    records: u64,
    /// The size of each record, in bytes.
    #[arg(long, short, value_name = "BYTES", default_value_t = 1000)]
    size: usize,
    /// The number of partitions to write to.
    #[arg(long, short, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// How many single records to time.
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    latencies: usize,
    /// A setting of the producer, by Kafka's name.
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    shared: SharedOptions,
}

/// A record that no compression shrinks much, the next one different from the last.
fn random_payload(size: usize, seed: &mut u64) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// How long the topic's deletion may take at the end.
const DELETION: Duration = Duration::from_secs(10);

/// What was measured: records and bytes a second, or how long single records took.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures to be printed"
)]
fn rate_cells(count: u64, size: usize, took: Duration) -> [Cell; 5] {
    let seconds = took.as_secs_f64().max(1e-9);
    let records = count as f64 / seconds;
    let bytes = records * size as f64;
    [
        Cell::from(records.round() as i64),
        Cell::from(bytes.round() as i64).shown(format!("{:.1}", bytes / 1e6)),
        Cell::nothing(),
        Cell::nothing(),
        Cell::nothing(),
    ]
}

fn percentile_cells(mut all: Vec<Duration>) -> [Cell; 5] {
    all.sort_unstable();
    let at = |part: usize| all.get((all.len() * part / 1000).min(all.len().saturating_sub(1)));
    let us = |part| match at(part).map(|took| i64::try_from(took.as_micros()).unwrap_or(i64::MAX)) {
        Some(us) => Cell::from(us).shown(format!("{us} us")),
        None => Cell::nothing(),
    };
    [Cell::nothing(), Cell::nothing(), us(500), us(990), us(999)]
}

pub(crate) async fn run_bench(
    args: BenchArgs,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    args.shared.refuse_watch("bench")?;
    let front = Front::new(&args.shared, environment)?;
    let clock = Clock::real();
    let client = front.connect().await?;
    let topic = format!("{TOPIC_PREFIX}{}", clock.random_uuid());
    // From here on a signal ends the measuring, not the process: the topic must not stay.
    let mut stop = Stop::listen()?;
    let measured = tokio::select! {
        biased;
        measured = create_and_measure(&client, &args, &front, &topic, &clock) => measured,
        stopped = stop.asked() => Err(stopped.into()),
    };
    let deleted = tokio::select! {
        biased;
        deleted = client.delete_topic(&topic) => deleted,
        () = clock.sleep(DELETION) => Err(ClientError::TimedOut("deleting its topic".to_owned())),
    };
    match deleted {
        // It was not created.
        Ok(()) | Err(ClientError::Refused { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. }) => {}
        Err(error) => print_to_stderr(format!(
            "ottla: topic {topic} could not be deleted ({error}); `ottla topics delete {topic}` does it"
        )),
    }
    Ok(front.print(&measured?)?)
}

async fn create_and_measure(
    client: &Client,
    args: &BenchArgs,
    front: &Front<'_>,
    topic: &str,
    clock: &Clock,
) -> Result<OutputTable, Box<dyn Error>> {
    let new = NewTopic { partitions: args.partitions, ..NewTopic::named(topic) };
    client.create_topic(&new, ChangeMode::Change).await?;
    measure_topic(args, front, topic, clock).await
}

async fn measure_topic(
    args: &BenchArgs,
    front: &Front<'_>,
    topic: &str,
    clock: &Clock,
) -> Result<OutputTable, Box<dyn Error>> {
    let head = [
        column("what"),
        titled("records/s", "records_per_second"),
        titled("MB/s", "bytes_per_second"),
        titled("p50", "p50_us"),
        titled("p99", "p99_us"),
        titled("p99.9", "p999_us"),
    ];
    let mut table = OutputTable::new(&head);
    let mut row = |what: &str, figures: [Cell; 5]| {
        table.row(std::iter::once(what.into()).chain(figures).collect());
    };
    let mut options = ProducerOptions::default();
    for (name, value) in crate::topics::parse_pairs(args.settings.clone())? {
        options.set(&name, &value)?;
    }
    let mut seed = clock.random_below(u64::MAX - 1) + 1;
    let made: VecDeque<Bytes> = (0..64).map(|_| random_payload(args.size, &mut seed)).collect();
    let value = |number: u64| made[usize::try_from(number % 64).unwrap_or(0)].clone();
    let mut producer = Producer::new(front.connect().await?, options.clone());
    let mut progress = ProgressLine::new(clock);
    let began = clock.monotonic();
    for number in 0..args.records {
        let message = ProducerRecord { value: Some(value(number)), ..ProducerRecord::default() };
        producer.send(topic, message).await?;
        if number % 1000 == 0 {
            progress.show_part("writing", number, args.records);
        }
    }
    producer.flush().await?;
    row("write", rate_cells(args.records, args.size, clock.monotonic() - began));
    drop(progress);
    let places: Vec<TopicPartition> =
        (0..args.partitions).map(|index| TopicPartition::new(topic, index)).collect();
    let reading = ConsumerOptions { start: Start::Beginning, ..Default::default() };
    let mut consumer = Consumer::new(front.connect().await?, reading);
    consumer.assign(places.iter().cloned().collect()).await?;
    consumer.seek_to(&places, Start::Beginning).await?;
    let mut progress = ProgressLine::new(clock);
    let (began, mut count) = (clock.monotonic(), 0);
    while count < args.records {
        if consumer.poll().await?.is_some() {
            count += 1;
        }
        if count % 1000 == 0 {
            progress.show_part("reading", count, args.records);
        }
    }
    row("read", rate_cells(count, args.size, clock.monotonic() - began));
    drop(progress);
    let (mut acknowledged, mut received) = (Vec::new(), Vec::new());
    let mut progress = ProgressLine::new(clock);
    for number in 0..args.latencies as u64 {
        let message = ProducerRecord { value: Some(value(number)), ..ProducerRecord::default() };
        let began = clock.monotonic();
        producer.send(topic, message).await?;
        producer.flush().await?;
        acknowledged.push(clock.monotonic() - began);
        while consumer.poll().await?.is_none() {}
        received.push(clock.monotonic() - began);
        progress.show_part("timing", number + 1, args.latencies as u64);
    }
    drop(progress);
    consumer.close().await?;
    row("acknowledged", percentile_cells(acknowledged));
    row("end to end", percentile_cells(received));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_what_was_timed() {
        let all = (1..=1000).map(Duration::from_micros).collect();
        let us = |us: i64| Cell::from(us).shown(format!("{us} us"));
        let none = Cell::nothing;
        assert_eq!(percentile_cells(all), [none(), none(), us(501), us(991), us(1000)]);
        assert_eq!(percentile_cells(Vec::new()), [(); 5].map(|()| none()));
        let found = rate_cells(1000, 1000, Duration::from_millis(500));
        let wanted = [2000.into(), Cell::from(2_000_000).shown("2.0"), none(), none(), none()];
        assert_eq!(found, wanted);
        let mut seed = 1;
        let (one, other) = (random_payload(13, &mut seed), random_payload(13, &mut seed));
        assert!(one.len() == 13 && one != other);
    }
}
