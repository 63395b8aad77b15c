//! `ottla`: choose a role, build it, stop it.

mod args;
mod by_name;
mod logs;
mod pages;
mod ready;
mod server;
mod version;

use std::error::Error;
use std::io::{BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ottla_cli::Environment;
use ottla_offline::DumpError;

use crate::args::Doctor;
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
    pages::install(folder)?;
    println!(
        "{count} names in {}/bin; KAFKA_HOME={} now serves scripts.",
        folder.display(),
        folder.display()
    );
    Ok(())
}

/// What surrounds this process.
#[expect(clippy::disallowed_methods, reason = "only app reads arguments and the environment")]
fn environment() -> Environment {
    let is_terminal = std::io::stdout().is_terminal();
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".config")));
    Environment {
        server: std::env::var("KAFKA_SERVER").ok(),
        profiles: folder.map(|it| it.join("ottla")),
        is_terminal,
        colours: is_terminal && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Looks for what is wrong, offline or in a cluster.
fn doctor(args: Doctor, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let Some(dir) = args.offline else {
        let is_good = ottla_cli::doctor(&args.shared, environment)?;
        return if is_good { Ok(()) } else { Err("see above".into()) };
    };
    let doctor = ottla_offline::Doctor { offline: dir, thorough: args.thorough };
    offline(|out| doctor.run(out))
}

#[expect(clippy::disallowed_methods, reason = "only app reads arguments and the environment")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let environment = environment();
    if let Some((tool, rest)) = by_name::tool(&words) {
        let mut out = BufWriter::new(std::io::stdout().lock());
        return ottla_tools::run(tool, rest, environment.server.as_deref(), &mut out).into();
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
        Some(args::Command::Doctor(args)) => doctor(args, &environment),
        Some(args::Command::Config { action }) => server::config(action, &environment),
        Some(args::Command::InstallTools { folder }) => install(&folder),
        Some(args::Command::Completions { shell }) => {
            pages::completions(shell, &mut std::io::stdout().lock());
            Ok(())
        }
        Some(args::Command::Man { folder }) => match pages::man(&folder) {
            Ok(count) => writeln!(std::io::stdout(), "{count} pages in {}", folder.display()),
            Err(error) => Err(error),
        }
        .map_err(Into::into),
        Some(args::Command::Client(client)) => ottla_cli::run(*client, &environment),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = error.downcast_ref::<server::Failure>();
            if failure.is_none_or(|it| !it.is_logged) {
                eprintln!("ottla: {error}");
            }
            failure.map_or(ExitCode::FAILURE, |it| ExitCode::from(it.code))
        }
    }
}
