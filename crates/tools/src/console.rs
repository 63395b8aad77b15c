//! kafka-console-producer and kafka-console-consumer.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{Consumer, Message, Producer, Received, Start, TopicPartition};
use ottla_clock::Clock;

use crate::Tool;
use crate::options::{Opt, Parsed, flag, maybe, value};
use crate::session::{Session, ToolError, failed, pairs, properties};

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-console-producer",
        about: "Write the lines of the standard input to a topic.",
        options: PRODUCER,
        run: produce,
    },
    &Tool {
        name: "kafka-console-consumer",
        about: "Print the records of topics.",
        options: CONSUMER,
        run: consume,
    },
];

const PRODUCER: &[Opt] = &[
    value("topic", "NAME", "The topic."),
    value("property", "NAME=VALUE", "The former name of --reader-property."),
    value(
        "reader-property",
        "NAME=VALUE",
        "How lines are read: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker, ignore.error.",
    ),
    value("reader-config", "FILE", "The same in a file."),
    value("producer-property", "NAME=VALUE", "The former name of --command-property."),
    value("command-property", "NAME=VALUE", "A setting of the producer."),
    value("producer.config", "FILE", "The former name of --command-config."),
    maybe("compression-codec", "CODEC", "none, gzip (if none is said), snappy, lz4 or zstd."),
    value("batch-size", "BYTES", "The size of a batch."),
    value("request-required-acks", "ACKS", "Who must have a record: 0, 1 or all."),
    value("request-timeout-ms", "MS", "How long the broker may wait for that."),
    flag("sync", "Wait for each record."),
    value("line-reader", "CLASS", "Only the default one is known."),
    value("max-block-ms", "MS", "Has no effect here, as those that follow."),
    value("timeout", "MS", "How long a record waits for others."),
    value("message-send-max-retries", "COUNT", "How often it is tried again."),
    value("retry-backoff-ms", "MS", "How long to wait in between."),
    value("max-memory-bytes", "BYTES", "How much may wait."),
    value("max-partition-memory-bytes", "BYTES", "How much of a partition may wait."),
    value("metadata-expiry-ms", "MS", "How long what is known of topics counts."),
    value("socket-buffer-size", "BYTES", "The size of the socket's buffer."),
];

const CONSUMER: &[Opt] = &[
    value("topic", "NAME", "The topic."),
    value("include", "REGEX", "The topics whose name matches."),
    value("whitelist", "REGEX", "The former name of --include."),
    value("partition", "NUMBER", "Only this partition."),
    value("offset", "OFFSET", "Where to begin in it: a number, earliest or latest."),
    value("group", "ID", "Read as a member of this group."),
    value("consumer-property", "NAME=VALUE", "The former name of --command-property."),
    value("command-property", "NAME=VALUE", "A setting of the consumer."),
    value("consumer.config", "FILE", "The former name of --command-config."),
    value("property", "NAME=VALUE", "The former name of --formatter-property."),
    value(
        "formatter-property",
        "NAME=VALUE",
        "What is printed: print.key, print.value, print.timestamp, print.partition, print.offset, print.headers, print.delivery, key.separator, line.separator, headers.separator, null.literal.",
    ),
    value("formatter-config", "FILE", "The same in a file."),
    value("formatter", "CLASS", "Only the default one and NoOpMessageFormatter are known."),
    value("key-deserializer", "CLASS", "What keys are: a deserializer of Kafka's, by its name."),
    value("value-deserializer", "CLASS", "What values are."),
    flag("enable-systest-events", "Has no effect here."),
    flag("from-beginning", "Begin at the first record where the group has no offset."),
    value("max-messages", "COUNT", "End after so many records."),
    value("timeout-ms", "MS", "End if no record comes for so long."),
    value("isolation-level", "LEVEL", "read_committed, or read_uncommitted (the default)."),
    flag("skip-message-on-error", "Go on when a record cannot be printed."),
];

