//! kafka-console-consumer: prints the records of topics.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use ottla_client::{Consumer, ConsumerOptions, Start, TopicPartition};
use ottla_clock::Clock;

use super::formatter::Formatter;
use super::{COMMAND_CONFIG_OF_CONSUMER, CONSUMER_PROPERTY, FORMATTER_PROPERTY, console_settings};
use crate::options::Parsed;
use crate::print_to_stderr;
use crate::session::{GOODBYE, ToolError, ToolSession, ToolStop, key_values, tool_failed};

pub fn run_console_consumer(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let wanted = ConsumeOptions::new(args)?;
    let options = consumer_options(args, session, wanted.partition)?;
    let settings = formatter_settings(args)?;
    let formatter = Formatter::of_class(args.one("formatter"), &settings)?;
    let mut reading = ConsoleReading::new(args)?;
    let start = options.start;
    let client = session.connect()?;
    // From here on it may be a member of a group, which it has to leave however it ends.
    let mut stop = ToolStop::new(session)?;
    let mut consumer = Consumer::new(client, options);
    let done = session
        .wait(begin_reading(&mut consumer, wanted, start, &mut stop))
        .and_then(|()| print_records(session, &mut consumer, &formatter, &mut reading, &mut stop));
    // The reader of the output has closed it: that is no failure, but there is nothing to flush.
    let flushed = session.out.flush();
    print_to_stderr(&format!("Processed a total of {} messages", reading.count));
    let closed = session.wait(stop.or(consumer.close_within(GOODBYE)));
    if args.has("enable-systest-events") {
        writeln!(session.out, "shutdown_complete")?;
    }
    done?;
    flushed?;
    closed
}

/// Starts reading: one partition from a place in it, or topics, as a member of a group.
async fn begin_reading(
    consumer: &mut Consumer,
    wanted: ConsumeOptions<'_>,
    start: Start,
    stop: &mut ToolStop,
) -> Result<(), ToolError> {
    match (wanted.topic, wanted.partition, wanted.pattern) {
        (Some(topic), Some(partition), _) => {
            let place = TopicPartition::new(topic, partition);
            stop.or(consumer.assign([place.clone()].into())).await?;
            match wanted.offset {
                Some(StartOffset::At(offset)) => {
                    consumer.seek(&place, offset);
                    Ok(())
                }
                Some(StartOffset::Known(start)) => stop.or(consumer.seek_to(&[place], start)).await,
                None => stop.or(consumer.seek_to(&[place], start)).await,
            }
        }
        (Some(topic), None, _) => stop.or(consumer.subscribe(&[topic])).await,
        (None, _, pattern) => {
            stop.or(consumer.subscribe_pattern(&pattern.unwrap_or_default())).await
        }
    }
}

/// Where to begin in a partition.
enum StartOffset {
    At(i64),
    Known(Start),
}

/// What the command line wants to be read.
struct ConsumeOptions<'a> {
    topic: Option<&'a str>,
    pattern: Option<String>,
    partition: Option<i32>,
    offset: Option<StartOffset>,
}

impl<'a> ConsumeOptions<'a> {
    fn new(args: &'a Parsed) -> Result<Self, ToolError> {
        let usage = |text: &str| Err(ToolError::Usage(text.to_owned()));
        let former = args.one("whitelist").map(|it| it.replace(',', "|"));
        let pattern = args.one("include").map(str::to_owned).or(former);
        let topic = args.one("topic");
        if topic.is_some() == pattern.is_some() {
            return usage("Exactly one of --include/--topic is required.");
        }
        let partition = args.number("partition").map_err(ToolError::Usage)?;
        let has_offset = args.has("offset");
        if partition.is_some() && topic.is_none() {
            return usage("The topic is required when partition is specified.");
        }
        if has_offset && partition.is_none() {
            return usage("The partition is required when offset is specified.");
        }
        if has_offset && args.has("from-beginning") {
            return usage("Options from-beginning and offset cannot be specified together.");
        }
        Ok(Self { topic, pattern, partition, offset: start_offset(args)? })
    }
}

fn start_offset(args: &Parsed) -> Result<Option<StartOffset>, ToolError> {
    let Some(text) = args.one("offset") else { return Ok(None) };
    let offset = match text.to_lowercase().as_str() {
        "earliest" => StartOffset::Known(Start::Beginning),
        "latest" => StartOffset::Known(Start::End),
        _ => match text.parse() {
            Ok(offset) if offset >= 0 => StartOffset::At(offset),
            _ => {
                return Err(ToolError::Usage(format!(
                    "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
                )));
            }
        },
    };
    Ok(Some(offset))
}

