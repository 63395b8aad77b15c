//! `ottla produce`: lines become records.

use std::error::Error;
use std::io::{BufRead, IsTerminal};

use bytes::Bytes;
use clap::Args;
use ottla_client::{Compression, Message, OptionError, Producer, ProducerOptions};
use ottla_clock::Clock;

use crate::front::{Environment, Front, Shared};
use crate::output::bytes;
use crate::progress::Progress;

/// Write the lines of the standard input to a topic.
#[derive(Args, Debug)]
pub struct Produce {
    /// The topic; created if there is none.
    topic: String,
    /// What divides key and value in a line; without it a line is a value.
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// The key of all records.
    #[arg(long, value_name = "TEXT", conflicts_with = "key_separator")]
    key: Option<String>,
    /// A header of all records.
    #[arg(long, short = 'H', value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// The partition of all records, instead of one for each key.
    #[arg(long, short, value_name = "NUMBER")]
    partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, short = 'z', default_value = "none", value_parser = codec)]
    compression: Compression,
    /// A setting of the producer, by Kafka's name.
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    shared: Shared,
}

fn codec(name: &str) -> Result<Compression, String> {
    let all = "none, gzip, snappy, lz4 or zstd";
    Compression::named(name).ok_or_else(|| format!("there is no codec {name}; it is {all}"))
}

pub(crate) async fn run(args: Produce, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let mut options = ProducerOptions { compression: args.compression, ..Default::default() };
    for (name, value) in front.settings() {
        // A profile is for all commands; what another needs is nothing to this one.
        match options.set(name, value) {
            Err(OptionError::Unknown { .. }) => {}
            set => set?,
        }
    }
    for (name, value) in crate::topics::pairs(args.settings.clone())? {
        options.set(&name, &value)?;
    }
    let headers = crate::topics::pairs(args.header.clone())?;
    let headers: Vec<(Bytes, Option<Bytes>)> =
        headers.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect();
    let mut producer = Producer::new(front.connect().await?, options);
    let mut input = std::io::stdin().lock();
    let typed = input.is_terminal();
    if typed {
        eprintln!("Each line is a record; end with Ctrl-D.");
    }
    let clock = Clock::real();
    let mut progress = if typed { Progress::hidden(&clock) } else { Progress::new(&clock) };
    let (mut line, mut count, mut size) = (Vec::new(), 0_u64, 0_u64);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        (count, size) = (count + 1, size + line.len() as u64);
        let message = Message {
            headers: headers.clone(),
            partition: args.partition,
            ..message(&line, args.key.as_deref(), args.key_separator.as_deref())
        };
        producer.send(&args.topic, message).await?;
        // Who types wants each line to go at once; from a pipe, batches are filled.
        if typed {
            producer.flush().await?;
        }
        if count % 1000 == 0 {
            progress.show(|| format!("{count} records, {}", bytes(size)));
        }
    }
    producer.flush().await?;
    Ok(())
}

fn message(line: &[u8], key: Option<&str>, separator: Option<&str>) -> Message {
    let whole = || Message {
        key: key.map(|it| Bytes::from(it.to_owned())),
        value: Some(Bytes::copy_from_slice(line)),
        ..Message::default()
    };
    let Some(separator) = separator.map(str::as_bytes).filter(|it| !it.is_empty()) else {
        return whole();
    };
    let found = line.windows(separator.len()).position(|window| window == separator);
    match found {
        Some(at) => Message {
            key: Some(Bytes::copy_from_slice(&line[..at])),
            value: Some(Bytes::copy_from_slice(&line[at + separator.len()..])),
            ..Message::default()
        },
        None => whole(),
    }
}
