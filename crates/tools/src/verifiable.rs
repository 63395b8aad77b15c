//! kafka-verifiable-producer and kafka-verifiable-consumer: what they do, as lines of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{
    Consumer, PartitionOffsets, Producer, ProducerRecord, Received, Start, TopicPartition,
};
use ottla_clock::Clock;
use serde_json::json;

use crate::options::{Opt, Parsed, flag, last};
use crate::session::{GOODBYE, ToolError, ToolSession, ToolStop};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-verifiable-producer",
        about: "Write ascending numbers, and print partition and offset of each.",
        options: PRODUCER,
        run: run_verifiable_producer,
    },
    &Tool {
        name: "kafka-verifiable-consumer",
        about: "Read as a member of a group, and print each event as JSON.",
        options: CONSUMER,
        run: run_verifiable_consumer,
    },
];

const PRODUCER: &[Opt] = &[
    last("topic", "NAME", "The topic."),
    last("max-messages", "COUNT", "The number of records; -1 (the default) for no limit."),
    last("throughput", "RATE", "The rate, in records a second; -1 for no limit."),
    last("acks", "ACKS", "Which replicas must have a record (acks): 0, 1 or -1."),
    last(
        "message-create-time",
        "MS",
        "The timestamp of the first record, in ms; later ones follow.",
    ),
    last("value-prefix", "NUMBER", "A text before each value, divided from it by a dot."),
    last("repeating-keys", "COUNT", "The number of keys: they count from 0 and repeat."),
    last("producer.config", "FILE", "The former name of --command-config."),
];

const CONSUMER: &[Opt] = &[
    last("topic", "NAME", "The topic."),
    last("group-id", "ID", "The group."),
    last("group-instance-id", "ID", "The instance id of a static member."),
    last("group-protocol", "NAME", "classic (the default) or consumer."),
    last("group-remote-assignor", "NAME", "With consumer: the assignor on the coordinator."),
    last("assignment-strategy", "CLASS", "With classic: the assignor class."),
    last("max-messages", "COUNT", "The number of records; -1 (the default) for no limit."),
    last("session-timeout", "MS", "The session timeout, in ms."),
    last("reset-policy", "WHERE", "earliest (the default), latest or none."),
    flag("verbose", "Print a line for each record."),
    flag("enable-autocommit", "Commit periodically, and not after each batch."),
    last("consumer.config", "FILE", "The former name of --command-config."),
];

/// How many records make a batch, as many as Kafka's consumer hands out at once.
const BATCH: usize = 500;
/// How long records may wait in a batch.
const LINGER: Duration = Duration::from_millis(5);

/// Prints an event; `more` are its fields as JSON, with a comma before each.
fn print_event(session: &mut ToolSession<'_>, name: &str, more: &str) -> Result<(), ToolError> {
    let now = Clock::real().wall_ms();
    writeln!(session.out, "{{\"timestamp\":{now},\"name\":\"{name}\"{more}}}")?;
    session.out.flush()?;
    Ok(())
}

/// A partition and more as an object of JSON.
fn partition_object(place: &TopicPartition, more: &str) -> String {
    format!("{{\"topic\":{},\"partition\":{}{more}}}", json!(&*place.topic), place.partition)
}

/// How many, where -1 is as many as can be.
fn max_messages(args: &Parsed) -> Result<u64, ToolError> {
    let asked: Option<i64> = args.number("max-messages").map_err(ToolError::Usage)?;
    Ok(asked.and_then(|it| u64::try_from(it).ok()).unwrap_or(u64::MAX))
}

/// What a producer is to write.
struct Numbers {
    prefix: String,
    keys: Option<u64>,
    created: Option<i64>,
    /// Key and value of what was sent and not yet acknowledged, by the record's number.
    sent: BTreeMap<u64, (Option<String>, String)>,
    acked: u64,
}

impl Numbers {
    fn of(args: &Parsed) -> Result<Self, String> {
        let prefix = args.one("value-prefix").map_or_else(String::new, |it| format!("{it}."));
        Ok(Self {
            prefix,
            keys: args.number("repeating-keys")?.filter(|it| *it > 0),
            created: args.number("message-create-time")?.filter(|it| *it >= 0),
            sent: BTreeMap::new(),
            acked: 0,
        })
    }

    fn next(&mut self, number: u64, since: Duration) -> ProducerRecord {
        let key = self.keys.map(|keys| (number % keys).to_string());
        let value = format!("{}{number}", self.prefix);
        let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let message = ProducerRecord {
            key: key.clone().map(Bytes::from),
            value: Some(Bytes::from(value.clone())),
            timestamp: self.created.map(|at| at.saturating_add(since)),
            ..ProducerRecord::default()
        };
        self.sent.insert(number, (key, value));
        message
    }

