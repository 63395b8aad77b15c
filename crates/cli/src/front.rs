//! What every command has: where the cluster is, how it prints, how often.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ottla_client::{Client, ClientError, OptionError};
use ottla_clock::Clock;

use crate::output::{OutputFormat, OutputTable};

/// Where a cluster is by default.
const DEFAULT_SERVER: &str = "127.0.0.1:9092";
/// The port of a server that is named without one.
const KAFKA_PORT: u16 = 9092;
/// The default profile.
const DEFAULT_PROFILE: &str = "default";
/// Clears a terminal and goes to its first place.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Options that all commands have.
#[derive(Args, Clone, Debug, Default)]
pub struct SharedOptions {
    /// Brokers to ask first: host or host:port, separated by commas (default: KAFKA_SERVER, else
    /// 127.0.0.1:9092; default port: 9092).
    #[arg(long, short = 'b', global = true, value_name = "HOST:PORT")]
    pub bootstrap_server: Option<String>,
    /// The settings of ~/.config/ottla/NAME.properties (default: those of
    /// default.properties).
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// How to print.
    #[arg(long, short, global = true, value_enum, default_value_t, hide_default_value = true)]
    pub output: OutputFormat,
    /// Print again every so many seconds, until Ctrl-C.
    #[arg(long, global = true, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..))]
    pub watch: Option<u64>,
}

impl SharedOptions {
    /// For a command that shows nothing that could be shown again.
    ///
    /// # Errors
    /// `--watch` was given.
    pub(crate) fn refuse_watch(&self, command: &str) -> Result<(), String> {
        match self.watch {
            None => Ok(()),
            Some(_) => Err(format!("--watch cannot be used with `{command}`: leave it out")),
        }
    }
}

/// What surrounds the process; only the program itself looks at that.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `KAFKA_SERVER`: where the cluster is.
    pub server: Option<String>,
    /// The folder with the profiles.
    pub profiles: Option<PathBuf>,
    /// Is the standard output a terminal?
    pub is_terminal: bool,
    /// Are colours wanted there?
    pub colours: bool,
}

/// A command at work.
#[derive(Debug)]
pub struct Front<'a> {
    /// How it was asked.
    pub shared: &'a SharedOptions,
    /// Where it runs.
    pub environment: &'a Environment,
    settings: BTreeMap<String, String>,
    bootstrap: String,
}

impl<'a> Front<'a> {
    /// Combines the command line, the profile and the environment.
    ///
    /// # Errors
    /// The profile cannot be read.
    pub fn new(shared: &'a SharedOptions, environment: &'a Environment) -> Result<Self, String> {
        let folder = environment.profiles.as_deref();
        let named = shared.profile.as_deref();
        let settings = match (folder, named) {
            (Some(folder), name) => read_profile(folder, name)?,
            (None, None) => BTreeMap::new(),
            (None, Some(name)) => {
                return Err(format!(
                    "profile {name}: HOME is not set, so profiles cannot be found"
                ));
            }
        };
        let bootstrap = with_ports(bootstrap_servers(shared, environment, &settings));
        Ok(Self { shared, environment, settings, bootstrap })
    }

    /// Where the cluster is: `host:port`, separated by commas.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The settings of the profile, but for those of the connection.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| !matches!(*name, "bootstrap.servers" | "security.protocol"))
    }

    /// Gives a client its options: those of the profile, and then those that the command line
    /// names.
    ///
    /// # Errors An option has a value that it cannot have, or the command line names one that does
    /// not exist.
    pub(crate) fn set_options(
        &self,
        named: &[String],
        mut set: impl FnMut(&str, &str) -> Result<(), OptionError>,
    ) -> Result<(), Box<dyn Error>> {
        for (name, value) in self.settings() {
            // A profile is for all commands: it may have settings that only others use.
            match set(name, value) {
                Err(OptionError::Unknown { .. }) => {}
                done => done?,
            }
        }
        for (name, value) in crate::topics::parse_pairs(named.to_vec())? {
            set(&name, &value)?;
        }
        Ok(())
    }

    /// Connects.
    ///
    /// # Errors
    /// No broker answers; the text says what can be done.
    pub async fn connect(&self) -> Result<Client, String> {
        let at = self.bootstrap();
        if let Some(secure) = self.settings.get("security.protocol")
            && secure != "PLAINTEXT"
        {
            return Err(format!(
                "security.protocol={secure}: this build of ottla speaks PLAINTEXT only"
            ));
        }
        let client_id = self.settings.get("client.id").map_or("ottla", String::as_str);
        let connected = Client::connect(at, client_id, Clock::real()).await;
        connected.map_err(|error| {
            let (at, cause) = match error {
                ClientError::Address { .. } => return format!("--bootstrap-server {error}"),
                // With one broker the message has its address once, with the port that was tried.
                ClientError::Connection { source, address } if !at.contains(',') => {
                    (address, source.to_string())
                }
                error => (at.to_owned(), error.to_string()),
            };
            format!(
                "no broker answers at {at}: {cause}\n  Is it running, and is that its listener's host and port? Name it with --bootstrap-server HOST:PORT; `ottla server` starts one on {DEFAULT_SERVER}."
            )
        })
    }

    /// Prints a table, once.
    ///
    /// # Errors
    /// The standard output is closed.
    pub fn print(&self, table: &OutputTable) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(table.show(self.shared.output, self.environment.colours).as_bytes())?;
        out.flush()
    }

    /// Says in a sentence what was done, to people; programs get it as a table.
    ///
    /// # Errors
    /// The standard output is closed.
    pub fn done(&self, sentence: &str, table: &OutputTable) -> io::Result<()> {
        match self.shared.output {
            OutputFormat::Table => writeln!(io::stdout(), "{sentence}"),
            OutputFormat::Json | OutputFormat::Plain => self.print(table),
        }
    }

    /// Prints what a look finds; with `--watch` again and again, until a signal ends the process.
    ///
    /// # Errors
    /// The command fails, or its output cannot be printed.
    pub async fn show(
        &self,
        mut look: impl AsyncFnMut() -> Result<OutputTable, Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        loop {
            let text = look().await?.show(self.shared.output, self.environment.colours);
            let mut out = io::stdout().lock();
            let clears = self.shared.watch.is_some() && self.environment.is_terminal;
            write!(out, "{}{text}", if clears { CLEAR } else { "" })?;
            out.flush()?;
            let Some(seconds) = self.shared.watch else { return Ok(()) };
            let clock = Clock::real();
            clock.sleep(Duration::from_secs(seconds)).await;
        }
    }
}

