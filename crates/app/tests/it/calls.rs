//! How many system calls a request takes: counted, not timed, so that it is the same everywhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::node::{Home, Node};
use crate::raw::{answer, fetch, produce};
use crate::talk;

/// How many requests are measured.
const COUNT: usize = 500;
/// How many calls more may be seen: timers wake a thread now and then, whatever is asked.
const STRAY_MAX: usize = 100;

/// A tracer of a running node.
struct Calls(Child);

impl Calls {
    /// Begins to count. The tracer is C, as there is no safe way to say it in Rust.
    fn of(node: &Node, work: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/calls.c");
        let program = work.join("calls");
        let built =
            Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source).status().unwrap();
        assert!(built.success(), "cc builds the tracer");
        let mut child = Command::new(program)
            .arg(node.process().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).expect("this node may be traced");
        Self(child)
    }

    /// Ends; what each thread has called, in order.
    fn end(mut self) -> BTreeMap<String, Vec<String>> {
        let out = self.0.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut threads: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let (thread, call) = line.split_once(' ').unwrap();
                threads.entry(thread.to_owned()).or_default().push(call.to_owned());
            }
            threads
        });
        let process = Pid::from_child(&self.0);
        kill_process(process, Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
        reader.join().unwrap()
    }
}

fn count(calls: &[String], name: &str) -> usize {
    calls.iter().filter(|it| *it == name).count()
}

/// From the first append to the last.
fn between_appends(calls: &[String]) -> &[String] {
    let is_append = |it: &String| it == "pwritev";
    let first = calls.iter().position(is_append).unwrap();
    let last = calls.iter().rposition(is_append).unwrap();
    &calls[first..last]
}

#[test]
fn a_produce_takes_four_calls_of_one_thread() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    let request = produce("t", 1000);
    let mut ask = || {
        stream.write_all(&request).unwrap();
        answer(&mut stream);
    };
    ask();
    let calls = Calls::of(&node, home.path());
    (0..COUNT).for_each(|_| ask());
    let threads = calls.end();
    let appenders: Vec<_> = threads.values().filter(|it| count(it, "pwritev") > 0).collect();
    let [calls] = appenders[..] else { panic!("{} threads append", appenders.len()) };
    assert_eq!(count(calls, "pwritev"), COUNT);
    let calls = between_appends(calls);
    let all = calls.len();
    assert!(all <= 4 * COUNT + STRAY_MAX, "{all} calls for {COUNT} requests");
    // No other thread is woken: that would be a hand-off.
    let woken = count(calls, "write") + count(calls, "futex");
    assert!(woken <= STRAY_MAX, "{woken} wakes for {COUNT} requests");
    node.stop();
}

#[test]
fn requests_that_came_together_are_read_appended_and_answered_together() {
    const BURST: usize = 10;
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    let request = produce("t", 100).repeat(BURST);
    let mut ask = || {
        stream.write_all(&request).unwrap();
        for _ in 0..BURST {
            answer(&mut stream);
        }
    };
    ask();
    let calls = Calls::of(&node, home.path());
    (0..COUNT / BURST).for_each(|_| ask());
    let threads = calls.end();
    let calls = threads.values().find(|it| count(it, "pwritev") > 0).unwrap();
    let all = between_appends(calls).len();
    // For ten of them a read, an append, an answer, and a wait.
    assert!(all <= 4 * COUNT / BURST + STRAY_MAX, "{all} calls for {COUNT} requests");
    node.stop();
}

#[test]
fn a_parked_fetch_is_answered_by_one_read_and_one_write() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 1);
    let (mut writer, mut reader) = (node.connect(), node.connect());
    let request = produce("t", 1000);
    let mut offset = 0;
    let mut round = || {
        reader.write_all(&fetch("t", offset, 1)).unwrap();
        writer.write_all(&request).unwrap();
        answer(&mut writer);
        assert!(answer(&mut reader) > 1000);
        offset += 1;
    };
    (0..3).for_each(|_| round());
    let calls = Calls::of(&node, home.path());
    (0..COUNT).for_each(|_| round());
    let threads = calls.end();
    let readers: Vec<_> = threads.values().filter(|it| count(it, "pread") > 0).collect();
    let reads: usize = readers.iter().map(|it| count(it, "pread")).sum();
    assert!(reads <= COUNT + STRAY_MAX, "{reads} reads of the log for {COUNT} fetches");
    // The produce is received, appended and answered, the fetch received, read and answered. How
    // often the two threads wait, and wake each other, is up to the scheduler of a busy machine.
    let waits = |it: &Vec<String>| count(it, "epoll") + count(it, "futex") + count(it, "write");
    let all: usize = threads.values().map(|it| it.len() - waits(it)).sum();
    assert!(all <= 6 * COUNT + STRAY_MAX, "{all} calls for {COUNT} rounds");
    node.stop();
}
