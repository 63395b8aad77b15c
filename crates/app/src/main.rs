//! `ottla`: choose a role, build it, stop it.

mod args;
mod by_name;
mod server;

use std::error::Error;
use std::io::{BufWriter, StdoutLock, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use ottla_offline::DumpError;

use crate::by_name::Ours;

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

/// Says how something went, and ends accordingly.
fn told(done: std::io::Result<String>) -> ExitCode {
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn install(folder: &Path) -> Result<(), Box<dyn Error>> {
    let binary = std::env::current_exe()?.canonicalize()?;
    let count = ottla_tools::install(folder, &binary)?;
    println!(
        "{count} names in {}/bin; KAFKA_HOME={} now serves scripts.",
        folder.display(),
        folder.display()
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "only app reads arguments and the environment")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let Some((tool, rest)) = by_name::tool(&words) {
        let server = std::env::var("KAFKA_SERVER").ok();
        let mut out = BufWriter::new(std::io::stdout().lock());
        return ottla_tools::run(tool, rest, server.as_deref(), &mut out).into();
    }
    let args = match by_name::command(&words) {
        None => args::Args::parse(),
        Some(Ok(Ours::Now(words))) => args::Args::parse_from(words),
        Some(Ok(Ours::Daemon(words))) => {
            return told(by_name::daemon(&words).map(|pid| format!("started, process {pid}")));
        }
        Some(Ok(Ours::Stop)) => {
            return told(by_name::stop().and_then(|count| match count {
                0 => Err(std::io::Error::other("No kafka server to stop")),
                count => Ok(format!("{count} asked to stop")),
            }));
        }
        Some(Err(why)) => return told(Err(std::io::Error::other(why))),
    };
    let done = match args.command {
        None => server::run(&args::Server::default()),
        Some(args::Command::Server(server)) => server::run(&server),
        Some(args::Command::Format(format)) => server::format(&format),
        Some(args::Command::Dump(dump)) => offline(|out| dump.run(out).map(|()| true)),
        Some(args::Command::Doctor(doctor)) => offline(|out| doctor.run(out)),
        Some(args::Command::Config { action }) => server::config(&action),
        Some(args::Command::InstallTools { folder }) => install(&folder),
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
