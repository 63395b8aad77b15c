//! The scenes of old quick starts, typed as they stand there, with nothing but links to our binary.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::node::{Home, Node};

/// Runs a command of a distribution's `bin/` with the node as `$KAFKA_SERVER`; its exit code, what
/// it printed, and what it complained about.
fn bin(home: &Path, node: Option<&Node>, line: &str, input: &str) -> (i32, String, String) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(home.join("bin").join(words.next().unwrap()));
    command.args(words).current_dir(home).env_remove("KAFKA_SERVER");
    if let Some(node) = node {
        command.env("KAFKA_SERVER", node.address.to_string());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn distribution(home: &Home) -> std::path::PathBuf {
    let folder = home.path().join("kafka");
    let done = Command::new(env!("CARGO_BIN_EXE_ottla")).arg("install-tools").arg(&folder).output();
    assert!(done.unwrap().status.success());
    folder
}

#[test]
fn an_old_quick_start_runs_as_it_was_typed() {
    let home = Home::new();
    let kafka = distribution(&home);
    let node = home.start();
    let run = |line: &str, input: &str| bin(&kafka, Some(&node), line, input);
    let create = "kafka-topics.sh --create --zookeeper localhost:2181 --replication-factor 1 --partitions 1 --topic test";
    let (code, said, hint) = run(create, "");
    assert_eq!((code, said.as_str()), (0, "Created topic test.\n"));
    assert!(hint.contains("no ZooKeeper"), "{hint}");
    assert_eq!(run("kafka-topics.sh --list --zookeeper localhost:2181", "").1, "test\n");
    let (_, described, _) = run("kafka-topics --zookeeper zk1:2181 --topic test --describe", "");
    assert!(described.contains("PartitionCount: 1\tReplicationFactor: 1"), "{described}");
    let broker_list =
        format!("kafka-console-producer.sh --broker-list {} --topic test", node.address);
    assert_eq!(run(&broker_list, "This is a message\nThis is another\n").0, 0);
    let consumer =
        "kafka-console-consumer.sh --topic test --from-beginning --max-messages 2 --group seen";
    let (code, read, count) = run(consumer, "");
    assert_eq!((code, read.as_str()), (0, "This is a message\nThis is another\n"));
    assert_eq!(count, "Processed a total of 2 messages\n");
    let (_, lag, _) = run("kafka-consumer-groups.sh --describe --group seen", "");
    let cells: Vec<&str> = lag.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(cells[..6], ["seen", "test", "0", "2", "2", "0"], "{lag}");
    node.stop();
}

#[test]
fn what_was_typed_wrongly_is_answered_with_what_may_be_meant() {
    let home = Home::new();
    let kafka = distribution(&home);
    let run = |line: &str| bin(&kafka, None, line, "");
    let sic = "kafka-topics --bootstrap-server kafka1:9091 --topic --create --topic chat-test --partitions 3";
    let (code, _, said) = run(sic);
    assert_eq!(code, 1);
    assert!(said.starts_with("Option topic requires an argument, but --create follows"), "{said}");
    let (code, _, said) = run("kafka-topics --lits");
    assert_eq!(code, 1);
    assert!(said.starts_with("lits is not a recognized option; did you mean --list?"), "{said}");
    assert!(said.contains("--partitions <COUNT>"), "the help follows: {said}");
    let (code, _, said) = run("kafka-topics --list");
    assert!(
        code == 1 && said.starts_with("Missing required option(s) [bootstrap-server]"),
        "{said}"
    );
    // No process listens on this port: it belongs to a UDP socket.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let (code, _, said) = run(&format!("kafka-topics --list --bootstrap-server {at}"));
    assert_eq!(code, 1);
    assert!(said.contains(&format!("No broker answers at {at}")), "{said}");
    assert!(said.contains("ottla server starts one"), "{said}");
    let (code, _, said) = run("kafka-topics --help");
    assert!(code == 0 && said.contains("Create, delete, describe"), "{said}");
    let (code, id, _) = run("kafka-storage.sh random-uuid");
    assert_eq!((code, id.trim_end().len()), (0, 22));
}

#[test]
fn zookeeper_is_not_needed_but_stays_until_it_is_stopped() {
    let home = Home::new();
    let kafka = distribution(&home);
    let mut child = Command::new(kafka.join("bin/zookeeper-server-start.sh"))
        .arg("config/zookeeper.properties")
        .current_dir(&kafka)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("not needed"));
    assert!(lines.any(|line| line.unwrap().contains("waits until it is stopped")));
    assert_eq!(child.try_wait().unwrap(), None, "it stays");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bin(&kafka, None, "zookeeper-server-stop.sh", "").0, 0);
}