/// The consumer's options, of the file and of the command line, which must not contradict.
fn consumer_options(
    args: &Parsed,
    session: &ToolSession<'_>,
    partition: Option<i32>,
) -> Result<ConsumerOptions, ToolError> {
    COMMAND_CONFIG_OF_CONSUMER.check(args)?;
    let mut options = session.consumer_options(CONSUMER_PROPERTY.words(args)?)?;
    let words = key_values(CONSUMER_PROPERTY.words(args)?);
    let said = |name: &str| {
        let word = words.iter().rev().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        [session.settings.get(name).map(String::as_str), word].into_iter().flatten()
    };
    let groups: BTreeSet<&str> = said("group.id").chain(args.one("group")).collect();
    if groups.len() > 1 {
        let all: Vec<String> = groups.iter().map(|it| format!("'{it}'")).collect();
        return Err(ToolError::Usage(format!(
            "The group ids given by --group, --command-property and --command-config do not match: {}",
            all.join(", ")
        )));
    }
    if !groups.is_empty() && partition.is_some() {
        let usage = "Options group and partition cannot be specified together.".to_owned();
        return Err(ToolError::Usage(usage));
    }
    if let Some(group) = groups.first() {
        options.group = Some((*group).to_owned());
    }
    if args.has("from-beginning") {
        if let Some(other) = said("auto.offset.reset").last().filter(|it| *it != "earliest") {
            return Err(tool_failed(format!(
                "--from-beginning and auto.offset.reset={other} contradict each other; leave one of them out"
            )));
        }
        options.start = Start::Beginning;
    }
    if let Some(level) = args.one("isolation-level") {
        options.set("isolation.level", level)?;
    }
    if groups.is_empty() && said("enable.auto.commit").next().is_none() {
        // Without a group there is nothing to keep; it is one member, and nothing remains of it.
        options.auto_commit = false;
    }
    Ok(options)
}

/// How the command line wants records printed.
fn formatter_settings(
    args: &Parsed,
) -> Result<std::collections::BTreeMap<String, String>, ToolError> {
    let mut all = console_settings(args, "formatter-config", &FORMATTER_PROPERTY)?;
    let words = key_values(FORMATTER_PROPERTY.words(args)?);
    for (option, name) in
        [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
    {
        // A property counts more than the option, and the option more than the file.
        if let Some(class) = args.one(option).filter(|it| !it.is_empty())
            && words.iter().all(|(word, _)| word != name)
        {
            all.insert(name.to_owned(), class.to_owned());
        }
    }
    Ok(all)
}

/// When reading ends, and how many messages it has come to.
struct ConsoleReading {
    messages: u64,
    silence: Option<Duration>,
    skips_errors: bool,
    count: u64,
}

impl ConsoleReading {
    fn new(args: &Parsed) -> Result<Self, ToolError> {
        let messages: Option<i32> = args.number("max-messages").map_err(ToolError::Usage)?;
        let messages = match messages {
            None | Some(-1) => u64::MAX,
            Some(count) => u64::try_from(count).unwrap_or(0),
        };
        let silence: Option<i64> = args.number("timeout-ms").map_err(ToolError::Usage)?;
        let silence = silence.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let skips_errors = args.has("skip-message-on-error");
        Ok(Self { messages, silence, skips_errors, count: 0 })
    }
}

fn print_records(
    session: &mut ToolSession<'_>,
    consumer: &mut Consumer,
    formatter: &Formatter,
    reading: &mut ConsoleReading,
    stop: &mut ToolStop,
) -> Result<(), ToolError> {
    let clock = Clock::real();
    let mut last = clock.monotonic();
    while reading.count < reading.messages {
        let polled = session.wait(stop.or(consumer.poll()))?;
        match polled {
            Some(record) => {
                reading.count += 1;
                match formatter.print(&record, session.out) {
                    Err(error)
                        if error.kind() == ErrorKind::InvalidData && reading.skips_errors =>
                    {
                        print_to_stderr(&format!("{}@{}: {error}", record.place, record.offset));
                    }
                    printed => printed?,
                }
                last = clock.monotonic();
            }
            None => {
                session.out.flush()?;
                let silent = clock.monotonic().saturating_sub(last);
                if reading.silence.is_some_and(|most| silent >= most) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
