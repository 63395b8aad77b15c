//! What `ottla` can be told on its command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Apache Kafka's system in one native binary.
///
/// Without a command, a node starts on 127.0.0.1:9092 with its data in ./ottla-data.
/// Every kafka-* command is here too: `ottla kafka-topics --help`, or by its own name after
/// `ottla install-tools DIR`.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, about)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a node.
    Server(Server),
    /// Prepare data directories for a cluster; a node does this by itself when they are empty.
    Format(Format),
    /// Show what is in log, index, snapshot and checkpoint files (kafka-dump-log.sh).
    Dump(ottla_offline::Dump),
    /// Look at a data directory without changing it: what is wrong, what a start would do.
    Doctor(ottla_offline::Doctor),
    /// Settings in words.
    Config {
        /// What to print.
        #[command(subcommand)]
        action: Config,
    },
    /// Lay out a folder like Apache Kafka's: bin/ with every kafka-* command, and config/.
    InstallTools {
        /// The folder; what is there stays.
        folder: PathBuf,
    },
    #[command(flatten)]
    Client(ottla_cli::Command),
}

/// Start a node.
#[derive(Debug, Default, clap::Args)]
pub struct Server {
    /// The settings; any `server.properties` of Apache Kafka will do.
    pub file: Option<PathBuf>,
    /// A setting that counts more than the file's.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    pub overrides: Vec<String>,
    /// Print every setting with the value that the node would start with, and end.
    #[arg(long)]
    pub print_config: bool,
    /// How logs are written, to the standard error.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Settings in words.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Explain a setting: its type, its default, what is allowed, how it changes.
    Explain {
        /// Its name, such as log.retention.ms.
        name: String,
    },
    /// Print all settings as a page of Markdown.
    Reference,
}

/// Prepare data directories for a cluster.
#[derive(Debug, clap::Args)]
pub struct Format {
    /// The settings; any `server.properties` of Apache Kafka will do.
    pub file: Option<PathBuf>,
    /// A setting that counts more than the file's.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    pub overrides: Vec<String>,
    /// Leave directories that are formatted already as they are.
    #[arg(long, short = 'g')]
    pub ignore_formatted: bool,
    /// The cluster's id; a new one if not said.
    #[arg(long, short = 't', value_name = "ID")]
    pub cluster_id: Option<String>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For reading.
    #[default]
    Text,
    /// One object a line.
    Json,
}
