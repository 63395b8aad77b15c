//! Nodes with one list, and no format step: they found one cluster together, or join the one that
//! is there (`ottla.cluster`).

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use crate::node::{Home, Node};

/// Three nodes' folders, and their list.
struct ListedNodes {
    homes: [Home; 3],
    list: String,
}

impl ListedNodes {
    fn new() -> Self {
        // Held together until all are known, so that no two are the same.
        let held: Vec<TcpListener> =
            (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|it| it.local_addr().unwrap().port()).collect();
        let item = |at: usize| format!("127.0.0.1:{}:{}", ports[at], ports[at + 3]);
        let list = [0, 1, 2].map(item).join(",");
        Self { homes: [0, 1, 2].map(|_| Home::new()), list }
    }

    /// The command of the node at this place, not yet run.
    fn command(&self, at: usize) -> Command {
        self.command_with(at, &self.list)
    }

    fn command_with(&self, at: usize, list: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        let node = (at + 1).to_string();
        command.args(["server", "--node", &node, "--cluster", list]);
        command.args(["--override", "log.dirs=data"]).current_dir(self.homes[at].path());
        command
    }

    fn start_all<const N: usize>(&self, places: [usize; N]) -> [Node; N] {
        std::thread::scope(|scope| {
            places
                .map(|at| scope.spawn(move || Home::start_with(self.command(at))))
                .map(|started| started.join().expect("the node starts"))
        })
    }

    fn cluster_id(&self, at: usize) -> String {
        let text = std::fs::read_to_string(self.homes[at].data().join("meta.properties")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("cluster.id="));
        line.expect("the cluster's id").to_owned()
    }
}

fn ask(node: &Node, words: &[&str]) -> String {
    let address = node.address.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let out: Output = command.args(words).args(["-b", &address]).output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn three_blank_nodes_form_one_cluster_and_a_wiped_one_joins_it_again() {
    let listed = ListedNodes::new();
    let nodes = listed.start_all([0, 1, 2]);
    ask(&nodes[2], &["topics", "create", "formed"]);
    let ids = [0, 1, 2].map(|at| listed.cluster_id(at));
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    for (at, node) in nodes.into_iter().enumerate() {
        let log = node.stop();
        assert!(log.contains("the cluster is founded"), "{log}");
        assert!(!listed.homes[at].data().join("forming.properties").exists());
    }
    // A second start forms nothing.
    let nodes = listed.start_all([0, 1, 2]);
    assert!(ask(&nodes[0], &["topics", "list", "-o", "plain"]).contains("formed"));
    let log = nodes.map(Node::stop).concat();
    assert!(!log.contains("ottla.cluster"), "{log}");
    // The coordinator's disk is replaced.
    std::fs::remove_dir_all(listed.homes[0].data()).unwrap();
    let nodes = listed.start_all([0, 1, 2]);
    assert!(ask(&nodes[0], &["topics", "list", "-o", "plain"]).contains("formed"));
    assert_eq!(listed.cluster_id(0), ids[0]);
    let log = nodes[0].log();
    assert!(log.contains("joins it as an observer"), "{log}");
}

/// A process whose log is read line by line. Dropping it kills it.
struct Starting {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    log: String,
}

impl Starting {
    fn run(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, log: String::new() }
    }

    /// Reads on until a line has this text; that line.
    fn line_with(&mut self, text: &str) -> String {
        loop {
            let Some(line) = self.lines.next() else { panic!("no {text}\n{}", self.log) };
            let line = line.unwrap();
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(text) {
                return line;
            }
        }
    }

    /// SIGTERM, and the exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_wiped_nodes_join_the_one_that_is_left_and_found_nothing() {
    let listed = ListedNodes::new();
    let _ = listed.start_all([0, 1, 2]).map(Node::stop);
    let id = listed.cluster_id(2);
    for at in [0, 1] {
        std::fs::remove_dir_all(listed.homes[at].data()).unwrap();
    }
    let mut wiped = [0, 1].map(|at| Starting::run(listed.command(at)));
    // The survivor may come back any time: until then they wait for it.
    for node in &mut wiped {
        let line = node.line_with("waiting for node 3");
        assert!(line.contains("connection refused"), "{line}");
    }
    let _survivor = Starting::run(listed.command(2));
    for (at, node) in wiped.iter_mut().enumerate() {
        let line = node.line_with("joins it as an observer");
        assert!(line.contains(&id), "{line}");
        node.line_with("data directories formatted");
        assert_eq!(listed.cluster_id(at), id);
    }
}

#[test]
fn a_node_waits_for_the_others_and_stops_when_it_is_asked_to() {
    let listed = ListedNodes::new();
    let mut node = Starting::run(listed.command(1));
    let line = node.line_with("waiting for node 1");
    assert!(line.contains("connection refused"), "{line}");
    node.line_with("waiting for node 3");
    assert_eq!(node.stop(), Some(0));
    assert!(!listed.homes[1].data().join("meta.properties").exists());
}

#[test]
fn nodes_whose_lists_differ_refuse_each_other_and_name_both_lists() {
    let listed = ListedNodes::new();
    let mut first = Starting::run(listed.command(0));
    first.line_with("waiting for node 2");
    let other = listed.list.replace("127.0.0.1", "localhost");
    let mut second = Starting::run(listed.command_with(1, &other));
    // One finds it out and ends; the other is asked by it, and says so in its log.
    for node in [&mut first, &mut second] {
        let line = node.line_with("ottla.cluster differs");
        assert!(line.contains("1@127.0.0.1:") && line.contains("1@localhost:"), "{line}");
    }
    let ended = [&mut first, &mut second].map(|node| node.child.try_wait().unwrap());
    let mut ended = ended.into_iter().flatten();
    assert!(ended.all(|status| status.code() == Some(1)));
    assert!(!listed.homes[0].data().join("meta.properties").exists());
}
