//! `ottla`: choose a role, build it, stop it.

mod args;
mod by_name;
mod logs;
mod pages;
mod quorum;
mod ready;
mod server;
mod stop;
mod up;
mod version;

use std::error::Error;
use std::io::{BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ottla_cli::Environment;
use ottla_offline::DumpError;

use crate::args::DoctorArgs;
use crate::by_name::Ours;

/// Kafka's requests are many small allocations that die young.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a command that prints what it finds.
fn run_offline(
    run: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> Result<(), DumpError>,
) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = run(&mut out);
    out.flush()?;
    match done {
        // The reader of the output has read enough.
        Err(DumpError::Shown(error)) => Err(error.into()),
        done => Ok(done?),
    }
}

fn install_tools(folder: &Path) -> Result<(), Box<dyn Error>> {
    let binary = std::env::current_exe()?.canonicalize()?;
    let count = ottla_tools::install_layout(folder, &binary)?;
    pages::install_pages(folder)?;
    let at = folder.display();
    Ok(writeln!(
        std::io::stdout(),
        "{count} names in {at}/bin; set KAFKA_HOME={at} in your scripts."
    )?)
}

/// What surrounds this process.
#[expect(clippy::disallowed_methods, reason = "only app reads arguments and the environment")]
fn read_environment() -> Environment {
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

/// The exit code of a doctor that could not look; monitoring calls that UNKNOWN.
const COULD_NOT_LOOK: u8 = 3;

/// Looks for problems, offline or in a cluster.
fn run_doctor(args: &DoctorArgs, environment: &Environment) -> ExitCode {
    let found = match &args.offline {
        None => ottla_cli::run_doctor(&args.shared, environment),
        Some(dir) => {
            let doctor = ottla_offline::Doctor { offline: dir.clone(), thorough: args.thorough };
            doctor.look().map(offline_findings).map_err(Into::into)
        }
    };
    match found {
        Ok(found) => report_outcome(ottla_cli::report(&found, &args.shared, environment)),
        Err(error) => {
            report_outcome(Err(error));
            COULD_NOT_LOOK.into()
        }
    }
}

/// What was found in a data directory, and what that comes to.
fn offline_findings(found: ottla_offline::Findings) -> Vec<ottla_cli::Finding> {
    let verdict = |severity| match severity {
        ottla_offline::Severity::Note => ottla_cli::HealthVerdict::Note,
        ottla_offline::Severity::Warning => ottla_cli::HealthVerdict::Warning,
        ottla_offline::Severity::Error => ottla_cli::HealthVerdict::Error,
    };
    let summary = found.summary();
    let all = found.all.into_iter().map(|(severity, subject, finding)| ottla_cli::Finding {
        verdict: verdict(severity),
        subject,
        finding,
    });
    let (subject, verdict) = ("directory".to_owned(), ottla_cli::HealthVerdict::Good);
    let last = summary.map(|finding| ottla_cli::Finding { verdict, subject, finding });
    all.chain(last).collect()
}

/// Ends as it went, and says what went wrong.
fn report_outcome(done: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    if let Some(code) = ottla_cli::exit_code(&*error) {
        return code.into();
    }
    let failure = error.downcast_ref::<server::ServerFailure>();
    if failure.is_none_or(|it| !it.is_logged) {
        // Where the standard error is closed, the exit code says it.
        let _ = writeln!(std::io::stderr(), "ottla: {error}");
    }
    failure.map_or(ExitCode::FAILURE, |it| ExitCode::from(it.code))
}

/// Prints a line.
fn print_line(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

#[expect(clippy::disallowed_methods, reason = "only app reads arguments and the environment")]
fn main() -> ExitCode {
    let words = by_name::command_first(std::env::args().collect());
    let environment = read_environment();
    if let Some((tool, rest)) = by_name::find_tool(&words) {
        let mut out = BufWriter::new(std::io::stdout().lock());
        return ottla_tools::run_tool(tool, rest, environment.server.as_deref(), &mut out).into();
    }
    let args = match by_name::own_command(&words) {
        None => args::Args::parse_from(words),
        Some(Ok(Ours::Now(words))) => args::Args::parse_from(words),
        Some(Ok(Ours::Daemon(words))) => {
            return report_outcome(match by_name::start_daemon(&words) {
                Ok(pid) => print_line(&format!("started, process {pid}")),
                Err(error) => Err(error.into()),
            });
        }
        Some(Ok(Ours::Stop(words))) => {
            let stopped = stop::stop_nodes(&words, std::env::var("SIGNAL").ok().as_deref());
            return match stopped {
                Ok(text) => report_outcome(print_line(&text)),
                Err(error) => {
                    // Without our name before it, as scripts know it of Kafka's.
                    let _ = writeln!(std::io::stderr(), "{error}");
                    ExitCode::FAILURE
                }
            };
        }
        Some(Err(why)) => return report_outcome(Err(why.into())),
    };
    report_outcome(match args.command {
        None => server::run_server(&args::ServerArgs::default()),
        Some(args::AppCommand::Server(server)) => server::run_server(&server),
        Some(args::AppCommand::Up(up)) => up::run_up(&up),
        Some(args::AppCommand::Format(format)) => server::format_directories(&format),
        Some(args::AppCommand::Dump(dump)) => run_offline(|out| dump.run(out)),
        Some(args::AppCommand::Doctor(args)) => return run_doctor(&args, &environment),
        Some(args::AppCommand::Quorum { action }) => quorum::run_quorum(&action),
        Some(args::AppCommand::Config { action }) => server::run_config(action, &environment),
        Some(args::AppCommand::InstallTools { folder }) => install_tools(&folder),
        Some(args::AppCommand::Completions { shell }) => {
            let mut text = Vec::new();
            pages::write_completions(shell, &mut text);
            std::io::stdout().write_all(&text).map_err(Into::into)
        }
        Some(args::AppCommand::Man { folder }) => match pages::write_man_pages(&folder) {
            Ok(count) => print_line(&format!("{count} pages in {}", folder.display())),
            Err(error) => Err(error.into()),
        },
        Some(args::AppCommand::Version { shared }) => {
            ottla_cli::print_version(version::COMMIT, version::KAFKA, &shared, &environment)
        }
        Some(args::AppCommand::Client(client)) => ottla_cli::run_command(*client, &environment),
    })
}