    /// Prints the records that have been written.
    fn acknowledge(
        &mut self,
        session: &mut ToolSession<'_>,
        producer: &mut Producer,
    ) -> Result<(), ToolError> {
        for report in producer.reports() {
            let Some((key, value)) = self.sent.remove(&report.number) else { continue };
            self.acked += 1;
            let (topic, partition) = (json!(&*report.place.topic), report.place.partition);
            let (key, value, offset) = (json!(key), json!(value), report.offset);
            print_event(
                session,
                "producer_send_success",
                &format!(
                    ",\"key\":{key},\"value\":{value},\"offset\":{offset},\"topic\":{topic},\"partition\":{partition}"
                ),
            )?;
        }
        Ok(())
    }
}

fn run_verifiable_producer(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let topic = args.required("topic").map_err(ToolError::Usage)?;
    let rate: i64 = args.number("throughput").map_err(ToolError::Usage)?.unwrap_or(-1);
    let per_second = u32::try_from(rate).ok().filter(|it| *it > 0);
    let most = max_messages(args)?;
    let mut numbers = Numbers::of(args).map_err(ToolError::Usage)?;
    let mut options = session.producer_options(&[], std::iter::empty())?;
    if let Some(acks) = args.one("acks") {
        options.set("acks", acks)?;
    }
    options.reports = true;
    let clock = Clock::real();
    let mut producer = Producer::new(session.connect()?, options);
    let mut stop = ToolStop::new(session)?;
    print_event(session, "startup_complete", "")?;
    let began = clock.monotonic();
    let (mut given, mut flushed, mut stopped) = (0, began, None);
    while given < most {
        let now = clock.monotonic();
        let message = numbers.next(given, now.saturating_sub(began));
        given += 1;
        let due = per_second.and_then(|rate| began.checked_add(Duration::from_secs(given) / rate));
        let is_early = due.is_some_and(|due| due > now);
        let step = async {
            producer.send(topic, message).await?;
            if is_early || now.saturating_sub(flushed) >= LINGER {
                producer.flush().await?;
            }
            Ok::<(), ToolError>(())
        };
        session.wait(step)?;
        if is_early || now.saturating_sub(flushed) >= LINGER {
            flushed = now;
        }
        numbers.acknowledge(session, &mut producer)?;
        let pause = async {
            clock.sleep_until(due.unwrap_or_default()).await;
            Ok(())
        };
        match session.wait(stop.or(pause)) {
            Err(ToolError::Stopped(code)) => {
                stopped = Some(code);
                break;
            }
            slept => slept?,
        }
    }
    session.wait(producer.flush())?;
    numbers.acknowledge(session, &mut producer)?;
    print_event(session, "shutdown_complete", "")?;
    let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure to be printed")]
    let average = if seconds > 0.0 { numbers.acked as f64 / seconds } else { 0.0 };
    let acked = numbers.acked;
    print_event(
        session,
        "tool_data",
        &format!(
            ",\"sent\":{given},\"acked\":{acked},\"target_throughput\":{rate},\"avg_throughput\":{average}"
        ),
    )?;
    stopped.map_or(Ok(()), |code| Err(ToolError::Stopped(code)))
}

/// A consumer that prints each of its steps.
struct VerifiableConsumer {
    consumer: Consumer,
    verbose: bool,
    commits: bool,
    assigned: BTreeSet<TopicPartition>,
    batch: Vec<Received>,
    count: u64,
    most: u64,
}

impl VerifiableConsumer {
    /// Prints which partitions were assigned and which were revoked.
    fn look(&mut self, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
        let now: BTreeSet<TopicPartition> = self.consumer.assignment().into_iter().collect();
        if now == self.assigned {
            return Ok(());
        }
        let gone = self.assigned.difference(&now).cloned().collect();
        let new = now.difference(&self.assigned).cloned().collect();
        print_partitions(session, "partitions_revoked", &gone)?;
        print_partitions(session, "partitions_assigned", &new)?;
        self.assigned = now;
        Ok(())
    }

