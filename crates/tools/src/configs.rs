//! kafka-configs, and what other tools want to know of settings.

mod quotas;

use std::collections::BTreeMap;

use ottla_client::Cluster;
use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;

use crate::Tool;
use crate::options::{Opt, Parsed, flag, value};
use crate::session::{Session, ToolError, failed, properties, refused};

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-configs",
    about: "Show and change settings of topics, brokers, groups and clients' metrics.",
    options: OPTIONS,
    run,
}];

const OPTIONS: &[Opt] = &[
    flag("alter", "Change settings."),
    flag("describe", "Show settings."),
    flag("all", "With --describe: also those that nobody has set."),
    value("entity-type", "TYPE", "topics, brokers, groups, client-metrics, clients, users or ips."),
    value("entity-name", "NAME", "Which of them; all if not said."),
    flag("entity-default", "The default of all of them."),
    value("topic", "NAME", "The same as --entity-type topics --entity-name NAME."),
    value("broker", "ID", "The same for a broker."),
    value("group", "ID", "The same for a group."),
    value("client-metrics", "NAME", "The same for a subscription to clients' metrics."),
    flag("broker-defaults", "The default of all brokers."),
    value("user", "NAME", "The same for a user: quotas and passwords."),
    flag("user-defaults", "The default of all users."),
    value("client", "ID", "The same for a client id: quotas."),
    flag("client-defaults", "The default of all client ids."),
    value("ip", "ADDRESS", "The same for an address: quotas."),
    flag("ip-defaults", "The default of all addresses."),
    value("add-config", "NAME=VALUE,...", "What to set; [..] around a value with commas."),
    value("add-config-file", "FILE", "What to set, one NAME=VALUE a line."),
    value("delete-config", "NAME,...", "What to take back."),
    flag("force", "Ask nothing."),
];

/// What settings belong to. The numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    Topic = 2,
    Broker = 4,
    ClientMetrics = 16,
    Group = 32,
}

impl Kind {
    fn named(text: &str) -> Option<Self> {
        match text {
            "topics" => Some(Self::Topic),
            "brokers" => Some(Self::Broker),
            "client-metrics" => Some(Self::ClientMetrics),
            "groups" => Some(Self::Group),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::ClientMetrics => "client-metric",
            Self::Group => "group",
        }
    }

    /// Where a value is its own, and not one of a wider scope.
    const fn source(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 2,
            Self::ClientMetrics => 7,
            Self::Group => 8,
        }
    }
}

/// Where values come from, by the numbers of DescribeConfigs.
const SOURCES: [&str; 9] = [
    "UNKNOWN",
    "DYNAMIC_TOPIC_CONFIG",
    "DYNAMIC_BROKER_CONFIG",
    "DYNAMIC_DEFAULT_BROKER_CONFIG",
    "STATIC_BROKER_CONFIG",
    "DEFAULT_CONFIG",
    "DYNAMIC_BROKER_LOGGER_CONFIG",
    "DYNAMIC_CLIENT_METRICS_CONFIG",
    "DYNAMIC_GROUP_CONFIG",
];
const DEFAULT_BROKER: i8 = 3;
const DEFAULT: i8 = 5;

/// A setting with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub value: Option<String>,
    source: i8,
    is_sensitive: bool,
    synonyms: Vec<DescribeConfigsSynonym>,
}

impl Entry {
    pub const fn is_default(&self) -> bool {
        self.source == DEFAULT
    }

    fn row(&self) -> String {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let source = |at: i8| usize::try_from(at).ok().and_then(|at| SOURCES.get(at)).copied();
        let synonym = |it: &DescribeConfigsSynonym| {
            let source = source(it.source).unwrap_or(SOURCES[0]);
            format!("{source}:{}={}", it.name, shown(&it.value))
        };
        let synonyms: Vec<String> = self.synonyms.iter().map(synonym).collect();
        format!(
            "  {}={} sensitive={} synonyms={{{}}}",
            self.name,
            shown(&self.value),
            self.is_sensitive,
            synonyms.join(", ")
        )
    }
}

