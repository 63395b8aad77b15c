//! `ottla cluster rebalance`, `grow` and `decommission` on three real nodes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::node::Node;
use crate::quorum::{Trio, ask, ottla};

/// How often a state is asked for until it must be there; each takes as long as a command.
const LOOKS_MAX: usize = 300;

/// Three nodes whose internal topics have one replica, as on a node that was alone.
fn grown_trio() -> Trio {
    let trio = Trio::formatted();
    for home in &trio.homes {
        let path = home.path().join("server.properties");
        let mut settings = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        let few = "offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n";
        settings.write_all(few.as_bytes()).unwrap();
    }
    trio
}

/// A topic with all its replicas on these brokers.
fn create_on(trio: &Trio, node: &Node, topic: &str, replicas: &[&str]) {
    let (address, assignment) = (node.address.to_string(), replicas.join(","));
    let words = ["kafka-topics", "--bootstrap-server", &address, "--create", "--topic", topic];
    let out = ottla(&trio.homes[0], &[&words[..], &["--replica-assignment", &assignment]].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // The controller has made it; the broker that is asked learns of it a little later.
    let words = ["topics", "describe", topic, "-b", &address];
    assert!((0..LOOKS_MAX).any(|_| ottla(&trio.homes[0], &words).status.success()));
}

fn produce(node: &Node, topic: &str, lines: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["produce", topic, "-K", ":", "-b", &node.address.to_string()])
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What a command prints as JSON, the first row of it.
fn ask_json(trio: &Trio, node: &Node, line: &str) -> Value {
    let words: Vec<&str> = line.split_whitespace().chain(["-o", "json"]).collect();
    let rows: Value = serde_json::from_str(&ask(trio, node, &words)).unwrap();
    rows[0].clone()
}

/// What a command complains about that must not work.
fn refused(trio: &Trio, node: &Node, line: &str) -> String {
    let address = node.address.to_string();
    let words: Vec<&str> = line.split_whitespace().chain(["-b", &address]).collect();
    let out = ottla(&trio.homes[0], &words);
    assert!(!out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stderr).unwrap()
}

/// The replicas of each partition of a topic, and its leader.
fn replicas_of(trio: &Trio, node: &Node, topic: &str) -> Vec<(Vec<i64>, i64)> {
    let text = ask(trio, node, &["topics", "describe", topic, "-o", "json"]);
    let rows: Value = serde_json::from_str(&text).unwrap();
    let ids = |all: &Value| all.as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    let row = |it: &Value| (ids(&it["replicas"]), it["leader"].as_i64().unwrap());
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_plan_is_shown_refused_and_carried_out() {
    let trio = Trio::formatted();
    let nodes = trio.start_all();
    let first = &nodes[0];
    create_on(&trio, first, "orders", &["1:2"; 12]);
    let lines: String = (0..600).map(|n| format!("{n}:{n} {}\n", "x".repeat(500))).collect();
    produce(first, "orders", &lines);
    let before = replicas_of(&trio, first, "orders");

    // Only a plan: nothing changes, and the file has it.
    let file = trio.homes[0].path().join("plan.json");
    let shown = ask_json(&trio, first, "cluster rebalance --plan-file plan.json");
    let count = shown["partitions"].as_array().unwrap().len();
    assert!(count >= 8, "{shown}");
    assert!(shown["imbalance_before"]["bytes"].as_f64() > Some(1.4), "{shown}");
    assert!(shown["imbalance_after"]["leaders"].as_f64() < Some(1.05), "{shown}");
    assert_eq!(shown["outcome"], Value::Null);
    assert_eq!(replicas_of(&trio, first, "orders"), before);
    let plan = std::fs::read_to_string(&file).unwrap();
    let read: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(read["partitions"].as_array().unwrap().len(), count);

    // Each mistake with its partition, and nothing moves.
    let entry = |topic: &str, partition: i32, replicas: &[i32]| json!({ "topic": topic, "partition": partition, "replicas": replicas });
    let good = entry("orders", 0, &[3, 1]);
    let cases = [
        (
            entry("order", 0, &[1, 3]),
            "partition order-0: there is no topic order; did you mean orders?",
        ),
        (entry("orders", 12, &[1, 3]), "partition orders-12: topic orders has 12 partitions"),
        (entry("orders", 1, &[1, 33]), "partition orders-1: there is no broker 33"),
        (entry("orders", 1, &[3, 3]), "partition orders-1: broker 3 is listed twice"),
        (entry("orders", 1, &[3]), "partition orders-1: 1 replicas are listed, and it has 2"),
        (entry("orders", 0, &[1, 3]), "partition orders-0 is listed twice"),
    ];
    for (wrong, why) in cases {
        let plan = json!({ "version": 1, "partitions": [good, wrong] });
        std::fs::write(trio.homes[0].path().join("typo.json"), plan.to_string()).unwrap();
        let said = refused(&trio, first, "cluster rebalance --execute --plan-file typo.json");
        assert!(said.contains(why) && said.contains("nothing was moved"), "{said}");
    }
    assert_eq!(replicas_of(&trio, first, "orders"), before);

    // Carried out from the file, with a throttle that is gone afterwards.
    let line = "cluster rebalance --execute --plan-file plan.json --throttle 500MB --at-once 3";
    let done = ask_json(&trio, first, line);
    assert_eq!(done["outcome"]["changed"], count, "{done}");
    assert_eq!(done["outcome"]["failed"], json!([]), "{done}");
    let after = replicas_of(&trio, first, "orders");
    let mut leads: BTreeMap<i64, usize> = BTreeMap::new();
    for (replicas, leader) in &after {
        assert_eq!((replicas.len(), replicas[0]), (2, *leader), "{after:?}");
        *leads.entry(*leader).or_default() += 1;
    }
    assert!(leads.into_values().eq([4, 4, 4]), "{after:?}");
    let configs = ask(&trio, first, &["config", "get", "topic", "orders", "--all", "-o", "json"]);
    let configs: Value = serde_json::from_str(&configs).unwrap();
    let throttled: Vec<&Value> = configs
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["setting"].as_str().unwrap().contains("throttled.replicas"))
        .collect();
    assert!(
        !throttled.is_empty() && throttled.iter().all(|it| it["set_in"] == "default"),
        "{throttled:?}"
    );
    let read = ask(&trio, &nodes[2], &["consume", "orders", "--from-beginning", "--exit"]);
    assert_eq!(read.lines().count(), 600);
    let again = ask_json(&trio, first, "cluster rebalance");
    assert_eq!(again["bytes_moved"], 0, "{again}");
    nodes.into_iter().for_each(|node| drop(node.stop()));
}

/// The moves under way, as the tool lists them.
fn moves_under_way(trio: &Trio, node: &Node) -> String {
    let address = node.address.to_string();
    let words = ["kafka-reassign-partitions", "--bootstrap-server", &address, "--list"];
    let out = ottla(&trio.homes[0], &words);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8(out.stdout).unwrap();
    said.lines().filter(|line| line.contains("adding: ")).collect()
}

#[test]
fn an_interrupted_rebalance_says_what_moves_and_goes_on() {
    let trio = Trio::formatted();
    let nodes = trio.start_all();
    let first = &nodes[0];
    create_on(&trio, first, "orders", &["1:2"; 12]);
    let lines: String = (0..600).map(|n| format!("{n}:{n} {}\n", "x".repeat(5000))).collect();
    produce(first, "orders", &lines);
    let child = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["cluster", "rebalance", "--execute", "--throttle", "2KB", "--at-once", "2"])
        .args(["-b", &first.address.to_string()])
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first moves end before the throttle notices them; those after them stay.
    let (mut last, mut same) = (String::new(), 0);
    for _ in 0..LOOKS_MAX {
        let now = moves_under_way(&trio, first);
        same = if !now.is_empty() && now == last { same + 1 } else { 0 };
        last = now;
        if same == 10 {
            break;
        }
    }
    assert_eq!(same, 10, "{last}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("still moving, and go on: orders-"), "{said}");
    assert!(said.contains("(to broker 3)") && said.contains("the same command"), "{said}");
    assert_eq!(moves_under_way(&trio, first), last, "moves that were begun stay with the cluster");

    let done = ask_json(&trio, first, "cluster rebalance --execute --throttle 500MB");
    assert_eq!(done["outcome"]["failed"], json!([]), "{done}");
    assert_eq!(moves_under_way(&trio, first), "");
    let after = replicas_of(&trio, first, "orders");
    assert!(after.iter().all(|(ids, leader)| ids.len() == 2 && ids[0] == *leader), "{after:?}");
    assert_eq!(after.iter().filter(|(ids, _)| ids.contains(&3)).count(), 8, "{after:?}");
    let read = ask(&trio, &nodes[2], &["consume", "orders", "--from-beginning", "--exit"]);
    assert_eq!(read.lines().count(), 600);
    nodes.into_iter().for_each(|node| drop(node.stop()));
}

#[test]
fn topics_grow_and_a_broker_is_decommissioned() {
    let trio = grown_trio();
    let mut nodes = trio.start_all().map(Some);
    let first = nodes[0].take().unwrap();
    create_on(&trio, &first, "single", &["3", "3"]);
    produce(&first, "single", "a:1\nb:2\n");
    ask(&trio, &first, &["consume", "single", "-g", "g", "--from-beginning", "-n", "2"]);
    let factors = |topic: &str| -> Vec<usize> {
        replicas_of(&trio, &first, topic).iter().map(|(ids, _)| ids.len()).collect()
    };
    assert_eq!(factors("__consumer_offsets"), [1; 4]);
    let out = ottla(&trio.homes[0], &["doctor", "-b", &first.address.to_string()]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(said.contains("`ottla cluster grow`"), "{said}");
    ask(&trio, &first, &["cluster", "grow", "--topics", "single", "-r", "2", "--execute"]);
    assert_eq!((factors("single"), factors("__consumer_offsets")), (vec![2; 2], vec![2; 4]));
    ask(&trio, &first, &["cluster", "grow", "--execute"]);
    assert_eq!((factors("single"), factors("__consumer_offsets")), (vec![2; 2], vec![3; 4]));
    let why = refused(&trio, &first, "cluster grow -r 4");
    assert!(why.contains("4 replicas need as many brokers, and 3 are there"), "{why}");

    // Three replicas do not fit on two brokers.
    let why = refused(&trio, &first, "cluster decommission 3 --execute");
    assert!(why.contains("2 brokers remain") && why.contains("__consumer_offsets (3)"), "{why}");
    let entry = |partition| json!({ "topic": "__consumer_offsets", "partition": partition, "replicas": [1, 3] });
    let plan = json!({ "version": 1, "partitions": [entry(0), entry(1), entry(2), entry(3)] });
    std::fs::write(trio.homes[0].path().join("fewer.json"), plan.to_string()).unwrap();
    let address = first.address.to_string();
    let words = ["kafka-reassign-partitions", "--bootstrap-server", &address, "--execute"];
    let words = [&words[..], &["--reassignment-json-file", "fewer.json"]].concat();
    assert!(ottla(&trio.homes[0], &words).status.success());

    let done = ask_json(&trio, &first, "cluster decommission 3 --execute");
    assert_eq!(done["outcome"]["failed"], json!([]), "{done}");
    for topic in ["single", "__consumer_offsets"] {
        for (replicas, leader) in replicas_of(&trio, &first, topic) {
            assert!(replicas.len() == 2 && !replicas.contains(&3) && leader != 3, "{replicas:?}");
        }
    }
    let why = refused(&trio, &first, "cluster decommission 3 --unregister");
    assert!(why.contains("broker 3 still runs"), "{why}");
    nodes[2].take().unwrap().stop();
    let words = ["cluster", "decommission", "3", "--unregister", "-b", &address];
    let gone = (0..LOOKS_MAX).any(|_| ottla(&trio.homes[0], &words).status.success());
    assert!(gone, "broker 3 is fenced, and leaves");
    let why = refused(&trio, &first, "cluster decommission 3");
    assert!(why.contains("there is no broker 3; the brokers are 1, 2"), "{why}");
    let lag = ask_json(&trio, &first, "groups lag g");
    assert_eq!(lag["lag_records"], 0, "the group's offsets have moved, too: {lag}");
    nodes.into_iter().flatten().for_each(|node| drop(node.stop()));
    first.stop();
}
