//! The majority of the controllers is gone for good: the last one becomes a quorum of its own, and
//! new ones join it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::node::{Home, Node};
use crate::quorum::{CLUSTER, Trio, TrioVoters, ask, ottla};

const LOG: &str = "__cluster_metadata-0/00000000000000000000.log";
/// How often is asked whether something has come true; each time is a command of its own.
const ATTEMPTS: usize = 400;

/// A command that ends: its exit code, and what it prints to both streams.
fn run(home: &Home, words: &[&str]) -> (Option<i32>, String) {
    let out: Output = ottla(home, words);
    (out.status.code(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

/// A topic whose only replica is on this node, with three records.
fn written_topic(home: &Home, node: &Node, name: &str, id: &str) {
    let address = node.address.to_string();
    let create = ["kafka-topics", "--create", "--topic", name, "--replica-assignment", id];
    let (code, said) = run(home, &[&create[..], &["--bootstrap-server", &address]].concat());
    assert_eq!(code, Some(0), "{said}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["produce", name, "-b", &address]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\nb\nc\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// The ids of the voters, as a node knows them.
fn voters(home: &Home, node: &Node) -> Vec<String> {
    let address = node.address.to_string();
    let words = ["kafka-metadata-quorum", "--bootstrap-server", &address, "describe", "--status"];
    let (_, said) = run(home, &words);
    let line = said.lines().find(|line| line.starts_with("CurrentVoters:")).unwrap_or_default();
    let ids = line.split("\"id\":").skip(1).filter_map(|rest| rest.split([',', '}']).next());
    ids.map(|id| id.trim().to_owned()).collect()
}

fn wait_for_voters(home: &Home, node: &Node, wanted: &[&str]) {
    let found = (0..ATTEMPTS).any(|_| voters(home, node) == wanted);
    assert!(found, "{wanted:?}\n{}", node.log());
}

/// Waits until a topic is listed: clients may be sent to a broker that is gone until it is fenced.
fn wait_for_topic(home: &Home, node: &Node, topic: &str) {
    let address = node.address.to_string();
    let list = ["topics", "list", "-o", "plain", "-b", &address];
    let found = (0..ATTEMPTS).any(|_| {
        let (code, said) = run(home, &list);
        code == Some(0) && said.contains(topic)
    });
    assert!(found, "{topic}\n{}", node.log());
}

/// The wiped disk of a controller, formatted to join the quorum that is there.
fn wipe_and_format(home: &Home) {
    fs::remove_dir_all(home.data()).unwrap();
    let words =
        ["format", "server.properties", "--cluster-id", CLUSTER, "--no-initial-controllers"];
    let (code, said) = run(home, &words);
    assert_eq!(code, Some(0), "{said}");
}

/// Starts a node of which brokers that are gone are fenced soon.
fn start(trio: &Trio, at: usize, more: &[&str]) -> Node {
    let mut command = trio.command(at);
    let soon = ["broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500"];
    for setting in soon.iter().chain(more) {
        command.args(["--override", setting]);
    }
    Home::start_with(command)
}

fn backup_in(said: &str) -> &Path {
    let line = said.lines().find_map(|line| line.strip_prefix("The metadata as it was is in "));
    Path::new(line.unwrap().split(". ").next().unwrap())
}

#[test]
fn the_last_of_three_controllers_goes_on_alone_and_the_others_join_it_again() {
    let trio = Trio::formatted_with(TrioVoters::Log);
    let nodes = trio.start_all();
    let survivor = &trio.homes[2];
    written_topic(survivor, &nodes[2], "kept", "3");
    let recover = ["quorum", "recover", "server.properties"];
    let (code, said) = run(survivor, &recover);
    assert!(code == Some(1) && said.contains("in use by a running node"), "{said}");
    let (code, said) = run(survivor, &["quorum", "backup", "server.properties", "--to", "live"]);
    assert!(code == Some(0) && said.starts_with("live: 1 topics, 1 partitions"), "{said}");
    let within = ["quorum", "backup", "server.properties", "--to", "data/live"];
    let (code, said) = run(survivor, &within);
    assert!(code == Some(1) && said.contains("in data directory data"), "{said}");
    nodes.into_iter().for_each(Node::kill);

    let log = survivor.data().join(LOG);
    let before = fs::read(&log).unwrap();
    let (code, said) = run(survivor, &recover);
    assert_eq!(code, Some(0), "{said}");
    let now = said.lines().find(|line| line.contains("voters now")).unwrap();
    assert_eq!(now.matches("directory id").count(), 3, "{said}");
    let after = said.lines().find(|line| line.contains("voters after")).unwrap();
    assert!(after.contains(" 3@127.0.0.1:") && !after.contains(" 1@"), "{said}");
    assert!(said.contains("topics created there: kept"), "{said}");
    assert!(said.contains("Lost for certain") && said.contains("Nothing has been changed"));
    assert!(fs::read(&log).unwrap() == before, "it was only to be shown");

    let (code, said) = run(survivor, &[&recover[..], &["--execute"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let backup = survivor.path().join(backup_in(&said));
    assert!(fs::read(backup.join(LOG)).unwrap() == before, "the backup has what there was");
    let (code, again) = run(survivor, &recover);
    assert!(code == Some(1) && again.contains("only voter already"), "{again}");

    let alone = start(&trio, 2, &[]);
    assert_eq!(voters(survivor, &alone), ["3"]);
    wait_for_topic(survivor, &alone, "kept");
    let read = ask(&trio, &alone, &["consume", "kept", "--from-beginning", "-n", "3"]);
    assert_eq!(read.lines().collect::<Vec<_>>(), ["a", "b", "c"]);

    let join = "controller.quorum.auto.join.enable=true";
    wipe_and_format(&trio.homes[0]);
    let first = start(&trio, 0, &[join]);
    wait_for_voters(survivor, &alone, &["1", "3"]);
    wipe_and_format(&trio.homes[1]);
    let second = start(&trio, 1, &[join]);
    wait_for_voters(survivor, &alone, &["1", "2", "3"]);
    // Two of three go on without the one that was all there was.
    alone.kill();
    wait_for_topic(survivor, &first, "kept");
    ask(&trio, &first, &["topics", "create", "after-the-recovery"]);
    wait_for_topic(survivor, &second, "after-the-recovery");
}

#[test]
fn static_voters_are_changed_in_the_settings_that_the_recovery_names() {
    let trio = Trio::formatted_with(TrioVoters::Settings);
    let nodes = trio.start_all();
    let survivor = &trio.homes[2];
    written_topic(survivor, &nodes[2], "kept", "3");
    nodes.into_iter().for_each(Node::kill);
    // The power went while a batch was written.
    let log = survivor.data().join(LOG);
    let whole = fs::read(&log).unwrap();
    fs::write(&log, [&whole[..], &whole[..30]].concat()).unwrap();
    let words = ["quorum", "recover", "server.properties", "--execute", "--backup", "before"];
    let (code, said) = run(survivor, &words);
    let place = format!(
        "{} cannot be read from byte {} on",
        Path::new("data").join(LOG).display(),
        whole.len()
    );
    assert!(code == Some(1) && said.contains(&place) && said.contains("30 bytes"), "{said}");
    assert!(!survivor.path().join("before").exists());
    let (code, said) = run(survivor, &[&words[..], &["--cut-broken-tail"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(survivor.path().join("before").join(LOG).exists(), "{said}");
    let is_voters = |line: &&str| line.trim().starts_with("controller.quorum.voters=");
    let line = said.lines().find(is_voters).unwrap().trim();
    assert!(line.starts_with("controller.quorum.voters=3@127.0.0.1:"), "{said}");
    let file = survivor.path().join("server.properties");
    let settings = fs::read_to_string(&file).unwrap();
    let was = settings.lines().find(is_voters).unwrap();
    fs::write(&file, settings.replace(was, line)).unwrap();

    let alone = start(&trio, 2, &[]);
    assert_eq!(voters(survivor, &alone), ["3"]);
    wait_for_topic(survivor, &alone, "kept");
    ask(&trio, &alone, &["topics", "create", "after-the-recovery"]);
    let read = ask(&trio, &alone, &["consume", "kept", "--from-beginning", "-n", "3"]);
    assert_eq!(read.lines().collect::<Vec<_>>(), ["a", "b", "c"]);

    alone.stop();
    // Of the former voters each gets the log, so that none can win an election without it.
    fs::write(&file, settings).unwrap();
    let log = survivor.data().join("__cluster_metadata-0");
    for home in &trio.homes[..2] {
        fs::remove_dir_all(home.data()).unwrap();
        let (code, said) = run(home, &["format", "server.properties", "--cluster-id", CLUSTER]);
        assert_eq!(code, Some(0), "{said}");
        let copy = home.data().join("__cluster_metadata-0");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&log).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    for node in &trio.start_all() {
        let listed = ask(&trio, node, &["topics", "list", "-o", "plain"]);
        assert!(listed.contains("kept") && listed.contains("after-the-recovery"), "{listed}");
    }
}

#[test]
fn a_node_without_a_quorum_to_recover_is_refused() {
    let home = Home::new();
    let write = |more: &str| {
        let lines = format!("node.id=1\nlog.dirs=data\nlisteners=PLAINTEXT://127.0.0.1:0\n{more}");
        fs::write(home.path().join("server.properties"), lines).unwrap();
    };
    let recover = ["quorum", "recover", "server.properties", "--execute"];
    let refused = |why: &str| {
        let (code, said) = run(&home, &recover);
        assert!(code == Some(1) && said.contains(why), "{said}");
    };
    write("");
    refused("it holds no metadata log");
    assert!(!home.data().exists());
    assert_eq!(run(&home, &["format", "server.properties"]).0, Some(0));
    refused("node 1 has no metadata yet");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["server", "server.properties"]).current_dir(home.path());
    Home::start_with(command).stop();
    refused("only voter already");
    write(
        "process.roles=broker\ncontroller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers=127.0.0.1:9093,127.0.0.1:9094\n",
    );
    refused("process.roles of node 1 has no controller");
}
