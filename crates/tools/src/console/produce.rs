//! kafka-console-producer: the lines of the standard input become records.

use std::io::IsTerminal;
use std::time::Duration;

use ottla_client::{OnFailure, ProduceFailure, Producer, ProducerOptions};
use ottla_clock::Clock;

use super::input::{LineInput, NextLine};
use super::reader::LineReader;
use super::{COMMAND_CONFIG_OF_PRODUCER, PRODUCER_PROPERTY, READER_PROPERTY, console_settings};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, ToolStop, tool_failed};

/// Kafka's defaults, as far as this tool has its own.
const DEFAULTS: [(&str, &str); 3] =
    [("linger.ms", "1000"), ("max.block.ms", "60000"), ("max.request.size", "1048576")];

/// Options that are settings of the producer under another name.
const AS_SETTINGS: [(&str, &str); 6] = [
    ("batch-size", "batch.size"),
    ("max-partition-memory-bytes", "batch.size"),
    ("request-required-acks", "acks"),
    ("request-timeout-ms", "request.timeout.ms"),
    ("timeout", "linger.ms"),
    ("max-block-ms", "max.block.ms"),
];

pub fn run_console_producer(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let topic = args.required("topic").map_err(ToolError::Usage)?;
    COMMAND_CONFIG_OF_PRODUCER.check(args)?;
    let options = producer_options(args, session)?;
    if let Some(class) = args.one("line-reader").filter(|it| !it.ends_with("LineMessageReader")) {
        return Err(tool_failed(format!(
            "--line-reader {class}: only LineMessageReader is supported"
        )));
    }
    let settings = console_settings(args, "reader-config", &READER_PROPERTY)?;
    let reader = LineReader::new(&settings).map_err(tool_failed)?;
    let client = session.connect()?;
    let (clock, stop) = (Clock::real(), ToolStop::new(session)?);
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut console = Console {
        topic,
        reader,
        linger: options.linger,
        flushes_each: is_terminal || args.has("sync"),
        prompts: is_terminal,
        producer: Producer::new(client, options),
        clock: clock.clone(),
        due: None,
    };
    let done = console.run(session, LineInput::new(std::io::stdin(), clock, stop));
    // What came before a line that cannot be read is written all the same.
    let flushed = console.flush(session);
    done.and(flushed)
}

fn producer_options(
    args: &Parsed,
    session: &ToolSession<'_>,
) -> Result<ProducerOptions, ToolError> {
    let words = PRODUCER_PROPERTY.words(args)?;
    let mut options = session.producer_options(&DEFAULTS, words)?;
    if args.has("compression-codec") {
        let codec = args.one("compression-codec").filter(|it| !it.is_empty());
        options.set("compression.type", codec.unwrap_or("gzip"))?;
    }
    for (option, name) in AS_SETTINGS {
        if let Some(value) = args.one(option) {
            options.set(name, value)?;
        }
    }
    if !args.has("sync") {
        options.on_failure = OnFailure::Keep;
    }
    Ok(options)
}

struct Console<'a> {
    topic: &'a str,
    reader: LineReader,
    producer: Producer,
    linger: Duration,
    flushes_each: bool,
    prompts: bool,
    clock: Clock,
    /// When what waits is to be sent, if anything waits.
    due: Option<Duration>,
}

impl Console<'_> {
    fn run(
        &mut self,
        session: &mut ToolSession<'_>,
        mut input: LineInput,
    ) -> Result<(), ToolError> {
        let mut number = 0;
        loop {
            if self.prompts {
                session.out.write_all(b">")?;
                session.out.flush()?;
            }
            match session.wait(input.next(self.due))? {
                NextLine::Line(line) => {
                    number += 1;
                    self.send(session, &line, number)?;
                }
                NextLine::Pause => self.flush(session)?,
                NextLine::End => return Ok(()),
                NextLine::Stopped(code) => return Err(ToolError::Stopped(code)),
            }
        }
    }

    fn send(
        &mut self,
        session: &ToolSession<'_>,
        line: &[u8],
        number: usize,
    ) -> Result<(), ToolError> {
        let message = self.reader.read(line, number).map_err(tool_failed)?;
        session.wait(self.producer.send(self.topic, message))?;
        self.report();
        let now = self.clock.monotonic();
        let due = *self.due.get_or_insert(now.saturating_add(self.linger));
        if self.flushes_each || due <= now {
            self.flush(session)?;
        }
        Ok(())
    }

    fn flush(&mut self, session: &ToolSession<'_>) -> Result<(), ToolError> {
        self.due = None;
        session.wait(self.producer.flush())?;
        self.report();
        Ok(())
    }

    /// Says which records could not be written, and why.
    fn report(&mut self) {
        for ProduceFailure { topic, records, error, .. } in self.producer.failures() {
            let size = |bytes: Option<usize>| {
                bytes.map_or_else(|| "null".to_owned(), |it| format!("{it} bytes"))
            };
            for record in records {
                let (key, value) = (size(record.key_bytes), size(record.value_bytes));
                tell!(
                    "Error when sending message to topic {topic} with key: {key}, value: {value} with error: {error}"
                );
            }
        }
    }
}
