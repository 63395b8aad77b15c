//! kafka-console-producer and kafka-console-consumer.

mod consume;
mod formatter;
mod input;
mod java;
mod produce;
mod reader;
mod stored;

use std::collections::BTreeMap;

use formatter::FORMATTERS;

use crate::options::{Opt, Parsed, flag, maybe_value, value, values};
use crate::session::{ToolError, key_values, read_properties};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-console-producer",
        about: "Write the lines of the standard input to a topic.",
        options: PRODUCER,
        run: produce::run_console_producer,
    },
    &Tool {
        name: "kafka-console-consumer",
        about: "Print the records of topics.",
        options: CONSUMER,
        run: consume::run_console_consumer,
    },
];

const PRODUCER: &[Opt] = &[
    value("topic", "NAME", "The topic."),
    values("property", "NAME=VALUE", "The former name of --reader-property."),
    values(
        "reader-property",
        "NAME=VALUE",
        "How lines are read: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker, ignore.error.",
    ),
    value("reader-config", "FILE", "These properties in a file."),
    values("producer-property", "NAME=VALUE", "The former name of --command-property."),
    values("command-property", "NAME=VALUE", "A setting of the producer."),
    value("producer.config", "FILE", "The former name of --command-config."),
    maybe_value(
        "compression-codec",
        "CODEC",
        "none, gzip (default where no codec is named), snappy, lz4 or zstd.",
    ),
    value("batch-size", "BYTES", "The size of a batch."),
    value("request-required-acks", "ACKS", "The acks that a record needs: 0, 1 or all."),
    value("request-timeout-ms", "MS", "How long the broker may wait for the acks."),
    flag("sync", "Wait for the acknowledgement of each record; stop at the first error."),
    value("line-reader", "CLASS", "Only the default line reader is supported."),
    value("max-block-ms", "MS", "How long a record may wait for the metadata of its topic."),
    value("timeout", "MS", "How long a record waits for others in a batch (linger)."),
    value("message-send-max-retries", "COUNT", "No effect; the options below have none either."),
    value("retry-backoff-ms", "MS", "The time between two attempts."),
    value("max-memory-bytes", "BYTES", "The memory for records that are not sent yet."),
    value("max-partition-memory-bytes", "BYTES", "The same for one partition."),
    value("metadata-expiry-ms", "MS", "The age at which metadata is fetched again."),
    value("socket-buffer-size", "BYTES", "The size of the socket's buffer."),
];

const CONSUMER: &[Opt] = &[
    value("topic", "NAME", "The topic."),
    value("include", "REGEX", "The topics whose name matches."),
    value("whitelist", "REGEX", "The former name of --include."),
    value("partition", "NUMBER", "Read only this partition."),
    value(
        "offset",
        "OFFSET",
        "With --partition: the offset to start at: a number, earliest or latest.",
    ),
    value("group", "ID", "Read as a member of this group."),
    values("consumer-property", "NAME=VALUE", "The former name of --command-property."),
    values("command-property", "NAME=VALUE", "A setting of the consumer."),
    value("consumer.config", "FILE", "The former name of --command-config."),
    values("property", "NAME=VALUE", "The former name of --formatter-property."),
    values(
        "formatter-property",
        "NAME=VALUE",
        "What is printed: print.key, print.value, print.timestamp, print.partition, print.offset, print.delivery, print.epoch, print.headers, key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer, headers.deserializer.",
    ),
    value("formatter-config", "FILE", "These properties in a file."),
    value("formatter", "CLASS", FORMATTERS),
    value("key-deserializer", "CLASS", "The deserializer of keys, by its class name in Kafka."),
    value("value-deserializer", "CLASS", "The deserializer of values."),
    flag("enable-systest-events", "Print shutdown_complete at the end."),
    flag("from-beginning", "Start at the first record where the group has no committed offset."),
    value("max-messages", "COUNT", "Stop after this number of records; -1 for no limit."),
    value(
        "timeout-ms",
        "MS",
        "Stop when no record comes for this time, in ms; negative for no limit.",
    ),
    value("isolation-level", "LEVEL", "read_committed, or read_uncommitted (the default)."),
    flag("skip-message-on-error", "Continue when a record cannot be printed."),
];

/// An option under its present and its former name.
struct Names {
    now: &'static str,
    former: &'static str,
}

const COMMAND_CONFIG_OF_PRODUCER: Names =
    Names { now: "command-config", former: "producer.config" };
const COMMAND_CONFIG_OF_CONSUMER: Names =
    Names { now: "command-config", former: "consumer.config" };
const PRODUCER_PROPERTY: Names = Names { now: "command-property", former: "producer-property" };
const CONSUMER_PROPERTY: Names = Names { now: "command-property", former: "consumer-property" };
const READER_PROPERTY: Names = Names { now: "reader-property", former: "property" };
const FORMATTER_PROPERTY: Names = Names { now: "formatter-property", former: "property" };

impl Names {
    /// An option stands under one of its names only.
    fn check(&self, args: &Parsed) -> Result<(), ToolError> {
        if args.has(self.now) && args.has(self.former) {
            let Self { now, former } = self;
            let usage = format!("Options --{now} and --{former} cannot be specified together.");
            return Err(ToolError::Usage(usage));
        }
        Ok(())
    }

    /// Its `NAME=VALUE` words.
    fn words<'a>(&self, args: &'a Parsed) -> Result<impl Iterator<Item = &'a str>, ToolError> {
        self.check(args)?;
        Ok(args.all(self.now).chain(args.all(self.former)))
    }
}

/// The settings of a reader or a formatter: those of a file, and over them those of the words.
fn console_settings(
    args: &Parsed,
    file: &str,
    names: &Names,
) -> Result<BTreeMap<String, String>, ToolError> {
    let mut settings = BTreeMap::new();
    if let Some(file) = args.one(file) {
        settings.extend(read_properties(file)?);
    }
    settings.extend(key_values(names.words(args)?));
    Ok(settings)
}

/// Is a setting on? Whatever is not `true` means no.
fn is_on(settings: &BTreeMap<String, String>, name: &str) -> bool {
    settings.get(name).is_some_and(|it| it.trim().eq_ignore_ascii_case("true"))
}
