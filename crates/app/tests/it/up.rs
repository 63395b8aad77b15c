//! `ottla up` and `ottla demo trucks`: three nodes in one command, one of them killed, and what is
//! left of them at the end.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::node::Home;

/// `ottla up 3` on free ports. Dropping it stops it, and with it its nodes.
struct Up {
    child: Child,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has printed.
    printed: Vec<String>,
    servers: String,
}

impl Up {
    fn start(home: &Home) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["up", "3", "--port", "0", "--data", "cluster"]).current_dir(home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut up = Self { child, commands, lines, printed: Vec::new(), servers: String::new() };
        let ready = up.until("all nodes serve");
        up.servers = ready.rsplit(' ').next().unwrap().to_owned();
        up
    }

    /// The first line from here on that has this text.
    fn until(&mut self, text: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            self.printed.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("{text:?} was never printed: {:#?}", self.printed);
    }

    fn say(&mut self, line: &str) {
        writeln!(self.commands, "{line}").unwrap();
    }

    /// The command of the same cluster.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(words).env("KAFKA_SERVER", &self.servers);
        command.env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null());
        command
    }

    fn ask(&self, words: &[&str]) -> String {
        output_of(self.command(words).output().unwrap(), words)
    }

    fn produce(&self, topic: &str, lines: &str) {
        let mut command = self.command(&["produce", topic]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        output_of(child.wait_with_output().unwrap(), &["produce", topic]);
    }

    /// The processes of its nodes, by the lines that say that they serve.
    fn processes(&self) -> Vec<String> {
        let of = |line: &String| {
            let (_, rest) = line.split_once(" serves on ")?;
            let (_, process) = rest.split_once("(process ")?;
            Some(process.trim_end_matches(')').to_owned())
        };
        self.printed.iter().filter_map(of).collect()
    }

    /// Sends a signal, waits for the end, and looks that no node is left.
    fn stop_by(mut self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.until("all nodes have stopped");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {:#?}", self.printed);
        for process in self.processes() {
            let path = format!("/proc/{process}");
            assert!(!Path::new(&path).exists(), "process {process} still runs");
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // SIGTERM, not SIGKILL: its nodes would be left behind.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn output_of(out: Output, words: &[&str]) -> String {
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn three_nodes_serve_on_after_one_is_killed_and_all_end_with_the_command() {
    let home = Home::new();
    let mut up = Up::start(&home);
    // Groups need their topic before a broker is lost: it has three replicas, too.
    up.ask(&["topics", "create", "orders", "-p", "3"]);
    up.produce("orders", "one\ntwo\n");
    let read = ["consume", "orders", "-g", "readers", "--from-beginning", "-n", "2"];
    assert_eq!(up.ask(&read).lines().count(), 2);
    let topic: Value =
        serde_json::from_str(&up.ask(&["topics", "describe", "orders", "-o", "json"])).unwrap();
    for partition in topic.as_array().unwrap() {
        assert_eq!(partition["replicas"].as_array().unwrap().len(), 3, "{partition}");
    }

    up.say("kill 2");
    up.until("node 2 was killed");
    up.produce("orders", "three\nfour\nfive\n");
    let all = up.ask(&["consume", "orders", "--from-beginning", "-n", "5"]);
    let mut all: Vec<&str> = all.lines().collect();
    all.sort_unstable();
    assert_eq!(all, ["five", "four", "one", "three", "two"]);

    up.say("kill 9");
    up.until("there is no node 9: the nodes are 1 to 3");
    up.say("kill 2");
    up.until("node 2 does not run");
    up.say("start 2");
    up.until("node 2 serves on");
    up.say("status");
    up.until("node 3");
    assert_eq!(up.printed.iter().filter(|it| it.contains("serving  process")).count(), 3);
    up.stop_by("-INT");

    // The folder has it all: the same ports, the same data.
    let up = Up::start(&home);
    let all = up.ask(&["consume", "orders", "--from-beginning", "-n", "5"]);
    assert_eq!(all.lines().count(), 5);
    up.stop_by("-TERM");
}

#[test]
fn the_trucks_lose_nothing_while_a_broker_is_killed() {
    let home = Home::new();
    let mut up = Up::start(&home);
    let words = ["demo", "trucks", "--seconds", "3", "-o", "json"];
    let row = |text: &str| -> Value {
        let rows: Value = serde_json::from_str(text).unwrap();
        rows[0].clone()
    };
    let first = row(&up.ask(&words));
    assert_eq!((&first["lost_records"], &first["duplicated_records"]), (&0.into(), &0.into()));
    assert!(first["acknowledged_records"].as_u64().unwrap() > 0, "{first}");

    // People see a line each second; the first one comes when the trucks drive.
    let mut command = up.command(&["demo", "trucks", "--seconds", "8"]);
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line.contains("acknowledged")), "the demo counts");
    up.say("kill 3");
    up.until("node 3 was killed");
    let rest: Vec<String> = lines.collect();
    let out = demo.wait_with_output().unwrap();
    assert!(out.status.success(), "{}\n{rest:#?}", String::from_utf8_lossy(&out.stderr));
    assert!(rest.iter().any(|line| line.contains("leader moved from broker 3")), "{rest:#?}");
    up.stop_by("-TERM");
}

#[test]
fn a_node_that_cannot_start_ends_the_others() {
    let home = Home::new();
    let up = Up::start(&home);
    up.stop_by("-TERM");
    // A port of the second node is taken.
    let folder = home.path().join("cluster");
    let settings = std::fs::read_to_string(folder.join("node-2.properties")).unwrap();
    let (_, rest) = settings.split_once("PLAINTEXT://").unwrap();
    let address = rest.split(',').next().unwrap();
    let _taken = std::net::TcpListener::bind(address).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["up", "3", "--data", "cluster"])
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, why) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{said}{why}");
    assert!(why.contains("node 2 could not start"), "{why}");
    assert!(said.contains("node 2 ended by itself") && said.contains(address), "{said}");
}
