//! Every setting that the table calls obeyed reaches the code that obeys it, and none else does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_metadata::{Cluster, ConfigChange, ConfigRules, ResourceKind};
use ottla_protocol::metadata::config_record::ConfigRecord;
use ottla_types::ErrorCode;

use ottla_settings::{
    Allowed, ConfigType, Scope, Setting, SettingEffect, SettingRules, Settings, find_setting,
    in_scope, listener_protocols,
};

use super::{
    connection_bounds, controller_settings, fetching_rules, following_rules, group_settings,
    keeper_settings, node_settings, quota_window, replica_lag_max, settings_in_force,
    snapshot_rules, socket_options, throttled_partitions, topic_rules, transaction_settings,
};

/// Everything that the rest of the node gets from its settings.
fn told(cluster: &Cluster, settings: &Settings) -> String {
    let node = 1;
    let parts = [
        format!("{:?}", topic_rules(cluster, settings, node, "t")),
        format!("{:?}", keeper_settings(cluster, settings, node)),
        format!("{:?}", transaction_settings(cluster, settings, node)),
        format!("{:?}", group_settings(cluster, settings, node)),
        format!("{:?}", settings_in_force(cluster, settings, node)),
        format!("{:?}", connection_bounds(cluster, settings, node)),
        format!("{:?}", node_settings(settings)),
        format!("{:?}", (controller_settings(settings), settings.quorum_timing())),
        format!("{:?}", (settings.static_voters(), settings.bootstrap_servers())),
        format!("{:?}", (settings.joins_voters(), settings.may_open_inter_node())),
        format!("{:?}", (socket_options(settings), snapshot_rules(settings))),
        format!("{:?}", (following_rules(settings), quota_window(settings))),
        format!("{:?}", throttled_partitions(cluster, settings, node, "t")),
        format!("{:?}", (fetching_rules(settings), replica_lag_max(settings))),
        settings.inter_broker_listener(),
        format!("{:?}", (settings.node_id(), settings.log_dirs(), settings.metadata_dir())),
        format!("{:?}", (settings.listeners(), settings.advertised())),
        format!("{:?}", (settings.controller_listeners(), listener_protocols(settings))),
    ];
    parts.join("\n")
}

/// A value that is allowed and is not the default.
fn other_value(setting: &Setting) -> String {
    let known = match setting.name {
        "max.connections.per.ip.overrides" => Some("127.0.0.1:7"),
        "listeners" => Some("PLAINTEXT://:9095"),
        "advertised.listeners" => Some("PLAINTEXT://here.example:9092"),
        "controller.listener.names" => Some("CONTROLLER"),
        "inter.broker.listener.name" => Some("A"),
        "listener.security.protocol.map" => Some("PLAINTEXT:PLAINTEXT,A:PLAINTEXT"),
        "log.cleaner.dedupe.buffer.size" => Some("33554432"),
        // Used only if the topic's codec is this one.
        "compression.gzip.level" => Some("2"),
        "group.consumer.session.timeout.ms" | "consumer.session.timeout.ms" => Some("50000"),
        "group.consumer.heartbeat.interval.ms" | "consumer.heartbeat.interval.ms" => Some("6000"),
        "group.coordinator.rebalance.protocols" => Some("classic"),
        "controller.quorum.voters" => Some("1@a:9093"),
        "controller.quorum.bootstrap.servers" => Some("a:9093"),
        "leader.replication.throttled.replicas" | "follower.replication.throttled.replicas" => {
            Some("0:1")
        }
        "replica.selector.class" => {
            Some("org.apache.kafka.common.replica.RackAwareReplicaSelector")
        }
        "ottla.metrics.listener" => Some("127.0.0.1:9404"),
        "replica.alter.log.dirs.io.max.bytes.per.second" => Some("1000"),
        _ => None,
    };
    if let Some(known) = known {
        return known.to_owned();
    }
    let default = setting.default.unwrap_or_default();
    match (&setting.allowed, setting.kind) {
        (_, ConfigType::Boolean) => (default != "true").to_string(),
        (Allowed::OneOf(all) | Allowed::AnyCase(all), _) => {
            let other = all.iter().find(|it| !it.eq_ignore_ascii_case(default));
            other
                .expect("two values")
                .to_ascii_lowercase()
                .replace("logappendtime", "LogAppendTime")
        }
        (Allowed::Items { of, .. }, _) if !of.is_empty() => {
            (*of.iter().find(|it| **it != default).expect("two values")).to_owned()
        }
        (_, ConfigType::Double) => "0.25".to_owned(),
        (_, ConfigType::String | ConfigType::List) => "/other".to_owned(),
        _ => {
            let default: i64 = default.parse().unwrap_or(7);
            let other = if default > i64::from(i32::MAX / 2) { default / 2 } else { default + 1 };
            other.max(5).to_string()
        }
    }
}

