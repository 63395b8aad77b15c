//! What a tool works with: a cluster, and somewhere to write.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::time::Duration;

use ottla_client::{
    BootstrapNodes, Client, ClientError, ClientOptions, ConsumerOptions, ItemRefusal, OptionError,
    ProducerOptions,
};
use ottla_clock::Clock;
use regex::Regex;
use tokio::runtime::Runtime;

use crate::options::Parsed;

/// Kafka's port, where a command names ZooKeeper's.
const KAFKA_PORT: &str = "9092";

/// Why a tool came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The command line is wrong; the help follows.
    #[error("{0}")]
    Usage(String),
    /// Something else is.
    #[error("{0}")]
    Failed(String),
    /// The cluster refuses, or does not answer.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// An option is not valid.
    #[error("{0}")]
    Option(#[from] OptionError),
    /// It cannot read or write.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The error has been printed already.
    #[error("")]
    Told,
    /// The process was asked to end by a signal; its exit code.
    #[error("")]
    Stopped(u8),
}

/// A failure in these words.
pub fn tool_failed(why: impl Into<String>) -> ToolError {
    ToolError::Failed(why.into())
}

/// A tool at work.
pub struct ToolSession<'a> {
    /// Where its output goes.
    pub out: &'a mut dyn Write,
    /// Where the cluster is.
    pub bootstrap: Option<String>,
    nodes: BootstrapNodes,
    /// The settings of `--command-config`.
    pub settings: BTreeMap<String, String>,
    runtime: Runtime,
}

impl<'a> ToolSession<'a> {
    /// What the command line says about the cluster.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn new(
        parsed: &Parsed,
        default_server: Option<&str>,
        out: &'a mut dyn Write,
    ) -> Result<Self, ToolError> {
        let mut settings = BTreeMap::new();
        for name in ["command-config", "consumer.config", "producer.config"] {
            if let Some(file) = parsed.one(name) {
                settings.extend(read_properties(file)?);
            }
        }
        let named = parsed.common("bootstrap-server").or_else(|| parsed.common("broker-list"));
        let controllers = parsed.one("bootstrap-controller");
        if named.is_some() && controllers.is_some() {
            return Err(tool_failed(
                "You cannot specify both --bootstrap-controller and --bootstrap-server.",
            ));
        }
        let nodes = match controllers {
            None => BootstrapNodes::Brokers,
            Some(_) => BootstrapNodes::Controllers,
        };
        let named = named.or(controllers).map(str::to_owned);
        let bootstrap = match (named, parsed.one("zookeeper")) {
            (None, Some(zookeeper)) => Some(instead_of_zookeeper(zookeeper, default_server)),
            (named, _) => named
                .or_else(|| settings.get("bootstrap.servers").cloned())
                .or_else(|| default_server.map(str::to_owned)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { out, bootstrap, nodes, settings, runtime })
    }

    /// Waits for a conversation with the cluster.
    pub fn wait<T>(&self, talk: impl Future<Output = T>) -> T {
        self.runtime.block_on(talk)
    }

    /// Connects.
    ///
    /// # Errors
    /// The command line names no broker, or none answers.
    pub fn connect(&self) -> Result<Client, ToolError> {
        let missing = "Missing required option(s) [bootstrap-server]";
        let bootstrap =
            self.bootstrap.as_deref().ok_or_else(|| ToolError::Usage(missing.to_owned()))?;
        let secure = self.settings.get("security.protocol").map_or("PLAINTEXT", String::as_str);
        if secure != "PLAINTEXT" {
            return Err(tool_failed(format!(
                "security.protocol={secure}: this build of ottla speaks PLAINTEXT only"
            )));
        }
        let client_id = self.settings.get("client.id").map_or("ottla", String::as_str);
        let options = ClientOptions {
            client_id: client_id.to_owned(),
            bootstrap: self.nodes,
            ..ClientOptions::default()
        };
        let client = self.wait(Client::connect_with(bootstrap, options, Clock::real()));
        client.map_err(|error| {
            if self.nodes == BootstrapNodes::Controllers {
                return tool_failed(format!(
                    "No controller answers at {bootstrap}: {error}\nIs it running, and is that its controller listener's host and port?"
                ));
            }
            tool_failed(format!(
                "No broker answers at {bootstrap}: {error}\nIs it running, and is that its listener's host and port? (ottla server starts one on 127.0.0.1:9092)"
            ))
        })
    }

    /// A consumer's options, of the file and of `NAME=VALUE` words.
    ///
    /// # Errors
    /// One of them is not a valid option.
    pub fn consumer_options<'b>(
        &self,
        more: impl Iterator<Item = &'b str>,
    ) -> Result<ConsumerOptions, ToolError> {
        let mut options = ConsumerOptions::default();
        for (name, value) in self.all_settings(more) {
            warn_unknown(options.set(&name, &value))?;
        }
        Ok(options)
    }

    /// A producer's options: the tool's own defaults, the file, and `NAME=VALUE` words.
    ///
    /// # Errors
    /// One of them is not a valid option.
    pub fn producer_options<'b>(
        &self,
        defaults: &[(&str, &str)],
        more: impl Iterator<Item = &'b str>,
    ) -> Result<ProducerOptions, ToolError> {
        let mut options = ProducerOptions::default();
        for (name, value) in defaults {
            options.set(name, value)?;
        }
        for (name, value) in self.all_settings(more) {
            warn_unknown(options.set(&name, &value))?;
        }
        Ok(options)
    }

    /// What the file says, and after that what `NAME=VALUE` words say.
    fn all_settings<'b>(&self, more: impl Iterator<Item = &'b str>) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> =
            self.settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        all.extend(key_values(more));
        all
    }
}

