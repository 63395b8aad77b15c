//! `ottla config get|set`: settings in a running cluster.

use std::error::Error;

use clap::{Args, ValueEnum};
use ottla_client::{ConfigEntry, ConfigKind};

use crate::front::{Environment, Front, Shared};
use crate::output::{Cell, Table};

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Owner {
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
    /// Of what.
    owner: Owner,
    /// Its name.
    name: String,
    /// Only this setting.
    setting: Option<String>,
    /// Print those that nobody has set, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    shared: Shared,
}

/// Set settings of a topic, broker or group in a running cluster; it obeys at once.
#[derive(Args, Debug)]
pub struct Set {
    /// Of what.
    owner: Owner,
    /// Its name; `all` for all brokers.
    name: String,
    /// The settings; an empty value takes one back to its default.
    #[arg(required = true, value_name = "NAME=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    shared: Shared,
}

/// The kind of an owner, and what the protocol calls it.
fn owner(owner: Owner, name: &str) -> (ConfigKind, &str) {
    match owner {
        Owner::Topic => (ConfigKind::Topic, name),
        Owner::Group => (ConfigKind::Group, name),
        // All brokers have the empty name.
        Owner::Broker => (ConfigKind::Broker, if name == "all" { "" } else { name }),
    }
}

/// Where values come from, by the numbers of DescribeConfigs.
const fn source(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "broker",
        3 => "all brokers",
        4 => "file",
        5 => "default",
        7 => "subscription",
        8 => "group",
        _ => "?",
    }
}

pub(crate) async fn get(args: Get, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let mut cluster = front.connect().await?;
    let (kind, name) = owner(args.owner, &args.name);
    let name = name.to_owned();
    let look = async || {
        let found = cluster.configs(kind, std::slice::from_ref(&name)).await?;
        let is_wanted = |it: &&ConfigEntry| match &args.setting {
            Some(setting) => it.name == *setting,
            None => args.all || !it.is_default(),
        };
        let mut table = Table::new(&["setting", "value", "set in"]);
        for it in found.values().flatten().filter(is_wanted) {
            let value = match (&it.value, it.is_sensitive) {
                (_, true) => Cell::Text("(hidden)".to_owned()),
                (value, false) => value.clone().into(),
            };
            table.row(vec![it.name.as_str().into(), value, source(it.source).into()]);
        }
        match &args.setting {
            Some(setting) if table.is_empty() => Err(format!(
                "there is no setting {setting} here; `ottla config explain {setting}` may know more"
            )
            .into()),
            _ => Ok(table),
        }
    };
    front.show(look).await
}

pub(crate) async fn set(args: Set, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let mut cluster = front.connect().await?;
    let all = crate::topics::pairs(args.settings)?.into_iter();
    let changes = all.map(|(name, value)| (name, Some(value).filter(|it| !it.is_empty())));
    cluster.set_configs(owner(args.owner, &args.name), changes.collect()).await?;
    Ok(())
}