/// What must be set besides, so that the setting can be seen.
fn beside(setting: &Setting) -> String {
    let codec = ["gzip", "lz4", "zstd"].into_iter().find(|codec| {
        setting.name.strip_prefix("compression.").is_some_and(|it| it.starts_with(codec))
    });
    let mut text = String::new();
    if let Some(codec) = codec {
        text = format!("compression.type={codec}\n");
    }
    if setting.name.contains("compaction") || setting.name.contains("cleaner") {
        text += "log.cleanup.policy=compact\n";
    }
    if ["cleanable", "delete.retention", "compaction.lag"]
        .iter()
        .any(|it| setting.name.contains(it))
    {
        text = "log.cleanup.policy=compact\n".to_owned();
    }
    if setting.name == "inter.broker.listener.name" {
        text += "listeners=PLAINTEXT://:9092,A://:9094\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,A:PLAINTEXT\n";
    }
    if setting.name == "controller.listener.names" {
        text += "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n";
    }
    text
}

fn obeyed(scope: Scope) -> impl Iterator<Item = &'static Setting> {
    in_scope(scope).filter(|it| matches!(it.effect, SettingEffect::Obeyed(_)))
}

fn started(text: &str) -> Settings {
    Settings::read(Some(text), &[]).unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn an_obeyed_setting_reaches_the_code_that_obeys_it() {
    let nothing = Cluster::default();
    // The tests of others stand beside the code that obeys them.
    let is_elsewhere = |setting: &Setting| matches!(setting.effect, SettingEffect::Obeyed(tests) if !tests.starts_with("an_obeyed"));
    for setting in obeyed(Scope::Broker) {
        if is_elsewhere(setting) && !setting.name.contains("listener") {
            continue;
        }
        let (name, other) = (setting.name, other_value(setting));
        let id = if name == "node.id" || name == "broker.id" { "" } else { "node.id=1\n" };
        let base = format!("{id}{}", beside(setting));
        let before = told(&nothing, &started(&base));
        let after = told(&nothing, &started(&format!("{base}{name}={other}\n")));
        assert!(before != after, "{name}={other} is ignored");
    }
    for scope in [Scope::Topic, Scope::Group] {
        let (kind, resource) = match scope {
            Scope::Topic => (ResourceKind::Topic, "t"),
            _ => (ResourceKind::Group, "g"),
        };
        for setting in obeyed(scope).filter(|it| !is_elsewhere(it)) {
            let settings = started(&format!("node.id=1\n{}", beside(setting)));
            let before = told(&nothing, &settings);
            let mut cluster = Cluster::default();
            let record = ConfigRecord {
                resource_type: kind as i8,
                resource_name: resource.to_owned(),
                name: setting.name.to_owned(),
                value: Some(format!(" {} ", other_value(setting))),
                ..Default::default()
            };
            cluster.apply(&record.into());
            assert!(before != told(&cluster, &settings), "{} is ignored", setting.name);
        }
    }
}

#[test]
fn a_broker_bounds_what_its_groups_may_set() {
    // The setting of the broker, and a value with which the group's default is out of bounds.
    for (bound, value, own, asked) in [
        (
            "group.consumer.max.heartbeat.interval.ms",
            "20000",
            "consumer.heartbeat.interval.ms",
            "15001",
        ),
        (
            "group.consumer.min.heartbeat.interval.ms",
            "4000",
            "consumer.heartbeat.interval.ms",
            "4999",
        ),
        ("group.consumer.max.session.timeout.ms", "70000", "consumer.session.timeout.ms", "60001"),
        ("group.consumer.min.session.timeout.ms", "40000", "consumer.session.timeout.ms", "44999"),
        (
            "group.consumer.max.assignment.interval.ms",
            "16000",
            "consumer.assignment.interval.ms",
            "15001",
        ),
        (
            "group.consumer.min.assignment.interval.ms",
            "500",
            "consumer.assignment.interval.ms",
            "499",
        ),
    ] {
        let code = |given: &str| {
            let rules = SettingRules { settings: Arc::new(started(given)), node: 1 };
            let change = ConfigChange {
                cluster: &Cluster::default(),
                kind: ResourceKind::Group,
                resource: "g",
                before: &Default::default(),
                after: &[(own.to_owned(), asked.to_owned())].into(),
            };
            rules.check(&change).map_err(|(code, _)| code)
        };
        let is_lower = bound.ends_with("min.assignment.interval.ms");
        let (with, without) = (code(&format!("node.id=1\n{bound}={value}\n")), code("node.id=1\n"));
        let (accepted, refused) = if is_lower { (without, with) } else { (with, without) };
        assert_eq!((accepted, refused), (Ok(()), Err(ErrorCode::INVALID_CONFIG)), "{bound}");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    sources(crates, &mut files);
    let text: String = files.iter().map(|it| std::fs::read_to_string(it).unwrap()).collect();
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        for setting in obeyed(scope) {
            let SettingEffect::Obeyed(tests) = setting.effect else { continue };
            for test in tests.split(' ') {
                assert!(
                    text.contains(&format!("fn {test}(")),
                    "{}: there is no test {test}",
                    setting.name
                );
            }
        }
    }
}

/// The names of settings that the code of the broker reads, and that of its start.
#[test]
fn what_the_code_reads_is_called_obeyed() {
    let broker = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![broker.join("../settings/src/started.rs")];
    sources(&broker.join("src"), &mut files);
    let mut named = BTreeSet::new();
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        let calls = [
            "text(\"",
            "number(\"",
            "small(\"",
            "size(\"",
            "ms(\"",
            "is_on(\"",
            "given(\"",
            "items(\"",
            "in_force(\"",
        ];
        for call in calls {
            let found = text.split(call).skip(1).filter_map(|it| it.split('"').next());
            named.extend(found.map(str::to_owned));
        }
    }
    assert!(named.len() > 60, "{named:?}");
    // Settings that are read only to refuse them.
    let only_checked = ["zookeeper.connect", "broker.id"];
    for name in named.iter().filter(|name| !only_checked.contains(&name.as_str())) {
        let all =
            [Scope::Broker, Scope::Topic, Scope::Group].map(|scope| find_setting(scope, name));
        let known: Vec<_> = all.into_iter().flatten().collect();
        assert!(!known.is_empty(), "{name} is read and is no setting");
        let is_obeyed = known.iter().any(|it| matches!(it.effect, SettingEffect::Obeyed(_)));
        assert!(is_obeyed, "{name} is read, and the table says that it is not obeyed");
    }
}

#[test]
fn socket_buffers_are_what_was_asked_for_and_else_our_own() {
    let sockets = |given: &[&str]| {
        let given: Vec<String> = given.iter().map(|it| (*it).to_owned()).collect();
        socket_options(&Settings::read(None, &given).unwrap())
    };
    assert_eq!(sockets(&[]).receive_bytes, Some(super::RECEIVE_BUFFER_BYTES));
    let kafka = ["socket.receive.buffer.bytes=102400", "socket.send.buffer.bytes=102400"];
    let asked = sockets(&kafka);
    assert_eq!((asked.receive_bytes, asked.send_bytes), (Some(102_400), Some(102_400)));
    assert_eq!(sockets(&["socket.receive.buffer.bytes=-1"]).receive_bytes, None);
    assert_eq!(sockets(&["socket.listen.backlog.size=7"]).backlog, 7);
}
