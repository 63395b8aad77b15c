//! May this be set? What the controller asks before it stores settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_coordinator::pattern::{Alphabet, compile_whole};
use ottla_metadata::{Cluster, ConfigChange, ConfigRules, ResourceKind};
use ottla_protocol::messages::create_topics_response::CreatableTopicConfigs;
use ottla_types::{ErrorCode, NodeId};

use crate::effective::{ConfigSource, describe_setting, in_force};
use crate::pairs;
use crate::started::{Settings, base_name};
use crate::table::{
    ConfigType, Scope, Setting, SettingEffect, UpdateMode, find_setting, in_scope, nearest_setting,
};
use crate::value::Value;

/// What the controller asks about settings.
#[derive(Clone, Debug)]
pub struct SettingRules {
    /// What this node was started with.
    pub settings: Arc<Settings>,
    /// This node.
    pub node: NodeId,
}

/// Kafka's code, and the message for the client.
type SettingRefusal = (ErrorCode, String);

const fn scope_of(kind: ResourceKind) -> Option<Scope> {
    match kind {
        ResourceKind::Topic => Some(Scope::Topic),
        ResourceKind::Broker => Some(Scope::Broker),
        ResourceKind::ClientMetrics => Some(Scope::ClientMetrics),
        ResourceKind::Group => Some(Scope::Group),
        ResourceKind::BrokerLogger => None,
    }
}

/// A value that its setting does not take, or that contradicts another.
fn invalid_config(why: String) -> SettingRefusal {
    (ErrorCode::INVALID_CONFIG, why)
}

/// The same for a broker: Kafka has a code of its own there.
fn invalid_request(why: String) -> SettingRefusal {
    (ErrorCode::INVALID_REQUEST, why)
}

fn unknown_setting(kind: ResourceKind, name: &str) -> SettingRefusal {
    let near = match scope_of(kind) {
        // A name that is longer than any setting's is not worth the comparison.
        Some(scope) if name.len() <= NAME_MAX => nearest_setting(scope, name),
        _ => None,
    };
    let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    match kind {
        ResourceKind::Topic => invalid_config(format!("Unknown topic config name: {name}{hint}")),
        ResourceKind::Group => invalid_config(format!("Unknown group config name: {name}{hint}")),
        ResourceKind::ClientMetrics => {
            invalid_request(format!("Unknown client metrics configuration: {name}{hint}"))
        }
        _ => invalid_config(format!("Unknown broker config name: {name}{hint}")),
    }
}

/// How long a name may be for the nearest known one to be looked for.
const NAME_MAX: usize = 100;
/// So many faults of a change are named.
const FAULTS_MAX: usize = 10;

/// All that is wrong with a change in one refusal: the code is the first fault's.
#[derive(Default)]
struct ChangeFaults {
    code: Option<ErrorCode>,
    texts: Vec<String>,
    /// How many more there are.
    others: usize,
}

impl ChangeFaults {
    fn is_full(&self) -> bool {
        self.texts.len() >= FAULTS_MAX
    }

    /// Takes in a fault; its text is made only where it will be shown.
    fn add(&mut self, fault: impl FnOnce() -> SettingRefusal) {
        if self.is_full() {
            self.others += 1;
            return;
        }
        let (code, text) = fault();
        self.code.get_or_insert(code);
        self.texts.push(text);
    }

    fn check<T>(&mut self, done: Result<T, SettingRefusal>) {
        if let Err(refused) = done {
            self.add(|| refused);
        }
    }

    fn end(self) -> Result<(), SettingRefusal> {
        let Some(code) = self.code else { return Ok(()) };
        let mut text = self.texts.join("; ");
        if self.others > 0 {
            text.push_str(&format!("; and {} more", self.others));
        }
        Err((code, text))
    }
}

impl ConfigRules for SettingRules {
    fn check(&self, change: &ConfigChange<'_>) -> Result<(), SettingRefusal> {
        let scope = scope_of(change.kind).ok_or_else(|| unknown_setting(change.kind, ""))?;
        let (mut known, mut faults) = (Vec::new(), ChangeFaults::default());
        for (name, value) in change.after {
            match find_setting(scope, name) {
                Some(setting) => known.push((setting, value.as_str())),
                // A stored setting that this release does not know is ignored.
                None if change.before.get(name) == Some(value) => {}
                None if base_name(name) != name => faults.add(|| {
                    invalid_request(format!(
                        "{name}: settings of a single listener cannot change while the broker runs here"
                    ))
                }),
                None => faults.add(|| unknown_setting(change.kind, name)),
            }
        }
        match change.kind {
            ResourceKind::Broker => check_broker_values(change, &known, &mut faults),
            _ => check_values(&known, &mut faults),
        }
        // Whether values go together is a question only for those that are values.
        faults.end()?;
        match change.kind {
            ResourceKind::Topic => self.check_topic(change),
            ResourceKind::Group => self.check_group(change),
            ResourceKind::ClientMetrics => check_subscription(&known),
            _ => self.check_broker(change),
        }
    }

