//! Three nodes in three racks: a consumer reads from the one in its rack (KIP-392).

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use std::io::Write;

use crate::node::Node;
use crate::quorum::{Trio, ask, metrics_page, ottla};

const SELECTOR: &str =
    "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Each in a rack of its own: `rack-1` to `rack-3`.
fn start_in_racks(trio: &Trio) -> [Node; 3] {
    trio.start_all_with(|at| {
        let rack = format!("broker.rack=rack-{}", at + 1);
        [SELECTOR, &rack, "ottla.metrics.listener=127.0.0.1:0"].map(str::to_owned).to_vec()
    })
}

/// Writes records that all replicas in sync have.
fn produce(trio: &Trio, node: &Node, count: usize) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["produce", "near", "-b", &node.address.to_string()])
        .current_dir(trio.homes[0].path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// How many bytes of the topic a node has given to consumers.
fn bytes_out(node: &Node) -> u64 {
    let log = node.log();
    let (_, rest) = log.split_once("metrics page is served").expect("it is served");
    let (_, rest) = rest.split_once("address=").expect("the event names it");
    let address: SocketAddr = rest.split_whitespace().next().unwrap().parse().unwrap();
    let page = metrics_page(address.port());
    let is_wanted = |line: &&str| line.contains("bytesout") && line.contains("topic=\"near\"");
    let lines = page.lines().filter(is_wanted).filter(|line| !line.starts_with('#'));
    let counts = lines.filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok());
    counts.fold(0, |sum, count| sum + count as u64)
}

#[test]
fn a_consumer_reads_from_the_replica_in_its_rack() {
    let trio = Trio::formatted();
    let nodes = start_in_racks(&trio);
    ask(
        &trio,
        &nodes[0],
        &["topics", "create", "near", "--partitions", "1", "--replication-factor", "3"],
    );
    let address = nodes[0].address.to_string();
    let described = ottla(
        &trio.homes[0],
        &["kafka-topics", "--describe", "--topic", "near", "--bootstrap-server", &address],
    );
    let described = String::from_utf8(described.stdout).unwrap();
    let leader = (1..=3).find(|id| described.contains(&format!("Leader: {id}\t"))).unwrap();
    let follower = leader % 3 + 1;
    produce(&trio, &nodes[0], 100);
    let rack = format!("client.rack=rack-{follower}");
    let words = [
        "kafka-console-consumer",
        "--bootstrap-server",
        &address,
        "--topic",
        "near",
        "--from-beginning",
        "--max-messages",
        "100",
        "--command-property",
        &rack,
    ];
    let out = ottla(&trio.homes[0], &words);
    let read = String::from_utf8(out.stdout).unwrap();
    assert!(read.lines().eq((0..100).map(|number| number.to_string())), "{read}");
    let [from_leader, from_follower] = [leader, follower].map(|id| bytes_out(&nodes[id - 1]));
    assert!(from_leader == 0 && from_follower > 0, "{from_leader} and {from_follower} bytes");
}
