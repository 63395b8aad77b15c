//! Ctrl-C, SIGTERM, SIGHUP and closed pipes: no process or file is left, and the exit code names
//! the cause.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::node::{Home, Node};

/// How often a check for something that comes by itself is repeated; each is a run of the program.
const LOOKS: usize = 500;

fn ottla(node: &Node, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(line.split_whitespace()).env("KAFKA_SERVER", node.address.to_string());
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// SIGHUP and the exit code it leads to; SIGINT instead if this run survives SIGHUP (`nohup`), as
/// its children do then.
fn hang_up() -> (&'static str, i32) {
    if ottla_client::hangup_is_ignored() { ("-INT", 130) } else { ("-HUP", 129) }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// What a command prints in JSON; nothing if it fails.
fn rows(node: &Node, line: &str) -> Vec<Value> {
    let out = ottla(node, &format!("{line} -o json")).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

/// Looks until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    assert!((0..LOOKS).any(|_| is_so()), "it never was so: {what}");
}

/// The exit code of a command that was stopped, and its output.
fn ended(child: Child) -> (Option<i32>, String) {
    let out = child.wait_with_output().unwrap();
    let code = out.status.code();
    (code, String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

fn with_topic() -> (Home, Node) {
    let home = Home::new();
    let node = home.start();
    assert!(ottla(&node, "topics create t -p 1").output().unwrap().status.success());
    let mut child = ottla(&node, "produce t").spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    assert!(child.wait().unwrap().success());
    (home, node)
}

#[test]
fn a_consumer_that_is_interrupted_leaves_its_group() {
    let (_home, node) = with_topic();
    let consumers = [
        "consume t -g GROUP --from-beginning",
        "consume t -g GROUP --from-beginning -X group.protocol=consumer",
        "kafka-console-consumer --topic t --group GROUP --from-beginning",
        "kafka-console-consumer --topic t --group GROUP --from-beginning --command-property group.protocol=consumer",
    ];
    let signals = [("-INT", 130), ("-TERM", 143), hang_up(), ("-INT", 130)];
    for (number, (line, (name, code))) in consumers.iter().zip(signals).enumerate() {
        let group = format!("g{number}");
        let mut child = ottla(&node, &line.replace("GROUP", &group)).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        // kafka-console-consumer prints when no more comes, the other one at once.
        out.read_line(&mut first).unwrap();
        assert_eq!(first, "a\n");
        signal(&child, name);
        let (ended, said) = ended(child);
        assert_eq!(ended, Some(code), "{line}: {said}");
        assert!(!said.contains("ottla:"), "{line}: {said}");
        assert_eq!(rows(&node, &format!("groups describe {group}")), [Value::Null; 0], "{line}");
        let lag = rows(&node, &format!("groups lag {group}"));
        assert_eq!(lag[0]["lag_records"], 0, "what was printed is committed: {line}");
    }
    node.stop();
}

#[test]
fn a_consumer_that_is_interrupted_while_it_joins_leaves_no_ghost() {
    let (_home, node) = with_topic();
    let members = || rows(&node, "groups describe g").len();
    let mut first = ottla(&node, "consume t -g g").spawn().unwrap();
    until("the first is a member", || {
        rows(&node, "groups").iter().any(|row| row["state"] == "Stable")
    });
    // One that hangs: the second waits for it until the rebalance times out, in five minutes.
    signal(&first, "-STOP");
    let second = ottla(&node, "consume t -g g").spawn().unwrap();
    until("the second is joining", || members() == 2);
    signal(&second, "-INT");
    assert_eq!(ended(second), (Some(130), String::new()));
    assert_eq!(members(), 1);
    first.kill().unwrap();
    first.wait().unwrap();
    node.stop();
}

#[test]
fn tools_that_measure_and_verify_leave_their_group_when_they_are_interrupted() {
    let (_home, node) = with_topic();
    let lines = [
        "kafka-consumer-perf-test --topic t --group GROUP --num-records 9 --timeout 600000",
        "kafka-verifiable-consumer --topic t --group-id GROUP",
        "kafka-verifiable-consumer --topic t --group-id GROUP --group-protocol consumer",
    ];
    for (number, line) in lines.iter().enumerate() {
        let group = format!("g{number}");
        let child = ottla(&node, &line.replace("GROUP", &group)).spawn().unwrap();
        until("it is a member", || rows(&node, &format!("groups describe {group}")).len() == 1);
        signal(&child, "-INT");
        let (code, said) = ended(child);
        assert_eq!(code, Some(130), "{line}: {said}");
        assert_eq!(rows(&node, &format!("groups describe {group}")), [Value::Null; 0], "{line}");
        let is_verifiable = line.starts_with("kafka-verifiable");
        assert_eq!(said.contains("\"shutdown_complete\""), is_verifiable, "{said}");
    }
    // A producer prints how far it has come.
    let line = "kafka-verifiable-producer --topic t --throughput 1";
    let mut child = ottla(&node, line).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut told = String::new();
    while !told.contains("producer_send_success") {
        assert_ne!(out.read_line(&mut told).unwrap(), 0, "{told}");
    }
    signal(&child, "-INT");
    std::io::Read::read_to_string(&mut out, &mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told}");
    assert!(told.contains("\"tool_data\""), "{told}");
    node.stop();
}

#[test]
fn a_measurement_that_is_stopped_removes_its_topic() {
    let (_home, node) = with_topic();
    let left = || rows(&node, "topics").iter().any(|row| row["topic"] != "t");
    for (name, code) in [("-INT", 130), ("-TERM", 143), hang_up()] {
        let child = ottla(&node, "bench -n 1000000000").spawn().unwrap();
        until("its topic is there", left);
        signal(&child, name);
        assert_eq!(ended(child), (Some(code), String::new()));
        assert!(!left(), "{name}");
    }
    let (code, said) = ended(ottla(&node, "bench -n 10 -s 3000000").spawn().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("MESSAGE_TOO_LARGE") && !left(), "{said}");
    node.stop();
}

#[test]
fn a_node_stops_cleanly_at_each_signal_and_at_several() {
    let (hang_up, _) = hang_up();
    for signals in [&[hang_up][..], &["-INT"], &["-TERM", "-TERM"], &["-TERM", hang_up, "-INT"]] {
        let home = Home::new();
        let mut node = home.start();
        for name in signals {
            let pid = node.process().to_string();
            // The node may be gone by the time of the second.
            let _ = Command::new("kill").args([*name, pid.as_str()]).stderr(Stdio::null()).status();
        }
        assert!(node.wait().success(), "{signals:?}");
        assert!(home.data().join(".kafka_cleanshutdown").exists(), "{signals:?}");
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let (_home, node) = with_topic();
    let lines = [
        "topics",
        "topics describe t",
        "consume t --from-beginning",
        "consume t --from-beginning -g g",
        "config reference",
        "config get topic t --all",
        "doctor",
        "version",
        "--help",
        "completions bash",
        "server --print-config",
        "kafka-topics --list",
        "kafka-console-consumer --topic t --from-beginning --timeout-ms 5000",
    ];
    for line in lines {
        let mut child = ottla(&node, line).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{line}: {} {said}", out.status);
        let is_count = |line: &&str| line.starts_with("Processed a total of");
        assert_eq!(said.lines().find(|line| !is_count(line)), None, "{line}");
    }
    assert_eq!(rows(&node, "groups describe g").len(), 0);
    // Nor is a standard error that takes no more: the exit code stays what it is.
    for (line, code) in [("topics describe x", 1), ("topics --x", 2), ("kafka-topics --x", 1)] {
        let mut child = ottla(&node, line).spawn().unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{line}");
    }
    node.stop();
}

#[test]
fn what_a_producer_has_read_is_written_when_it_is_interrupted() {
    let (_home, node) = with_topic();
    let mut child = ottla(&node, "produce t -X batch.size=1000 -o json").spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Each of these lines fills a batch, but for the last.
    let line = "x".repeat(2000);
    write!(input, "{line}\n{line}\nlast\n").unwrap();
    until("the first batch is written", || rows(&node, "topics")[0]["records"] != 1);
    signal(&child, "-INT");
    let (code, said) = ended(child);
    drop(input);
    assert_eq!(code, Some(130), "{said}");
    let written = rows(&node, "topics")[0]["records"].as_u64().unwrap();
    assert_eq!(written, 1 + said.lines().count() as u64, "what was written was reported: {said}");
    assert!(written >= 2);
    node.stop();
}
