//! Loads a broker by raw frames, and prints what it measured as one line of JSON.
//!
//! Clients of the field spend more on a record than a broker does, so that a figure taken through
//! them is theirs. Here requests are encoded once, and answers read into one buffer and looked at
//! where they lie: a thread for each connection, as little as can be beside the server.

#![allow(clippy::print_stdout, reason = "the line of JSON is what it is for")]

mod amqp;
mod commit;
mod fetch;
mod histories;
mod kafka;
mod measure;
mod nats;
mod produce;
mod roofline;
mod window;
mod wire;

use std::num::NonZeroU64;
use std::process::ExitCode;
use std::thread;

use clap::{Args, Parser, Subcommand};
use ottla_clock::Clock;

use crate::measure::{DoneRequest, LoadReport};
use crate::wire::LoadError;

/// Loads a broker by raw frames, and prints what it measured as one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "ottla-load")]
struct LoadArgs {
    #[command(subcommand)]
    mode: LoadMode,
}

/// Where to.
#[derive(Args, Clone, Debug)]
struct LoadTarget {
    /// The broker's port on this machine.
    #[arg(long)]
    port: u16,
    /// The topic; it must be there.
    #[arg(long)]
    topic: String,
    /// How many connections, each to a partition of its own from 0 on.
    #[arg(long, default_value_t = 1)]
    connections: i32,
    /// How many connections share one partition.
    #[arg(long, default_value_t = 1)]
    sharing: i32,
}

impl LoadTarget {
    /// What all connections did, each on a thread of its own; `one` gets its number.
    fn each(
        &self,
        clock: &Clock,
        one: impl Fn(i32) -> Result<Vec<DoneRequest>, LoadError> + Sync,
    ) -> Result<LoadReport, LoadError> {
        let (begun, one) = (clock.monotonic(), &one);
        let parts: Result<Vec<_>, LoadError> = thread::scope(|scope| {
            let running: Vec<_> =
                (0..self.connections).map(|at| scope.spawn(move || one(at))).collect();
            running.into_iter().map(|it| it.join().unwrap_or(Err(LoadError::Thread))).collect()
        });
        Ok(LoadReport::new(begun, parts?))
    }

    /// The partition of a connection.
    fn partition(&self, at: i32) -> i32 {
        at / self.sharing.max(1)
    }
}

#[derive(Debug, Subcommand)]
enum LoadMode {
    /// Writes as fast as answers come, or at a rate.
    Produce(produce::ProduceLoad),
    /// Reads from the start, or over and over.
    Fetch(fetch::FetchLoad),
    /// Writes at a rate and reads along: how long a record takes from the time when it was due to
    /// be sent until it has been read.
    Tail(fetch::Tail),
    /// Serves what the others ask, as fast as the machine allows: the limit to be measured against.
    Roofline(roofline::Roofline),
    /// Commits an offset for each of many groups and partitions.
    Commit(commit::Commit),
    /// Publishes to Kafka's protocol as the next two do to theirs.
    Kafka(kafka::Kafka),
    /// Publishes to NATS JetStream, with an acknowledgement for each message.
    Nats(window::MessageLoad),
    /// Publishes to RabbitMQ, with a confirmation for each message.
    Rabbit(amqp::Rabbit),
    /// Plays scripted client histories, and prints what the broker answered.
    Histories(histories::Histories),
}

fn main() -> ExitCode {
    // Requests are to go when they are due and not 50 us later; threads inherit it.
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        eprintln!("ottla-load: requests go late: {error}");
    }
    let done = run_mode(LoadArgs::parse().mode);
    match done {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ottla-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the mode; returns the line to print.
fn run_mode(mode: LoadMode) -> Result<String, LoadError> {
    let json = |report: LoadReport| report.json().to_string();
    match mode {
        LoadMode::Produce(mode) => mode.run().map(json),
        LoadMode::Fetch(mode) => mode.run().map(json),
        LoadMode::Tail(mode) => mode.run().map(json),
        LoadMode::Roofline(mode) => mode.run(),
        LoadMode::Commit(mode) => mode.run().map(json),
        LoadMode::Kafka(mode) => mode.run(),
        LoadMode::Nats(load) => nats::run_nats(&load),
        LoadMode::Rabbit(mode) => mode.run(),
        LoadMode::Histories(mode) => mode.run(),
    }
}
