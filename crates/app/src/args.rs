//! The options and commands of `ottla` on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use ottla_broker::FeatureChoice;

/// What the manual says of a node beside its options.
const SERVER_NOTES: &str = "\
Exit codes: 0 it was asked to stop, and stopped cleanly; 1 it could not start; 2 the command line \
is wrong; 3 every data directory has failed, or the metadata log cannot be written; 4 it could \
not stop cleanly, so the next start looks through its logs.

SIGTERM, SIGINT and SIGHUP stop it. Under systemd (Type=notify) it says when it serves, when it \
stops, and, with WatchdogSec=, that all its serving threads answer.

OTTLA_LOG says how much is logged, such as info or warn,ottla_broker=debug; kafka-configs \
--entity-type broker-loggers changes it while the node runs. Times are in UTC. NO_COLOR turns \
colours off.";

/// The options that all commands for a running cluster have, before or after the command's name.
const GLOBAL_OPTIONS: &str = "\
Options of all commands for a running cluster, before or after the command:
  -b, --bootstrap-server <HOST:PORT>  Brokers to ask first (KAFKA_SERVER, else 127.0.0.1:9092)
  -o, --output <OUTPUT>               table (the default), json or plain
      --profile <NAME>                The settings of ~/.config/ottla/NAME.properties
      --watch [<SECONDS>]             Print again every so many seconds (default: 2), until Ctrl-C

`ottla COMMAND --help` explains a command. The tools of Apache Kafka run by their own names:
`ottla kafka-topics --list`; `ottla install-tools FOLDER` makes a folder with all of them.";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "ottla",
    version = crate::version::LONG,
    disable_version_flag = true,
    about = "Apache Kafka's system in one binary; without a command it starts a node.",
    after_help = GLOBAL_OPTIONS,
    override_usage = "ottla [-b HOST:PORT] [-o table|json|plain] [COMMAND]",
    disable_help_subcommand = true
)]
pub struct Args {
    /// Print the version, the commit, and the level of Apache Kafka.
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// The command.
    #[command(subcommand)]
    pub command: Option<AppCommand>,
}

/// The command.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Start a node.
    Server(ServerArgs),
    #[command(flatten)]
    Client(Box<ottla_cli::ClusterCommand>),
    /// Explain, show and change settings.
    Config {
        /// The command.
        #[command(subcommand)]
        action: Config,
    },
    /// Look for problems in a running cluster or in a data directory.
    Doctor(DoctorArgs),
    /// Show what is in log, index, snapshot and checkpoint files.
    Dump(ottla_offline::Dump),
    /// Prepare data directories for a cluster of your choice.
    Format(FormatArgs),
    /// Back up the metadata, and recover it when most controllers are gone for good.
    Quorum {
        /// The command.
        #[command(subcommand)]
        action: QuorumAction,
    },
    /// Make a folder with every kafka-* command, for scripts.
    InstallTools {
        /// The folder: bin/, config/ and share/; files that are there stay.
        folder: PathBuf,
    },
    /// Print the version, the commit, and the level of Apache Kafka.
    Version {
        /// The output format.
        #[command(flatten)]
        shared: ottla_cli::SharedOptions,
    },
    /// Print the completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write a page of the manual for each command.
    #[command(hide = true)]
    Man {
        /// The folder for the pages.
        folder: PathBuf,
    },
}

/// Look for problems in a running cluster, or in a data directory whose node is stopped.
///
/// The exit code is that of the worst finding: 0 nothing to do, 1 a warning, 2 an error, 3 the
/// check could not run.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Check this data directory, without changing it; no node may run on it meanwhile.
    #[arg(long, value_name = "DIR")]
    pub offline: Option<PathBuf>,
    /// With --offline: read every record of every log, not only what a start would read.
    #[arg(long, requires = "offline")]
    pub thorough: bool,
    /// Where the cluster is.
    #[command(flatten)]
    pub shared: ottla_cli::SharedOptions,
}

/// Where a node's settings are; the later ones count more.
#[derive(Debug, Default, clap::Args)]
pub struct SettingsArgs {
    /// The settings; any `server.properties` of Apache Kafka will do.
    pub file: Option<PathBuf>,
    /// Take settings from the environment, too, as Apache's container image does: KAFKA_NODE_ID is
    /// node.id, two underscores are one, three are a hyphen.
    #[arg(long)]
    pub env: bool,
    /// A setting that counts more than the file's and the environment's.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    pub overrides: Vec<String>,
}

