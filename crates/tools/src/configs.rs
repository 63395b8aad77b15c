//! kafka-configs.

mod quotas;

use ottla_client::{
    ChangeMode, Client, ConfigEntry, ConfigKind, ConfigResource, ConfigSynonym, GroupFilter,
};
use ottla_types::ErrorCode;

use crate::options::{BOOTSTRAP_CONTROLLER, Opt, Parsed, flag, value, values};
use crate::session::{ToolError, ToolSession, read_properties, tool_failed};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-configs",
    about: "Show and change settings of topics, brokers, groups and clients' metrics.",
    options: OPTIONS,
    run: run_configs,
}];

const OPTIONS: &[Opt] = &[
    BOOTSTRAP_CONTROLLER,
    flag("alter", "Change settings."),
    flag("describe", "Show settings."),
    flag("all", "With --describe: also settings that have their default."),
    values(
        "entity-type",
        "TYPE",
        "topics, brokers, broker-loggers, groups, client-metrics, clients, users or ips.",
    ),
    values("entity-name", "NAME", "The name of the entity (default: all)."),
    flag("entity-default", "The default of all entities of the type."),
    value("topic", "NAME", "The same as --entity-type topics --entity-name NAME."),
    value("broker", "ID", "The same for a broker."),
    value("broker-logger", "ID", "The same for the log levels of a broker."),
    value("group", "ID", "The same for a group."),
    value("client-metrics", "NAME", "The same for a subscription to clients' metrics."),
    flag("broker-defaults", "The default of all brokers."),
    value("user", "NAME", "The same for a user: quotas and passwords."),
    flag("user-defaults", "The default of all users."),
    value("client", "ID", "The same for a client id: quotas."),
    flag("client-defaults", "The default of all client ids."),
    value("ip", "ADDRESS", "The same for an IP address: quotas."),
    flag("ip-defaults", "The default of all IP addresses."),
    value("add-config", "NAME=VALUE,...", "The settings; [..] around a value with commas."),
    value("add-config-file", "FILE", "A file with the settings, one NAME=VALUE a line."),
    values("delete-config", "NAME,...", "The settings to remove."),
    flag("force", "Do not ask for confirmation."),
];

fn kind_named(text: &str) -> Option<ConfigKind> {
    match text {
        "topics" => Some(ConfigKind::Topic),
        "brokers" => Some(ConfigKind::Broker),
        "broker-loggers" => Some(ConfigKind::BrokerLogger),
        "client-metrics" => Some(ConfigKind::ClientMetrics),
        "groups" => Some(ConfigKind::Group),
        _ => None,
    }
}

const fn name_of(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::Topic => "topic",
        ConfigKind::Broker => "broker",
        ConfigKind::BrokerLogger => "broker-logger",
        ConfigKind::ClientMetrics => "client-metric",
        ConfigKind::Group => "group",
    }
}

/// Where a value is its own, and not one of a wider scope.
const fn source_of(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Topic => 1,
        ConfigKind::Broker => 2,
        ConfigKind::BrokerLogger => 6,
        ConfigKind::ClientMetrics => 7,
        ConfigKind::Group => 8,
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

fn config_row(entry: &ConfigEntry) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let source = |at: i8| usize::try_from(at).ok().and_then(|at| SOURCES.get(at)).copied();
    let synonym = |synonym: &ConfigSynonym| {
        let source = source(synonym.source).unwrap_or(SOURCES[0]);
        format!("{source}:{}={}", synonym.name, shown(&synonym.value))
    };
    let synonyms: Vec<String> = entry.synonyms.iter().map(synonym).collect();
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        shown(&entry.value),
        entry.is_sensitive,
        synonyms.join(", ")
    )
}