/// Kafka's clients accept settings that they do not know (a plug-in may), with a warning.
fn warn_unknown(set: Result<(), OptionError>) -> Result<(), OptionError> {
    match set {
        Err(unknown @ OptionError::Unknown { .. }) => {
            tell!("Warning: {unknown}");
            Ok(())
        }
        set => set,
    }
}

/// A tool's old way to the cluster.
fn instead_of_zookeeper(zookeeper: &str, default_server: Option<&str>) -> String {
    let hosts = zookeeper.split('/').next().unwrap_or_default().split(',');
    let host = |address: &str| {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        format!("{host}:{KAFKA_PORT}")
    };
    let found =
        default_server.map_or_else(|| hosts.map(host).collect::<Vec<_>>().join(","), str::to_owned);
    tell!("--zookeeper: there is no ZooKeeper any more; asking the broker at {found}.");
    found
}

/// How long a commit, and then leaving the group, may take at the end.
pub const GOODBYE: Duration = Duration::from_secs(5);

/// A process that is asked to end: by Ctrl-C, or by `kill`.
pub struct ToolStop(ottla_client::Stop);

impl ToolStop {
    /// From now on signals do not end the process by themselves.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(session: &ToolSession<'_>) -> std::io::Result<Self> {
        session.wait(async { ottla_client::Stop::listen().map(Self) })
    }

    /// Waits for it; the exit code that shells know it by.
    pub async fn asked(&mut self) -> u8 {
        self.0.asked().await.exit_code()
    }

    /// Waits for a conversation with the cluster, and for a signal.
    ///
    /// # Errors
    /// The conversation fails; or the signal, which gives the conversation up.
    pub async fn or<T>(
        &mut self,
        talk: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ToolError> {
        tokio::select! {
            // A signal counts more than the next of many records that are at hand.
            biased;
            code = self.asked() => Err(ToolError::Stopped(code)),
            done = talk => Ok(done?),
        }
    }
}

/// `NAME=VALUE` words as Kafka's clients take them: without `=` the value is empty.
pub fn key_values<'a>(words: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let one = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name.trim().to_owned(), value.to_owned())
    };
    words.map(one).collect()
}

/// `NAME=VALUE` words.
///
/// # Errors
/// One has no `=`.
pub fn parse_pairs<'a>(
    words: impl Iterator<Item = &'a str>,
) -> Result<Vec<(String, String)>, ToolError> {
    words
        .map(|word| {
            let pair = word.split_once('=');
            let (name, value) =
                pair.ok_or_else(|| tool_failed(format!("{word} is not of the form NAME=VALUE")))?;
            Ok((name.trim().to_owned(), value.to_owned()))
        })
        .collect()
}

/// The text of a file that the command line names.
///
/// # Errors
/// The file cannot be read.
pub fn read_file(file: &str) -> Result<String, ToolError> {
    std::fs::read_to_string(file).map_err(|error| tool_failed(format!("{file}: {error}")))
}

/// What a properties file says.
///
/// # Errors
/// The file cannot be read, or is not a properties file.
pub fn read_properties(file: &str) -> Result<HashMap<String, String>, ToolError> {
    let text = read_file(file)?;
    java_properties::read(text.as_bytes()).map_err(|error| tool_failed(format!("{file}: {error}")))
}

/// A pattern of a whole text.
///
/// # Errors
/// The text is not a whole number.
pub fn whole_pattern(pattern: &str) -> Result<Regex, ToolError> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| tool_failed(format!("{pattern} is not a regular expression: {error}")))
}

/// A pattern of topics, as Kafka's tools read it: a list of regular expressions of whole names.
/// Blanks do not count, nor do the quotes that a file or a shell has left around it.
///
/// # Errors
/// It is not a regular expression.
pub fn topic_pattern(raw: &str) -> Result<Regex, ToolError> {
    let bare = raw.trim_matches(|it: char| it <= ' ').replace(',', "|").replace(' ', "");
    whole_pattern(bare.trim_matches(['"', '\'']))
}

/// A refusal as Apache's tools print it: the cluster's reason if it has given one, or else what the
/// code means, and nothing about what was refused.
pub fn plain_error(error: ClientError) -> ToolError {
    match error {
        ClientError::Refused { code, .. } => tool_failed(code.message()),
        ClientError::RefusedBecause { reason, .. } => tool_failed(reason),
        error => error.into(),
    }
}

/// The same for one item of a request.
pub fn plain_refusal(refusal: ItemRefusal) -> ToolError {
    tool_failed(refusal.reason.unwrap_or_else(|| refusal.code.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_blanks_of_a_topic_pattern_do_not_count() {
        let names = ["a.b", "aXb", "c", "it's", "d e"];
        for (pattern, right) in [
            ("a.b", &["a.b", "aXb"][..]),
            ("\"a.b\"", &["a.b", "aXb"]),
            ("'a.b'", &["a.b", "aXb"]),
            (" a.b ", &["a.b", "aXb"]),
            ("a[.]b , c", &["a.b", "c"]),
            ("\"'c'\"", &["c"]),
            ("a . b", &["a.b", "aXb"]),
            ("it's", &["it's"]),
            ("\tc\n", &["c"]),
            ("a", &[]),
            ("c|a.*", &["a.b", "aXb", "c"]),
            ("", &[]),
        ] {
            let pattern = (pattern, topic_pattern(pattern).unwrap());
            let found: Vec<_> = names.into_iter().filter(|it| pattern.1.is_match(it)).collect();
            assert_eq!(found, right, "{}", pattern.0);
        }
        assert!(topic_pattern("a(").is_err());
    }

    #[test]
    fn words_without_a_value_have_an_empty_one() {
        let words = ["a=b=c", "d", "e="];
        let right = [("a", "b=c"), ("d", ""), ("e", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(key_values(words.into_iter()), right);
    }
}