    fn is_list(&self, kind: ResourceKind, name: &str) -> bool {
        let setting = scope_of(kind).and_then(|scope| find_setting(scope, name));
        setting.is_some_and(|setting| setting.kind == ConfigType::List)
    }

    fn fallback(&self, cluster: &Cluster, kind: ResourceKind, name: &str) -> Option<String> {
        let setting = find_setting(scope_of(kind)?, name)?;
        describe_setting(setting, cluster, &self.settings, self.node, "").value
    }

    fn describe_topic(
        &self,
        cluster: &Cluster,
        own: &[(String, String)],
    ) -> Vec<CreatableTopicConfigs> {
        let describe = |setting: &'static Setting| {
            let found = describe_setting(setting, cluster, &self.settings, self.node, "");
            let own = own.iter().find(|(name, _)| name == setting.name);
            let source = if own.is_some() { ConfigSource::Topic } else { found.source };
            CreatableTopicConfigs {
                name: setting.name.to_owned(),
                value: own.map(|(_, value)| value.clone()).or(found.value),
                config_source: source as i8,
                is_sensitive: setting.is_secret(),
                ..Default::default()
            }
        };
        in_scope(Scope::Topic).filter(|it| !it.is_unlisted).map(describe).collect()
    }
}

/// The settings that a resource would have, with their values as typed.
type KnownSettings<'a> = [(&'static Setting, &'a str)];

/// Every value for itself.
fn check_values(known: &KnownSettings<'_>, faults: &mut ChangeFaults) {
    for (setting, value) in known {
        faults.check(setting.read(value).map_err(invalid_config));
    }
}

/// The same for a broker, which also has settings that cannot change while it runs.
fn check_broker_values(
    change: &ConfigChange<'_>,
    known: &KnownSettings<'_>,
    faults: &mut ChangeFaults,
) {
    for (setting, value) in known {
        // What was stored when it was allowed is not asked for again.
        if change.before.get(setting.name).is_some_and(|before| before == value) {
            continue;
        }
        let checked = check_may_change(setting, change.resource)
            .and_then(|()| setting.read(value).map(drop))
            .and_then(|()| check_is_built(setting, value));
        faults.check(checked.map_err(invalid_request));
    }
}

impl SettingRules {
    /// What would be in force for a topic or a group: its own, or what stands in for that.
    fn would_be(&self, change: &ConfigChange<'_>, scope: Scope, name: &str) -> Option<String> {
        if let Some(own) = change.after.get(name) {
            return Some(own.clone());
        }
        describe_setting(find_setting(scope, name)?, change.cluster, &self.settings, self.node, "")
            .value
    }

    fn check_topic(&self, change: &ConfigChange<'_>) -> Result<(), SettingRefusal> {
        pairs::check_topic(&|name| self.would_be(change, Scope::Topic, name))
            .map_err(invalid_config)
    }

    fn check_group(&self, change: &ConfigChange<'_>) -> Result<(), SettingRefusal> {
        let broker = |name: &str| in_force(name, change.cluster, &self.settings, self.node);
        pairs::check_group(&|name| self.would_be(change, Scope::Group, name), &broker)
            .map_err(invalid_config)
    }

    fn check_broker(&self, change: &ConfigChange<'_>) -> Result<(), SettingRefusal> {
        let after = |name: &str| self.broker_value(change, change.after, name);
        let before = |name: &str| self.broker_value(change, change.before, name);
        pairs::check_change(&before, &after).map_err(invalid_request)
    }

    /// A broker's value if `own` were set for the resource that is changed. If that is one broker,
    /// the settings of all brokers come after its own; if it is all brokers, this broker's come
    /// first.
    fn broker_value(
        &self,
        change: &ConfigChange<'_>,
        own: &BTreeMap<String, String>,
        name: &str,
    ) -> Option<String> {
        let id = self.node.to_string();
        let other = if change.resource.is_empty() { id.as_str() } else { "" };
        let other = change.cluster.config(ResourceKind::Broker, other);
        let (nearer, farther) =
            if change.resource.is_empty() { (other, own) } else { (own, other) };
        let dynamic = nearer.get(name).or_else(|| farther.get(name));
        dynamic.cloned().or_else(|| self.settings.text(name).map(str::to_owned))
    }
}

