//! `ottla produce`: lines become records.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use ottla_client::{
    Acks, ChangeMode, Client, Compression, NewTopic, Producer, ProducerOptions, ProducerRecord,
    RecordMetadata, Stop,
};
use ottla_clock::Clock;
use ottla_types::ErrorCode;
use tokio::sync::mpsc;

use crate::front::{Environment, Front, SharedOptions, print_to_stderr};
use crate::output::{OutputFormat, format_bytes};
use crate::progress::ProgressLine;

/// Write the lines of the standard input to a topic.
#[derive(Args, Debug)]
pub struct ProduceArgs {
    /// The topic.
    topic: String,
    /// Create the topic if it does not exist, with the cluster's defaults.
    #[arg(long)]
    create: bool,
    /// The text between key and value in a line; every line must have it. Without it a line is a
    /// value.
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// The key of all records.
    #[arg(long, value_name = "TEXT", conflicts_with = "key_separator")]
    key: Option<String>,
    /// The text that stands for null, as key or as value: `-K : --null NULL` makes a tombstone of
    /// the line `ann:NULL`.
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// A header of all records.
    #[arg(long, short = 'H', value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// The partition of all records, instead of one for each key.
    #[arg(long, short, value_name = "NUMBER", allow_negative_numbers = true)]
    partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, short = 'z', default_value = "none", value_parser = parse_codec)]
    compression: Compression,
    /// A setting of the producer, by Kafka's name.
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    shared: SharedOptions,
}

fn parse_codec(name: &str) -> Result<Compression, String> {
    let all = "none, gzip, snappy, lz4 or zstd";
    Compression::named(name).ok_or_else(|| format!("unknown compression codec {name}; use {all}"))
}

/// How many lines are read ahead of what is being sent.
const LINES_AHEAD: usize = 1024;
/// How long what was read before a signal may take to be sent.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// The lines of the standard input, read by a thread of their own: a signal must be heard while no
/// line comes.
struct InputLines {
    lines: mpsc::Receiver<io::Result<Vec<u8>>>,
    is_typed: bool,
}

impl InputLines {
    fn open() -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        let is_typed = io::stdin().is_terminal();
        let read = move || {
            let mut input = io::stdin().lock();
            loop {
                let mut line = Vec::new();
                let line = match input.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => {
                        if line.last() == Some(&b'\n') {
                            line.pop();
                        }
                        Ok(line)
                    }
                    Err(error) => Err(error),
                };
                let has_failed = line.is_err();
                if sender.blocking_send(line).is_err() || has_failed {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("lines".to_owned()).spawn(read)?;
        Ok(Self { lines, is_typed })
    }

    /// The next line without its end; `None` after the last.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.lines.recv().await.transpose()
    }
}

pub(crate) async fn run_produce(
    args: ProduceArgs,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    args.shared.refuse_watch("produce")?;
    let front = Front::new(&args.shared, environment)?;
    let wants_places = args.shared.output != OutputFormat::Table;
    let mut options = producer_options(&args, &front)?;
    let headers = crate::topics::parse_pairs(args.header.clone())?;
    let headers: Vec<(Bytes, Option<Bytes>)> =
        headers.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect();
    let client = front.connect().await?;
    let mut lines = InputLines::open()?;
    find_topic(&client, &args, &mut lines).await?;
    let is_seen = lines.is_typed && io::stderr().is_terminal();
    options.reports = wants_places || is_seen;
    if options.reports && options.acks == Acks::None {
        options.reports = false;
    }
    let mut work = LineBatch {
        producer: Producer::new(client, options),
        headers,
        args: &args,
        lines: 0,
        bytes: 0,
        is_seen,
    };
    if lines.is_typed {
        print_to_stderr("Each line is a record; end with Ctrl-D.");
    }
    let (mut stop, clock) = (Stop::listen()?, Clock::real());
    let done = tokio::select! {
        biased;
        done = work.send_all(&mut lines) => done,
        stopped = stop.asked() => Err(stopped.into()),
    };
    // What was read before a signal or before a wrong line is written all the same.
    let flushed = tokio::select! {
        biased;
        flushed = work.flush() => flushed,
        () = clock.sleep(LAST_FLUSH), if done.is_err() => Ok(()),
        stopped = stop.asked() => Err(stopped.into()),
    };
    done?;
    flushed?;
    if io::stderr().is_terminal() && !wants_places {
        let many = if work.lines == 1 { "" } else { "s" };
        print_to_stderr(format!("{} record{many} written to {}.", work.lines, args.topic));
    }
    Ok(())
}

fn producer_options(
    args: &ProduceArgs,
    front: &Front<'_>,
) -> Result<ProducerOptions, Box<dyn Error>> {
    let mut options = ProducerOptions { compression: args.compression, ..Default::default() };
    front.set_options(&args.settings, |name, value| options.set(name, value))?;
    Ok(options)
}

/// Makes sure that the topic exists and has the partition that was asked for. A topic that does not
/// exist is created only on request, since its name is more often misspelt than new.
async fn find_topic(
    client: &Client,
    args: &ProduceArgs,
    lines: &mut InputLines,
) -> Result<(), Box<dyn Error>> {
    let name = &args.topic;
    let found = client.describe_topic(name).await?;
    let topic = match found.error {
        ErrorCode::NONE => found,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
            let missing = crate::topics::missing_topic(client, name).await;
            if !args.create {
                let is_wanted = lines.is_typed && io::stderr().is_terminal() && {
                    write!(io::stderr(), "{missing}.\nCreate topic {name} now? [y/N] ")?;
                    let answer = lines.next().await?.unwrap_or_default();
                    matches!(answer.trim_ascii(), b"y" | b"Y" | b"yes")
                };
                if !is_wanted {
                    return Err(format!("{missing}; add --create to create it").into());
                }
            }
            let created = client.create_topic(&NewTopic::named(name), ChangeMode::Change).await;
            created.map_err(crate::topics::in_its_words)?;
            client.await_topic(name).await?
        }
        code => {
            return Err(format!("topic {name}: {} ({})", code.message(), code.name()).into());
        }
    };
    let count = topic.partitions.len();
    match args.partition {
        Some(wanted) if !topic.partitions.iter().any(|it| it.partition == wanted) => {
            Err(absent_partition(name, wanted, count).into())
        }
        _ => Ok(()),
    }
}

