//! A node from its first line on the screen to its clean stop.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_broker::{
    Broker, ChosenVoters, FeatureChoice, FormatRequest, FormattedDirs, Formatting, LogLevels,
    NodeFailure, ReleaseChoice, StartError, StartOptions, is_local_host,
};
use ottla_cli::{Environment, Stop};
use ottla_clock::Clock;
use ottla_settings::{
    SettingError, Settings, Sources, explain_setting, settings_reference, unbuilt_settings,
};
use tokio::runtime::Runtime;

use crate::args::{Config, FormatArgs, LogFormat, ServerArgs, SettingsArgs};
use crate::logs;
use crate::ready::{Notify, Readiness};
use crate::version::{COMMIT, KAFKA, VERSION};

/// Every partition keeps its last segment open, every client a socket: as many as the system lets
/// this user have, as a JVM does.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, all) {
            tracing::warn!(
                %error,
                limit = ?limit.current,
                wanted = ?limit.maximum,
                "limit of open files cannot be raised; each partition and each connection needs one"
            );
        }
    }
}

/// Why a node has ended that was not asked to, and with which exit code.
#[derive(Debug)]
pub struct ServerFailure {
    /// The exit code; `ottla-server(1)` says what each means.
    pub code: u8,
    /// Does the log have it already?
    pub is_logged: bool,
    why: String,
}

/// Every data directory has failed, or the controller cannot write the metadata log.
const DISKS_FAILED: u8 = 3;
/// The stop was not clean.
const UNCLEAN_STOP: u8 = 4;

impl std::fmt::Display for ServerFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for ServerFailure {}

/// Runs a node until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// It cannot start, or cannot stop cleanly.
pub fn run_server(args: &ServerArgs) -> Result<(), Box<dyn Error>> {
    if args.print_config {
        let settings = read_settings(&args.all_settings())?;
        write!(std::io::stdout(), "{}", settings.print())?;
        for warning in &settings.warnings {
            eprintln!("ottla: {warning}");
        }
        let missing = unbuilt_settings(&settings, &is_local_host);
        if !missing.is_empty() {
            return Err(SettingError::NotBuilt(missing).into());
        }
        return Ok(());
    }
    let levels = logs::start_logging(args.log_format, logs::log_filter(), logs::has_colours());
    let levels: Arc<dyn LogLevels> = Arc::new(levels);
    // In JSON the log has the error, too, for programs; people read it on the standard error.
    let is_logged = matches!(args.log_format, LogFormat::Json);
    serve_until_stopped(args, levels).map_err(|(code, why)| {
        if is_logged {
            tracing::error!(exit_code = code, "node failed: {why}");
        }
        ServerFailure { code, is_logged, why }.into()
    })
}

/// Starts a node, and stops it when it is to.
fn serve_until_stopped(args: &ServerArgs, levels: Arc<dyn LogLevels>) -> Result<(), (u8, String)> {
    let failed = |code: u8| move |error: &dyn std::fmt::Display| (code, error.to_string());
    let not_started = |error: Box<dyn Error>| failed(1)(&error);
    let clock = Clock::real();
    tracing::info!(version = VERSION, commit = COMMIT, kafka = KAFKA, "node starting");
    let ready = Readiness::new(Notify::of_environment(), args.ready_file.as_deref());
    let ready = ready.map_err(|error| failed(1)(&error))?;
    let started = start_node(args, levels, &clock).map_err(not_started)?;
    let (broker, runtime, mut stop) = match started {
        StartedNode::Serves(broker, runtime, stop) => (*broker, runtime, stop),
        StartedNode::Stopped(signal) => {
            tracing::info!(signal, "node stopped cleanly, before its cluster was formed");
            return Ok(());
        }
    };
    log_started(&broker);
    if std::io::stdout().is_terminal() {
        // The node serves, whether or not its screen can be shown.
        let _ = print_ready(&broker);
    }
    if let Err(error) = ready.ready(&broker) {
        // A script that waits for the file would wait without end, so the node stops; after a
        // clean stop the next start need not check the logs.
        let stopped = broker.stop();
        return Err(failed(1)(&stopped.err().map_or(error.to_string(), |it| it.to_string())));
    }
    let asked = runtime.block_on(async {
        tokio::select! {
            biased;
            stopped = stop.asked() => Ok(stopped.name()),
            why = broker.failed() => Err(why),
            never = ready.keep_alive(&broker, &clock) => match never {},
        }
    });
    ready.stopping();
    // What is in memory cannot be saved; the next start recovers what is on the disks.
    let signal = asked.map_err(|why: NodeFailure| failed(DISKS_FAILED)(&why))?;
    let begun = clock.monotonic();
    tracing::info!(signal, "node stopping");
    broker.stop().map_err(|error| failed(UNCLEAN_STOP)(&error))?;
    let stop_ms = u64::try_from((clock.monotonic() - begun).as_millis()).unwrap_or(u64::MAX);
    tracing::info!(stop_ms, "node stopped cleanly");
    Ok(())
}

