//! What a node was started with: a properties file, the environment and overrides.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ottla_types::NodeId;

use crate::cluster;
use crate::environment::{Variable, read_variable};
use crate::listeners::{self, ListenerSetting};
use crate::pairs;
use crate::quorum;
use crate::table::{Scope, Setting, find_setting, nearest_setting};

/// Where a value of a node comes from. The later ones count more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nothing was given: what a node has that is tried out.
    TriedOut,
    /// It follows from `ottla.cluster`.
    Cluster,
    /// A line of a properties file.
    File {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// `--override` of the command line.
    Override,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TriedOut => out.write_str("built in"),
            Self::Cluster => out.write_str(cluster::CLUSTER),
            Self::File { name, line } => write!(out, "{name}:{line}"),
            Self::Environment(name) => out.write_str(name),
            Self::Override => out.write_str("--override"),
        }
    }
}

/// Where the settings of a node are read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The text of a properties file. Without one, a node is tried out.
    pub file: Option<&'a str>,
    /// What messages call the file.
    pub file_name: &'a str,
    /// Variables of the environment; those that mean no setting are left alone.
    pub environment: &'a [(String, String)],
    /// `name=value` of the command line.
    pub overrides: &'a [String],
}

/// Why a node cannot start with its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The file is not a properties file.
    #[error("{name}: the settings cannot be read: {why}")]
    File {
        /// The file.
        name: String,
        /// What is wrong with it, with the line.
        why: String,
    },
    /// Values are not allowed: each with its place, one a line.
    #[error("{}", .0.join("\n"))]
    Values(Vec<String>),
    /// What this release cannot do: each with what to do instead.
    #[error("the node cannot start with settings that are not supported:\n{}", .0.join("\n"))]
    NotBuilt(Vec<String>),
    /// A setting that must be there is missing.
    #[error("{0} must be set")]
    Missing(&'static str),
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct GivenValue {
    value: String,
    origin: Origin,
}

/// The settings of a node. Without a file, those of a node that is tried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, GivenValue>,
    /// What was given and has no effect, such as an unknown setting: one sentence each.
    pub warnings: Vec<String>,
}

/// What a node without a file is started with.
const TRIED_OUT: [(&str, &str); 7] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092"),
    ("log.dirs", "./ottla-data"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
];

/// The setting of clusters before Kafka 4.0.
pub const ZOOKEEPER: &str = "zookeeper.connect";

/// The settings that say where the data lies.
const DIRECTORIES: [&str; 3] = ["log.dirs", "log.dir", "metadata.log.dir"];

impl Settings {
    /// Reads a properties file (its text), lays `overrides` (`name=value`) over it, and checks
    /// every value.
    ///
    /// # Errors
    /// The text is no properties file, or values are not allowed: all of them are named.
    pub fn read(file: Option<&str>, overrides: &[String]) -> Result<Self, SettingError> {
        let sources = Sources { file, file_name: "the file", overrides, ..Sources::default() };
        Self::from_sources(&sources)
    }

