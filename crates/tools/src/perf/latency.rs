//! kafka-e2e-latency.

use std::time::Duration;

use bytes::Bytes;
use ottla_client::{
    Acks, ChangeMode, Consumer, NewTopic, Producer, ProducerRecord, Start, TopicPartition,
};
use ottla_clock::Clock;
use ottla_types::ErrorCode;

use super::{Letters, float, per, percentile};
use crate::options::{Opt, Parsed, value};
use crate::session::{ToolError, ToolSession, read_properties, tool_failed};

pub const OPTIONS: &[Opt] = &[
    value("topic", "NAME", "The topic; created if it does not exist."),
    value("num-records", "COUNT", "The number of records."),
    value("producer-acks", "ACKS", "1 or all."),
    value("record-size", "BYTES", "The size of a record's value."),
    value("record-key-size", "BYTES", "The size of its key (default: no key)."),
    value("num-headers", "COUNT", "The number of headers of a record."),
    value("record-header-key-size", "BYTES", "The size of a header's name."),
    value("record-header-size", "BYTES", "The size of a header's value; -1 for none."),
];

/// How long a record may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the command line asks for: by name, or as Kafka's tool took it before, by place.
struct LatencyArgs {
    topic: String,
    count: u64,
    acks: Acks,
    size: usize,
}

fn latency_args(args: &Parsed, session: &mut ToolSession<'_>) -> Result<LatencyArgs, ToolError> {
    let usage = ToolError::Usage;
    let by_place = match &args.rest[..] {
        [] => None,
        [bootstrap, rest @ ..] if rest.len() == 4 || rest.len() == 5 => {
            tell!(
                "WARNING: Positional argument usage is deprecated. Use --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, --command-config instead."
            );
            session.bootstrap = Some(bootstrap.clone());
            if let Some(file) = rest.get(4) {
                session.settings.extend(read_properties(file)?);
            }
            Some(rest)
        }
        other => {
            let found = other.len();
            return Err(usage(format!(
                "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {found}. Usage: bootstrap-server topic num-records producer-acks record-size [optional] command-config"
            )));
        }
    };
    let text = |at: usize, name: &str| match by_place {
        Some(words) => Ok(words[at].clone()),
        None => args.required(name).map(str::to_owned),
    };
    let number = |at, name: &str| -> Result<u64, String> {
        let text = text(at, name)?;
        let found = text.parse().ok().filter(|it| *it > 0);
        found.ok_or_else(|| format!("Value for --{name} must be a positive integer."))
    };
    let acks = match text(2, "producer-acks").map_err(usage)?.as_str() {
        "1" => Acks::Leader,
        "all" => Acks::All,
        _ => {
            let why = "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'.";
            return Err(usage(why.to_owned()));
        }
    };
    Ok(LatencyArgs {
        topic: text(0, "topic").map_err(usage)?,
        count: number(1, "num-records").map_err(usage)?,
        acks,
        size: usize::try_from(number(3, "record-size").map_err(usage)?).unwrap_or(usize::MAX),
    })
}

pub fn run_latency(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let LatencyArgs { topic, count, acks, size } = latency_args(args, session)?;
    let number = |name: &str| args.number::<i64>(name).map_err(ToolError::Usage);
    let key_size = number("record-key-size")?.unwrap_or(0);
    let headers = number("num-headers")?.unwrap_or(0);
    let [name_size, value_size] =
        [number("record-header-key-size")?, number("record-header-size")?]
            .map(|it| it.unwrap_or(0));
    let clock = Clock::real();
    let mut letters = Letters::new(&clock);
    let mut options = session.producer_options(&[], std::iter::empty())?;
    (options.acks, options.idempotent) = (acks, acks == Acks::All);
    let mut consuming = session.consumer_options(std::iter::empty())?;
    (consuming.start, consuming.auto_commit, consuming.fetch_wait_ms) = (Start::End, false, 0);
    consuming.group = None;
    let places = topic_partitions(session, &topic)?;
    let mut producer = Producer::new(session.connect()?, options);
    let mut consumer = Consumer::new(session.connect()?, consuming);
    session.wait(consumer.assign(places.iter().cloned().collect()))?;
    session.wait(consumer.seek_to(&places, Start::End))?;
    let (mut total, mut all) = (0.0, Vec::new());
    for at in 0..count {
        let mut part = |size: i64| usize::try_from(size).ok().map(|size| letters.bytes(size));
        let message = ProducerRecord {
            key: part(key_size).filter(|it| !it.is_empty()),
            value: part(i64::try_from(size).unwrap_or(i64::MAX)),
            headers: (0..headers)
                .map(|_| (part(name_size).unwrap_or_default(), part(value_size)))
                .collect(),
            ..ProducerRecord::default()
        };
        let sent = message.value.clone();
        let began = clock.monotonic();
        session.wait(producer.send(&topic, message))?;
        session.wait(producer.flush())?;
        let took = await_record(session, &mut consumer, &clock, began, sent)?;
        let ms = took.as_secs_f64() * 1000.0;
        if at % 1000 == 0 {
            writeln!(session.out, "{at}\t{ms}")?;
            session.out.flush()?;
        }
        total += ms;
        all.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }
    writeln!(session.out, "Avg latency: {:.4} ms", per(total, float(count)))?;
    all.sort_unstable();
    let at = |part| percentile(&all, part);
    writeln!(
        session.out,
        "Percentiles: 50th = {}, 99th = {}, 99.9th = {}",
        at(0.5),
        at(0.99),
        at(0.999)
    )?;
    Ok(())
}

/// All partitions of the topic, which is created if it does not exist.
fn topic_partitions(
    session: &mut ToolSession<'_>,
    topic: &str,
) -> Result<Vec<TopicPartition>, ToolError> {
    let client = session.connect()?;
    let found = session.wait(client.describe_topic(topic))?;
    if found.error != ErrorCode::NONE {
        writeln!(
            session.out,
            "Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1"
        )?;
        let new = NewTopic { partitions: 1, replication_factor: 1, ..NewTopic::named(topic) };
        session.wait(client.create_topic(&new, ChangeMode::Change))?;
        return Ok(vec![TopicPartition::new(topic, 0)]);
    }
    let indexes = found.partitions.iter().map(|it| it.partition);
    Ok(indexes.map(|index| TopicPartition::new(topic, index)).collect())
}

fn await_record(
    session: &ToolSession<'_>,
    consumer: &mut Consumer,
    clock: &Clock,
    began: Duration,
    sent: Option<Bytes>,
) -> Result<Duration, ToolError> {
    loop {
        let found = session.wait(consumer.poll())?;
        let took = clock.monotonic().saturating_sub(began);
        match found {
            Some(record) if record.value == sent => return Ok(took),
            Some(_) => {
                return Err(tool_failed(
                    "The message value read does not match the message value sent; does another producer write to this topic?",
                ));
            }
            None if took > TIMEOUT => {
                let ms = TIMEOUT.as_millis();
                return Err(tool_failed(format!(
                    "poll() timed out before finding a result (timeout: {ms} ms)"
                )));
            }
            None => {}
        }
    }
}