/// What a start came to.
enum StartedNode {
    /// The node serves.
    Serves(Box<Broker>, Runtime, Stop),
    /// It was asked to stop while it waited for the other nodes of its cluster; by which signal.
    Stopped(&'static str),
}

fn start_node(
    args: &ServerArgs,
    levels: Arc<dyn LogLevels>,
    clock: &Clock,
) -> Result<StartedNode, Box<dyn Error>> {
    // Two megabytes at a time is too much for a node that may hold ten thousand small partitions.
    // Where the system refuses, only memory is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    allow_files();
    let given = args.all_settings();
    let settings = read_settings(&given)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    for (name, why) in settings.without_effect() {
        tracing::warn!(setting = %name, "setting has no effect: {why}");
    }
    warn_of_missing_brokers(&settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the node starts: a signal in between must not kill it half-built.
    let mut stop = runtime.block_on(async { Stop::listen() })?;
    let formed = runtime.block_on(async {
        tokio::select! {
            biased;
            signal = stop.asked() => Err(signal.name()),
            formed = Broker::form_cluster(settings.clone(), clock.clone()) => Ok(formed),
        }
    });
    match formed {
        Err(signal) => return Ok(StartedNode::Stopped(signal)),
        Ok(formed) => formed.map_err(|error| with_advice(error, &given))?,
    }
    let formatting =
        if args.format_if_empty { Formatting::IfEmpty } else { Formatting::DefaultDirectory };
    let options = StartOptions { formatting, levels, authorizer: None };
    let broker = Broker::start(settings, options, clock.clone())
        .map_err(|error| with_advice(error, &given))?;
    Ok(StartedNode::Serves(Box::new(broker), runtime, stop))
}

/// Writes down what has started, and how.
fn log_started(broker: &Broker) {
    let listeners: Vec<String> =
        broker.addresses().iter().map(|(name, address)| format!("{name}://{address}")).collect();
    let directories: Vec<String> =
        broker.data().iter().map(|path| absolute_path(path).display().to_string()).collect();
    let facts = broker.facts();
    tracing::info!(
        version = VERSION,
        commit = COMMIT,
        kafka = KAFKA,
        cluster_id = broker.cluster_id(),
        node_id = facts.node_id,
        roles = %facts.roles.join(","),
        listeners = %listeners.join(","),
        log_dirs = %directories.join(","),
        formatted = broker.was_formatted(),
        clean_stop_before = facts.was_clean,
        partitions = facts.partitions,
        recovery_ms = facts.recovery_ms,
        start_ms = facts.start_ms,
        "node started"
    );
}

/// The path from the root, as far as that can be found.
fn absolute_path(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Groups or transactions that cannot work in a cluster of one broker are announced at the start,
/// not found out by the first client that waits for them.
fn warn_of_missing_brokers(settings: &Settings) {
    if settings.other_nodes(&is_local_host).is_some() {
        return;
    }
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
///
/// Commands in it have the settings that were given: a command without them would be about other
/// directories.
pub(crate) fn with_advice(error: StartError, given: &SettingsArgs) -> String {
    match error.advice() {
        Some(advice) => format!("{error}\n  {}", advice.replace(" SETTINGS", &words_of(given))),
        None => error.to_string(),
    }
}

/// The words of a command line that give these settings, each after a blank.
fn words_of(given: &SettingsArgs) -> String {
    let quoted = |word: &str| {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_=.,:/@+%".contains(it);
        if !word.is_empty() && word.chars().all(is_plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let file = given.file.iter().map(|path| quoted(&path.display().to_string()));
    let mut words: Vec<String> = file.collect();
    if given.env {
        words.push("--env".to_owned());
    }
    words.extend(given.overrides.iter().map(|it| format!("--override {}", quoted(it))));
    words.iter().map(|word| format!(" {word}")).collect()
}

/// Prepares data directories for a cluster, and prints which and its id.
///
/// # Errors
/// They are prepared already, or the disk fails.
pub fn format_directories(args: &FormatArgs) -> Result<(), Box<dyn Error>> {
    let settings = read_settings(&args.settings)?;
    if !args.declare_lost.is_empty() {
        let said = Broker::declare_lost(&settings, &args.declare_lost, &Clock::real());
        let said = said.map_err(|error| with_advice(error, &args.settings))?;
        writeln!(std::io::stdout(), "{}", said.join("\n"))?;
        return Ok(());
    }
    let formatted = match (args.ignore_formatted, args.as_kafka_storage) {
        (true, true) => FormattedDirs::KeepAsKafka,
        (true, false) => FormattedDirs::Keep,
        (false, _) => FormattedDirs::Refuse,
    };
    let release = ottla_tools::release_features(&args.release_version)?;
    let features = release
        .levels
        .iter()
        .map(|(name, level)| FeatureChoice { name: (*name).to_owned(), level: *level });
    let request = FormatRequest {
        cluster_id: args.cluster_id.clone(),
        release: ReleaseChoice { name: release.name, features: features.collect() },
        formatted,
        voters: chosen_voters(args),
        features: args.features.clone(),
        credentials: args.add_scram.clone(),
    };
    let report = Broker::format(&settings, request, &Clock::real());
    let report = report.map_err(|error| with_advice(error, &args.settings))?;
    let mut out = std::io::stdout().lock();
    for directory in &report.directories {
        writeln!(out, "{directory}")?;
    }
    if report.directories.is_empty() {
        writeln!(out, "All of the log directories are already formatted.")?;
    }
    if !args.as_kafka_storage {
        writeln!(out, "Formatted for cluster {}.", report.cluster_id)?;
    }
    Ok(())
}

/// The first voters, as the command line has them.
fn chosen_voters(args: &FormatArgs) -> ChosenVoters {
    match &args.voters.initial_controllers {
        Some(list) => ChosenVoters::Initial(list.clone()),
        None if args.voters.standalone => ChosenVoters::Standalone,
        None if args.voters.no_initial_controllers => ChosenVoters::NoneYet,
        None if args.as_kafka_storage => ChosenVoters::MustBeSaid,
        None => ChosenVoters::Unsaid,
    }
}

/// Prints settings in words.
///
/// # Errors
/// There is no setting of that name.
pub fn run_config(action: Config, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let text = match action {
        Config::Explain { name } => explain_setting(&name)?,
        Config::Reference => settings_reference().trim_end().to_owned(),
        Config::Judge => return judge_settings(),
        Config::Get(args) => return ottla_cli::print_settings(args, environment),
        Config::Set(args) => return ottla_cli::change_settings(args, environment),
    };
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Answers each line of the standard input, settings as an object, with how a node would take
/// them: `{"values": true|false, "built": true|false, "why": ..., "shown": {...}}`.
fn judge_settings() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let asked: BTreeMap<String, String> = serde_json::from_str(&line?)?;
        let overrides: Vec<String> =
            asked.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = match Settings::read(Some(""), &overrides) {
            Err(why) => serde_json::json!({ "values": false, "why": why.to_string() }),
            Ok(settings) => {
                let missing = unbuilt_settings(&settings, &is_local_host);
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

pub(crate) fn read_settings(given: &SettingsArgs) -> Result<Settings, Box<dyn Error>> {
    let name = given.file.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let text = match &given.file {
        Some(path) => Some(ottla_cli::read_file(path).map_err(|error| format!("{name}: {error}"))?),
        None => None,
    };
    let environment = if given.env { environment_variables() } else { Vec::new() };
    Ok(Settings::from_sources(&Sources {
        file: text.as_deref(),
        file_name: &name,
        environment: &environment,
        overrides: &given.overrides,
    })?)
}

/// The variables of the environment that are text, by name.
fn environment_variables() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let mut all: Vec<_> = std::env::vars_os().filter_map(text).collect();
    all.sort();
    all
}

/// What a person at a terminal wants to know first.
fn print_ready(broker: &Broker) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let (_, first) = broker.addresses()[0];
    writeln!(out, "Ottla {} is ready.\n", VERSION)?;
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