    /// Reads what was given, in the order in which it counts: the file, over it the environment,
    /// over that the overrides; and checks every value.
    ///
    /// # Errors
    /// The text is no properties file, or values are not allowed: all of them are named.
    pub fn from_sources(sources: &Sources<'_>) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        match sources.file {
            Some(text) => settings.take_file(sources.file_name, text)?,
            None => settings.take(TRIED_OUT.map(|(name, value)| (name, value, Origin::TriedOut))),
        }
        settings.take_environment(sources.environment);
        let mut wrong = Vec::new();
        for one in sources.overrides {
            match one.split_once('=') {
                Some((name, value)) => settings.put(name.trim(), value, Origin::Override),
                None => wrong.push(format!("--override needs name=value, not {one}")),
            }
        }
        settings.fill_in_cluster();
        wrong.extend(settings.check());
        if wrong.is_empty() { Ok(settings) } else { Err(SettingError::Values(wrong)) }
    }

    pub(crate) fn put(&mut self, name: &str, value: &str, origin: Origin) {
        self.values.insert(name.to_owned(), GivenValue { value: value.to_owned(), origin });
    }

    fn take<'a>(&mut self, all: impl IntoIterator<Item = (&'a str, &'a str, Origin)>) {
        all.into_iter().for_each(|(name, value, origin)| self.put(name, value, origin));
    }

    fn take_file(&mut self, name: &str, text: &str) -> Result<(), SettingError> {
        use java_properties::{LineContent, PropertiesIter};
        for line in PropertiesIter::new(text.as_bytes()) {
            let line = line.map_err(|error| SettingError::File {
                name: name.to_owned(),
                why: error.to_string(),
            })?;
            let origin = Origin::File { name: name.to_owned(), line: line.line_number() };
            if let LineContent::KVPair(key, value) = line.consume_content() {
                self.put(&key, &value, origin);
            }
        }
        Ok(())
    }

    fn take_environment(&mut self, variables: &[(String, String)]) {
        let mut advertised = None;
        for (name, value) in variables {
            match read_variable(name, value) {
                Some(Variable::Setting(setting)) => {
                    if setting == "advertised.listeners" {
                        advertised = Some(value);
                    }
                    self.put(&setting, value, Origin::Environment(name.clone()));
                }
                Some(Variable::Unknown(setting, near)) => {
                    let near = near.map_or_else(String::new, |it| format!("; did you mean {it}?"));
                    self.warnings.push(format!(
                        "{name}: unknown setting {setting}, which has no effect{near}"
                    ));
                }
                Some(Variable::LeftAlone) | None => {}
            }
        }
        // As in Apache's image: a container that says only where clients find it listens there.
        let listeners = self.values.get("listeners").map(|it| &it.origin);
        if let Some(advertised) = advertised
            && matches!(listeners, None | Some(Origin::TriedOut))
        {
            let origin = Origin::Environment("KAFKA_ADVERTISED_LISTENERS".to_owned());
            self.put("listeners", &on_every_address(advertised), origin);
        }
    }

    /// What is wrong with the values, each with its place. From here on they read as Kafka shows
    /// them: `TRUE` is `true`, `007` is `7`.
    fn check(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let relies_on_zookeeper = self.relies_on_zookeeper();
        for (name, given) in &mut self.values {
            let origin = &given.origin;
            match find_setting(Scope::Broker, base_name(name)) {
                Some(setting) => match setting.read(&given.value) {
                    Ok(value) => given.value = value.to_string(),
                    Err(why) => wrong.push(format!("{origin}: {why}")),
                },
                // Settings of plug-ins and of tests have names of their own.
                None if name.contains(".config.") || name.starts_with("internal.") => {}
                // It stops the start, with what to do instead.
                None if name == ZOOKEEPER && relies_on_zookeeper => {}
                None => {
                    let near = nearest_setting(Scope::Broker, name);
                    let near = near.map_or_else(String::new, |it| format!("; did you mean {it}?"));
                    self.warnings.push(format!(
                        "{origin}: unknown setting {name}, which has no effect{near}"
                    ));
                }
            }
        }
        if let (Some(node), Some(broker)) = (self.given("node.id"), self.given("broker.id"))
            && node != broker
        {
            let place = self.place("broker.id");
            wrong.push(format!(
                "{place}: broker.id ({broker}) must be the same as node.id ({node})"
            ));
        }
        let lookup = |name: &str| self.text(name).map(str::to_owned);
        let contradiction = pairs::check_start(&lookup).err();
        wrong.extend(contradiction.map(|why| format!("{}: {why}", self.place_in(&why))));
        let listeners = listeners::check_listeners(self).into_iter();
        let combinations = listeners.chain(quorum::check_roles(self));
        let combinations = combinations.chain(cluster::check_cluster(self));
        wrong.extend(combinations.map(|(name, why)| format!("{}: {why}", self.place(name))));
        self.warnings.extend(quorum::warn_of_roles(self));
        wrong
    }

    /// Where a setting stands, for messages.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        self.values.get(name).map_or_else(|| "the defaults".to_owned(), |it| it.origin.to_string())
    }

    /// Where a value comes from that was given.
    pub(crate) fn origin(&self, name: &str) -> Option<&Origin> {
        self.values.get(name).map(|it| &it.origin)
    }

    /// Where the first setting stands that a message names and that was given.
    fn place_in(&self, message: &str) -> String {
        let words = message.split(|it: char| !it.is_ascii_alphanumeric() && !".-_".contains(it));
        let given = words.filter_map(|word| self.values.get(word));
        given.map(|it| it.origin.to_string()).next().unwrap_or_else(|| "the defaults".to_owned())
    }

    /// The value that was given, or else the default; `None` if there is neither.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let default = || find_setting(Scope::Broker, name).and_then(|setting| setting.default);
        self.given(name).or_else(default)
    }

    /// The value that was given.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|it| it.value.as_str())
    }

    /// The value that was given, as it may be shown.
    #[must_use]
    pub fn given_to_show(&self, name: &str) -> Option<&str> {
        let setting = find_setting(Scope::Broker, base_name(name));
        let is_secret = setting.is_none_or(Setting::is_secret);
        self.given(name).map(|value| if is_secret { "[hidden]" } else { value })
    }

    /// All that was given: names, values, and where they come from.
    pub fn all_given(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        self.values.iter().map(|(name, it)| (name.as_str(), it.value.as_str(), &it.origin))
    }

    /// A whole number; 0 if the setting has no value.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.text(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A switch.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The items of a list; none if the setting has no value.
    #[must_use]
    pub fn items(&self, name: &str) -> Vec<String> {
        let items = self.text(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// `node.id`.
    ///
    /// # Errors
    /// It is not set.
    pub fn node_id(&self) -> Result<NodeId, SettingError> {
        let id = self.given("node.id").or_else(|| self.given("broker.id"));
        let id = id.and_then(|id| id.parse().ok()).filter(|id| *id >= 0);
        id.ok_or(SettingError::Missing("node.id"))
    }

    /// `process.roles`.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        self.items("process.roles")
    }

    /// Do the settings name a ZooKeeper, and no role of a node without one?
    #[must_use]
    pub fn relies_on_zookeeper(&self) -> bool {
        self.given(ZOOKEEPER).is_some() && self.roles().is_empty()
    }

    /// The data directories.
    #[must_use]
    pub fn log_dirs(&self) -> Vec<PathBuf> {
        let several = self.items("log.dirs");
        let all = if several.is_empty() { self.items("log.dir") } else { several };
        all.into_iter().map(PathBuf::from).collect()
    }

    /// The directory of the metadata log.
    #[must_use]
    pub fn metadata_dir(&self) -> PathBuf {
        let own = self.given("metadata.log.dir").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        own.or_else(|| self.log_dirs().into_iter().next()).unwrap_or_default()
    }

    /// Is the data directory the built-in one, which no file, variable or override names?
    #[must_use]
    pub fn has_default_directory(&self) -> bool {
        let is_built_in =
            |name: &str| self.values.get(name).is_none_or(|it| it.origin == Origin::TriedOut);
        // Without `log.dirs` and `log.dir` in the file the directory is Kafka's default, not ours.
        self.values.contains_key("log.dirs") && DIRECTORIES.iter().all(|it| is_built_in(it))
    }

    /// The names of the controller's listeners.
    #[must_use]
    pub fn controller_listeners(&self) -> Vec<String> {
        self.items("controller.listener.names")
    }

    /// The name of the listener that brokers use among each other.
    #[must_use]
    pub fn inter_broker_listener(&self) -> String {
        listeners::inter_listener(self)
    }

    /// `listeners`.
    ///
    /// # Errors
    /// One of them is not `NAME://host:port`.
    pub fn listeners(&self) -> Result<Vec<ListenerSetting>, SettingError> {
        self.listener_list("listeners")
    }

    /// `advertised.listeners`; empty if it is not set.
    ///
    /// # Errors
    /// One of them is not `NAME://host:port`.
    pub fn advertised(&self) -> Result<Vec<ListenerSetting>, SettingError> {
        self.listener_list("advertised.listeners")
    }

    fn listener_list(&self, name: &'static str) -> Result<Vec<ListenerSetting>, SettingError> {
        let all = self.items(name);
        let read = all.iter().map(|one| ListenerSetting::parse(name, one));
        read.collect::<Result<_, _>>().map_err(|why| SettingError::Values(vec![why]))
    }
}

/// The setting behind the name of one of a listener's own: `listener.name.NAME.ssl.protocol` is
/// `ssl.protocol`, `listener.name.NAME.plain.sasl.jaas.config` is `sasl.jaas.config`.
pub(crate) fn base_name(name: &str) -> &str {
    let Some((_, rest)) = name.strip_prefix("listener.name.").and_then(|it| it.split_once('.'))
    else {
        return name;
    };
    let of_mechanism = rest.split_once('.').map(|(_, rest)| rest);
    let is_known = |it: &&str| find_setting(Scope::Broker, it).is_some();
    Some(rest).filter(is_known).or_else(|| of_mechanism.filter(is_known)).unwrap_or(name)
}

/// Listeners of every address of the machine, with the names and ports of these.
fn on_every_address(listeners: &str) -> String {
    let one = |text: &str| match (text.split_once("://"), text.rsplit_once(':')) {
        (Some((name, _)), Some((_, port))) => format!("{name}://0.0.0.0:{port}"),
        _ => text.to_owned(),
    };
    listeners.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[path = "started_tests.rs"]
mod tests;
