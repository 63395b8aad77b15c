//! A node without requests uses next to no CPU time.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::node::Home;
use crate::talk;

const CONNECTIONS: usize = 1000;
const PARTITIONS: i32 = 1000;
/// For how long the node is measured, in seconds.
const LOOK: u64 = 4;
/// How often a node may wake in a second.
const WAKES_MAX: u64 = 20;

/// How often the threads of a process have gone to sleep by themselves, and so been woken.
fn wakes(process: u32) -> u64 {
    let count = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|it| it.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks.map(|task| count(task.unwrap())).sum()
}

#[test]
fn a_thousand_idle_connections_and_partitions_wake_nobody() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", PARTITIONS);
    let mut idle: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(node.address).unwrap()).collect();
    let wait = |stream: &mut TcpStream, seconds| {
        stream.set_read_timeout(Some(Duration::from_secs(seconds))).unwrap();
        assert!(stream.read(&mut [0; 1]).is_err(), "nothing comes, nor is it closed");
    };
    // What the partitions' creation has left to do is done first.
    wait(&mut idle[0], 3);
    let before = wakes(node.process());
    wait(&mut idle[0], LOOK);
    let count = wakes(node.process()) - before;
    assert!(count <= WAKES_MAX * LOOK, "{count} wakes in {LOOK} seconds");
    node.stop();
}
