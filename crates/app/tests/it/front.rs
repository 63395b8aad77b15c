//! The modern commands against a running node: what a stranger types, and what they get.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::node::{Home, Node};

/// Runs `ottla` without the environment variables of the user who runs the tests.
fn ottla(words: &[&str], input: &str, around: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(words).env_remove("KAFKA_SERVER").env("XDG_CONFIG_HOME", "/nonexistent");
    command.envs(around.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a command prints that must work.
fn said(node: &Node, line: &str, input: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let out = ottla(&words, input, &[("KAFKA_SERVER", &node.address.to_string())]);
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// What a command complains about that must not work.
fn refused(node: &Node, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let out = ottla(&words, "", &[("KAFKA_SERVER", &node.address.to_string())]);
    assert!(!out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stderr).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn topics_are_described_and_changed() {
    let home = Home::new();
    let node = home.start();
    said(&node, "topics create t -p 2", "");
    said(&node, "produce t -p 1", "a\nb\n");
    let plain = said(&node, "topics -o plain", "");
    let cells: Vec<&str> = plain.trim().split('\t').collect();
    assert_eq!(&cells[..4], ["t", "2", "1", "2"], "topic, partitions, replicas, records");
    let found = json(&said(&node, "topics describe t -o json", ""));
    assert_eq!((&found[1]["leader"], &found[1]["end_offset"]), (&1.into(), &2.into()));
    assert_eq!(
        (&found[0]["in_sync"], &found[0]["end_offset"]),
        (&serde_json::json!([1]), &0.into())
    );
    said(&node, "topics alter t --partitions 3 -c retention.ms=5000", "");
    let found = json(&said(&node, "config get topic t retention.ms -o json", ""));
    assert_eq!((&found[0]["value"], &found[0]["set_in"]), (&"5000".into(), &"topic".into()));
    said(&node, "config set topic t retention.ms=", "");
    let found = json(&said(&node, "config get topic t retention.ms -o json", ""));
    assert_eq!(found[0]["set_in"], "default");
    assert_eq!(json(&said(&node, "topics describe t -o json", "")).as_array().unwrap().len(), 3);
    assert!(refused(&node, "topics alter t --partitions 2").contains('3'));
    said(&node, "topics delete t", "");
    assert_eq!(said(&node, "topics -o plain", ""), "");
    node.stop();
}

#[test]
fn records_are_found_by_place_and_content() {
    let home = Home::new();
    let node = home.start();
    said(&node, "topics create t -p 1", "");
    said(&node, "produce t -K : -H src=one", "a:{\"n\":1}\nb:two\n");
    said(&node, "produce t -K : -H src=other", "c:{\"n\":3}\nd:four\n");
    let read = |line: &str| said(&node, &format!("consume t -e {line}"), "");
    assert_eq!(read("--last 1"), "four\n");
    assert_eq!(read("--from 1 --until 3"), "two\n{\"n\":3}\n");
    assert_eq!(read("--from -1h --grep n -K ="), "a={\"n\":1}\nc={\"n\":3}\n");
    assert_eq!(read("--from earliest --key ^[bd]$"), "two\nfour\n");
    assert_eq!(read("--from-beginning --header src=^oth -n 1"), "{\"n\":3}\n");
    assert_eq!(read("--from 2100-01-01"), "", "nothing is from then");
    let line = read("--last 2 -n 1 -o json");
    let record = json(&line);
    assert_eq!((&record["key"], &record["value"]["n"]), (&"c".into(), &3.into()));
    assert_eq!((&record["offset"], &record["headers"][0]["name"]), (&2.into(), &"src".into()));
    assert!(read("--last 1 -v").ends_with("t-0@3  key=d  src=other  four\n"));
    assert!(refused(&node, "consume t -p 7").contains("no partition 7: it has 1, number 0"));
    assert!(refused(&node, "consume nothing").contains("there is no topic nothing"));
    assert!(refused(&node, "consume t --from soon").contains("how long ago"));
    assert!(refused(&node, "consume t -X auto.ofset.reset=x").contains("did you mean"));
    node.stop();
}

#[test]
fn a_group_is_described_sent_back_and_deleted() {
    let home = Home::new();
    let node = home.start();
    said(&node, "topics create t -p 1", "");
    said(&node, "produce t", "a\nb\nc\n");
    assert_eq!(said(&node, "consume t -g g --from-beginning -n 2", ""), "a\nb\n");
    assert_eq!(said(&node, "groups reset g --to earliest -o plain", ""), "t\t0\t2\t0\n");
    assert_eq!(
        said(&node, "groups lag g -o plain", "").split('\t').nth(2),
        Some("2"),
        "only printed"
    );
    said(&node, "groups reset g --to 1 --execute", "");
    assert_eq!(said(&node, "consume t -g g -n 1", ""), "b\n");
    assert!(refused(&node, "groups describe nobody").contains("there is no group nobody"));
    said(&node, "groups delete g", "");
    assert_eq!(said(&node, "groups -o plain", ""), "");
    node.stop();
}

#[test]
fn what_is_produced_is_what_was_meant() {
    let home = Home::new();
    let node = home.start();
    said(&node, "topics create orders -p 1", "");
    let fails = |line: &str, input: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let out = ottla(&words, input, &[("KAFKA_SERVER", &node.address.to_string())]);
        assert_eq!(out.status.code(), Some(1), "{line}");
        String::from_utf8(out.stderr).unwrap()
    };
    let why = fails("produce ordes", "x\n");
    assert!(why.contains("there is no topic ordes; did you mean orders?"), "{why}");
    assert!(why.contains("--create"), "{why}");
    assert_eq!(said(&node, "topics -o plain", "").lines().count(), 1, "none was created");
    let why = fails("produce orders -p 9", "x\n");
    assert!(why.contains("topic orders has no partition 9: it has 1, number 0"), "{why}");
    let why = fails("produce orders -p -1", "x\n");
    assert!(why.contains("no partition -1"), "{why}");
    let why = fails("produce orders -K :", "a:1\nb:2\nno separator\nc:3\n");
    assert!(why.contains("line 3 has no \":\" between key and value: \"no separator\""), "{why}");
    assert!(why.contains("the 2 lines before it were written"), "{why}");
    let reports = said(&node, "produce orders -K : --null NIL -o json", "a:NIL\nNIL:v\n");
    let reports: Vec<Value> = reports.lines().map(json).collect();
    let wanted = serde_json::json!({"line": 2, "topic": "orders", "partition": 0, "offset": 3});
    assert_eq!(reports[1], wanted);
    assert_eq!(said(&node, "produce orders -o plain", "v\n"), "orders\t0\t4\n");
    let read = said(&node, "consume orders --from-beginning -e -o json", "");
    let seen: Vec<Value> = read.lines().map(json).collect();
    let part = |at: usize, name: &str| seen[at][name].clone();
    assert_eq!((part(0, "key"), part(0, "value")), ("a".into(), "1".into()));
    assert_eq!((part(2, "value"), part(2, "value_encoding")), (Value::Null, Value::Null));
    assert_eq!((part(3, "key"), part(3, "key_encoding")), (Value::Null, Value::Null));
    said(&node, "produce fresh --create", "x\n");
    assert_eq!(said(&node, "consume fresh --from-beginning -e", ""), "x\n");
    node.stop();
}

#[test]
fn what_is_set_for_all_brokers_is_not_what_one_has_of_its_own() {
    let home = Home::new();
    let node = home.start();
    said(&node, "config set broker 1 log.retention.ms=5000", "");
    let of_all = |line: &str| {
        let found = json(&said(&node, line, ""));
        (found[0]["value"].clone(), found[0]["new_value"].clone(), found[0]["set_in"].clone())
    };
    let nothing = Value::Null;
    let set = of_all("config set broker all log.retention.ms=6000 -o json");
    assert_eq!(set, (nothing.clone(), "6000".into(), "all brokers".into()));
    let got = of_all("config get broker all log.retention.ms -o json");
    assert_eq!(got, ("6000".into(), nothing.clone(), "all brokers".into()));
    let own = of_all("config get broker 1 log.retention.ms -o json");
    assert_eq!(own, ("5000".into(), nothing, "broker".into()));
    let why = refused(&node, "consume t --watch 1");
    assert!(why.contains("--watch cannot be used with `consume`"), "{why}");
    node.stop();
}

#[test]
fn a_change_of_settings_is_confirmed() {
    let home = Home::new();
    let node = home.start();
    said(&node, "topics create t", "");
    let found = json(&said(&node, "config set topic t retention.ms=5000 -o json", ""));
    let wanted = serde_json::json!({
        "setting": "retention.ms", "old_value": "604800000", "new_value": "5000", "set_in": "topic"
    });
    assert_eq!(found[0], wanted);
    let shown = said(&node, "config set topic t retention.ms=", "");
    assert!(shown.contains("5000  604800000  default"), "{shown}");
    let found = said(&node, "config set broker all log.retention.ms=7000 -o plain", "");
    assert_eq!(found, "log.retention.ms\t\t7000\tall brokers\n");
    let why = refused(&node, "config set topic t retention.sm=1");
    assert!(
        why.contains("unknown topic setting retention.sm; did you mean retention.ms?"),
        "{why}"
    );
    let why = refused(&node, "config set topic tt retention.ms=1");
    assert!(why.contains("there is no topic tt; did you mean t?"), "{why}");
    node.stop();
}

#[test]
fn a_coordinator_that_cannot_exist_is_explained_at_once() {
    let home = Home::new().with("offsets.topic.replication.factor=3");
    let home = home.with("transaction.state.log.replication.factor=3");
    let node = home.start();
    said(&node, "topics create t", "");
    let cause = "offsets.topic.replication.factor=1 on the broker";
    let console = "kafka-console-consumer --topic t --group g";
    for line in ["consume t -g g", "groups lag g", "groups delete g", console] {
        let why = refused(&node, line);
        assert!(why.contains("wants 3 replicas, but the cluster has 1 broker"), "{line}: {why}");
        assert!(why.contains(cause), "{line}: {why}");
    }
    let why = refused(&node, "txn abort x");
    assert!(why.contains("transaction.state.log.replication.factor=1"), "{why}");
    let out = ottla(&["doctor", "-o", "plain"], "", &[("KAFKA_SERVER", &node.address.to_string())]);
    let found = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(2), "{found}");
    assert!(found.contains("error\tgroups") && found.contains("error\ttransactions"), "{found}");
    node.stop();
}

#[test]
fn a_directory_in_use_is_not_looked_into_and_the_exit_code_tells() {
    let home = Home::new();
    let node = home.start();
    said(&node, "produce t --create", "a\n");
    let data = home.data();
    let doctor = |more: &[&str]| {
        let out =
            ottla(&[&["doctor", "--offline", data.to_str().unwrap()], more].concat(), "", &[]);
        (out.status.code(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
    };
    let (code, found) = doctor(&["-o", "plain"]);
    assert_eq!(code, Some(1), "{found}");
    assert!(found.contains(&format!("in use by process {}", node.process())), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
    node.stop();
    let (code, found) = doctor(&["-o", "json"]);
    assert_eq!((code, json(&found).as_array().unwrap().len()), (Some(0), 1), "{found}");
    std::fs::remove_file(data.join("meta.properties")).unwrap();
    let (code, found) = doctor(&[]);
    assert_eq!(code, Some(2), "{found}");
    let nowhere = ottla(&["doctor", "--offline", "/no/such/directory"], "", &[]);
    assert_eq!(nowhere.status.code(), Some(3));
    let silent = ottla(&["doctor", "-b", "127.0.0.1:1"], "", &[]);
    assert_eq!(silent.status.code(), Some(3));
}

#[test]
fn the_program_says_what_it_is() {
    let text = |words: &[&str]| String::from_utf8(ottla(words, "", &[]).stdout).unwrap();
    let version = text(&["version"]);
    assert!(version.starts_with("ottla ") && version.contains("(commit "), "{version}");
    assert!(version.contains("Apache Kafka 4.3"), "{version}");
    assert_eq!(text(&["--version"]), version);
    assert_eq!(json(&text(&["version", "-o", "json"]))[0]["kafka_version"], "4.3.1");
    assert_eq!(text(&["help", "topics"]), text(&["topics", "--help"]));
    assert_eq!(text(&["help"]), text(&["--help"]));
    assert_eq!(text(&["-o", "json", "version"]), text(&["version", "-o", "json"]));
}

#[test]
fn a_cluster_is_looked_at_measured_and_found_healthy() {
    let home = Home::new();
    let node = home.start();
    said(&node, "produce t --create", "a\n");
    let brokers = json(&said(&node, "cluster -o json", ""));
    assert_eq!(
        (&brokers[0]["address"], &brokers[0]["leads"]),
        (&node.address.to_string().into(), &1.into())
    );
    assert_eq!(said(&node, "txn -o plain", ""), "");
    let out = ottla(&["doctor", "-o", "plain"], "", &[("KAFKA_SERVER", &node.address.to_string())]);
    let found = String::from_utf8(out.stdout).unwrap();
    // Whether the disk that the tests run on is full is not what this is about.
    let is_fine = |line: &&str| line.starts_with("ok") || line.starts_with("note");
    let worse = found.lines().find(|line| !is_fine(line) && !line.contains("disks of"));
    assert!(found.contains("ok\tbroker 1\treached at") && worse.is_none(), "{found}");
    assert!(found.contains("ok\tclocks"), "{found}");
    let measured = said(&node, "bench -n 500 --size 10 --latencies 5 -o plain", "");
    let what: Vec<_> = measured.lines().filter_map(|it| it.split('\t').next()).collect();
    assert_eq!(what, ["write", "read", "acknowledged", "end to end"]);
    assert_eq!(said(&node, "topics -o plain", "").lines().count(), 1, "its topic is gone");
    assert!(refused(&node, "txn abort nothing").contains("there is no transactional id nothing"));
    node.stop();
}

#[test]
fn a_broker_that_nobody_reaches_is_told_by_the_doctor() {
    let home = Home::new().with("advertised.listeners=PLAINTEXT://kafka1.invalid:9091");
    let node = home.start();
    let out = ottla(&["doctor", "-b", &node.address.to_string()], "", &[]);
    let found = String::from_utf8(out.stdout).unwrap();
    assert!(!out.status.success());
    assert!(
        found.contains("its advertised listener kafka1.invalid:9091 does not resolve"),
        "{found}"
    );
    let why = refused(&node, "consume t --from-beginning -e");
    assert!(why.contains("there is no topic"), "{why}");
    let why = refused(&node, "groups");
    assert!(why.contains("broker 1 advertises kafka1.invalid:9091"), "{why}");
    node.stop();
}

#[test]
fn wrong_input_is_answered_with_the_cause_and_the_next_step() {
    let home = Home::new();
    let node = home.start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = silent.local_addr().unwrap().to_string();
    drop(silent);
    let garbage = home.path().join("00000000000000000000.log");
    std::fs::write(&garbage, "this is no log at all, just some words that go on for a while")
        .unwrap();
    let garbage = garbage.to_str().unwrap();
    let cases = [
        (format!("topics -b {closed}"), "no broker answers at", "`ottla server` starts one"),
        ("topics -b nowhere.invalid:9092".to_owned(), "nowhere.invalid", "--bootstrap-server"),
        ("topics -b nowhere.invalid".to_owned(), "nowhere.invalid:9092", "--bootstrap-server"),
        ("topics -b http://a:1".to_owned(), "http://a:1", "without a protocol"),
        ("topics -b a:99999".to_owned(), "a:99999", "the port must be a number"),
        ("groups lag absent".to_owned(), "there is no group absent", "`ottla groups` lists"),
        (
            "kafka-topcs --list".to_owned(),
            "unknown command kafka-topcs",
            "did you mean kafka-topics?",
        ),
        ("consume absent".to_owned(), "there is no topic absent", "`ottla topics` lists"),
        ("topics --partitons 3".to_owned(), "--partitons", "--help"),
        ("topic list".to_owned(), "'topic'", "topics"),
        ("produce t -z rar".to_owned(), "unknown compression codec rar", "gzip"),
        ("config explain retention.sm".to_owned(), "retention.sm", "did you mean"),
        ("dump --files /nothing.log".to_owned(), "/nothing.log", "No such file"),
        ("server /no/such/file".to_owned(), "/no/such/file", "No such file"),
        ("topics --profile nobody".to_owned(), "nobody.properties", "bootstrap.servers=HOST:PORT"),
        (
            "kafka-topics --list --bootstrap-server 127.0.0.1:1".to_owned(),
            "No broker answers",
            "ottla server starts one",
        ),
        ("kafka-topics --lst".to_owned(), "lst is not a recognized option", "--list"),
    ];
    // As with Apache's tool, this alone is no failure.
    let dumped = ottla(&["dump", "--files", garbage], "", &[]);
    let hint = String::from_utf8(dumped.stderr).unwrap();
    assert!(
        hint.contains("not a log segment") && hint.contains("`ottla doctor --offline"),
        "{hint}"
    );
    for (line, cause, step) in cases {
        let words: Vec<&str> = line.split_whitespace().collect();
        let out = ottla(&words, "", &[("KAFKA_SERVER", &node.address.to_string())]);
        let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(!out.status.success(), "{line} worked");
        assert!(text.contains(cause) && text.contains(step), "{line} said:\n{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    node.stop();
}

#[test]
fn a_profile_says_where_the_cluster_is() {
    let home = Home::new();
    let node = home.start();
    let folder = home.path().join("config/ottla");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("bootstrap.servers={}\nauto.offset.reset=earliest\n", node.address);
    std::fs::write(folder.join("home.properties"), text).unwrap();
    let config = home.path().join("config");
    let around = [("XDG_CONFIG_HOME", config.to_str().unwrap()), ("KAFKA_SERVER", "127.0.0.1:1")];
    let written = ottla(&["produce", "t", "--create", "--profile", "home"], "a\n", &around);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let out = ottla(&["consume", "t", "--profile", "home", "-e"], "", &around);
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "a\n", "also what else the profile says");
    node.stop();
}

#[test]
fn a_screen_is_enough_for_the_help() {
    let out = ottla(&["--help"], "", &[]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.lines().count() <= 36, "{text}");
    assert!(text.lines().all(|it| it.len() <= 105), "{text}");
}

/// The files of a folder and what stands in them.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| {
            let path = it.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn the_manual_and_the_completions_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let made = tempfile::tempdir().unwrap();
    let folder = made.path().to_str().unwrap();
    assert!(ottla(&["man", folder], "", &[]).status.success());
    let (kept, fresh) = (files(&root.join("docs/man")), files(made.path()));
    let names = |all: &[(String, String)]| all.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    for (name, fresh) in &fresh {
        ottla_expected::check_file(&format!("docs/man/{name}"), fresh);
    }
    if !ottla_expected::is_update() {
        assert_eq!(names(&kept), names(&fresh), "remove what is too much in docs/man");
    }
    for (shell, file) in [("bash", "ottla.bash"), ("zsh", "_ottla"), ("fish", "ottla.fish")] {
        let out = ottla(&["completions", shell], "", &[]);
        let fresh = String::from_utf8(out.stdout).unwrap();
        ottla_expected::check_file(&format!("docs/completions/{file}"), &fresh);
    }
}

/// A new connection, if the node answers a request on it (ApiVersions, version 0) and keeps it.
fn answered(node: &Node) -> Option<std::net::TcpStream> {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(node.address).ok()?;
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF]).ok()?;
    stream.read_exact(&mut [0; 1]).ok().map(|()| stream)
}

#[test]
fn a_brokers_setting_is_obeyed_at_once() {
    let home = Home::new();
    let node = home.start();
    said(&node, "config set broker all max.connections=2", "");
    let mut kept = Vec::new();
    // The command's own connection may count for a moment after it has ended.
    while kept.len() < 2 {
        kept.extend(answered(&node));
    }
    assert!(answered(&node).is_none(), "the third is closed without an answer");
    let text = refused(&node, "topics");
    assert!(text.contains("no broker answers"), "{text}");
    drop(kept);
    let (mut tries, args) = (0, "config set broker all max.connections=");
    while !ottla(
        &args.split_whitespace().collect::<Vec<_>>(),
        "",
        &[("KAFKA_SERVER", &node.address.to_string())],
    )
    .status
    .success()
    {
        // The node learns that a connection has ended when it next looks.
        tries += 1;
        assert!(tries < 500, "the places are not given back");
    }
    let line = format!("{}\n", "x".repeat(500));
    said(&node, "produce t --create", &line);
    said(&node, "config set broker all message.max.bytes=200", "");
    let server = node.address.to_string();
    let out = ottla(&["produce", "t"], &line, &[("KAFKA_SERVER", &server)]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(!out.status.success() && text.contains("MESSAGE_TOO_LARGE"), "{text}");
    node.stop();
}

#[test]
fn all_mistakes_of_a_topic_and_of_its_settings_are_named_at_once() {
    let home = Home::new();
    let node = home.start();
    let has = |why: &str, parts: &[&str]| {
        for part in parts {
            assert!(why.contains(part), "{part}: {why}");
        }
    };
    let why = refused(&node, "topics create a/b -p 0 -c retention.m=1 -c segment.bytes=x -c odd");
    has(
        &why,
        &[
            "odd is not NAME=VALUE",
            "retention.m (did you mean retention.ms?)",
            "segment.bytes",
            "Number of partitions",
            "a/b",
        ],
    );
    let why = refused(&node, "topics create t -p 2000000");
    has(&why, &["Too many partitions in one request: 2000000", "10000 are allowed"]);
    let why = refused(&node, "topics create t -p 10000");
    has(&why, &["Too many partitions in one request: 10000", "9999"]);
    said(&node, "topics create t -p 2", "");
    let why =
        refused(&node, "config set topic t retention.sm=1 segment.bytes=x cleanup.polic=compact");
    has(&why, &["did you mean retention.ms?", "segment.bytes", "did you mean cleanup.policy?"]);
    let why = refused(&node, "config set topic t retention.ms=1 retention.ms=2 x");
    has(&why, &["retention.ms is given twice: 1 and 2", "x is not NAME=VALUE"]);
    let why = refused(&node, "topics alter t -p 1 -c retention.ms=x -c retention.byte=1");
    has(&why, &["2 partition(s)", "retention.ms", "did you mean retention.bytes?"]);
    // A refused change does nothing by half.
    refused(&node, "topics alter t -p 1 -c retention.ms=5000");
    assert!(!said(&node, "config get topic t", "").contains("retention.ms"));
    node.stop();
}