/// The settings of these resources.
pub fn of(
    session: &Session<'_>,
    cluster: &mut Cluster,
    kind: Kind,
    names: &[String],
) -> Result<BTreeMap<String, Vec<Entry>>, ToolError> {
    let mut found = BTreeMap::new();
    if names.is_empty() {
        return Ok(found);
    }
    let resource = |name: &String| DescribeConfigsResource {
        resource_type: kind as i8,
        resource_name: name.clone(),
        configuration_keys: None,
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: names.iter().map(resource).collect(),
        include_synonyms: true,
        ..Default::default()
    };
    // A broker answers for itself only.
    let node = names.first().filter(|_| kind == Kind::Broker).and_then(|it| it.parse().ok());
    if node.is_some() {
        session.wait(cluster.all_brokers())?;
    }
    let response = match node {
        Some(node) => session.wait(cluster.ask(node, &request))?,
        None => session.wait(cluster.ask_any(&request))?,
    };
    for it in response.results {
        refused(it.error_code, it.error_message.as_deref())?;
        let entry = |it: DescribeConfigsResourceResult| Entry {
            name: it.name,
            value: it.value,
            source: it.config_source,
            is_sensitive: it.is_sensitive,
            synonyms: it.synonyms,
        };
        let mut all: Vec<Entry> = it.configs.into_iter().map(entry).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        found.insert(it.resource_name, all);
    }
    Ok(found)
}

/// Of what the command line speaks: `None` as a name is all of them, the empty name the default.
fn entity(args: &Parsed) -> Result<(Kind, Option<String>), ToolError> {
    let short = [
        ("topic", Kind::Topic),
        ("broker", Kind::Broker),
        ("group", Kind::Group),
        ("client-metrics", Kind::ClientMetrics),
    ];
    for (option, kind) in short {
        if let Some(name) = args.one(option) {
            return Ok((kind, Some(name.to_owned())));
        }
    }
    if args.has("broker-defaults") {
        return Ok((Kind::Broker, Some(String::new())));
    }
    let kind = args.one("entity-type").ok_or_else(|| {
        ToolError::Usage("At least one entity type must be specified: --entity-type".to_owned())
    })?;
    let Some(found) = Kind::named(kind) else {
        return Err(match kind {
            "broker-loggers" => {
                failed("--entity-type broker-loggers: Ottla's log levels are set when it starts")
            }
            _ => ToolError::Usage(format!(
                "Invalid entity type {kind}, the entity type must be one of topics, brokers, groups, client-metrics, clients, users, ips"
            )),
        });
    };
    let name = args.one("entity-name").map(str::to_owned);
    Ok((found, if args.has("entity-default") { Some(String::new()) } else { name }))
}

