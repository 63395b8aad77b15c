//! What README promises: start, write, read, stop, start again.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::node::{Home, Node};
use crate::talk;

fn ottla(node: &Node, words: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(words).args(["--bootstrap-server", &node.address.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn what_is_produced_is_consumed_also_after_a_restart() {
    let home = Home::new();
    let node = home.start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let done =
            ottla(&node, &["produce", "hello", "--create", "-z", codec], &format!("by {codec}\n"));
        assert_eq!(done, (true, String::new()));
    }
    let all = "by none\nby gzip\nby snappy\nby lz4\nby zstd\n".to_owned();
    let read = ["consume", "hello", "--from-beginning", "-n", "5"];
    assert_eq!(ottla(&node, &read, ""), (true, all.clone()));
    node.stop();
    let node = home.start();
    assert_eq!(ottla(&node, &read, ""), (true, all));
    node.stop();
}

#[test]
fn a_group_goes_on_where_it_left_off() {
    let home = Home::new();
    let node = home.start();
    let done = ottla(&node, &["produce", "t", "--create", "-K", ":"], "a:1\nb:2\nc:3\nd:4\n");
    assert_eq!(done, (true, String::new()));
    let two = ["consume", "t", "--from-beginning", "-g", "readers", "-n", "2", "-K", "="];
    assert_eq!(ottla(&node, &two, ""), (true, "a=1\nb=2\n".to_owned()));
    node.stop();
    let node = home.start();
    assert_eq!(ottla(&node, &two, ""), (true, "c=3\nd=4\n".to_owned()), "after a restart");
    node.stop();
}

#[test]
fn groups_are_listed_with_what_they_have_not_read() {
    let home = Home::new();
    let node = home.start();
    assert!(ottla(&node, &["produce", "t", "--create"], "a\nb\nc\n").0);
    let one = ["consume", "t", "--from-beginning", "-g", "readers", "-n", "1"];
    assert_eq!(ottla(&node, &one, ""), (true, "a\n".to_owned()));
    let listed = "group    kind     state  behind by\nreaders  Classic  Empty  2\n".to_lowercase();
    assert_eq!(ottla(&node, &["groups"], "").1.to_lowercase(), listed);
    let (good, lag) = ottla(&node, &["groups", "lag", "readers"], "");
    let cells: Vec<&str> = lag.lines().last().unwrap().split_whitespace().collect();
    assert_eq!((good, &cells[..4]), (true, &["t", "0", "1", "2"][..]), "{lag}");
    assert!(["ms", "s"].contains(cells.last().unwrap()), "since when: {lag}");
    let (good, said) = ottla(&node, &["groups", "lag", "nobody"], "");
    assert!(!good && said.contains("there is no group nobody"), "{said}");
    node.stop();
}

#[test]
fn topics_are_created_listed_and_deleted() {
    let home = Home::new();
    let node = home.start();
    let create = ["topics", "create", "t", "-p", "3", "--config", "retention.ms=1000"];
    let created = "Created topic t: 3 partitions, 1 replica.\n".to_owned();
    assert_eq!(ottla(&node, &create, ""), (true, created));
    let (good, said) = ottla(&node, &create, "");
    assert!(!good && said.contains("already exists"), "{said}");
    let (good, said) =
        ottla(&node, &["topics", "create", "u", "--config", "retention.ms=soon"], "");
    assert!(!good && said.contains("retention.ms") && said.contains("soon"), "{said}");
    let listed =
        "topic  partitions  replicas  records  size\nt      3           1         0        0 B\n"
            .to_owned();
    assert_eq!(ottla(&node, &["topics"], ""), (true, listed));
    let deleted = "Deleted t.\n".to_owned();
    assert_eq!(ottla(&node, &["topics", "delete", "t"], ""), (true, deleted));
    assert_eq!(ottla(&node, &["topics", "-o", "plain"], ""), (true, String::new()));
    assert!(!home.data().join("t-0").exists(), "the records are gone, too");
    node.stop();
}

#[test]
fn a_second_node_on_the_same_directory_is_refused() {
    let home = Home::new();
    let node = home.start();
    let second = home.command().output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use by another process\n  Stop that process"), "{said}");
    talk::create(node.address, "still-there", 1);
    node.stop();
}

#[test]
fn a_directory_is_formatted_for_the_cluster_of_ones_choice_and_only_once() {
    let home = Home::new();
    let data = format!("log.dirs={}", home.data().display());
    let format = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        let words = ["format", "--cluster-id", "4L6g3nShT-eMCtK--X86sw", "--override", &data];
        command.args(words).args(more).output().unwrap()
    };
    let out = format(&[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let node = home.start();
    node.stop();
    let meta = std::fs::read_to_string(home.data().join("meta.properties")).unwrap();
    assert!(meta.contains("cluster.id=4L6g3nShT-eMCtK--X86sw"), "{meta}");
    // How the node was left is for its next start.
    let mark = home.data().join(".kafka_cleanshutdown");
    assert!(format(&["--ignore-formatted"]).status.success());
    assert!(mark.exists(), "after --ignore-formatted");
    let again = format(&[]);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success() && said.contains("formatted already"), "{said}");
    assert!(mark.exists(), "after a refusal");
    let other = home.command().args(["--override", "node.id=7"]).output().unwrap();
    let said = String::from_utf8(other.stderr).unwrap();
    assert!(!other.status.success() && said.contains("it belongs to node 1"), "{said}");
    assert!(mark.exists(), "after another node");
}

#[test]
fn what_stands_in_the_way_is_said_with_the_next_step() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let home = Home::new().with(&format!("listeners=PLAINTEXT://{address}"));
    let said = |home: &Home| {
        let refused = home.command().output().unwrap();
        assert!(!refused.status.success());
        String::from_utf8(refused.stderr).unwrap()
    };
    let text = said(&home);
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
    assert!(text.contains("--override listeners="), "{text}");
    let text = said(&Home::new().with("log.dirs=/proc/nothing"));
    assert!(text.contains("/proc/nothing") && text.contains("--override log.dirs=DIR"), "{text}");
    drop(taken);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let refused = command.args(["topics", "-b", &address.to_string()]).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains(&format!("no broker answers at {address}")), "{text}");
    assert!(text.contains("`ottla server` starts one"), "{text}");
}

#[test]
fn a_wrong_setting_is_named() {
    let home = Home::new().with("num.partitions=lots");
    let refused = home.command().output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("num.partitions") && said.contains("lots"), "{said}");
}

#[test]
fn a_stock_server_properties_works() {
    let home = Home::new();
    let data = home.data();
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.bootstrap.servers=localhost:9093\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
         inter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
         num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\n\
         log.dirs={}\nnum.partitions=1\nnum.recovery.threads.per.data.dir=1\n\
         offsets.topic.replication.factor=1\nlog.retention.hours=168\n\
         log.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\n",
        data.display()
    );
    let file = home.path().join("server.properties");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["server", "--format-if-empty"]).arg(&file);
    // Not the stock ports: other tests run beside this one.
    command.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"]);
    command.args(["--override", "advertised.listeners=PLAINTEXT://127.0.0.1:0"]);
    let node = Home::start_with(command);
    talk::create(node.address, "t", 2);
    node.stop();
}