/// `NAME=VALUE` words under either of two names.
fn words<'a>(args: &'a Parsed, names: [&'a str; 2]) -> impl Iterator<Item = &'a str> {
    names.into_iter().flat_map(|name| args.all(name))
}

struct Reader {
    parses_key: bool,
    parses_headers: bool,
    key_separator: String,
    header_delimiter: String,
    header_separator: String,
    header_key_separator: String,
    null_marker: Option<String>,
    ignores_errors: bool,
}

impl Reader {
    fn new(settings: &BTreeMap<String, String>) -> Self {
        let text = |name: &str, or: &str| settings.get(name).map_or(or, String::as_str).to_owned();
        let is_on = |name: &str| settings.get(name).is_some_and(|it| it.trim() == "true");
        Self {
            parses_key: is_on("parse.key"),
            parses_headers: is_on("parse.headers"),
            key_separator: text("key.separator", "\t"),
            header_delimiter: text("headers.delimiter", "\t"),
            header_separator: text("headers.separator", ","),
            header_key_separator: text("headers.key.separator", ":"),
            null_marker: settings.get("null.marker").cloned(),
            ignores_errors: is_on("ignore.error"),
        }
    }

    fn value(&self, text: &str) -> Option<Bytes> {
        let is_null = self.null_marker.as_deref() == Some(text);
        (!is_null).then(|| Bytes::from(text.to_owned()))
    }

    /// A record from a line: headers, key and value, as far as they are asked for.
    fn read(&self, line: &str, number: usize) -> Result<Message, String> {
        let mut rest = line;
        let mut message = Message::default();
        if self.parses_headers {
            match rest.split_once(&*self.header_delimiter) {
                Some((headers, more)) => {
                    message.headers = self.headers(headers, number)?;
                    rest = more;
                }
                None if self.ignores_errors => {}
                None => {
                    return Err(format!(
                        "No header delimiter found on line number {number}: '{line}'"
                    ));
                }
            }
        }
        if self.parses_key {
            match rest.split_once(&*self.key_separator) {
                Some((key, more)) => {
                    message.key = self.value(key);
                    rest = more;
                }
                None if self.ignores_errors => {}
                None => {
                    return Err(format!(
                        "No key separator found on line number {number}: '{line}'"
                    ));
                }
            }
        }
        message.value = self.value(rest);
        Ok(message)
    }

    fn headers(&self, text: &str, number: usize) -> Result<Vec<(Bytes, Option<Bytes>)>, String> {
        let one = |pair: &str| {
            let (key, value) = pair.split_once(&*self.header_key_separator).ok_or_else(|| {
                format!("No header key separator found in pair '{pair}' on line number {number}")
            })?;
            Ok((Bytes::from(key.to_owned()), self.value(value)))
        };
        text.split(&*self.header_separator).filter(|it| !it.is_empty()).map(one).collect()
    }
}

fn produce(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    let topic = args
        .one("topic")
        .ok_or_else(|| ToolError::Usage("Missing required option(s) [topic]".to_owned()))?;
    let mut settings = BTreeMap::new();
    if let Some(file) = args.one("reader-config") {
        settings.extend(properties(file)?);
    }
    settings.extend(pairs(words(args, ["property", "reader-property"]))?);
    let reader = Reader::new(&settings);
    if let Some(class) = args.one("line-reader").filter(|it| !it.ends_with("LineMessageReader")) {
        return Err(failed(format!("--line-reader {class}: only the default reader is known")));
    }
    let properties = words(args, ["producer-property", "command-property"]);
    let mut options = session.producer_options(properties)?;
    if args.has("compression-codec") {
        options.set("compression.type", args.one("compression-codec").unwrap_or("gzip"))?;
    }
    for (option, name) in [
        ("batch-size", "batch.size"),
        ("request-required-acks", "acks"),
        ("request-timeout-ms", "request.timeout.ms"),
    ] {
        if let Some(value) = args.one(option) {
            options.set(name, value)?;
        }
    }
    let cluster = session.connect()?;
    let mut producer = Producer::new(cluster, options);
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    let prompt = |out: &mut dyn Write| -> std::io::Result<()> {
        if is_terminal {
            out.write_all(b">")?;
            out.flush()?;
        }
        Ok(())
    };
    prompt(session.out)?;
    for (line, number) in stdin.lock().lines().zip(1..) {
        let message = reader.read(&line?, number).map_err(failed)?;
        session.wait(producer.send(topic, message))?;
        if is_terminal || args.has("sync") {
            session.wait(producer.flush())?;
        }
        prompt(session.out)?;
    }
    session.wait(producer.flush())?;
    Ok(())
}

/// What the bytes of a key or a value are, by the names of Kafka's deserializers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Text,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
}

