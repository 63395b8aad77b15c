//! What bad input gets: an error or a closed connection, without effect on other clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::node::{Home, Node};
use crate::talk;

/// How many mangled frames are thrown.
const FRAMES: usize = 100_000;
/// How many go down one connection: the first that is no request at all ends it.
const BURST: usize = 3;

/// The requests of `frames.jsonl`.
fn requests() -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/frames.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let request = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let digits = row["request_hex"].as_str().unwrap().to_owned();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect()
    };
    text.lines().map(request).collect()
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn still_serves(node: &Node, topic: &str) {
    talk::create(node.address, topic, 1);
    let values = ["a", "b"].map(str::to_owned);
    talk::run(talk::produce_once(node.address, topic, values.into_iter(), drop)).unwrap();
    assert_eq!(talk::read_all(node.address, topic, 2), ["a", "b"]);
}

#[test]
fn a_hundred_thousand_mangled_frames_change_nothing_for_others() {
    let home = Home::new().with("auto.create.topics.enable=false");
    let mut node = home.start();
    let all = requests();
    let mut dice = Dice(11);
    let mut thrown = 0;
    while thrown < FRAMES {
        let mut burst = Vec::new();
        for _ in 0..BURST {
            let mut frame = all[dice.roll(all.len())].clone();
            for _ in 0..=dice.roll(4) {
                // Often in the body, sometimes in the header.
                let at = dice.roll(frame.len());
                frame[at] = u8::try_from(dice.roll(256)).unwrap();
            }
            if dice.roll(10) == 0 {
                frame.truncate(1 + dice.roll(frame.len()));
            }
            burst.extend(framed(&frame));
        }
        let mut stream = node.connect();
        // The node may close in the middle: then this fails, and that is an answer.
        let _ = stream.write_all(&burst);
        thrown += BURST;
    }
    assert!(node.is_running());
    still_serves(&node, "after");
    assert!(node.resident_bytes() < 1 << 30, "{} bytes", node.resident_bytes());
    node.stop();
}

/// Sends bytes and waits until the node closes.
fn closes(node: &Node, bytes: &[u8]) {
    let mut stream = node.connect();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

#[test]
fn frames_that_cannot_be_close_their_connection() {
    let home = Home::new();
    let node = home.start();
    closes(&node, &i32::MAX.to_be_bytes());
    closes(&node, &(-1i32).to_be_bytes());
    closes(&node, &framed(&[0; 3]));
    // API key 4711, then Metadata in version 99.
    closes(&node, &framed(&[0x12, 0x67, 0, 0, 0, 0, 0, 1, 0xff, 0xff]));
    closes(&node, &framed(&[0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff]));
    still_serves(&node, "after");
    node.stop();
}

#[test]
fn a_version_of_api_versions_that_is_not_known_is_told_which_are() {
    let home = Home::new();
    let node = home.start();
    for version in [6i16, 99, i16::MAX, -1] {
        let mut stream = node.connect();
        let head = [&[0, 18][..], &version.to_be_bytes(), &[0, 0, 0, 7, 0xff, 0xff]].concat();
        stream.write_all(&framed(&head)).unwrap();
        let mut answer = [0; 4 + 4 + 12];
        stream.read_exact(&mut answer).unwrap();
        // Its correlation id, UNSUPPORTED_VERSION, and one row: ApiVersions from 0 to 5.
        let wanted = [0, 0, 0, 16, 0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5];
        assert_eq!(answer, wanted, "version {version}");
    }
    node.stop();
}

#[test]
fn a_client_id_that_is_null_or_not_text_is_no_reason_to_close() {
    let home = Home::new();
    let node = home.start();
    let null = [0xff, 0xfb].as_slice();
    for client_id in [null, &[0xff, 0xff], &[0, 0], &[0, 2, 0xff, 0xfe]] {
        let mut stream = node.connect();
        let head = [&[0, 18, 0, 0, 0, 0, 0, 7][..], client_id].concat();
        stream.write_all(&framed(&head)).unwrap();
        let mut answer = [0; 4 + 4 + 2];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[4..], [0, 0, 0, 7, 0, 0], "{client_id:?}");
    }
    node.stop();
}

/// The error code that an ApiVersions request in version 5 gets which asks for this node.
fn asked_for(node: &Node, id: i32) -> [u8; 2] {
    // Header 2: key, version, correlation, no client id, no tags; then two names, no cluster id.
    let mut body = vec![0, 18, 0, 5, 0, 0, 0, 7, 0xff, 0xff, 0];
    body.extend_from_slice(&[2, b'a', 2, b'1', 0]);
    body.extend_from_slice(&id.to_be_bytes());
    body.push(0);
    let mut stream = node.connect();
    stream.write_all(&framed(&body)).unwrap();
    let mut head = [0; 10];
    stream.read_exact(&mut head).unwrap();
    [head[8], head[9]]
}

#[test]
fn a_client_that_means_another_node_must_bootstrap_again() {
    let home = Home::new();
    let node = home.start();
    assert_eq!(asked_for(&node, -1), [0, 0]);
    assert_eq!(asked_for(&node, 1), [0, 0]);
    assert_eq!(asked_for(&node, 77), [0, 129], "REBOOTSTRAP_REQUIRED");
    node.stop();
}

#[test]
fn a_thousand_half_open_connections_leave_room_for_others() {
    let home = Home::new().with("max.connections=2000");
    let node = home.start();
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..1000 {
        let mut stream = node.connect();
        // A frame is announced and never comes.
        stream.write_all(&1_000_000i32.to_be_bytes()).unwrap();
        held.push(stream);
    }
    still_serves(&node, "beside");
    assert!(node.resident_bytes() < 512 << 20, "{} bytes", node.resident_bytes());
    drop(held);
    node.stop();
}

#[test]
fn a_silent_connection_is_closed_in_the_end() {
    let home = Home::new().with("connections.max.idle.ms=300");
    let node = home.start();
    let mut stream = node.connect();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the node hangs up");
    still_serves(&node, "after");
    node.stop();
}
