//! What a node was started with: a properties file and overrides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ottla_net::SocketOptions;
use ottla_types::NodeId;

use super::pairs;
use super::table::{Scope, find, nearest};

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSetting {
    /// Its name, such as `PLAINTEXT`.
    pub name: String,
    /// The host; empty is every address.
    pub host: String,
    /// The port; 0 is any that is free.
    pub port: u16,
}

/// Why a node cannot start with its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The file is no properties file.
    #[error("the settings cannot be read: {0}")]
    File(String),
    /// A value is not allowed.
    #[error("{0}")]
    Value(String),
    /// A setting that must be there is missing.
    #[error("{0} must be set")]
    Missing(&'static str),
}

/// The settings of a node. Without a file, those of a node that is tried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// Does a file or an override say where the data lies?
    names_directory: bool,
    /// What in the file is no setting, with the nearest that is.
    pub unknown: Vec<(String, Option<&'static str>)>,
}

/// How many connections may wait to be accepted, unless the settings say.
const BACKLOG: i32 = 1024;
/// The receive buffer of client sockets, in bytes, unless the settings say.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// What a node without a file is started with.
const TRIED_OUT: [(&str, &str); 9] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092"),
    ("log.dirs", "./ottla-data"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// The settings that say where the data lies.
const DIRECTORIES: [&str; 3] = ["log.dirs", "log.dir", "metadata.log.dir"];

impl Settings {
    /// Reads a properties file (its text), lays `overrides` (`name=value`) over it, and checks
    /// every value.
    ///
    /// # Errors
    /// The text is no properties file, or a value is not allowed.
    pub fn read(file: Option<&str>, overrides: &[String]) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        match file {
            Some(text) => {
                let read = java_properties::read(text.as_bytes());
                let read = read.map_err(|error| SettingError::File(error.to_string()))?;
                settings.values.extend(read);
            }
            None => {
                let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                settings.values.extend(TRIED_OUT.iter().map(own));
            }
        }
        settings.names_directory = file.is_some();
        for one in overrides {
            let (name, value) = one.split_once('=').ok_or_else(|| {
                SettingError::Value(format!("--override takes name=value, not {one}"))
            })?;
            settings.names_directory |= DIRECTORIES.contains(&name.trim());
            settings.values.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        settings.check()?;
        pairs::check_broker(&|name| settings.text(name).map(str::to_owned))
            .map_err(SettingError::Value)?;
        Ok(settings)
    }

    fn check(&mut self) -> Result<(), SettingError> {
        for (name, value) in &mut self.values {
            match find(Scope::Broker, name) {
                // From here on it reads as Kafka shows it: `TRUE` is `true`, `007` is `7`.
                Some(setting) => {
                    *value = setting.read(value).map_err(SettingError::Value)?.to_string();
                }
                // Settings of one listener, of plug-ins and of tests have names of their own.
                None if name.starts_with("listener.name.") || name.contains(".config.") => {}
                None if name.starts_with("internal.") => {}
                None => self.unknown.push((name.clone(), nearest(Scope::Broker, name))),
            }
        }
        Ok(())
    }

    /// The value that was given, or else the default; `None` if there is neither.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let default = || find(Scope::Broker, name).and_then(|setting| setting.default);
        self.given(name).or_else(default)
    }

    /// The value that was given.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A whole number; 0 if the setting has no value.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.text(name).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }

    /// A switch.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let items = self.text(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// How client sockets are set up.
    #[must_use]
    pub fn sockets(&self) -> SocketOptions {
        // What was not asked for is not what Kafka takes: its 100 KB keep a fast producer waiting,
        // and what the system would choose lets so much pile up that TCP stalls.
        let given = |name| self.given(name).and_then(|value| value.trim().parse::<i64>().ok());
        let size = |given: i64| usize::try_from(given).ok().filter(|size| *size > 0);
        let backlog = given("socket.listen.backlog.size").and_then(|it| i32::try_from(it).ok());
        SocketOptions {
            backlog: backlog.unwrap_or(BACKLOG),
            receive_bytes: given("socket.receive.buffer.bytes")
                .map_or(Some(RECEIVE_BUFFER_BYTES), size),
            send_bytes: given("socket.send.buffer.bytes").and_then(size),
        }
    }

    /// `node.id`.
    ///
    /// # Errors
    /// It is not set.
    pub fn node_id(&self) -> Result<NodeId, SettingError> {
        let id = self.given("node.id").or_else(|| self.given("broker.id"));
        let id = id.and_then(|id| id.trim().parse().ok()).filter(|id| *id >= 0);
        id.ok_or(SettingError::Missing("node.id"))
    }

    /// `process.roles`.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        self.list("process.roles")
    }

    /// The data directories.
    #[must_use]
    pub fn log_dirs(&self) -> Vec<PathBuf> {
        let several = self.list("log.dirs");
        let all = if several.is_empty() { self.list("log.dir") } else { several };
        all.into_iter().map(PathBuf::from).collect()
    }

    /// The directory of the metadata log.
    #[must_use]
    pub fn metadata_dir(&self) -> PathBuf {
        let own = self.given("metadata.log.dir").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        own.or_else(|| self.log_dirs().into_iter().next()).unwrap_or_default()
    }

    /// Is the data directory the built-in one, which no file and no override names?
    #[must_use]
    pub const fn has_default_directory(&self) -> bool {
        !self.names_directory
    }

    /// The names of the controller's listeners.
    #[must_use]
    pub fn controller_listeners(&self) -> Vec<String> {
        self.list("controller.listener.names")
    }

    /// `listeners`.
    ///
    /// # Errors
    /// One of them is no `NAME://host:port`.
    pub fn listeners(&self) -> Result<Vec<ListenerSetting>, SettingError> {
        self.list("listeners").iter().map(|one| listener("listeners", one)).collect()
    }

    /// `advertised.listeners`; none if nothing is said.
    ///
    /// # Errors
    /// One of them is no `NAME://host:port`.
    pub fn advertised(&self) -> Result<Vec<ListenerSetting>, SettingError> {
        let all = self.list("advertised.listeners");
        all.iter().map(|one| listener("advertised.listeners", one)).collect()
    }
}

