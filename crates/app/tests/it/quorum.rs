//! Three nodes, each broker and controller: they form a quorum, take requests through any of them,
//! and lose nothing when the leader is killed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use crate::node::{Home, Node};

pub const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

/// Where the voters of a cluster of three are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrioVoters {
    /// In `controller.quorum.voters` (kraft.version 0).
    Settings,
    /// In the metadata log, by `--initial-controllers` (kraft.version 1).
    Log,
}

/// The three nodes' folders and the ports of their controllers.
pub struct Trio {
    pub homes: [Home; 3],
    /// `1@host:port,...`
    pub voters: String,
}

/// The directory ids of the three controllers, where the metadata log has them.
const DIRECTORIES: [&str; 3] =
    ["JEXY6aqzQY-32P5TStzaFg", "MvDxzVmcRsaTz33bUuRU6A", "07R5amHmR32VDA6jHkGbTA"];

impl Trio {
    /// Formatted as a static quorum.
    pub fn formatted() -> Self {
        Self::formatted_with(TrioVoters::Settings)
    }

    pub fn formatted_with(named: TrioVoters) -> Self {
        // Held together until all are known, so that no two are the same.
        let held: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|it| it.local_addr().unwrap().port()).collect();
        drop(held);
        let voter = |(id, port): (usize, &u16)| format!("{}@127.0.0.1:{port}", id + 1);
        let voters: Vec<String> = ports.iter().enumerate().map(voter).collect();
        let listed: Vec<String> =
            voters.iter().zip(DIRECTORIES).map(|(voter, id)| format!("{voter}:{id}")).collect();
        let (voters, listed) = (voters.join(","), listed.join(","));
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let quorum = match named {
            TrioVoters::Settings => format!("controller.quorum.voters={voters}"),
            TrioVoters::Log => format!("controller.quorum.bootstrap.servers={}", hosts.join(",")),
        };
        let homes = [0, 1, 2].map(|at| {
            let home = Home::new();
            let lines = format!(
                "process.roles=broker,controller\nnode.id={}\nlog.dirs=data\n\
                 listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{}\n\
                 controller.listener.names=CONTROLLER\n{quorum}\n",
                at + 1,
                ports[at]
            );
            std::fs::write(home.path().join("server.properties"), lines).unwrap();
            let mut words = vec!["format", "server.properties", "--cluster-id", CLUSTER];
            if named == TrioVoters::Log {
                words.extend(["--initial-controllers", &listed]);
            }
            let out = ottla(&home, &words);
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            home
        });
        Self { homes, voters }
    }

    pub fn command(&self, at: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["server", "server.properties"]).current_dir(self.homes[at].path());
        command
    }

    pub fn start(&self, at: usize) -> Node {
        Home::start_with(self.command(at))
    }

    /// All of them: none serves before two have elected a leader.
    pub fn start_all(&self) -> [Node; 3] {
        self.start_all_with(|_| Vec::new())
    }

    /// The same, each with these settings besides its own.
    pub fn start_all_with(&self, settings: impl Fn(usize) -> Vec<String> + Sync) -> [Node; 3] {
        let start = &|at: usize| {
            let mut command = self.command(at);
            for setting in settings(at) {
                command.args(["--override", &setting]);
            }
            Home::start_with(command)
        };
        std::thread::scope(|scope| {
            [0, 1, 2]
                .map(|at| scope.spawn(move || start(at)))
                .map(|started| started.join().expect("the node starts"))
        })
    }
}

pub fn ottla(home: &Home, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(words).current_dir(home.path()).output().unwrap()
}

/// Runs a command against a node; what it prints.
pub fn ask(trio: &Trio, node: &Node, words: &[&str]) -> String {
    let address = node.address.to_string();
    let out = ottla(&trio.homes[0], &[words, &["-b", &address]].concat());
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The newest leader that a node has logged, as an index.
pub fn newest_leader(node: &Node) -> usize {
    let log = node.log();
    let line = log.lines().rfind(|line| line.contains("metadata quorum has a leader"));
    let line = line.expect("a leader was elected");
    let (_, id) = line.split_once("leader=").expect("the event names it");
    id.trim().parse::<usize>().unwrap() - 1
}

/// The log, up to where all three have it.
fn metadata_log(home: &Home) -> Vec<u8> {
    let folder = home.data().join("__cluster_metadata-0");
    std::fs::read(folder.join("00000000000000000000.log")).unwrap()
}

#[test]
fn three_nodes_take_requests_through_any_and_survive_the_loss_of_the_leader() {
    let trio = Trio::formatted();
    let mut nodes = trio.start_all().map(Some);
    for (number, node) in (1..).zip(nodes.iter().flatten()) {
        let topic = format!("through-{number}");
        ask(&trio, node, &["topics", "create", &topic, "--partitions", "3"]);
    }
    let killed = newest_leader(nodes[0].as_ref().unwrap());
    nodes[killed].take().unwrap().kill();
    // The other two elect one of them; the command waits for that.
    let other = nodes[(killed + 1) % 3].as_ref().unwrap();
    ask(&trio, other, &["topics", "create", "after-the-loss"]);
    assert_ne!(newest_leader(other), killed);
    // It is back at once, though its former session has not ended, and knows all that was made.
    nodes[killed] = Some(trio.start(killed));
    for node in nodes.iter().flatten() {
        let listed = ask(&trio, node, &["topics", "list", "-o", "plain"]);
        for topic in ["through-1", "through-2", "through-3", "after-the-loss"] {
            assert!(listed.contains(topic), "{}: {listed}", node.address);
        }
    }
    for node in nodes.into_iter().flatten() {
        node.stop();
    }
    let logs = [0, 1, 2].map(|at| metadata_log(&trio.homes[at]));
    let shortest = logs.iter().map(Vec::len).min().unwrap();
    assert!(shortest > 1000, "{shortest} bytes");
    for log in &logs {
        assert!(log[..shortest] == logs[0][..shortest], "the voters' logs differ");
    }
}

#[test]
fn one_of_three_alone_neither_elects_itself_nor_serves() {
    let trio = Trio::formatted();
    let timeout = "initial.broker.registration.timeout.ms=500";
    let out = trio.command(0).args(["--override", timeout]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(!said.contains("has a leader"), "{said}");
    assert!(!said.contains("node started"), "{said}");
    assert!(trio.voters.contains("1@"), "{}", trio.voters);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("controller"), "{said}");
}

/// The page of metrics that is served there.
pub fn metrics_page(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn a_leader_that_stops_says_so_to_the_other_voters() {
    let trio = Trio::formatted();
    let held: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = held.iter().map(|it| it.local_addr().unwrap().port()).collect();
    drop(held);
    let start = &|at: usize| {
        let mut command = trio.command(at);
        command.args(["--override", &format!("ottla.metrics.listener=127.0.0.1:{}", ports[at])]);
        Home::start_with(command)
    };
    let mut nodes = std::thread::scope(|scope| {
        [0, 1, 2]
            .map(|at| scope.spawn(move || start(at)))
            .map(|started| Some(started.join().expect("the node starts")))
    });
    let stopped = newest_leader(nodes[0].as_ref().unwrap());
    nodes[stopped].take().unwrap().stop();
    for at in [0, 1, 2].into_iter().filter(|at| *at != stopped) {
        let page = metrics_page(ports[at]);
        let asked = page.lines().any(|line| line.contains("request=\"EndQuorumEpoch\""));
        assert!(asked, "node {} was not told\n{page}", at + 1);
    }
}