/// May this setting change while the broker runs, for this broker or for all?
fn check_may_change(setting: &Setting, broker: &str) -> Result<(), String> {
    let name = setting.name;
    match setting.changes {
        UpdateMode::Static => Err(format!("Cannot update these configs dynamically: [{name}]")),
        UpdateMode::Broker if broker.is_empty() => Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{name}]"
        )),
        _ => Ok(()),
    }
}

/// What Kafka changes while it runs, and this release only with a restart.
const WITH_A_RESTART: [&str; 2] = ["listeners", "listener.security.protocol.map"];

/// Would this broker do what the value promises?
fn check_is_built(setting: &Setting, value: &str) -> Result<(), String> {
    let name = setting.name;
    if WITH_A_RESTART.contains(&name) {
        return Err(format!(
            "{name} cannot change while the broker runs here: change its file, and restart it"
        ));
    }
    if name.starts_with("ssl.") || name.starts_with("sasl.") {
        return Err(format!("{name}: encryption and logins are not built yet"));
    }
    match setting.effect {
        SettingEffect::Refused(why) if setting.is_promise(value) => Err(format!("{name}: {why}")),
        _ => Ok(()),
    }
}

/// What a subscription to clients' metrics may say of a client (KIP-714).
const OF_CLIENT: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];
/// Between which bounds clients push their metrics, in milliseconds.
const PUSH_INTERVAL_MS: std::ops::RangeInclusive<i64> = 100..=3_600_000;

