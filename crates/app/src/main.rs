//! `ottla`: choose a role, build it, stop it.

mod args;
mod server;

use std::process::ExitCode;

use clap::Parser;

/// Kafka's requests are many small allocations that die young.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let done = match args.command {
        None => server::run(&args::Server::default()),
        Some(args::Command::Server(server)) => server::run(&server),
        Some(args::Command::Format(format)) => server::format(&format),
        Some(args::Command::Client(client)) => ottla_cli::run(client),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla: {error}");
            ExitCode::FAILURE
        }
    }
}