    /// Prints a batch, and commits it.
    fn settle(&mut self, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
        let batch = std::mem::take(&mut self.batch);
        let mut ranges: BTreeMap<TopicPartition, (u64, i64, i64)> = BTreeMap::new();
        for it in &batch {
            let range = ranges.entry(it.place.clone()).or_insert((0, it.offset, it.offset));
            (range.0, range.2) = (range.0 + 1, it.offset);
            if self.verbose {
                let text = |part: &Option<Bytes>| {
                    json!(part.as_ref().map(|it| String::from_utf8_lossy(it).into_owned()))
                };
                let (key, value) = (text(&it.key), text(&it.value));
                let (topic, partition) = (json!(&*it.place.topic), it.place.partition);
                let offset = it.offset;
                print_event(
                    session,
                    "record_data",
                    &format!(
                        ",\"key\":{key},\"value\":{value},\"topic\":{topic},\"partition\":{partition},\"offset\":{offset}"
                    ),
                )?;
            }
        }
        let one = |(place, (count, first, last)): (&TopicPartition, &(u64, i64, i64))| {
            let more = format!(",\"count\":{count},\"minOffset\":{first},\"maxOffset\":{last}");
            partition_object(place, &more)
        };
        let all: Vec<String> = ranges.iter().map(one).collect();
        let (count, all) = (batch.len(), all.join(","));
        print_event(
            session,
            "records_consumed",
            &format!(",\"count\":{count},\"partitions\":[{all}]"),
        )?;
        if !self.commits {
            return Ok(());
        }
        let offsets: PartitionOffsets =
            ranges.iter().map(|(place, (_, _, last))| (place.clone(), last + 1)).collect();
        let committed = session.wait(self.consumer.commit_offsets(&offsets));
        let one = |(place, offset): (&TopicPartition, &i64)| {
            partition_object(place, &format!(",\"offset\":{offset}"))
        };
        let all: Vec<String> = offsets.iter().map(one).collect();
        let all = all.join(",");
        let how = match committed {
            Ok(()) => "\"success\":true".to_owned(),
            Err(error) => format!("\"success\":false,\"error\":{}", json!(error.to_string())),
        };
        print_event(session, "offsets_committed", &format!(",\"offsets\":[{all}],{how}"))
    }
}

fn print_partitions(
    session: &mut ToolSession<'_>,
    what: &str,
    places: &BTreeSet<TopicPartition>,
) -> Result<(), ToolError> {
    if places.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = places.iter().map(|place| partition_object(place, "")).collect();
    print_event(session, what, &format!(",\"partitions\":[{}]", all.join(",")))
}

fn run_verifiable_consumer(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let topic = args.required("topic").map_err(ToolError::Usage)?;
    let group = args.required("group-id").map_err(ToolError::Usage)?;
    let mut options = session.consumer_options(std::iter::empty())?;
    options.set("group.id", group)?;
    options.start = Start::Beginning;
    for (option, name) in [
        ("group-instance-id", "group.instance.id"),
        ("group-protocol", "group.protocol"),
        ("group-remote-assignor", "group.remote.assignor"),
        ("session-timeout", "session.timeout.ms"),
        ("reset-policy", "auto.offset.reset"),
        ("assignment-strategy", "partition.assignment.strategy"),
    ] {
        if let Some(value) = args.one(option) {
            options.set(name, value)?;
        }
    }
    options.auto_commit = args.has("enable-autocommit");
    let mut told = VerifiableConsumer {
        verbose: args.has("verbose"),
        commits: !options.auto_commit,
        assigned: BTreeSet::new(),
        batch: Vec::new(),
        count: 0,
        most: max_messages(args)?,
        consumer: Consumer::new(session.connect()?, options),
    };
    // From here on it may be a member of the group, which it has to leave however it ends.
    let mut stop = ToolStop::new(session)?;
    print_event(session, "startup_complete", "")?;
    let done = read_records(session, &mut told, topic, &mut stop);
    let is_asked = matches!(done, Err(ToolError::Stopped(_)));
    if is_asked {
        print_event(session, "shutdown_requested", "")?;
    }
    let assigned = std::mem::take(&mut told.assigned);
    let closed = session.wait(told.consumer.close_within(GOODBYE));
    print_partitions(session, "partitions_revoked", &assigned)?;
    print_event(session, "shutdown_complete", "")?;
    done?;
    closed?;
    print_event(session, "shutdown_requested", "")
}

/// Reads until there is enough.
fn read_records(
    session: &mut ToolSession<'_>,
    told: &mut VerifiableConsumer,
    topic: &str,
    stop: &mut ToolStop,
) -> Result<(), ToolError> {
    session.wait(stop.or(told.consumer.subscribe(&[topic])))?;
    while told.count < told.most {
        let polled = session.wait(stop.or(told.consumer.poll()))?;
        told.look(session)?;
        let Some(record) = polled else { continue };
        told.batch.push(record);
        told.count += 1;
        let is_full = told.batch.len() >= BATCH || told.count == told.most;
        if is_full || told.consumer.buffered() == 0 {
            told.settle(session)?;
        }
    }
    Ok(())
}