/// Is a subscription's interval, and is its selection of clients, one that Kafka would take?
fn check_subscription(known: &KnownSettings<'_>) -> Result<(), SettingRefusal> {
    for (setting, text) in known {
        match (setting.name, setting.read(text)) {
            ("interval.ms", Ok(Value::Whole(ms))) if !PUSH_INTERVAL_MS.contains(&ms) => {
                return Err(invalid_request(format!(
                    "Invalid value {ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            ("match", Ok(Value::List(patterns))) => {
                let wrong = patterns.iter().find(|pattern| !is_match(pattern));
                if let Some(pattern) = wrong {
                    return Err(invalid_config(format!(
                        "Illegal client matching pattern: {pattern}"
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Is this what a client says of itself, and a regular expression for it: `client_id=app-.*`?
fn is_match(pattern: &str) -> bool {
    // Java's split forgets what is empty at the end: `client_id=a=` has two parts.
    let mut parts: Vec<&str> = pattern.split('=').collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    let [what, text] = parts[..] else { return false };
    OF_CLIENT.contains(&what.trim()) && compile_whole(text.trim(), Alphabet::Unicode).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: ErrorCode = ErrorCode::NONE;
    const WRONG: ErrorCode = ErrorCode::INVALID_CONFIG;
    const REQUEST: ErrorCode = ErrorCode::INVALID_REQUEST;

    /// The refusal of setting these, of a resource that has those already: `name=value`,
    /// with ` & ` between them.
    fn refusal(kind: ResourceKind, resource: &str, has: &str, asked: &str) -> SettingRefusal {
        let settings = Settings::read(Some("node.id=1\n"), &[]).unwrap();
        let rules = SettingRules { settings: Arc::new(settings), node: 1 };
        let pairs = |text: &str| -> BTreeMap<String, String> {
            let pairs = text.split(" & ").filter_map(|it| it.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let before = pairs(has);
        let after = before.clone().into_iter().chain(pairs(asked)).collect();
        let cluster = &Cluster::default();
        let change = ConfigChange { cluster, kind, resource, before: &before, after: &after };
        rules.check(&change).err().unwrap_or((OK, String::new()))
    }

    fn code(kind: ResourceKind, resource: &str, has: &str, asked: &str) -> ErrorCode {
        refusal(kind, resource, has, asked).0
    }

    #[test]
    fn a_refusal_names_every_fault_and_the_setting_that_may_be_meant() {
        let (code, why) = refusal(
            ResourceKind::Topic,
            "t",
            "",
            "retention.m=1 & segment.bytes=x & no.such.thing=1 & cleanup.policy=gone",
        );
        assert_eq!(code, WRONG);
        let parts: Vec<&str> = why.split("; ").collect();
        assert_eq!(parts.len(), 4, "{why}");
        assert_eq!(parts[0], "Unknown topic config name: no.such.thing");
        let near = "Unknown topic config name: retention.m (did you mean retention.ms?)";
        assert_eq!(parts[1], near);
        assert!(parts[2].contains("cleanup.policy") && parts[3].contains("segment.bytes"), "{why}");
        let (code, why) = refusal(ResourceKind::Broker, "1", "", "broker.id=7 & num.io.threads=x");
        assert_eq!(code, REQUEST);
        assert!(why.contains("broker.id") && why.contains("; "), "{why}");
        // Neither many faults nor long names make a long text.
        let many: Vec<String> = (0..5000).map(|it| format!("no.such.{it}=1")).collect();
        let (_, why) = refusal(ResourceKind::Topic, "t", "", &many.join(" & "));
        assert!(why.ends_with("; and 4990 more") && why.len() < 1000, "{why}");
    }

    #[test]
    fn settings_of_a_topic_are_accepted_as_in_kafka() {
        // What it has, what is asked for, the code: compared with Apache's.
        let cases = [
            ("", "message.timestamp.type=logappendtime", WRONG),
            ("", "message.timestamp.type= LogAppendTime ", OK),
            ("", "compression.type=ZSTD", WRONG),
            ("", "compression.type=zstd ", OK),
            ("", "cleanup.policy=COMPACT", WRONG),
            ("", "cleanup.policy=compact,compact", OK),
            ("", "cleanup.policy=", OK),
            ("", "preallocate=TRUE", OK),
            ("", "leader.replication.throttled.replicas=1", WRONG),
            ("", "remote.storage.enable=true", WRONG),
            ("", "compression.gzip.level=0", WRONG),
            ("", "no.such.setting=1", WRONG),
            ("", "min.compaction.lag.ms=10 & max.compaction.lag.ms=5", WRONG),
            ("max.compaction.lag.ms=5", "min.compaction.lag.ms=9", WRONG),
            ("max.compaction.lag.ms=5", "min.compaction.lag.ms=5", OK),
        ];
        for (has, asked, wanted) in cases {
            assert_eq!(code(ResourceKind::Topic, "t", has, asked), wanted, "{has} | {asked}");
        }
    }

    #[test]
    fn settings_of_a_group_stay_within_the_brokers_bounds() {
        let cases = [
            ("", "consumer.session.timeout.ms=45000", OK),
            ("", "consumer.session.timeout.ms=44999", WRONG),
            ("", "consumer.heartbeat.interval.ms=15001", WRONG),
            ("", "share.delivery.count.limit=11", WRONG),
            ("", "streams.num.standby.replicas=3", WRONG),
            ("", "streams.num.standby.replicas=2", OK),
            ("", "share.auto.offset.reset=none", WRONG),
            ("", "no.such.setting=1", WRONG),
        ];
        for (has, asked, wanted) in cases {
            assert_eq!(code(ResourceKind::Group, "g", has, asked), wanted, "{has} | {asked}");
        }
    }

    #[test]
    fn settings_of_a_running_broker_change_as_in_kafka() {
        let cases = [
            ("1", "log.retention.ms=x", REQUEST),
            ("1", "log.retention.ms=-1", OK),
            ("", "log.retention.ms=0", REQUEST),
            ("", "process.roles=broker", REQUEST),
            ("", "cordoned.log.dirs=/a", REQUEST),
            ("1", "listeners=PLAINTEXT://:9099", REQUEST),
            ("1", "ssl.keystore.location=/k", REQUEST),
            ("1", "listener.name.a.ssl.keystore.location=/k", REQUEST),
            ("1", "principal.builder.class=a.B", REQUEST),
            ("", "config.providers=file", REQUEST),
            ("1", "num.io.threads=16", OK),
            ("1", "num.io.threads=17", REQUEST),
            ("", "log.cleaner.threads=3", REQUEST),
            ("", "max.connections=0", REQUEST),
            ("", "max.connections.per.ip=0", REQUEST),
            ("", "max.connections.per.ip.overrides=127.0.0.1:x", REQUEST),
            ("", "group.consumer.assignment.interval.ms=15001", REQUEST),
            ("", "log.retention.ms=5 & log.local.retention.ms=6", REQUEST),
        ];
        for (broker, asked, wanted) in cases {
            assert_eq!(code(ResourceKind::Broker, broker, "", asked), wanted, "{broker} | {asked}");
        }
    }

    #[test]
    fn subscriptions_to_metrics_are_accepted_as_in_kafka() {
        let cases = [
            ("interval.ms=100", OK),
            ("interval.ms=99", REQUEST),
            ("interval.ms=x", WRONG),
            ("match=client_id=a.*,client_source_port=1", OK),
            ("match=client_id", WRONG),
            ("match=client_id=(", WRONG),
            ("match=colour=red", WRONG),
            ("no.such.setting=1", REQUEST),
        ];
        for (asked, wanted) in cases {
            assert_eq!(code(ResourceKind::ClientMetrics, "m", "", asked), wanted, "{asked}");
        }
    }
}