/// Start a node.
#[derive(Debug, Default, clap::Args)]
#[command(after_long_help = SERVER_NOTES)]
pub struct ServerArgs {
    /// Where its settings are.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Which node of --cluster this one is: 1, 2, 3 by its place there, or its id if the list has
    /// ids. The same as the setting node.id.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub node: Option<i32>,
    /// The nodes of a new cluster, the same list on each: their addresses for clients, such as
    /// a:9092,b:9092,c:9092. They need no format step. The same as the setting ottla.cluster.
    #[arg(long, value_name = "HOST:PORT,...")]
    pub cluster: Option<String>,
    /// Format the data directories if all of them are empty; without it, only the built-in
    /// default directory is formatted by a start.
    #[arg(long)]
    pub format_if_empty: bool,
    /// Print every setting with the value that the node would start with, and end.
    #[arg(long)]
    pub print_config: bool,
    /// A file that is there as long as the node serves: a line NAME://host:port for each listener.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// How logs are written, to the standard error.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

impl ServerArgs {
    /// Where its settings are, with those that have options of their own.
    pub fn all_settings(&self) -> SettingsArgs {
        let node = self.node.map(|id| format!("node.id={id}"));
        let cluster = self.cluster.as_ref().map(|list| format!("ottla.cluster={list}"));
        let own = node.into_iter().chain(cluster);
        SettingsArgs {
            file: self.settings.file.clone(),
            env: self.settings.env,
            overrides: own.chain(self.settings.overrides.iter().cloned()).collect(),
        }
    }
}

/// Settings in words.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Explain a setting: its type, its default, what is allowed, how it changes.
    Explain {
        /// The name of the setting, such as log.retention.ms.
        name: String,
    },
    /// Print all settings as a page of Markdown.
    Reference,
    /// Say of each line of the standard input, an object of names and values in JSON, whether a
    /// node would start with these settings, and how they count; for comparisons.
    #[command(hide = true)]
    Judge,
    /// Print the settings of a topic, a broker or a group of a running cluster.
    Get(ottla_cli::Get),
    /// Change settings of a topic, a broker or a group of a running cluster.
    Set(ottla_cli::Set),
}

/// Prepare data directories for a cluster.
#[derive(Debug, clap::Args)]
pub struct FormatArgs {
    /// Where its settings are.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Leave directories that are formatted already as they are.
    #[arg(long, short = 'g')]
    pub ignore_formatted: bool,
    /// Declare a data directory lost, by its path or its directory id: its partitions start empty.
    #[arg(long, value_name = "DIR|ID", conflicts_with_all = ["ignore_formatted", "cluster_id"])]
    pub declare_lost: Vec<String>,
    /// The cluster's id (default: a new one, for a node that begins a cluster).
    #[arg(long, short = 't', value_name = "ID")]
    pub cluster_id: Option<String>,
    /// The first voters of the metadata quorum.
    #[command(flatten)]
    pub voters: VoterArgs,
    /// A feature with which the new cluster begins at another level than the highest; may be
    /// repeated.
    #[arg(long = "feature", short = 'f', value_name = "NAME=LEVEL", value_parser = parse_feature)]
    pub features: Vec<FeatureChoice>,
    /// The release for which the new cluster writes its metadata, so that its controllers can run
    /// it: 4.0 to 4.3.
    #[arg(long, short = 'r', value_name = "RELEASE", default_value = "4.3-IV0")]
    pub release_version: String,
    /// A SCRAM credential with which the new cluster begins, such as
    /// 'SCRAM-SHA-256=[name=alice,password=alice-secret]'; may be repeated.
    #[arg(long, short = 'S', value_name = "CREDENTIAL")]
    pub add_scram: Vec<String>,
    /// As kafka-storage: a controller must say who votes, and nothing else than its lines is
    /// printed.
    #[arg(long, hide = true)]
    pub as_kafka_storage: bool,
}

/// Reads `NAME=LEVEL`.
fn parse_feature(text: &str) -> Result<FeatureChoice, String> {
    let read = text.split_once('=').and_then(|(name, level)| {
        Some(FeatureChoice { name: name.trim().to_owned(), level: level.trim().parse().ok()? })
    });
    read.ok_or_else(|| format!("{text} is not NAME=LEVEL, such as group.version=1"))
}

/// The first voters of the metadata quorum; at most one of these. Where controller.quorum.voters
/// names several nodes, none is needed.
#[derive(Debug, clap::Args)]
#[group(multiple = false, conflicts_with = "declare_lost")]
pub struct VoterArgs {
    /// Begin a quorum with this controller as its only voter; others join later.
    #[arg(long, short = 's')]
    pub standalone: bool,
    /// Begin a quorum with these controllers; each of them must be formatted with the same list.
    #[arg(long, short = 'I', value_name = "ID@HOST:PORT:DIRECTORY-ID,...")]
    pub initial_controllers: Option<String>,
    /// Join a quorum that is there, which controller.quorum.bootstrap.servers finds.
    #[arg(long, short = 'N')]
    pub no_initial_controllers: bool,
}

/// What is done with the metadata of a node, beside its controller.
#[derive(Debug, Subcommand)]
pub enum QuorumAction {
    /// Make the metadata of a surviving controller a new quorum in which it votes alone; without
    /// --execute, show what would be lost.
    ///
    /// For a cluster whose other voters, or most of them, are gone for good. Stop all its nodes
    /// first. What the others had committed and this controller has not received is lost.
    Recover(RecoverArgs),
    /// Copy the metadata of a node, which may run meanwhile, to a new directory.
    Backup(BackupArgs),
}

/// Make a new quorum of one voter.
#[derive(Debug, clap::Args)]
pub struct RecoverArgs {
    /// Where the settings of the surviving controller are.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Do it; without this, nothing is changed.
    #[arg(long)]
    pub execute: bool,
    /// Where the metadata is copied to before it is changed (default: beside the metadata
    /// directory, by its name and the time).
    #[arg(long, value_name = "DIR")]
    pub backup: Option<PathBuf>,
    /// If the log is broken, end it there; without this, a broken log is refused.
    #[arg(long)]
    pub cut_broken_tail: bool,
}

/// Copy the metadata of a node.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// Where the settings of the node are.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The directory that the copy becomes; it must not be there.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
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