impl Kind {
    /// The kind that a class stands for; with or without its package.
    fn named(class: &str) -> Result<Self, ToolError> {
        let name = class.rsplit('.').next().unwrap_or(class);
        Ok(match name.strip_suffix("Deserializer").unwrap_or(name) {
            "String" | "ByteArray" | "Bytes" | "ByteBuffer" => Self::Text,
            "Short" => Self::Short,
            "Integer" => Self::Integer,
            "Long" => Self::Long,
            "Float" => Self::Float,
            "Double" => Self::Double,
            "Boolean" => Self::Boolean,
            _ => {
                return Err(failed(format!(
                    "there is no deserializer {class} here; those for String, ByteArray, Short, Integer, Long, Float, Double and Boolean are known"
                )));
            }
        })
    }

    /// Bytes of this kind, for reading; others are an error, as to Kafka's tool.
    fn shown(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let wrong = |_| {
            let why = format!("{} bytes are no {self:?}", bytes.len());
            std::io::Error::new(std::io::ErrorKind::InvalidData, why)
        };
        let text = match self {
            Self::Text => return Ok(bytes.to_vec()),
            Self::Short => i16::from_be_bytes(bytes.try_into().map_err(wrong)?).to_string(),
            Self::Integer => i32::from_be_bytes(bytes.try_into().map_err(wrong)?).to_string(),
            Self::Long => i64::from_be_bytes(bytes.try_into().map_err(wrong)?).to_string(),
            Self::Float => format!("{:?}", f32::from_be_bytes(bytes.try_into().map_err(wrong)?)),
            Self::Double => format!("{:?}", f64::from_be_bytes(bytes.try_into().map_err(wrong)?)),
            Self::Boolean => {
                let [byte]: [u8; 1] = bytes.try_into().map_err(wrong)?;
                (byte != 0).to_string()
            }
        };
        Ok(text.into_bytes())
    }
}

/// What is printed of a record.
struct Formatter {
    /// Nothing at all.
    silent: bool,
    kinds: [Kind; 2],
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    header_separator: Vec<u8>,
    null: Vec<u8>,
}

/// `\t` and `\n` as a shell passes them on.
fn unescaped(text: &str) -> Vec<u8> {
    text.replace("\\t", "\t").replace("\\n", "\n").into_bytes()
}

impl Formatter {
    fn new(settings: &BTreeMap<String, String>) -> Result<Self, ToolError> {
        let kind = |name| settings.get(name).map_or(Ok(Kind::Text), |class| Kind::named(class));
        let is_on = |name: &str, or: bool| settings.get(name).map_or(or, |it| it.trim() == "true");
        let text =
            |name: &str, or: &str| settings.get(name).map_or_else(|| or.into(), |it| unescaped(it));
        Ok(Self {
            silent: false,
            kinds: [kind("key.deserializer")?, kind("value.deserializer")?],
            timestamp: is_on("print.timestamp", false),
            partition: is_on("print.partition", false),
            offset: is_on("print.offset", false),
            headers: is_on("print.headers", false),
            key: is_on("print.key", false),
            value: is_on("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            header_separator: text("headers.separator", ","),
            null: text("null.literal", "null"),
        })
    }

    fn print(&self, record: &Received, out: &mut dyn Write) -> std::io::Result<()> {
        if self.silent {
            return Ok(());
        }
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let kind = if record.is_append_time { "LogAppendTime" } else { "CreateTime" };
            let at = record.timestamp;
            parts.push(if at < 0 {
                b"NO_TIMESTAMP".to_vec()
            } else {
                format!("{kind}:{at}").into()
            });
        }
        if self.partition {
            parts.push(format!("Partition:{}", record.place.partition).into());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into());
        }
        let text = |it: &Option<Bytes>| it.as_deref().unwrap_or(&self.null).to_vec();
        if self.headers {
            let header = |(name, value): &(String, Option<Bytes>)| {
                [name.as_bytes(), b":", &text(value)].concat()
            };
            let all: Vec<Vec<u8>> = record.headers.iter().map(header).collect();
            let none = all.is_empty();
            parts.push(if none {
                b"NO_HEADERS".to_vec()
            } else {
                all.join(&*self.header_separator)
            });
        }
        let shown = |kind: Kind, part: &Option<Bytes>| match part {
            Some(bytes) => kind.shown(bytes),
            None => Ok(self.null.clone()),
        };
        let [key, value] = self.kinds;
        if self.key {
            parts.push(shown(key, &record.key)?);
        }
        if self.value {
            parts.push(shown(value, &record.value)?);
        }
        out.write_all(&parts.join(&*self.key_separator))?;
        out.write_all(&self.line_separator)
    }
}