fn run(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    if args.has("alter") == args.has("describe") {
        let usage = "Command must include exactly one action: --describe, --alter";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    let parts = quotas::entity(args)?;
    if !parts.is_empty() {
        return quotas::run(args, session, &parts);
    }
    let (kind, name) = entity(args)?;
    let mut cluster = session.connect()?;
    if args.has("alter") {
        let usage = "An entity-name, or --entity-default, must be specified with --alter";
        let name = name.ok_or_else(|| ToolError::Usage(usage.to_owned()))?;
        return alter(args, session, &mut cluster, (kind, name));
    }
    describe(args, session, &mut cluster, (kind, name))
}

fn describe(
    args: &Parsed,
    session: &mut Session<'_>,
    cluster: &mut Cluster,
    (kind, name): (Kind, Option<String>),
) -> Result<(), ToolError> {
    let names = match name {
        Some(name) => vec![name],
        None => every(session, cluster, kind)?,
    };
    for name in names {
        let what = kind.name();
        if kind == Kind::Topic && !is_there(session, cluster, &name)? {
            writeln!(
                session.out,
                "The topic '{name}' doesn't exist and doesn't have dynamic config."
            )?;
            continue;
        }
        let all = of(session, cluster, kind, std::slice::from_ref(&name))?;
        let is_default = name.is_empty();
        match (is_default, args.has("all")) {
            (true, _) => {
                writeln!(session.out, "Default configs for {what}s in the cluster are:")?;
            }
            (_, true) => writeln!(session.out, "All configs for {what} {name} are:")?,
            _ => writeln!(session.out, "Dynamic configs for {what} {name} are:")?,
        }
        let own = if is_default { DEFAULT_BROKER } else { kind.source() };
        for entry in all.values().flatten() {
            if args.has("all") || entry.source == own {
                writeln!(session.out, "{}", entry.row())?;
            }
        }
    }
    Ok(())
}

fn is_there(session: &Session<'_>, cluster: &mut Cluster, topic: &str) -> Result<bool, ToolError> {
    let found = session.wait(cluster.refresh(Some(&[topic.to_owned()]), false))?;
    Ok(found.iter().any(|it| it.error_code == 0))
}

/// All resources of a kind that there are.
pub fn every(
    session: &Session<'_>,
    cluster: &mut Cluster,
    kind: Kind,
) -> Result<Vec<String>, ToolError> {
    let mut names: Vec<String> = match kind {
        Kind::Topic => {
            let all = session.wait(cluster.refresh(None, false))?;
            all.into_iter().filter_map(|it| it.name).collect()
        }
        Kind::Broker => {
            let all = session.wait(cluster.all_brokers())?.into_iter();
            all.map(|id| id.to_string()).chain([String::new()]).collect()
        }
        Kind::ClientMetrics | Kind::Group => {
            let request = ListConfigResourcesRequest {
                resource_types: vec![kind as i8],
                ..Default::default()
            };
            let response = session.wait(cluster.ask_any(&request))?;
            refused(response.error_code, None)?;
            response.config_resources.into_iter().map(|it| it.resource_name).collect()
        }
    };
    if kind != Kind::Broker {
        names.sort();
    }
    Ok(names)
}

/// Settings as the command line has them: commas divide, `[` and `]` hold together.
fn settings(text: &str) -> Result<Vec<(String, String)>, ToolError> {
    let mut all = Vec::new();
    let mut depth = 0;
    let cut = |it: char| {
        match it {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        it == ',' && depth == 0
    };
    for word in text.split(cut).filter(|it| !it.trim().is_empty()) {
        let pair = word.split_once('=');
        let (name, value) = pair.ok_or_else(|| {
            failed(
                "Invalid entity config: all configs to be added must be in the format \"key=val\".",
            )
        })?;
        let value = value.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(value);
        all.push((name.trim().to_owned(), value.to_owned()));
    }
    Ok(all)
}

/// Names and values.
type Pairs = Vec<(String, String)>;

/// What is to be set, and what is to be taken back.
fn changes(args: &Parsed) -> Result<(Pairs, Vec<&str>), ToolError> {
    let mut set = settings(args.one("add-config").unwrap_or_default())?;
    if let Some(file) = args.one("add-config-file") {
        set.extend(properties(file)?);
    }
    let gone = args.one("delete-config").unwrap_or_default().split(',').map(str::trim);
    let gone: Vec<&str> = gone.filter(|it| !it.is_empty()).collect();
    if set.is_empty() && gone.is_empty() {
        let usage = "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    Ok((set, gone))
}

/// Changes settings of one resource.
pub fn alter_resource(
    session: &Session<'_>,
    cluster: &mut Cluster,
    (kind, name): (Kind, String),
    configs: Vec<AlterableConfig>,
) -> Result<(), ToolError> {
    let resource = AlterConfigsResource {
        resource_type: kind as i8,
        resource_name: name,
        configs,
        ..Default::default()
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = session.wait(cluster.ask_any(&request))?;
    for it in &response.responses {
        refused(it.error_code, it.error_message.as_deref())?;
    }
    Ok(())
}

fn alter(
    args: &Parsed,
    session: &mut Session<'_>,
    cluster: &mut Cluster,
    (kind, name): (Kind, String),
) -> Result<(), ToolError> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let (set, gone) = changes(args)?;
    let add = |(name, value): (String, String)| AlterableConfig {
        name,
        config_operation: SET,
        value: Some(value),
        ..Default::default()
    };
    let remove = |name: &str| AlterableConfig {
        name: name.to_owned(),
        config_operation: DELETE,
        value: None,
        ..Default::default()
    };
    let configs = set.into_iter().map(add).chain(gone.into_iter().map(remove)).collect();
    alter_resource(session, cluster, (kind, name.clone()), configs)?;
    let what = kind.name();
    if name.is_empty() {
        writeln!(session.out, "Completed updating default config for {what}s in the cluster.")?;
    } else {
        writeln!(session.out, "Completed updating config for {what} {name}.")?;
    }
    Ok(())
}
