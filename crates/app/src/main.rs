//! `ottla`: choose a role, build it, stop it.

mod args;
mod server;

use std::error::Error;
use std::io::{BufWriter, StdoutLock, Write};
use std::process::ExitCode;

use clap::Parser;
use ottla_offline::DumpError;

/// Kafka's requests are many small allocations that die young.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a command that tells something, and ends as its verdict is.
fn offline(
    run: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> Result<bool, DumpError>,
) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = run(&mut out);
    out.flush()?;
    if done? { Ok(()) } else { Err("see above".into()) }
}

fn main() -> ExitCode {
    let args = args::Args::parse();
    let done = match args.command {
        None => server::run(&args::Server::default()),
        Some(args::Command::Server(server)) => server::run(&server),
        Some(args::Command::Format(format)) => server::format(&format),
        Some(args::Command::Dump(dump)) => offline(|out| dump.run(out).map(|()| true)),
        Some(args::Command::Doctor(doctor)) => offline(|out| doctor.run(out)),
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
