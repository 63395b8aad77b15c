//! When a node says that it serves, and how it ends.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::node::Home;
use crate::talk;

/// One word of the node to its supervisor.
fn heard(socket: &UnixDatagram) -> String {
    let mut text = [0; 256];
    let length = socket.recv(&mut text).expect("a word within its time");
    String::from_utf8(text[..length].to_vec()).expect("text")
}

#[test]
fn systemd_is_told_that_the_node_serves_lives_and_stops() {
    let home = Home::new();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = home.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let node = Home::start_with(command);
    assert!(heard(&socket).starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }
    node.stop();
    let last = std::iter::repeat_with(|| heard(&socket)).find(|it| it != "WATCHDOG=1");
    assert!(last.unwrap().starts_with("STOPPING=1\n"));
}

#[test]
fn a_ready_file_is_there_as_long_as_the_node_serves() {
    let home = Home::new();
    let file = home.path().join("ready");
    std::fs::write(&file, "left by an earlier node").unwrap();
    let mut command = home.command();
    command.arg("--ready-file").arg(&file);
    let mut refused = home.command();
    refused.arg("--ready-file").arg(&file).args(["--override", "num.partitions=none"]);
    assert_eq!(refused.output().unwrap().status.code(), Some(1));
    assert!(!file.exists(), "a node that does not start leaves none");
    let node = Home::start_with(command);
    // It is written after the line of the log that the test has waited for.
    let said = (0..1000).find_map(|_| {
        std::thread::yield_now();
        talk::run(async { drop(talk::cluster(node.address).await) });
        std::fs::read_to_string(&file).ok()
    });
    assert_eq!(said, Some(format!("PLAINTEXT://{}\n", node.address)));
    node.stop();
    assert!(!file.exists());
}

#[test]
fn a_ready_file_that_cannot_be_written_stops_the_start() {
    let home = Home::new();
    let folder = home.path().to_owned();
    for (file, why) in [(folder.join("none/ready"), "No such file"), (folder, "Is a directory")] {
        let mut command = home.command();
        let out = command.arg("--ready-file").arg(&file).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{said}");
        let named = format!("--ready-file {} cannot be written: {why}", file.display());
        assert!(said.contains(&named) && !said.contains("node started"), "{said}");
    }
}

#[test]
fn exit_codes_tell_why_a_node_has_ended() {
    let code = |words: &[&str]| {
        let home = Home::new();
        let mut command = home.command();
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().code()
    };
    assert_eq!(code(&["--no-such-option"]), Some(2));
    assert_eq!(code(&["--override", "num.partitions=none"]), Some(1));
    assert_eq!(code(&["--override", "log.dirs=/proc/nothing"]), Some(1));
    // A clean stop is 0: Node::stop asserts it.
    Home::new().start().stop();
}

#[test]
fn a_log_in_json_has_all_events_each_once_and_nothing_else() {
    let home = Home::new();
    let start = |more: &[&str]| {
        let mut command = home.command();
        command.args(["--log-format", "json"]).args(more);
        command
    };
    let log = Home::start_with(start(&[])).stop();
    let refused = start(&["--override", "num.partitions=none"]).output().unwrap();
    assert!(refused.stdout.is_empty());
    let log = log + &String::from_utf8(refused.stderr).unwrap();
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |message: &str| {
        let all: Vec<_> = events.iter().filter(|it| it["message"] == message).collect();
        assert!(!all.is_empty(), "{message}: {log}");
        all
    };
    let started = of("node started");
    assert_eq!(started.len(), 1);
    for name in [
        "version",
        "commit",
        "kafka",
        "cluster_id",
        "node_id",
        "roles",
        "listeners",
        "log_dirs",
        "formatted",
        "clean_stop_before",
        "partitions",
        "recovery_ms",
        "start_ms",
        "timestamp",
    ] {
        assert!(!started[0][name].is_null(), "{name}: {}", started[0]);
    }
    assert!(started[0]["timestamp"].as_str().unwrap().ends_with('Z'), "a time with its zone");
    assert_eq!(of("node stopping")[0]["signal"], "SIGTERM");
    assert!(of("node stopped cleanly")[0]["stop_ms"].is_u64());
    let failed: Vec<_> = events.iter().filter(|it| it["exit_code"] == 1).collect();
    assert_eq!(failed.len(), 1, "{log}");
    assert!(failed[0]["message"].as_str().unwrap().contains("num.partitions"), "{log}");
}
