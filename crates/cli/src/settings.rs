//! `ottla config get|set`: settings in a running cluster.

use std::error::Error;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ottla_client::{ChangeMode, Client, ConfigEntry, ConfigKind, ConfigResource};
use ottla_clock::Clock;
use ottla_types::{ErrorCode, nearest};

use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, column, titled};

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SettingOwner {
    /// A topic.
    Topic,
    /// A broker, by its id; or `all`.
    Broker,
    /// A group.
    Group,
}

/// Print settings of a topic, broker or group in a running cluster.
#[derive(Args, Debug)]
pub struct Get {
    /// The kind of resource that has the settings.
    owner: SettingOwner,
    /// The name of the topic or group, or the broker's id; `all` for all brokers.
    name: String,
    /// Only this setting.
    setting: Option<String>,
    /// Print settings that have their default value, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    shared: SharedOptions,
}

/// Change settings of a topic, broker or group in a running cluster; they take effect at once.
#[derive(Args, Debug)]
pub struct Set {
    /// The kind of resource that has the settings.
    owner: SettingOwner,
    /// The name of the topic or group, or the broker's id; `all` for all brokers.
    name: String,
    /// The settings to change; an empty value puts a setting back to its default.
    #[arg(required = true, value_name = "NAME=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    shared: SharedOptions,
}

/// The kind of an owner, and what the protocol calls it.
fn config_resource(owner: SettingOwner, name: &str) -> (ConfigKind, &str) {
    match owner {
        SettingOwner::Topic => (ConfigKind::Topic, name),
        SettingOwner::Group => (ConfigKind::Group, name),
        // All brokers have the empty name.
        SettingOwner::Broker => (ConfigKind::Broker, if name == "all" { "" } else { name }),
    }
}

/// Where values come from, by the numbers of DescribeConfigs.
const fn source_name(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "broker",
        3 => "all brokers",
        // The file, the environment, the command line, or what a node has that is tried out.
        4 => "start",
        5 => "default",
        7 => "subscription",
        8 => "group",
        _ => "?",
    }
}

pub(crate) async fn get_settings(
    args: Get,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    let (kind, name) = config_resource(args.owner, &args.name);
    let name = name.to_owned();
    let look = async || {
        let found = config_entries(&client, kind, &name).await?;
        let is_wanted = |entry: &&ConfigEntry| match &args.setting {
            Some(setting) => entry.name == *setting,
            None => args.all || !entry.is_default(),
        };
        let mut table =
            OutputTable::new(&[column("setting"), column("value"), titled("set in", "set_in")]);
        for it in found.iter().filter(is_wanted) {
            table.row(vec![it.name.as_str().into(), value_cell(it), source_name(it.source).into()]);
        }
        match &args.setting {
            Some(setting) if table.is_empty() => Err(unknown_setting(setting, kind, &found).into()),
            _ => Ok(table),
        }
    };
    front.show(look).await
}

/// The value of a setting, as far as it may be shown.
fn value_cell(entry: &ConfigEntry) -> Cell {
    match (&entry.value, entry.is_sensitive) {
        (_, true) => Cell::nothing().shown("(hidden)"),
        (value, false) => value.clone().into(),
    }
}

/// All settings of one owner.
async fn config_entries(
    client: &Client,
    kind: ConfigKind,
    name: &str,
) -> Result<Vec<ConfigEntry>, Box<dyn Error>> {
    match client.configs(kind, &[name.to_owned()]).await {
        Ok(found) => Ok(found.into_values().flatten().collect()),
        Err(error)
            if kind == ConfigKind::Topic
                && error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) =>
        {
            Err(crate::topics::missing_topic(client, name).await.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The error for a setting that its owner does not have.
fn unknown_setting(setting: &str, kind: ConfigKind, known: &[ConfigEntry]) -> String {
    let of = match kind {
        ConfigKind::Topic => "topic",
        ConfigKind::Group => "group",
        ConfigKind::Broker | ConfigKind::BrokerLogger | ConfigKind::ClientMetrics => "broker",
    };
    match nearest(known.iter().map(|it| it.name.as_str()), setting) {
        Some(near) => format!("unknown {of} setting {setting}; did you mean {near}?"),
        None => {
            format!("unknown {of} setting {setting}; `ottla config get {of} NAME --all` lists them")
        }
    }
}

/// How often the command checks whether a change is in force, before it prints what is in force.
const LOOKS: usize = 40;

pub(crate) async fn set_settings(
    args: Set,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    let (kind, name) = config_resource(args.owner, &args.name);
    let (all, mut faults) = crate::topics::pairs_and_faults(args.settings);
    let before = config_entries(&client, kind, name).await?;
    // What is set for all brokers lists only what is set there; one broker lists every setting.
    let known = match (kind, name) {
        (ConfigKind::Broker, "") => {
            let some = client.all_brokers().await?.first().map_or_else(String::new, i32::to_string);
            config_entries(&client, kind, &some).await?
        }
        _ => before.clone(),
    };
    let is_known = |name: &str| known.iter().any(|it| it.name == name);
    let absent = all.keys().filter(|name| !is_known(name));
    faults.extend(absent.map(|absent| unknown_setting(absent, kind, &known)));
    let changes: Vec<_> = all
        .iter()
        .filter(|(name, _)| is_known(name))
        .map(|(name, value)| (name.clone(), Some(value.clone()).filter(|value| !value.is_empty())))
        .collect();
    let resource = ConfigResource { kind, name };
    if !faults.is_empty() && !changes.is_empty() {
        let checked = client.set_configs(resource, changes.clone(), ChangeMode::Check).await;
        faults.extend(checked.err().map(|error| error.to_string()));
    }
    crate::topics::refuse_faults(faults)?;
    client.set_configs(resource, changes, ChangeMode::Change).await?;
    let clock = Clock::real();
    let mut after = before.clone();
    for _ in 0..LOOKS {
        after = config_entries(&client, kind, name).await?;
        // The broker that answers may have the change a moment after the controller.
        let is_in_force = |(name, value): (&String, &String)| match find_entry(&after, name) {
            Some(it) => it.value.as_deref() == Some(value) || find_entry(&before, name) != Some(it),
            None => value.is_empty(),
        };
        if all.iter().all(is_in_force) {
            break;
        }
        clock.sleep(Duration::from_millis(25)).await;
    }
    let head = [
        column("setting"),
        titled("was", "old_value"),
        titled("is", "new_value"),
        titled("set in", "set_in"),
    ];
    let mut table = OutputTable::new(&head);
    for name in all.keys() {
        let of = |entries: &[ConfigEntry]| {
            find_entry(entries, name).map_or_else(Cell::nothing, value_cell)
        };
        let set_in = find_entry(&after, name).map(|it| source_name(it.source));
        table.row(vec![name.as_str().into(), of(&before), of(&after), set_in.into()]);
    }
    Ok(front.print(&table)?)
}

fn find_entry<'a>(entries: &'a [ConfigEntry], name: &str) -> Option<&'a ConfigEntry> {
    entries.iter().find(|it| it.name == name)
}
