//! A node from its first line on the screen to its clean stop.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};

use ottla_broker::settings::{SettingError, Settings, Sources, explain, reference, refusals};
use ottla_broker::{Broker, is_local_address};
use ottla_clock::Clock;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use ottla_cli::Environment;

use crate::args::{Config, Format, Given, LogFormat, Server};

/// Every partition keeps its last segment open, every client a socket: as many as the system lets
/// this user have, as a JVM does.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, all) {
            tracing::warn!(%error, limit = ?limit.current, "few files can be open at once");
        }
    }
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot start, or cannot stop cleanly.
pub fn run(args: &Server) -> Result<(), Box<dyn Error>> {
    if args.print_config {
        let settings = settings(&args.settings)?;
        write!(std::io::stdout(), "{}", settings.print())?;
        for warning in &settings.warnings {
            eprintln!("ottla: {warning}");
        }
        let missing = refusals(&settings, &is_local_address);
        if !missing.is_empty() {
            return Err(SettingError::NotBuilt(missing).into());
        }
        return Ok(());
    }
    log(args.log_format);
    // Two megabytes at a time is too much for a node that may hold ten thousand small partitions.
    // Where the system refuses, only memory is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    allow_files();
    let settings = settings(&args.settings)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    for (name, why) in settings.without_effect() {
        tracing::warn!(setting = %name, "a setting has no effect: {why}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the node starts: a signal in between must not kill it half-built.
    let (mut terminate, mut interrupt) = runtime.block_on(async {
        Ok::<_, std::io::Error>((
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    })?;
    let broker = Broker::start(settings, Clock::real()).map_err(|error| match error.advice() {
        Some(advice) => format!("{error}\n  {advice}"),
        None => error.to_string(),
    })?;
    screen(&broker)?;
    let is_asked = runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            () = broker.failed() => false,
        }
    });
    if !is_asked {
        // What is in memory cannot be saved; the next start looks through what is on the disks.
        return Err("every data directory has failed; see above".into());
    }
    tracing::info!("stopping");
    broker.stop()?;
    tracing::info!("stopped cleanly");
    Ok(())
}

/// Prepares data directories for a cluster, and prints its id.
///
/// # Errors
/// They are prepared already, or the disk fails.
pub fn format(args: &Format) -> Result<(), Box<dyn Error>> {
    let settings = settings(&args.settings)?;
    let id = args.cluster_id.clone();
    let id = Broker::format(&settings, id, args.ignore_formatted, &Clock::real())?;
    writeln!(std::io::stdout(), "Formatted for cluster {id}.")?;
    Ok(())
}

/// Prints settings in words.
///
/// # Errors
/// There is none of that name.
pub fn config(action: Config, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let text = match action {
        Config::Explain { name } => explain(&name)?,
        Config::Reference => reference().trim_end().to_owned(),
        Config::Judge => return judge(),
        Config::Get(args) => return ottla_cli::get(args, environment),
        Config::Set(args) => return ottla_cli::set(args, environment),
    };
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Answers each line of the standard input, settings as an object, with what a node would make of
/// them: `{"values": true|false, "built": true|false, "why": ..., "shown": {...}}`.
fn judge() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let asked: BTreeMap<String, String> = serde_json::from_str(&line?)?;
        let overrides: Vec<String> =
            asked.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = match Settings::read(Some(""), &overrides) {
            Err(why) => serde_json::json!({ "values": false, "why": why.to_string() }),
            Ok(settings) => {
                let missing = refusals(&settings, &is_local_address);
                let shown: BTreeMap<&String, Option<&str>> =
                    asked.keys().map(|name| (name, settings.given_to_show(name))).collect();
                let (is_built, why) = (missing.is_empty(), missing.join("\n"));
                serde_json::json!({ "values": true, "built": is_built, "why": why, "shown": shown })
            }
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

fn settings(given: &Given) -> Result<Settings, Box<dyn Error>> {
    let name = given.file.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let text = match &given.file {
        Some(path) => Some(ottla_cli::read_file(path).map_err(|error| format!("{name}: {error}"))?),
        None => None,
    };
    let environment = if given.env { environment() } else { Vec::new() };
    Ok(Settings::from_sources(&Sources {
        file: text.as_deref(),
        file_name: &name,
        environment: &environment,
        overrides: &given.overrides,
    })?)
}

/// The variables of the environment that are text, by name.
fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let mut all: Vec<_> = std::env::vars_os().filter_map(text).collect();
    all.sort();
    all
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("OTTLA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// What a stranger wants to know first.
fn screen(broker: &Broker) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let (_, first) = broker.addresses()[0];
    writeln!(out, "Ottla {} is ready.\n", env!("CARGO_PKG_VERSION"))?;
    for (name, address) in broker.addresses() {
        writeln!(out, "  address     {address}   ({name})")?;
    }
    writeln!(out, "  cluster id  {}", broker.cluster_id())?;
    for data in broker.data() {
        let new = if broker.was_formatted() { "   (new)" } else { "" };
        writeln!(out, "  data        {}{new}", data.display())?;
    }
    writeln!(out, "\nTry, in another terminal:")?;
    writeln!(out, "  ottla produce hello --bootstrap-server {first}")?;
    writeln!(out, "  ottla consume hello --from-beginning --bootstrap-server {first}")?;
    writeln!(out, "\nStop with Ctrl-C.")?;
    out.flush()
}