#[test]
fn a_partition_moves_between_directories_while_groups_and_producers_go_on() {
    let home = Home::new();
    let dirs = ["one", "two"].map(|name| home.path().join(name).display().to_string());
    let home = home.with(&format!("log.dirs={},{}", dirs[0], dirs[1]));
    let home = home.with("offsets.topic.num.partitions=1");
    let kafka = distribution(&home);
    let node = home.start();
    let run = |line: &str, input: &str| bin(&kafka, Some(&node), line, input);
    assert_eq!(run("kafka-topics --create --topic t --partitions 1", "").0, 0);
    let lines: String = (0..2000).map(|number| format!("{number}\n")).collect();
    assert_eq!(run("kafka-console-producer --topic t", &lines).0, 0);
    let read = "kafka-console-consumer --topic t --group g --from-beginning --max-messages 1500";
    assert_eq!(run(read, "").1.lines().count(), 1500);
    let lies = |topic: &str| {
        let (_, told, _) = run(&format!("kafka-log-dirs --describe --topic-list {topic}"), "");
        let told: serde_json::Value =
            serde_json::from_str(told.lines().find(|it| it.starts_with('{')).unwrap()).unwrap();
        let dirs = told["brokers"][0]["logDirs"].as_array().unwrap().clone();
        let has = |it: &&serde_json::Value| !it["partitions"].as_array().unwrap().is_empty();
        let found: Vec<_> = dirs.iter().filter(has).map(|it| it["logDir"].clone()).collect();
        assert_eq!(found.len(), 1, "{dirs:?}");
        found[0].as_str().unwrap().to_owned()
    };
    for topic in ["t", "__consumer_offsets"] {
        let from = lies(topic);
        let to = dirs.iter().find(|it| **it != from).unwrap();
        let plan = format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\"replicas\":[1],\"log_dirs\":[\"{to}\"]}}]}}"
        );
        std::fs::write(kafka.join("plan.json"), plan).unwrap();
        let tool = "kafka-reassign-partitions --reassignment-json-file plan.json";
        let (code, said, why) = run(&format!("{tool} --execute"), "");
        assert!(code == 0 && said.contains("Successfully started moving"), "{said}{why}");
        let moved = (0..500).any(|_| {
            let (_, said, _) = run(&format!("{tool} --verify"), "");
            said.contains(&format!("Reassignment of replica {topic}-0-1 completed successfully"))
        });
        assert!(moved, "{topic} is still on its way");
        assert_eq!(lies(topic), *to);
    }
    assert_eq!(run("kafka-console-producer --topic t", "last\n").0, 0);
    let rest = "kafka-console-consumer --topic t --group g --max-messages 501 --timeout-ms 20000";
    let (_, seen, _) = run(rest, "");
    assert_eq!((seen.lines().next(), seen.lines().last()), (Some("1500"), Some("last")));
    node.stop();
    let node = home.start();
    let again =
        "kafka-console-consumer --topic t --from-beginning --max-messages 2001 --timeout-ms 20000";
    assert_eq!(bin(&kafka, Some(&node), again, "").1.lines().count(), 2001);
    node.stop();
}

