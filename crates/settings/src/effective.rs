//! What is in force: what operators have set, over what the node was started with, over the
//! defaults.

use ottla_metadata::{Cluster, ResourceKind};
use ottla_types::NodeId;

use crate::started::Settings;
use crate::table::{Scope, Setting, find_setting};

/// Where a value comes from. The numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set for the topic.
    Topic = 1,
    /// Set for this broker while it runs.
    Broker = 2,
    /// Set for all brokers while they run.
    AllBrokers = 3,
    /// In the node's file.
    File = 4,
    /// It is not set anywhere: the default.
    Default = 5,
    /// Set for the subscription to clients' metrics.
    ClientMetrics = 7,
    /// Set for the group.
    Group = 8,
}

/// A value that would be in force if the nearer ones were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The setting that has it.
    pub name: String,
    /// The value.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// A setting and its value in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// The value in force.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// All values, the one in force first.
    pub synonyms: Vec<Synonym>,
}

/// The value of a setting for a resource, and its fallbacks. `node` is the broker that is
/// asked, whose file counts.
#[must_use]
pub fn describe_setting(
    setting: &'static Setting,
    cluster: &Cluster,
    settings: &Settings,
    node: NodeId,
    resource: &str,
) -> Effective {
    let own = match setting.scope {
        Scope::Topic => Some((ResourceKind::Topic, ConfigSource::Topic)),
        Scope::Group => Some((ResourceKind::Group, ConfigSource::Group)),
        Scope::ClientMetrics => Some((ResourceKind::ClientMetrics, ConfigSource::ClientMetrics)),
        Scope::Broker => None,
    };
    let names: Vec<&str> =
        if own.is_some() { setting.fallbacks.clone() } else { vec![setting.name] };
    let mut all = of_broker(&names, setting.name, cluster, settings, node);
    if let Some((kind, source)) = own
        && let Some(value) = cluster.config(kind, resource).get(setting.name)
    {
        all.insert(0, synonym_from(setting.name, &setting.shown(value), source));
    }
    // Behind a topic's setting stands the default of the broker's, if that has one; its own is no
    // synonym.
    let last = match (setting.scope, setting.fallbacks.first()) {
        (Scope::Broker, _) => setting.default.map(|default| (setting.name, default)),
        (_, Some(name)) => {
            find_setting(Scope::Broker, name).and_then(|it| Some((*name, it.default?)))
        }
        (Scope::Group, None) => setting.default.map(|default| (setting.name, default)),
        (_, None) => None,
    };
    all.extend(last.map(|(name, default)| synonym_from(name, default, ConfigSource::Default)));
    let own = all.is_empty().then(|| setting.default.map(str::to_owned)).flatten();
    let first = all.first();
    Effective {
        setting,
        value: first.map_or(own, |first| first.value.as_deref().map(|it| setting.shown(it))),
        source: first.map_or(ConfigSource::Default, |first| first.source),
        synonyms: all,
    }
}

fn synonym_from(name: &str, value: &str, source: ConfigSource) -> Synonym {
    Synonym { name: name.to_owned(), value: Some(value.to_owned()), source }
}

/// What was set for these settings of brokers, in the unit of the setting that they stand in for:
/// the nearest place first, since what is set in hours for this broker counts more than what its
/// file says in milliseconds.
fn of_broker(
    names: &[&str],
    wanted: &str,
    cluster: &Cluster,
    settings: &Settings,
    node: NodeId,
) -> Vec<Synonym> {
    let id = node.to_string();
    let dynamic = |resource: &str, name: &str| {
        cluster.config(ResourceKind::Broker, resource).get(name).cloned()
    };
    let mut all = Vec::new();
    for source in [ConfigSource::Broker, ConfigSource::AllBrokers, ConfigSource::File] {
        for name in names {
            let value = match source {
                ConfigSource::Broker => dynamic(&id, name),
                ConfigSource::AllBrokers => dynamic("", name),
                _ => settings.given(name).map(str::to_owned),
            };
            all.extend(
                value.map(|it| synonym_from(name, &convert_unit(name, wanted, &it), source)),
            );
        }
    }
    all
}

/// Hours and minutes as milliseconds, where the wanted setting counts those.
fn convert_unit(name: &str, wanted: &str, value: &str) -> String {
    let factor = match (name.rsplit('.').next(), wanted.rsplit('.').next()) {
        (Some("hours"), Some("ms")) => 3_600_000,
        (Some("minutes"), Some("ms")) => 60_000,
        _ => return value.to_owned(),
    };
    match value.trim().parse::<i64>() {
        Ok(number) if number >= 0 => number.saturating_mul(factor).to_string(),
        // Below zero is without a limit.
        Ok(_) => "-1".to_owned(),
        _ => value.to_owned(),
    }
}

/// The value in force of a broker's setting.
#[must_use]
pub fn in_force(
    name: &str,
    cluster: &Cluster,
    settings: &Settings,
    node: NodeId,
) -> Option<String> {
    let setting = find_setting(Scope::Broker, name)?;
    describe_setting(setting, cluster, settings, node, "").value
}
