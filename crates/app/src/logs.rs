//! Where the log goes, in which form, and how much of it: to the standard error, as text or JSON.

use ottla_locks::Mutex;
use std::collections::BTreeMap;
use std::io::IsTerminal;

use ottla_broker::{LogLevel, LogLevels};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::args::LogFormat;

/// The parts of the program whose level can be set: the crates that log.
const TARGETS: [&str; 12] = [
    "ottla",
    "ottla_broker",
    "ottla_client",
    "ottla_clock",
    "ottla_coordinator",
    "ottla_metadata",
    "ottla_net",
    "ottla_partitions",
    "ottla_quorum",
    "ottla_raft",
    "ottla_records",
    "ottla_storage",
];
/// What counts where no level was set for a target.
const ROOT: &str = "root";

/// The levels of the log, which can be changed while the node runs.
pub struct Levels {
    /// The filter of `OTTLA_LOG`, or the default.
    first: String,
    changed: Mutex<BTreeMap<String, LogLevel>>,
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Starts the log. What is written before is lost.
pub fn start_logging(format: LogFormat, filter: Option<String>, colours: bool) -> Levels {
    let parsed = filter.as_deref().map(|text| (text, EnvFilter::try_new(text)));
    let (first, filter) = match &parsed {
        Some((text, Ok(_))) => ((*text).to_owned(), EnvFilter::new(text)),
        _ => ("info".to_owned(), EnvFilter::new("info")),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // A standard error that was closed must not end the node.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => registry.with(layer.with_ansi(colours).with_target(false)).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    if let Some((text, Err(error))) = parsed {
        tracing::warn!(OTTLA_LOG = text, %error, "OTTLA_LOG is not a valid log filter; level info is used");
    }
    Levels { first, changed: Mutex::default(), handle }
}

/// May the log have colours? Only on a terminal, and not where `NO_COLOR` says something.
#[expect(clippy::disallowed_methods, reason = "only app reads the environment")]
pub fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var("NO_COLOR").map_or(true, |it| it.is_empty())
}

/// The filter that the environment asks for.
#[expect(clippy::disallowed_methods, reason = "only app reads the environment")]
pub fn log_filter() -> Option<String> {
    std::env::var("OTTLA_LOG").ok().filter(|it| !it.is_empty())
}

impl Levels {
    fn first_level(&self, target: &str) -> LogLevel {
        let mut found = LogLevel::Error;
        let mut length = None;
        for directive in self.first.split(',') {
            let (name, level) = directive.rsplit_once('=').unwrap_or(("", directive));
            let Some(level) = level_of(level.trim()) else { continue };
            if target.starts_with(name) && length.is_none_or(|it| it <= name.len()) {
                (found, length) = (level, Some(name.len()));
            }
        }
        found
    }
}

fn level_of(text: &str) -> Option<LogLevel> {
    let level: LevelFilter = text.parse().ok()?;
    Some(match level.into_level()? {
        tracing::Level::TRACE => LogLevel::Trace,
        tracing::Level::DEBUG => LogLevel::Debug,
        tracing::Level::INFO => LogLevel::Info,
        tracing::Level::WARN => LogLevel::Warn,
        tracing::Level::ERROR => LogLevel::Error,
    })
}

impl LogLevels for Levels {
    fn levels(&self) -> BTreeMap<String, LogLevel> {
        let changed = self.changed.lock();
        let root = changed.get(ROOT).copied();
        let level = |target: &str| {
            let own = changed.get(target).copied();
            own.or(root).unwrap_or_else(|| self.first_level(target))
        };
        let all = TARGETS.iter().map(|target| ((*target).to_owned(), level(target)));
        all.chain([(ROOT.to_owned(), level(ROOT))]).collect()
    }

    fn set(&self, target: &str, level: Option<LogLevel>) {
        let mut changed = self.changed.lock();
        match level {
            Some(level) => drop(changed.insert(target.to_owned(), level)),
            None => drop(changed.remove(target)),
        }
        let mut text = self.first.clone();
        // The later directive of one target counts; the root's comes first.
        if let Some(root) = changed.get(ROOT) {
            text = root.name().to_ascii_lowercase();
        }
        for (target, level) in changed.iter().filter(|(target, _)| *target != ROOT) {
            text = format!("{text},{target}={}", level.name().to_ascii_lowercase());
        }
        if let Err(error) = self.handle.reload(EnvFilter::new(text)) {
            tracing::error!(%error, "log levels cannot be changed; the former levels stay in force");
        }
    }
}
