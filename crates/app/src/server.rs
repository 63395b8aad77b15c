//! A node from its first line on the screen to its clean stop.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::Path;

use ottla_broker::settings::{Settings, explain, reference};
use ottla_broker::{Broker, Formatting, StartError};
use ottla_clock::Clock;
use tracing_subscriber::EnvFilter;

use ottla_cli::Environment;

use crate::args::{Config, Format, LogFormat, Server};

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

/// Runs a node until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// It cannot start, or cannot stop cleanly.
pub fn run(args: &Server) -> Result<(), Box<dyn Error>> {
    if args.print_config {
        let settings = settings(args.file.as_deref(), &args.overrides)?;
        write!(std::io::stdout(), "{}", settings.print())?;
        return Ok(());
    }
    log(args.log_format);
    // Two megabytes at a time is too much for a node that may hold ten thousand small partitions.
    // Where the system refuses, only memory is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    allow_files();
    let settings = settings(args.file.as_deref(), &args.overrides)?;
    for (name, nearest) in &settings.unknown {
        match nearest {
            Some(nearest) => tracing::warn!("{name} is no setting; is {nearest} meant?"),
            None => tracing::warn!("{name} is no setting; it is ignored"),
        }
    }
    warn_of_missing_brokers(&settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the node starts: a signal in between must not kill it half-built.
    let mut stop = runtime.block_on(async { ottla_cli::Stop::listen() })?;
    let formatting =
        if args.format_if_empty { Formatting::IfEmpty } else { Formatting::DefaultDirectory };
    let broker = Broker::start(settings, formatting, Clock::real()).map_err(with_advice)?;
    // The node serves, whether or not its screen can be shown.
    let _ = screen(&broker);
    let is_asked = runtime.block_on(async {
        tokio::select! {
            _ = stop.asked() => true,
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

/// Groups or transactions that cannot work in a cluster of one broker are announced at the start,
/// not found out by the first client that waits for them.
fn warn_of_missing_brokers(settings: &Settings) {
    let kinds = [
        ("groups", "__consumer_offsets", "offsets.topic.replication.factor"),
        ("transactions", "__transaction_state", "transaction.state.log.replication.factor"),
    ];
    for (what, topic, setting) in kinds {
        let wanted = settings.number(setting);
        if wanted > 1 {
            tracing::warn!(
                "{setting}={wanted} needs {wanted} brokers, and this cluster has 1: unless topic {topic} exists already, {what} will not work; set {setting}=1"
            );
        }
    }
}

/// An error, and what can be done about it.
fn with_advice(error: StartError) -> String {
    match error.advice() {
        Some(advice) => format!("{error}\n  {advice}"),
        None => error.to_string(),
    }
}

/// Prepares data directories for a cluster, and prints its id.
///
/// # Errors
/// They are prepared already, or the disk fails.
pub fn format(args: &Format) -> Result<(), Box<dyn Error>> {
    let settings = settings(args.file.as_deref(), &args.overrides)?;
    if !args.declare_lost.is_empty() {
        let said = Broker::declare_lost(&settings, &args.declare_lost, &Clock::real());
        let said = said.map_err(with_advice)?;
        writeln!(std::io::stdout(), "{}", said.join("\n"))?;
        return Ok(());
    }
    let id = args.cluster_id.clone();
    let id = Broker::format(&settings, id, args.ignore_formatted, &Clock::real());
    let id = id.map_err(with_advice)?;
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
        Config::Get(args) => return ottla_cli::get(args, environment),
        Config::Set(args) => return ottla_cli::set(args, environment),
    };
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn settings(file: Option<&Path>, overrides: &[String]) -> Result<Settings, Box<dyn Error>> {
    let text = match file {
        Some(path) => Some(
            ottla_cli::read_file(path).map_err(|error| format!("{}: {error}", path.display()))?,
        ),
        None => None,
    };
    Ok(Settings::read(text.as_deref(), overrides)?)
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("OTTLA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        // A standard error that was closed must not end the node.
        .log_internal_errors(false);
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
    writeln!(out, "  ottla produce hello --create --bootstrap-server {first}")?;
    writeln!(out, "  ottla consume hello --from-beginning --bootstrap-server {first}")?;
    writeln!(out, "\nStop with Ctrl-C.")?;
    out.flush()
}
