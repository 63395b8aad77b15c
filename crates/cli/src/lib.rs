//! The operator's commands.

mod consume;
mod groups;
mod produce;
mod topics;

use std::error::Error;
use std::path::Path;

use clap::{Args, Subcommand};
use ottla_client::Cluster;
use ottla_clock::Clock;

/// A command for a running cluster, ours or Apache Kafka's.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the lines of the standard input to a topic.
    Produce(produce::Produce),
    /// Print the records of a topic.
    Consume(consume::Consume),
    /// List, create and delete topics.
    Topics(topics::Topics),
    /// List consumer groups, and how far they are behind.
    Groups(groups::Groups),
}

/// Where the cluster is.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Brokers to ask first: host:port, separated by commas.
    #[arg(
        long,
        short = 'b',
        global = true,
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT"
    )]
    pub bootstrap_server: String,
}

impl Target {
    async fn connect(&self) -> Result<Cluster, String> {
        let connected = Cluster::connect(&self.bootstrap_server, "ottla", Clock::real()).await;
        connected.map_err(|error| {
            let at = &self.bootstrap_server;
            format!(
                "no broker answers at {at}: {error}\n  Is it running, and is that its listener's host and port? Say which with --bootstrap-server HOST:PORT; `ottla server` starts one on 127.0.0.1:9092."
            )
        })
    }
}

/// Does what the command says.
///
/// # Errors
/// What went wrong, for the operator to read.
pub fn run(command: Command) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Produce(produce) => produce::run(produce).await,
            Command::Consume(consume) => consume::run(consume).await,
            Command::Topics(topics) => topics::run(topics).await,
            Command::Groups(groups) => groups::run(groups).await,
        }
    })
}

/// The text of a file that the operator named.
///
/// # Errors
/// It cannot be read.
pub fn read_file(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}