/// Prints a line on the standard error. An error of that is ignored: there is nowhere to print it.
pub(crate) fn print_to_stderr(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a text on the standard output.
///
/// # Errors
/// The standard output is closed.
pub(crate) fn print_to_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A profile's settings; the default one may be missing.
fn read_profile(folder: &Path, name: Option<&str>) -> Result<BTreeMap<String, String>, String> {
    let file = folder.join(format!("{}.properties", name.unwrap_or(DEFAULT_PROFILE)));
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && name.is_none() => {
            return Ok(BTreeMap::new());
        }
        Err(error) => {
            let known = list_profiles(folder);
            let hint = if known.is_empty() {
                "write one with bootstrap.servers=HOST:PORT in it".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            return Err(format!("profile {}: {error}; {hint}", file.display()));
        }
    };
    let found = java_properties::read(&text[..]);
    let found = found.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(found.into_iter().collect())
}

/// The profiles that there are.
fn list_profiles(folder: &Path) -> Vec<String> {
    let name = |path: PathBuf| {
        let is_profile = path.extension().is_some_and(|it| it == "properties");
        path.file_stem().filter(|_| is_profile)?.to_str().map(str::to_owned)
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut all: Vec<String> = entries.filter_map(|it| name(it.ok()?.path())).collect();
    all.sort();
    all
}

/// The cluster's addresses: from the command line, in the profile that was named, in the
/// environment, in the usual profile.
fn bootstrap_servers<'a>(
    shared: &'a SharedOptions,
    environment: &'a Environment,
    settings: &'a BTreeMap<String, String>,
) -> &'a str {
    let said = shared.bootstrap_server.as_deref();
    let known = settings.get("bootstrap.servers").map(String::as_str);
    // A profile that was named counts more than what the environment says for all.
    let (first, second) = if shared.profile.is_some() {
        (known, environment.server.as_deref())
    } else {
        (environment.server.as_deref(), known)
    };
    said.or(first).or(second).unwrap_or(DEFAULT_SERVER)
}

/// A host without a port has Kafka's: `localhost` is `localhost:9092`, `::1` is `[::1]:9092`.
fn with_ports(servers: &str) -> String {
    let one = |text: &str| {
        let text = text.trim();
        let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
            let is_host = !host.contains(':') || host.ends_with(']');
            is_host && !port.is_empty()
        });
        if text.is_empty() || has_port {
            return text.to_owned();
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return format!("[{text}]:{KAFKA_PORT}");
        }
        format!("{}:{KAFKA_PORT}", text.trim_end_matches(':'))
    };
    servers.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_has_kafkas() {
        for (said, meant) in [
            ("localhost", "localhost:9092"),
            ("localhost:", "localhost:9092"),
            ("a, b:9093", "a:9092,b:9093"),
            ("::1", "[::1]:9092"),
            ("[::1]", "[::1]:9092"),
            ("[::1]:9093", "[::1]:9093"),
        ] {
            assert_eq!(with_ports(said), meant);
        }
    }

    #[test]
    fn the_nearest_word_says_where_the_cluster_is() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(format!("{name}.properties")), text).unwrap();
        };
        let environment = |server: Option<&str>| Environment {
            server: server.map(str::to_owned),
            profiles: Some(folder.path().to_owned()),
            ..Environment::default()
        };
        let at = |shared: &SharedOptions, environment: &Environment| {
            Front::new(shared, environment).map(|it| it.bootstrap().to_owned())
        };
        let said = |at: Option<&str>, profile: Option<&str>| SharedOptions {
            bootstrap_server: at.map(str::to_owned),
            profile: profile.map(str::to_owned),
            ..SharedOptions::default()
        };
        let nothing = said(None, None);
        assert_eq!(at(&nothing, &environment(None)).unwrap(), DEFAULT_SERVER);
        write("default", "bootstrap.servers=a:1");
        write("prod", "bootstrap.servers=b:2\nclient.id=me");
        assert_eq!(at(&nothing, &environment(None)).unwrap(), "a:1");
        assert_eq!(at(&nothing, &environment(Some("c:3"))).unwrap(), "c:3");
        assert_eq!(at(&said(None, Some("prod")), &environment(Some("c:3"))).unwrap(), "b:2");
        assert_eq!(at(&said(Some("d:4"), Some("prod")), &environment(None)).unwrap(), "d:4");
        let why = at(&said(None, Some("prd")), &environment(None)).unwrap_err();
        assert!(why.contains("prd.properties") && why.contains("default, prod"), "{why}");
    }
}
