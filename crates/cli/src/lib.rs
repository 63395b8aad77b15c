//! The operator's commands, for a running cluster of Ottla's or Apache Kafka's.

mod balance;
mod bench;
mod cluster;
mod cluster_nodes;
mod consume;
mod demo;
mod doctor;
mod doctor_quorum;
mod findings;
mod front;
mod groups;
mod output;
mod patience;
mod produce;
mod progress;
mod quorum_watch;
mod rebalance;
mod settings;
mod size;
mod topics;
mod txn;

use std::error::Error;
use std::io;
use std::path::Path;

use clap::Subcommand;
use ottla_client::StopSignal;

pub use findings::{Finding, HealthVerdict, report};
pub use front::{Environment, SharedOptions};
pub use ottla_client::Stop;
pub use quorum_watch::follow_quorum_leader;
pub use settings::{Get, Set};

/// A command for a running cluster, ours or Apache Kafka's.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Write the lines of the standard input to a topic.
    Produce(produce::ProduceArgs),
    /// Print the records of a topic.
    Consume(consume::Consume),
    /// List, describe, create, change and delete topics.
    Topics(topics::TopicsArgs),
    /// List consumer groups and how far they are behind; reset and delete them.
    Groups(groups::GroupsArgs),
    /// Print the nodes, their part in the quorum and their disks; move replicas between them.
    Cluster(cluster::BrokersArgs),
    /// List transactions, and abort one that hangs.
    Txn(txn::Txn),
    /// Measure how fast the cluster writes, reads and answers.
    Bench(bench::BenchArgs),
    /// Play an example on a running cluster.
    Demo {
        /// The example.
        #[command(subcommand)]
        action: demo::DemoAction,
    },
    /// Work out partitions, brokers and disks.
    Size(size::Size),
}

/// Runs a conversation with a cluster.
fn run_to_end<T>(
    conversation: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(conversation)
}

/// Runs the command.
///
/// # Errors
/// The error, as a text for the operator.
pub fn run_command(
    command: ClusterCommand,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let it = environment;
    run_to_end(async {
        match command {
            ClusterCommand::Produce(args) => Box::pin(produce::run_produce(args, it)).await,
            ClusterCommand::Consume(args) => Box::pin(consume::run_consume(args, it)).await,
            ClusterCommand::Topics(args) => Box::pin(topics::run_topics(args, it)).await,
            ClusterCommand::Groups(args) => Box::pin(groups::run_groups(args, it)).await,
            ClusterCommand::Cluster(args) => Box::pin(cluster::run_cluster(args, it)).await,
            ClusterCommand::Txn(args) => Box::pin(txn::run_txn(args, it)).await,
            ClusterCommand::Bench(args) => Box::pin(bench::run_bench(args, it)).await,
            ClusterCommand::Demo { action } => Box::pin(demo::run_demo(action, it)).await,
            ClusterCommand::Size(args) => size::run_size(args, it),
        }
    })
}

/// Prints settings of a running cluster.
///
/// # Errors
/// The error, as a text for the operator.
pub fn print_settings(args: Get, environment: &Environment) -> Result<(), Box<dyn Error>> {
    run_to_end(settings::get_settings(args, environment))
}

/// Changes settings of a running cluster.
///
/// # Errors
/// The error, as a text for the operator.
pub fn change_settings(args: Set, environment: &Environment) -> Result<(), Box<dyn Error>> {
    run_to_end(settings::set_settings(args, environment))
}

/// Prints which build this is.
///
/// # Errors
/// The standard output is closed.
pub fn print_version(
    commit: &str,
    kafka: &str,
    shared: &SharedOptions,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    shared.refuse_watch("version")?;
    let front = front::Front::new(shared, environment)?;
    let version = env!("CARGO_PKG_VERSION");
    let mut table = output::OutputTable::new(&[
        output::column("version"),
        output::column("commit"),
        output::titled("Apache Kafka", "kafka_version"),
    ]);
    table.row(vec![version.into(), commit.into(), kafka.into()]);
    let sentence = format!("ottla {version} (commit {commit}, Apache Kafka {kafka})");
    Ok(front.done(&sentence, &table)?)
}

/// Looks at a running cluster.
///
/// # Errors
/// No broker answers.
pub fn run_doctor(
    shared: &SharedOptions,
    environment: &Environment,
) -> Result<Vec<Finding>, Box<dyn Error>> {
    run_to_end(Box::pin(doctor::diagnose_cluster(shared, environment)))
}

/// The exit code of an error that is not to be printed: a signal that asked for the end, a reader
/// of the output that has closed the pipe, or findings that were printed already.
#[must_use]
pub fn exit_code(error: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(stopped) = error.downcast_ref::<StopSignal>() {
        return Some(stopped.exit_code());
    }
    if let Some(verdict) = error.downcast_ref::<HealthVerdict>() {
        return Some(verdict.exit_code());
    }
    let is_closed = |it: &io::Error| it.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(is_closed).then_some(0)
}

/// The text of a file that the operator named.
///
/// # Errors
/// The file cannot be read.
pub fn read_file(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}
