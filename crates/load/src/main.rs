//! Loads a broker by raw frames, and prints what it measured as one line of JSON.
//!
//! Clients of the field spend more on a record than a broker does, so that a figure taken through
//! them is theirs. Here requests are encoded once, and answers read into one buffer and looked at
//! where they lie: a thread for each connection, as little as can be beside the server.

#![allow(clippy::print_stdout, reason = "the line of JSON is what it is for")]

mod commit;
mod fetch;
mod histories;
mod measure;
mod produce;
mod roofline;
mod wire;

use std::num::NonZeroU64;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::measure::Report;
use crate::wire::LoadError;

/// Loads a broker by raw frames, and prints what it measured as one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "ottla-load")]
struct Command {
    #[command(subcommand)]
    mode: Mode,
}

/// Where to.
#[derive(Args, Clone, Debug)]
struct Target {
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

#[derive(Debug, Subcommand)]
enum Mode {
    /// Writes as fast as answers come, or at a rate.
    Produce(produce::Produce),
    /// Reads from the start, or over and over.
    Fetch(fetch::Fetch),
    /// Writes at a rate and reads along: how long a record takes from the time when it was due to
    /// be sent until it has been read.
    Tail(fetch::Tail),
    /// Serves what the others ask, as fast as the machine allows: the limit to be measured against.
    Roofline(roofline::Roofline),
    /// Commits an offset for each of many groups and partitions.
    Commit(commit::Commit),
    /// Plays scripted client histories, and prints what the broker answered.
    Histories(histories::Histories),
}

fn main() -> ExitCode {
    // Requests are to go when they are due and not 50 us later; threads inherit it.
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        eprintln!("ottla-load: requests go late: {error}");
    }
    let done = run(Command::parse().mode);
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

/// Does what is asked; the line that is printed.
fn run(mode: Mode) -> Result<String, LoadError> {
    let json = |report: Report| report.json().to_string();
    match mode {
        Mode::Produce(mode) => mode.run().map(json),
        Mode::Fetch(mode) => mode.run().map(json),
        Mode::Tail(mode) => mode.run().map(json),
        Mode::Roofline(mode) => mode.run(),
        Mode::Commit(mode) => mode.run().map(json),
        Mode::Histories(mode) => mode.run(),
    }
}
