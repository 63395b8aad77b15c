//! `ottla produce`: lines become records.

use std::error::Error;
use std::io::{BufRead, IsTerminal};

use bytes::Bytes;
use clap::Args;
use ottla_client::{Compression, Message, Producer, ProducerOptions};

use crate::Target;

/// Write the lines of the standard input to a topic.
#[derive(Args, Debug)]
pub struct Produce {
    /// The topic; created if there is none.
    topic: String,
    /// What divides key and value in a line; without it a line is a value.
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, short = 'z', default_value = "none", value_parser = codec)]
    compression: Compression,
    #[command(flatten)]
    target: Target,
}

fn codec(name: &str) -> Result<Compression, String> {
    let all = "none, gzip, snappy, lz4 or zstd";
    Compression::named(name).ok_or_else(|| format!("there is no codec {name}; it is {all}"))
}

pub(crate) async fn run(args: Produce) -> Result<(), Box<dyn Error>> {
    let options = ProducerOptions { compression: args.compression, ..ProducerOptions::default() };
    let mut producer = Producer::new(args.target.connect().await?, options);
    let mut input = std::io::stdin().lock();
    let typed = input.is_terminal();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        producer.send(&args.topic, message(&line, args.key_separator.as_deref())).await?;
        // Who types wants each line to go at once; from a pipe, batches are filled.
        if typed {
            producer.flush().await?;
        }
    }
    producer.flush().await?;
    Ok(())
}

fn message(line: &[u8], separator: Option<&str>) -> Message {
    let whole = || Message { value: Some(Bytes::copy_from_slice(line)), ..Message::default() };
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