/// The error for a partition that a topic does not have.
pub(crate) fn absent_partition(topic: &str, wanted: i32, count: usize) -> String {
    match count {
        1 => format!("topic {topic} has no partition {wanted}: it has 1, number 0"),
        _ => format!(
            "topic {topic} has no partition {wanted}: it has {count}, numbers 0 to {}",
            count - 1
        ),
    }
}

/// Lines on their way.
struct LineBatch<'a> {
    producer: Producer,
    headers: Vec<(Bytes, Option<Bytes>)>,
    args: &'a ProduceArgs,
    lines: u64,
    bytes: u64,
    /// Does a person type and watch? Then each record's partition and offset are printed.
    is_seen: bool,
}

impl LineBatch<'_> {
    async fn send_all(&mut self, lines: &mut InputLines) -> Result<(), Box<dyn Error>> {
        let clock = Clock::real();
        let mut progress =
            if lines.is_typed { ProgressLine::hidden(&clock) } else { ProgressLine::new(&clock) };
        while let Some(line) = lines.next().await? {
            let message = self.message(&line)?;
            self.producer.send(&self.args.topic, message).await?;
            (self.lines, self.bytes) = (self.lines + 1, self.bytes + line.len() as u64);
            // What is typed goes at once; from a pipe, batches are filled.
            if lines.is_typed {
                self.flush().await?;
            } else if self.lines.is_multiple_of(1000) {
                progress.show(|| format!("{} records, {}", self.lines, format_bytes(self.bytes)));
                self.report()?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        self.producer.flush().await?;
        self.report()
    }

    /// Says where the records went that have been written since.
    fn report(&mut self) -> Result<(), Box<dyn Error>> {
        let reports = self.producer.reports();
        if self.is_seen && self.args.shared.output == OutputFormat::Table {
            for it in &reports {
                print_to_stderr(format!("  {} offset {}", it.place, it.offset));
            }
            return Ok(());
        }
        let mut out = io::stdout().lock();
        for it in &reports {
            match self.args.shared.output {
                OutputFormat::Json => writeln!(out, "{}", metadata_object(it))?,
                _ => {
                    let place = &it.place;
                    writeln!(out, "{}\t{}\t{}", place.topic, place.partition, it.offset)?;
                }
            }
        }
        Ok(out.flush()?)
    }

    fn message(&self, line: &[u8]) -> Result<ProducerRecord, String> {
        let args = self.args;
        let (key, value) = match args.key_separator.as_deref() {
            None => (args.key.as_deref().map(str::as_bytes), line),
            Some(separator) => match split_key(line, separator.as_bytes()) {
                Some((key, value)) => (Some(key), value),
                None => return Err(without_separator(self.lines, line, separator)),
            },
        };
        let null = args.null.as_deref().map(str::as_bytes);
        let part = |part: &[u8]| (Some(part) != null).then(|| Bytes::copy_from_slice(part));
        Ok(ProducerRecord {
            key: key.and_then(part),
            value: part(value),
            headers: self.headers.clone(),
            partition: args.partition,
            ..ProducerRecord::default()
        })
    }
}

fn metadata_object(report: &RecordMetadata) -> serde_json::Value {
    // Lines are counted from 1, as in messages and in editors.
    serde_json::json!({
        "line": report.number + 1,
        "topic": &*report.place.topic,
        "partition": report.place.partition,
        "offset": report.offset,
    })
}

fn split_key<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

/// The longest piece of a wrong line that is shown, in characters.
const SHOWN_CHARS: usize = 60;

fn without_separator(before: u64, line: &[u8], separator: &str) -> String {
    let text = String::from_utf8_lossy(line);
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let cut = if shown.len() < text.len() { "..." } else { "" };
    let written = match before {
        0 => "nothing was written".to_owned(),
        1 => "the line before it was written".to_owned(),
        count => format!("the {count} lines before it were written"),
    };
    format!(
        "line {} has no {separator:?} between key and value: {shown:?}{cut}; {written}",
        before + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_divided_at_its_first_separator() {
        assert_eq!(split_key(b"a:b:c", b":"), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(split_key(b"a=>b", b"=>"), Some((&b"a"[..], &b"b"[..])));
        assert_eq!(split_key(b":v", b":"), Some((&b""[..], &b"v"[..])));
        assert_eq!(split_key(b"a", b"=>"), None);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_with_its_number() {
        assert_eq!(
            without_separator(2, b"oops", ":"),
            "line 3 has no \":\" between key and value: \"oops\"; the 2 lines before it were written"
        );
        let long = without_separator(0, &[b'x'; 500], "=>");
        assert!(long.len() < 200 && long.contains("...; nothing was written"), "{long}");
        assert_eq!(absent_partition("t", 9, 1), "topic t has no partition 9: it has 1, number 0");
        assert!(absent_partition("t", -1, 3).ends_with("it has 3, numbers 0 to 2"));
    }
}