fn consume(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    let pattern = args.one("include").or_else(|| args.one("whitelist"));
    let topic = args.one("topic");
    if topic.is_some() == pattern.is_some() {
        let usage = "Exactly one of --include/--topic is required.";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    let mut options =
        session.consumer_options(words(args, ["consumer-property", "command-property"]))?;
    if let Some(group) = args.one("group") {
        options.group = Some(group.to_owned());
    }
    let had_group = options.group.is_some();
    if args.has("from-beginning") {
        options.start = Start::Beginning;
    }
    if let Some(level) = args.one("isolation-level") {
        options.set("isolation.level", level)?;
    }
    let partition: Option<i32> = args.number("partition").map_err(ToolError::Usage)?;
    if !had_group && partition.is_none() {
        // So that nobody else counts it as read; it is one member, and nothing remains of it.
        options.auto_commit = false;
    }
    let formatter = formatter(args)?;
    let start = options.start;
    let cluster = session.connect()?;
    let mut consumer = Consumer::new(cluster, options);
    // From here on it may be a member of a group, which it has to leave however it ends.
    session.listen()?;
    let mut count = 0;
    let done = begin(args, session, &mut consumer, start)
        .and_then(|()| read(args, session, &mut consumer, &formatter, &mut count));
    let flushed = session.out.flush();
    let _ = writeln!(std::io::stderr(), "Processed a total of {count} messages");
    let closed = session.close(consumer);
    done?;
    flushed?;
    closed
}

/// How the command line wants records printed.
fn formatter(args: &Parsed) -> Result<Formatter, ToolError> {
    let mut settings = BTreeMap::new();
    if let Some(file) = args.one("formatter-config") {
        settings.extend(properties(file)?);
    }
    settings.extend(pairs(words(args, ["property", "formatter-property"]))?);
    for (option, name) in
        [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
    {
        settings.extend(args.one(option).map(|it| (name.to_owned(), it.to_owned())));
    }
    let mut formatter = Formatter::new(&settings)?;
    match args.one("formatter").and_then(|it| it.rsplit('.').next()) {
        None | Some("DefaultMessageFormatter") => {}
        Some("NoOpMessageFormatter") => formatter.silent = true,
        Some(class) => {
            return Err(failed(format!(
                "--formatter {class}: only DefaultMessageFormatter and NoOpMessageFormatter are known"
            )));
        }
    }
    Ok(formatter)
}

/// Starts reading: one partition from a place in it, or topics, as a member of a group.
fn begin(
    args: &Parsed,
    session: &mut Session<'_>,
    consumer: &mut Consumer,
    start: Start,
) -> Result<(), ToolError> {
    let partition: Option<i32> = args.number("partition").map_err(ToolError::Usage)?;
    let pattern = args.one("include").or_else(|| args.one("whitelist"));
    let place = match (args.one("topic"), partition) {
        (Some(topic), Some(partition)) => TopicPartition::new(topic, partition),
        (Some(topic), None) => return session.wait_or_stop(consumer.subscribe(&[topic])),
        (None, _) => {
            let pattern = pattern.unwrap_or_default().replace(',', "|");
            return session.wait_or_stop(consumer.subscribe_pattern(&pattern));
        }
    };
    session.wait_or_stop(consumer.assign([place.clone()].into()))?;
    let start = match args.one("offset") {
        Some("earliest") => Start::Beginning,
        Some("latest") => Start::End,
        Some(text) => {
            let offset = text.parse().map_err(|_| {
                ToolError::Usage(format!("The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."))
            })?;
            consumer.seek(&place, offset);
            return Ok(());
        }
        None => start,
    };
    session.wait_or_stop(consumer.seek_to(&[place], start))
}

/// Prints records until there were enough, or none comes for too long; counts them.
fn read(
    args: &Parsed,
    session: &mut Session<'_>,
    consumer: &mut Consumer,
    formatter: &Formatter,
    count: &mut u64,
) -> Result<(), ToolError> {
    let most: u64 = args.number("max-messages").map_err(ToolError::Usage)?.unwrap_or(u64::MAX);
    let timeout: Option<u64> = args.number("timeout-ms").map_err(ToolError::Usage)?;
    let clock = Clock::real();
    let mut last = clock.monotonic();
    while *count < most {
        match session.wait_or_stop(consumer.poll())? {
            Some(record) => {
                match formatter.print(&record, session.out) {
                    Err(error)
                        if error.kind() == std::io::ErrorKind::InvalidData
                            && args.has("skip-message-on-error") =>
                    {
                        eprintln!("{}@{}: {error}", record.place, record.offset);
                    }
                    printed => printed?,
                }
                *count += 1;
                last = clock.monotonic();
            }
            None => {
                session.out.flush()?;
                let silent = clock.monotonic().saturating_sub(last);
                if timeout.is_some_and(|ms| silent >= Duration::from_millis(ms)) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> BTreeMap<String, String> {
        text.split(';')
            .filter_map(|it| it.split_once('='))
            .map(|(a, b)| (a.into(), b.into()))
            .collect()
    }

    #[test]
    fn lines_become_records() {
        let reader = Reader::new(&settings(
            "parse.key=true;parse.headers=true;key.separator=:;null.marker=NIL",
        ));
        let record = reader.read("a:1,b:NIL\tkey:some:value", 1).unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"some:value"[..]));
        let headers = [(Bytes::from("a"), Some(Bytes::from("1"))), (Bytes::from("b"), None)];
        assert_eq!(record.headers, headers);
        let wrong = reader.read("x", 7).unwrap_err();
        assert_eq!(wrong, "No header delimiter found on line number 7: 'x'");
    }

    #[test]
    fn records_become_lines() {
        let all = "print.key=true;print.headers=true;print.timestamp=true;print.offset=true;print.partition=true";
        let record = Received {
            place: TopicPartition::new("t", 3),
            offset: 9,
            leader_epoch: 0,
            timestamp: 1234,
            is_append_time: false,
            key: None,
            value: Some(Bytes::from("v")),
            headers: vec![("h".to_owned(), Some(Bytes::from("x")))],
        };
        let shown = |text: &str| {
            let mut out = Vec::new();
            Formatter::new(&settings(text)).unwrap().print(&record, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(all), "CreateTime:1234\tPartition:3\tOffset:9\th:x\tnull\tv\n");
        assert_eq!(shown("print.key=true;key.separator=-;null.literal=?;line.separator=;"), "?-v");
        assert_eq!(shown(""), "v\n");
        assert!(Formatter::new(&settings("value.deserializer=a.b.ListDeserializer")).is_err());
        let long = Kind::named("org.apache.kafka.common.serialization.LongDeserializer").unwrap();
        assert_eq!(long.shown(&7i64.to_be_bytes()).unwrap(), b"7");
        assert!(long.shown(b"v").is_err(), "one byte is no number of 64 bits");
        assert_eq!(Kind::named("Double").unwrap().shown(&1.5f64.to_be_bytes()).unwrap(), b"1.5");
    }
}