#[test]
fn scripts_are_called_by_sh_through_links_and_from_folders_with_blanks() {
    let home = Home::new();
    let folder = home.path().join("a folder");
    let install = || {
        let done =
            Command::new(env!("CARGO_BIN_EXE_ottla")).arg("install-tools").arg(&folder).output();
        assert!(done.unwrap().status.success());
    };
    install();
    let bin = folder.join("bin");
    std::fs::create_dir(home.path().join("links")).unwrap();
    let link = home.path().join("links/topics");
    std::os::unix::fs::symlink(bin.join("kafka-topics.sh"), &link).unwrap();
    let script = |name: &str| bin.join(name).display().to_string();
    for words in [
        vec!["sh".to_owned(), script("kafka-topics.sh"), "--version".to_owned()],
        vec!["sh".to_owned(), script("kafka-topics"), "--version".to_owned()],
        vec![script("kafka-topics.sh"), "--version".to_owned()],
        vec![link.display().to_string(), "--version".to_owned()],
        vec![
            script("kafka-run-class.sh"),
            "kafka.admin.TopicCommand".to_owned(),
            "--version".to_owned(),
        ],
    ] {
        let done = Command::new(&words[0]).args(&words[1..]).current_dir("/").output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success() && said.starts_with("4.3.1"), "{words:?}: {said}");
    }
    for name in [
        "kafka-share-groups.sh",
        "kafka-streams-groups",
        "kafka-metadata-shell.sh",
        "kafka-jmx.sh",
        "connect-standalone.sh",
        "connect-mirror-maker.sh",
        "trogdor.sh",
        "zookeeper-shell.sh",
    ] {
        let done = Command::new(bin.join(name)).arg("--list").output().unwrap();
        let why = String::from_utf8(done.stderr).unwrap();
        assert!(
            done.status.code() == Some(1) && why.contains("not built into Ottla"),
            "{name}: {why}"
        );
    }
    for name in
        ["server.properties", "connect-distributed.properties", "tools-log4j2.yaml", "trogdor.conf"]
    {
        assert!(folder.join("config").join(name).is_file(), "{name}");
    }
    // Files of others stay; our own are written again.
    std::fs::write(bin.join("kafka-acls.sh"), "#!/bin/sh\necho mine\n").unwrap();
    install();
    assert!(std::fs::read_to_string(bin.join("kafka-acls.sh")).unwrap().contains("mine"));
}

#[test]
fn only_the_node_that_is_named_is_stopped() {
    let homes = [1, 2].map(|id| Home::new().with(&format!("node.id={id}")));
    // A program of its own, so that the nodes of other tests are not among those that run it.
    let binary = homes[0].path().join("ottla");
    let own = env!("CARGO_BIN_EXE_ottla");
    if std::fs::hard_link(own, &binary).is_err() {
        std::fs::copy(own, &binary).unwrap();
    }
    let start = |home: &Home| {
        let like = home.command();
        let mut command = Command::new(&binary);
        command.args(like.get_args()).current_dir(home.path());
        Home::start_with(command)
    };
    let [mut first, mut second] = [start(&homes[0]), start(&homes[1])];
    let stop = |words: &[&str]| {
        let done = Command::new(&binary).arg("kafka-server-stop").args(words).output().unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, said) = stop(&[]);
    assert!(code == 1 && said.contains("node 1 (process") && said.contains("--all"), "{said}");
    let (code, said) = stop(&["--node-id=3"]);
    assert!(code == 1 && said.contains("node 2 (process"), "{said}");
    assert_eq!(stop(&["--process-role=broker"]).0, 1, "both are more than a broker");
    let (code, said) = stop(&["--node-id=2"]);
    assert!(code == 0 && said.starts_with("node 2 (process"), "{said}");
    assert!(second.wait().success());
    let (code, said) = stop(&[]);
    assert!(code == 0 && said.starts_with("node 1 (process"), "{said}");
    assert!(first.wait().success());
    assert_eq!(stop(&[]), (1, "No kafka server to stop\n".to_owned()));
}
