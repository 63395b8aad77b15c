//! `ottla consume`: records become lines.

use std::error::Error;
use std::io::Write;

use clap::Args;
use ottla_client::{Consumer, Received, Start};

use crate::Target;

/// Print the records of a topic, until Ctrl-C.
#[derive(Args, Debug)]
pub struct Consume {
    /// The topic.
    topic: String,
    /// Start at the first record instead of behind the last.
    #[arg(long)]
    from_beginning: bool,
    /// Read as a member of this group, from where it left off.
    #[arg(long, short = 'g', value_name = "GROUP")]
    group: Option<String>,
    /// Print the key before the value, with this between them.
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// End after so many records.
    #[arg(long, short = 'n', value_name = "COUNT")]
    max_messages: Option<u64>,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(args: Consume) -> Result<(), Box<dyn Error>> {
    let start = if args.from_beginning { Start::Beginning } else { Start::End };
    let cluster = args.target.connect().await?;
    let mut consumer = Consumer::open(cluster, &args.topic, args.group.as_deref(), start).await?;
    let mut left = args.max_messages.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::select! {
            polled = consumer.poll() => {
                if let Some(record) = polled? {
                    print(&record, args.key_separator.as_deref())?;
                    left -= 1;
                }
            }
            stopped = tokio::signal::ctrl_c() => {
                stopped?;
                break;
            }
        }
    }
    consumer.close().await?;
    Ok(())
}

fn print(record: &Received, separator: Option<&str>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(separator) = separator {
        out.write_all(record.key.as_deref().unwrap_or_default())?;
        out.write_all(separator.as_bytes())?;
    }
    out.write_all(record.value.as_deref().unwrap_or_default())?;
    out.write_all(b"\n")?;
    out.flush()
}