fn listener(setting: &str, text: &str) -> Result<ListenerSetting, SettingError> {
    let wrong = || {
        SettingError::Value(format!(
            "Invalid value {text} for configuration {setting}: it must be NAME://host:port"
        ))
    };
    let (name, address) = text.split_once("://").ok_or_else(wrong)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    Ok(ListenerSetting {
        name: name.to_ascii_uppercase(),
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: port.trim().parse().map_err(|_| wrong())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_tried_out_needs_no_file() {
        let settings = Settings::read(None, &["num.partitions=3".to_owned()]).unwrap();
        assert_eq!(settings.node_id(), Ok(1));
        assert_eq!(settings.number("num.partitions"), 3);
        assert_eq!(settings.listeners().unwrap()[0].port, 9092);
        assert_eq!(settings.log_dirs(), [PathBuf::from("./ottla-data")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = Settings::read(Some("num.partitions=none"), &[]).unwrap_err();
        assert!(
            refused.to_string().contains("num.partitions") && refused.to_string().contains("none")
        );
        let settings = Settings::read(Some("num.partitons=1\nnode.id=7"), &[]).unwrap();
        assert_eq!(settings.unknown, [("num.partitons".to_owned(), Some("num.partitions"))]);
    }

    #[test]
    fn socket_buffers_are_what_was_asked_for_and_else_our_own() {
        let sockets = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|it| (*it).to_owned()).collect();
            Settings::read(None, &given).unwrap().sockets()
        };
        assert_eq!(sockets(&[]).receive_bytes, Some(RECEIVE_BUFFER_BYTES));
        let kafka = ["socket.receive.buffer.bytes=102400", "socket.send.buffer.bytes=102400"];
        let asked = sockets(&kafka);
        assert_eq!((asked.receive_bytes, asked.send_bytes), (Some(102_400), Some(102_400)));
        assert_eq!(sockets(&["socket.receive.buffer.bytes=-1"]).receive_bytes, None);
        assert_eq!(sockets(&["socket.listen.backlog.size=7"]).backlog, 7);
    }
}
