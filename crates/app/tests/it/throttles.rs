//! A follower that is throttled (KIP-73) on three real nodes.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::node::Node;
use crate::quorum::{Trio, ottla};

/// How often a state is looked for until it must be there; each takes as long as a command.
const LOOKS_MAX: usize = 300;

/// Nodes whose followers copy a batch at a time, and do not forget how much in a test's time.
fn start_all(trio: &Trio) -> [Node; 3] {
    let settings = ["replica.fetch.max.bytes=1", "replication.quota.window.size.seconds=36000"];
    trio.start_all_with(|_| settings.map(str::to_owned).to_vec())
}

/// Runs a tool against the first node; what it prints.
fn run_tool(trio: &Trio, node: &Node, words: &[&str]) -> String {
    let address = node.address.to_string();
    let out = ottla(&trio.homes[0], &[words, &["--bootstrap-server", &address]].concat());
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Writes a record that all replicas in sync have.
fn produce(trio: &Trio, node: &Node, topic: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["produce", topic, "-b", &node.address.to_string()])
        .current_dir(trio.homes[0].path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"value\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// How many bytes of a topic's partition a node has.
fn log_bytes(trio: &Trio, at: usize, topic: &str) -> u64 {
    let folder = trio.homes[at].data().join(format!("{topic}-0"));
    std::fs::metadata(folder.join("00000000000000000000.log")).map_or(0, |it| it.len())
}

#[test]
fn a_follower_that_is_throttled_copies_on_when_the_throttle_is_lifted() {
    let trio = Trio::formatted();
    let nodes = start_all(&trio);
    let tool = |words: &[&str]| run_tool(&trio, &nodes[0], words);
    tool(&["kafka-topics", "--create", "--topic", "slow", "--replica-assignment", "1"]);
    tool(&["kafka-topics", "--create", "--topic", "quick", "--replica-assignment", "1:2"]);
    for _ in 0..3 {
        produce(&trio, &nodes[0], "slow");
    }
    let configs = ["kafka-configs", "--alter", "--entity-type"];
    let rate = "follower.replication.throttled.rate";
    let set_rate = [&configs[..], &["brokers", "--entity-name", "2", "--add-config"]].concat();
    tool(&[&set_rate[..], &[&format!("{rate}=0")]].concat());
    let replicas = "follower.replication.throttled.replicas=0:2";
    let throttle = [&configs[..], &["topics", "--entity-name", "slow", "--add-config", replicas]];
    tool(&throttle.concat());
    let plan = r#"{"version":1,"partitions":[{"topic":"slow","partition":0,"replicas":[1,2]}]}"#;
    let file = trio.homes[0].path().join("plan.json");
    std::fs::write(&file, plan).unwrap();
    let file = file.to_str().unwrap();
    tool(&["kafka-reassign-partitions", "--reassignment-json-file", file, "--execute"]);
    let until = |is_so: &dyn Fn(u64) -> bool, what: &str| {
        let looks = || {
            tool(&["kafka-topics", "--describe", "--topic", "slow"]);
            is_so(log_bytes(&trio, 1, "slow"))
        };
        assert!((0..LOOKS_MAX).any(|_| looks()), "{what}");
    };
    until(&|copied| copied > 0, "the first batch is not copied");
    // Each is acknowledged when node 2 has it: it goes on fetching from node 1.
    for _ in 0..3 {
        produce(&trio, &nodes[0], "quick");
    }
    let all = log_bytes(&trio, 0, "slow");
    let copied = log_bytes(&trio, 1, "slow");
    assert_eq!(copied * 3, all, "one batch of three");
    let lift = [&configs[..], &["brokers", "--entity-name", "2", "--delete-config", rate]];
    tool(&lift.concat());
    until(&|copied| copied == all, "the rest is not copied");
}
