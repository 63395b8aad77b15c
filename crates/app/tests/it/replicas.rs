//! Partitions with replicas on three real nodes: acknowledged records survive the loss of any
//! broker.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::node::Node;
use crate::quorum::{Trio, ask};

/// How often a state is asked for until it must be there; each takes as long as a command.
const LOOKS_MAX: usize = 300;

/// Writes numbered records, acknowledged by all replicas in sync.
fn produce(trio: &Trio, node: &Node, numbers: std::ops::Range<u32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["produce", "kept", "-K", ":", "-b", &node.address.to_string()])
        .current_dir(trio.homes[0].path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines: String = numbers.map(|number| format!("{number}:{number}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What `kafka-topics --describe` says of the topic, as soon as it is as wanted.
fn until_described(trio: &Trio, node: &Node, is_wanted: impl Fn(&str) -> bool) -> String {
    let address = node.address.to_string();
    let words = ["kafka-topics", "--describe", "--topic", "kept", "--bootstrap-server", &address];
    let mut said = String::new();
    for _ in 0..LOOKS_MAX {
        let out = crate::quorum::ottla(&trio.homes[0], &words);
        said = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() && is_wanted(&said) {
            return said;
        }
    }
    panic!("{said}");
}

/// How many of the topic's partitions have so many replicas in sync.
fn with_in_sync(said: &str, count: usize) -> usize {
    let sets = said.split("Isr: ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    sets.filter(|set| set.split(',').count() == count).count()
}

#[test]
fn what_is_acknowledged_outlives_the_leader_and_comes_to_every_replica() {
    let trio = Trio::formatted();
    let mut nodes = trio.start_all().map(Some);
    let first = nodes[0].as_ref().unwrap();
    ask(
        &trio,
        first,
        &["topics", "create", "kept", "--partitions", "3", "--replication-factor", "3"],
    );
    produce(&trio, first, 0..300);
    // Each node leads one of the partitions: whichever is killed, one has no leader.
    let said = until_described(&trio, first, |said| with_in_sync(said, 3) == 3);
    let leads = |said: &str, node: usize| said.contains(&format!("Leader: {node}\t"));
    assert!((1..=3).all(|node| leads(&said, node)), "{said}");
    nodes[2].take().unwrap().kill();
    let survivor = nodes[0].take().unwrap();
    until_described(&trio, &survivor, |said| with_in_sync(said, 2) == 3 && !leads(said, 3));
    produce(&trio, &survivor, 300..600);
    nodes[2] = Some(trio.start(2));
    until_described(&trio, &survivor, |said| with_in_sync(said, 3) == 3);
    nodes[0] = Some(survivor);
    let read =
        ask(&trio, nodes[1].as_ref().unwrap(), &["consume", "kept", "--from-beginning", "--exit"]);
    let mut numbers: Vec<u32> = read.lines().filter_map(|line| line.parse().ok()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..600), "{} records: {numbers:?}", numbers.len());
    nodes.into_iter().flatten().for_each(|node| drop(node.stop()));
    for index in 0..3 {
        let log = |at: usize| {
            let folder = trio.homes[at].data().join(format!("kept-{index}"));
            std::fs::read(folder.join("00000000000000000000.log")).unwrap()
        };
        assert!(!log(0).is_empty());
        assert!(log(0) == log(1) && log(1) == log(2), "the replicas of kept-{index} differ");
    }
}
