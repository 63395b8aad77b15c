//! What an operator finds in the log, each event once, with its fields.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Home, Node};

fn ottla(node: &Node, words: &[&str], input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(words).args(["--bootstrap-server", &node.address.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = child.wait_with_output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(out.status.success(), "{words:?}: {text}");
    text
}

fn start(home: &Home) -> Node {
    let mut command = home.command();
    command.args(["--log-format", "json"]);
    Home::start_with(command)
}

/// The events of this message whose fields are these.
fn of<'a>(events: &'a [Value], message: &str, fields: &[(&str, &str)]) -> Vec<&'a Value> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fits = |it: &&Value| fields.iter().all(|(name, value)| text(&it[*name]) == *value);
    events.iter().filter(|it| it["message"] == message).filter(fits).collect()
}

#[test]
fn changes_of_the_cluster_are_in_the_log_once_with_who_made_them() {
    let home = Home::new();
    let node = start(&home);
    let configs = |words: &[&str]| {
        let mut all = vec!["kafka-configs"];
        all.extend(words);
        ottla(&node, &all, "")
    };
    ottla(&node, &["kafka-topics", "--create", "--topic", "t", "--partitions", "2"], "");
    ottla(&node, &["kafka-topics", "--alter", "--topic", "t", "--partitions", "3"], "");
    let topic = ["--alter", "--entity-type", "topics", "--entity-name", "t"];
    configs(&[&topic[..], &["--add-config", "retention.ms=1000"]].concat());
    configs(&[&topic[..], &["--add-config", "retention.ms=2000"]].concat());
    configs(&[&topic[..], &["--delete-config", "retention.ms"]].concat());
    ottla(&node, &["kafka-console-producer", "--topic", "t"], "a\nb\n");
    let consume = ["kafka-console-consumer", "--topic", "t", "--from-beginning"];
    ottla(&node, &[&consume[..], &["--max-messages", "2", "--group", "g"]].concat(), "");
    ottla(&node, &["kafka-topics", "--delete", "--topic", "t"], "");
    let log = node.stop();
    let events: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let who = ("principal", "User:ANONYMOUS");
    let setting = ("setting", "retention.ms");
    // Message, and some of its fields.
    let once: [(&str, &[(&str, &str)]); 7] = [
        ("topic created", &[("topic", "t"), ("partitions", "2"), ("replication_factor", "1")]),
        ("topic partitions added", &[("topic", "t"), ("from", "2"), ("to", "3")]),
        (
            "setting changed",
            &[("resource", "t"), setting, ("from", "(default)"), ("to", "1000"), who],
        ),
        ("setting changed", &[("resource", "t"), setting, ("from", "1000"), ("to", "2000"), who]),
        (
            "setting changed",
            &[("resource", "t"), setting, ("from", "2000"), ("to", "(default)"), who],
        ),
        ("topic deleted", &[("topic", "t")]),
        ("node stopping", &[("signal", "SIGTERM")]),
    ];
    for (message, fields) in once {
        assert_eq!(of(&events, message, fields).len(), 1, "{message} {fields:?}: {log}");
    }
    for event in of(&events, "setting changed", &[]) {
        assert!(event["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{event}");
    }
    let began = of(&events, "group rebalance started", &[("group", "g")]);
    assert!(began[0]["reason"].as_str().unwrap().contains("joined"), "{log}");
    assert!(began[0]["members"].is_u64() && began[0]["generation"].is_i64(), "{log}");
    // The next start makes no topic news again.
    let log = start(&home).stop();
    assert!(!log.contains("topic created"), "{log}");
}

#[test]
fn quotas_and_passwords_that_change_are_in_the_log_without_the_passwords() {
    let home = Home::new();
    let node = start(&home);
    let configs = |more: &[&str]| {
        let all = [&["kafka-configs", "--alter", "--entity-type", "users"], more].concat();
        ottla(&node, &all, "");
    };
    let alice = ["--entity-name", "alice"];
    let any = ["--entity-default"];
    configs(&[&alice[..], &["--add-config", "producer_byte_rate=1024"]].concat());
    configs(&[&alice[..], &["--add-config", "producer_byte_rate=2048"]].concat());
    configs(&[&alice[..], &["--add-config", "producer_byte_rate=2048"]].concat());
    configs(&[&alice[..], &["--delete-config", "producer_byte_rate"]].concat());
    configs(&[&any[..], &["--add-config", "consumer_byte_rate=7"]].concat());
    let password = "SCRAM-SHA-256=[iterations=4096,password=hunter2]";
    configs(&[&alice[..], &["--add-config", password]].concat());
    configs(&[&alice[..], &["--delete-config", "SCRAM-SHA-256"]].concat());
    let log = node.stop();
    let events: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let quota = ("quota", "producer_byte_rate");
    let scram = [("user", "alice"), ("mechanism", "SCRAM-SHA-256")];
    let entity = ("entity", "user=alice");
    let once: [(&str, &[(&str, &str)]); 6] = [
        ("quota changed", &[entity, quota, ("from", "(none)"), ("to", "1024")]),
        ("quota changed", &[entity, quota, ("from", "1024"), ("to", "2048")]),
        ("quota changed", &[entity, quota, ("from", "2048"), ("to", "(none)")]),
        ("quota changed", &[("entity", "user=(default)"), ("quota", "consumer_byte_rate")]),
        ("SCRAM credential stored", &scram),
        ("SCRAM credential deleted", &scram),
    ];
    for (message, fields) in once {
        let found = of(&events, message, fields);
        assert_eq!(found.len(), 1, "{message} {fields:?}: {log}");
        assert_eq!(found[0]["principal"], "User:ANONYMOUS");
        assert!(found[0]["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{log}");
    }
    assert_eq!(of(&events, "quota changed", &[]).len(), 4, "what stays the same is no news: {log}");
    for secret in ["hunter2", "stored_key", "salt"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn a_rebalance_that_begins_also_ends_in_the_log() {
    let home = Home::new();
    let node = start(&home);
    ottla(&node, &["topics", "create", "t"], "");
    ottla(&node, &["produce", "t"], "a\n");
    for (group, protocol) in [("old", "classic"), ("new", "consumer")] {
        let protocol = format!("group.protocol={protocol}");
        let words = ["consume", "t", "-g", group, "--from-beginning", "-n", "1", "-X", &protocol];
        ottla(&node, &words, "");
    }
    let log = node.stop();
    let events: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for group in ["old", "new"] {
        let count =
            |word: &str| of(&events, &format!("group rebalance {word}"), &[("group", group)]).len();
        assert!(count("started") >= 2, "it joined and it left: {log}");
        assert_eq!(count("started"), count("finished"), "{group}: {log}");
        let left = [("group", group), ("members", "0")];
        assert_eq!(of(&events, "group rebalance finished", &left).len(), 1, "{group}: {log}");
    }
}

#[test]
fn topics_that_want_more_brokers_than_there_are_are_warned_of_at_the_start() {
    let names = ["offsets.topic.replication.factor", "transaction.state.log.replication.factor"];
    for (factor, count) in [("3", 2), ("1", 0)] {
        let mut home = Home::new();
        for name in names {
            home = home.with(&format!("{name}={factor}"));
        }
        let log = start(&home).stop();
        let warned = |name: &&&str| {
            let text = format!("{name}={factor} needs {factor} brokers, and this cluster has 1");
            log.lines().any(|line| line.contains("\"WARN\"") && line.contains(&text))
        };
        assert_eq!(names.iter().filter(warned).count(), count, "{log}");
    }
}

#[test]
fn secrets_are_not_in_the_log() {
    let home = Home::new();
    let node = start(&home);
    let secret = "listener.name.internal.ssl.keystore.password=hunter2";
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["kafka-configs", "--alter", "--entity-type", "brokers", "--entity-name", "1"]);
    command.args(["--add-config", secret, "--bootstrap-server", &node.address.to_string()]);
    // Whether it is accepted is another question.
    command.output().unwrap();
    let log = node.stop();
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn log_levels_change_while_the_node_runs() {
    let home = Home::new();
    let node = start(&home);
    let loggers = ["kafka-configs", "--entity-type", "broker-loggers", "--entity-name", "1"];
    let run = |more: &[&str]| ottla(&node, &[&loggers[..], more].concat(), "");
    let shown = run(&["--describe"]);
    assert!(shown.contains("ottla_broker=INFO"), "{shown}");
    for kind in ["broker", "group", "topic"] {
        let (kinds, name) = (format!("{kind}s"), "9");
        let unknown =
            ["kafka-configs", "--describe", "--entity-type", &kinds, "--entity-name", name];
        let due = format!("The {kind} '9' doesn't exist and doesn't have dynamic config.\n");
        assert_eq!(ottla(&node, &unknown, ""), due);
    }
    ottla(&node, &["kafka-topics", "--create", "--topic", "told"], "");
    run(&["--alter", "--add-config", "ottla_broker=ERROR"]);
    assert!(run(&["--describe"]).contains("ottla_broker=ERROR"));
    ottla(&node, &["kafka-topics", "--create", "--topic", "silent"], "");
    run(&["--alter", "--delete-config", "ottla_broker"]);
    assert!(run(&["--describe"]).contains("ottla_broker=INFO"));
    ottla(&node, &["kafka-topics", "--create", "--topic", "again"], "");
    let log = node.stop();
    for (topic, is_told) in [("told", true), ("silent", false), ("again", true)] {
        assert_eq!(log.contains(&format!("\"topic\":\"{topic}\"")), is_told, "{topic}: {log}");
    }
}

#[test]
fn connections_that_are_refused_are_told() {
    let home = Home::new().with("max.connections.per.ip=1");
    let node = start(&home);
    let held = node.connect();
    // One place was taken; this one is closed by the node.
    let mut refused = node.connect();
    assert_eq!(std::io::Read::read(&mut refused, &mut [0]).unwrap_or(0), 0);
    drop(held);
    let log = node.stop();
    assert_eq!(log.lines().filter(|line| line.contains("connections refused")).count(), 1, "{log}");
}

#[test]
fn connections_that_are_no_kafka_clients_are_logged_once_in_ten_seconds() {
    let home = Home::new();
    let node = start(&home);
    for _ in 0..5 {
        let mut stranger = node.connect();
        Write::write_all(&mut stranger, b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n").unwrap();
        // Closed by the node, which has logged it before.
        assert_eq!(std::io::Read::read(&mut stranger, &mut [0]).unwrap_or(0), 0);
    }
    let log = node.stop();
    let lines = log.lines().filter(|line| line.contains("closed by the broker"));
    assert_eq!(lines.count(), 1, "{log}");
}