/// The entity of the command line: `None` as a name is all of them, the empty name the default.
fn config_entity(args: &Parsed) -> Result<(ConfigKind, Option<String>), ToolError> {
    let short = [
        ("topic", ConfigKind::Topic),
        ("broker", ConfigKind::Broker),
        ("broker-logger", ConfigKind::BrokerLogger),
        ("group", ConfigKind::Group),
        ("client-metrics", ConfigKind::ClientMetrics),
    ];
    for (option, kind) in short {
        if let Some(name) = args.one(option) {
            return Ok((kind, Some(name.to_owned())));
        }
    }
    if args.has("broker-defaults") {
        return Ok((ConfigKind::Broker, Some(String::new())));
    }
    let kind = args.one("entity-type").ok_or_else(|| {
        ToolError::Usage("At least one entity type must be specified: --entity-type".to_owned())
    })?;
    let Some(found) = kind_named(kind) else {
        return Err(ToolError::Usage(format!(
            "Invalid entity type {kind}, the entity type must be one of topics, brokers, broker-loggers, groups, client-metrics, clients, users, ips"
        )));
    };
    let name = args.one("entity-name").map(str::to_owned);
    if found == ConfigKind::BrokerLogger && name.is_none() {
        let usage = "An entity name must be specified with --entity-type broker-loggers";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    Ok((found, if args.has("entity-default") { Some(String::new()) } else { name }))
}

fn run_configs(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    if args.has("alter") == args.has("describe") {
        let usage = "Command must include exactly one action: --describe, --alter";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    let parts = quotas::quota_entity(args)?;
    if !parts.is_empty() {
        return quotas::run_quotas(args, session, &parts);
    }
    let (kind, name) = config_entity(args)?;
    let client = session.connect()?;
    if args.has("alter") {
        let usage = "An entity-name, or --entity-default, must be specified with --alter";
        let name = name.ok_or_else(|| ToolError::Usage(usage.to_owned()))?;
        return alter_configs(args, session, &client, kind, &name);
    }
    describe_configs(args, session, &client, kind, name)
}

fn describe_configs(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    kind: ConfigKind,
    name: Option<String>,
) -> Result<(), ToolError> {
    let what = name_of(kind);
    let names = match name {
        Some(name) if !args.has("all") && !is_there(session, client, kind, &name)? => {
            let none =
                format!("The {what} '{name}' doesn't exist and doesn't have dynamic config.");
            writeln!(session.out, "{none}")?;
            return Ok(());
        }
        Some(name) => vec![name],
        None => session.wait(client.config_names(kind))?,
    };
    for name in names {
        let all = session.wait(client.configs(kind, std::slice::from_ref(&name)))?;
        let is_default = name.is_empty();
        match (is_default, args.has("all")) {
            (true, _) => {
                writeln!(session.out, "Default configs for {what}s in the cluster are:")?;
            }
            (_, true) => writeln!(session.out, "All configs for {what} {name} are:")?,
            _ => writeln!(session.out, "Dynamic configs for {what} {name} are:")?,
        }
        let own = if is_default { DEFAULT_BROKER } else { source_of(kind) };
        for entry in all.values().flatten() {
            if args.has("all") || entry.source == own {
                writeln!(session.out, "{}", config_row(entry))?;
            }
        }
    }
    Ok(())
}

/// Is there such a resource, or are there settings of it?
fn is_there(
    session: &ToolSession<'_>,
    client: &Client,
    kind: ConfigKind,
    name: &str,
) -> Result<bool, ToolError> {
    if kind == ConfigKind::Topic {
        return Ok(session.wait(client.describe_topic(name))?.error == ErrorCode::NONE);
    }
    let named = session.wait(client.config_names(kind))?;
    if kind != ConfigKind::Group || named.iter().any(|it| it == name) {
        return Ok(named.iter().any(|it| it == name));
    }
    let groups = session.wait(client.list_groups(&GroupFilter::default()))?;
    Ok(groups.iter().any(|it| it.id == name))
}

/// Settings as the command line has them: commas divide, `[` and `]` hold together.
fn parse_settings(text: &str) -> Result<Vec<(String, String)>, ToolError> {
    let mut all = Vec::new();
    let mut depth = 0;
    let cut = |letter: char| {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    };
    for word in text.split(cut).filter(|it| !it.trim().is_empty()) {
        let pair = word.split_once('=');
        let (name, value) = pair.ok_or_else(|| {
            tool_failed(
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
fn config_changes(args: &Parsed) -> Result<(Pairs, Vec<&str>), ToolError> {
    let mut set = parse_settings(args.one("add-config").unwrap_or_default())?;
    if let Some(file) = args.one("add-config-file") {
        set.extend(read_properties(file)?);
    }
    let gone = args.one("delete-config").unwrap_or_default().split(',').map(str::trim);
    let gone: Vec<&str> = gone.filter(|it| !it.is_empty()).collect();
    if set.is_empty() && gone.is_empty() {
        let usage = "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    Ok((set, gone))
}

fn alter_configs(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    kind: ConfigKind,
    name: &str,
) -> Result<(), ToolError> {
    let (set, gone) = config_changes(args)?;
    let set = set.into_iter().map(|(name, value)| (name, Some(value)));
    let all = set.chain(gone.into_iter().map(|name| (name.to_owned(), None)));
    session.wait(client.set_configs(
        ConfigResource { kind, name },
        all.collect(),
        ChangeMode::Change,
    ))?;
    let what = name_of(kind);
    if name.is_empty() {
        writeln!(session.out, "Completed updating default config for {what}s in the cluster.")?;
    } else {
        writeln!(session.out, "Completed updating config for {what} {name}.")?;
    }
    Ok(())
}
