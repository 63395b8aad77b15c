//! Kafka's own tools by our binary, beside a node.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use ottla_client::{Compression, Message, NewTopic, OnFailure, Producer, ProducerOptions};

use crate::node::{Home, Node};
use crate::talk;

/// What a tool said: its exit code, its standard output, its standard error.
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// One of Kafka's commands, at this node.
fn tool(node: &Node, line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.arg(line[0]).args(["--bootstrap-server", &node.address.to_string()]).args(&line[1..]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(node: &Node, line: &[&str], input: &[u8]) -> Said {
    let mut child = tool(node, line).spawn().unwrap();
    // A tool that refuses its command line does not read on.
    let _ = child.stdin.take().unwrap().write_all(input);
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: out.status.code().unwrap(), out: text(out.stdout), err: text(out.stderr) }
}

/// Letters that no codec makes much of.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + u8::try_from(state % 90).unwrap())
    };
    (0..length).map(|_| letter()).collect()
}

#[test]
fn a_batch_that_is_too_large_is_written_in_parts() {
    let home = Home::new();
    let node = home.start();
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let topic = format!("{compression:?}");
        let configs = BTreeMap::from([("max.message.bytes".to_owned(), "10000".to_owned())]);
        let values: Vec<String> =
            (0..30).map(|it| noise(if it == 17 { 30_000 } else { 2500 }, it + 1)).collect();
        let (failed, written) = talk::run(async {
            let mut cluster = talk::cluster(node.address).await;
            let name = topic.clone();
            let new = NewTopic { name, partitions: 1, replication_factor: 1, configs };
            cluster.create_topic(&new).await.unwrap();
            let options = ProducerOptions {
                compression,
                batch_bytes: 1 << 20,
                reports: true,
                on_failure: OnFailure::Keep,
                ..ProducerOptions::default()
            };
            let mut producer = Producer::new(cluster, options);
            for value in &values {
                let value = Some(Bytes::from(value.clone()));
                producer.send(&topic, Message { value, ..Message::default() }).await.unwrap();
            }
            producer.flush().await.unwrap();
            let failures = producer.failures();
            let failed: Vec<u64> =
                failures.iter().flat_map(|it| &it.records).map(|it| it.number).collect();
            let written: Vec<(u64, i64)> =
                producer.reports().iter().map(|it| (it.number, it.offset)).collect();
            (failed, written)
        });
        assert_eq!(failed, [17], "{topic}: the one record that is too large by itself");
        let numbers = (0..30).filter(|it| *it != 17);
        assert_eq!(written, numbers.clone().zip(0..).collect::<Vec<_>>(), "{topic}");
        let read = talk::read_all(node.address, &topic, 29);
        let right: Vec<String> =
            numbers.map(|it| values[usize::try_from(it).unwrap()].clone()).collect();
        assert_eq!(read, right, "{topic}: in the order in which they were sent");
    }
    node.stop();
}

#[test]
fn a_line_is_sent_while_the_input_stays_open() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "open", 1);
    let mut child = tool(&node, &["kafka-console-producer", "--topic", "open", "--timeout", "10"])
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    let read = ["kafka-console-consumer", "--topic", "open", "--from-beginning"];
    let read = [&read[..], &["--max-messages", "1", "--timeout-ms", "60000"]].concat();
    let said = run(&node, &read, b"");
    assert_eq!((said.code, said.out.as_str()), (0, "one\n"), "{}", said.err);
    assert!(child.try_wait().unwrap().is_none(), "the producer still waits for lines");
    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    node.stop();
}

#[test]
fn lines_that_cannot_be_written_are_reported_and_the_others_are_written() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "some", 1);
    let input = [b"first\n".to_vec(), vec![b'x'; 2_000_000], b"\nlast".to_vec()].concat();
    let produce = ["kafka-console-producer", "--topic", "some"];
    let said = run(&node, &produce, &input);
    assert_eq!(said.code, 0, "{}", said.err);
    let start = "Error when sending message to topic some with key: null, value: 2000000 bytes";
    assert!(said.err.starts_with(start) && said.err.contains("max.request.size"), "{}", said.err);
    // Waiting for each, the first that fails ends it.
    let sync = [&produce[..], &["--sync"]].concat();
    let said = run(&node, &sync, &input);
    assert_eq!(said.code, 1, "{}", said.err);
    // What came before a line that cannot be read is written.
    let headers = [&produce[..], &["--reader-property", "parse.headers=true"]].concat();
    let said = run(&node, &headers, b"h:1\tgood\nbad\n");
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "No headers delimiter found on line number 2: 'bad'\n")
    );
    assert_eq!(talk::read_all(node.address, "some", 4), ["first", "last", "first", "good"]);
    node.stop();
}

#[test]
fn what_contradicts_itself_on_a_console_is_refused() {
    let home = Home::new();
    let node = home.start();
    let produce = ["kafka-console-producer", "--topic", "t"];
    let consume = ["kafka-console-consumer"];
    for (tool, more, right) in [
        (&produce[..], "--property a=b --reader-property c=d", "--reader-property and --property"),
        (
            &produce,
            "--producer-property acks=1 --command-property acks=1",
            "cannot be specified together",
        ),
        (&produce, "--topic u", "Found multiple arguments for option topic"),
        (&produce, "--command-property acks=7", "acks cannot be"),
        (&consume, "", "Exactly one of --include/--topic is required"),
        (&consume, "--topic a --include b", "Exactly one of"),
        (
            &consume,
            "--include a --partition 0",
            "The topic is required when partition is specified.",
        ),
        (&consume, "--topic a --offset 3", "The partition is required when offset is specified."),
        (
            &consume,
            "--topic a --partition 0 --offset -3",
            "The provided offset value '-3' is incorrect",
        ),
        (
            &consume,
            "--topic a --partition 0 --offset 3 --from-beginning",
            "Options from-beginning and offset",
        ),
        (&consume, "--topic a --partition 0 --group g", "Options group and partition"),
        (&consume, "--topic a --group g --command-property group.id=h", "do not match: 'g', 'h'"),
        (
            &consume,
            "--topic a --from-beginning --command-property auto.offset.reset=latest",
            "contradict",
        ),
        (&consume, "--topic a --formatter Other", "only DefaultMessageFormatter"),
    ] {
        let line: Vec<&str> = tool.iter().copied().chain(more.split_whitespace()).collect();
        let said = run(&node, &line, b"");
        assert!(said.code == 1 && said.err.contains(right), "{line:?}: {} {}", said.code, said.err);
    }
    node.stop();
}

#[test]
fn topics_are_found_by_patterns_in_quotes() {
    let home = Home::new();
    let node = home.start();
    for name in ["a.b", "aXb", "other"] {
        talk::create(node.address, name, 1);
    }
    for pattern in ["\"a.b\"", "'a.b'", " a.b ", "a[.]b , aXb"] {
        let list = run(&node, &["kafka-topics", "--list", "--topic", pattern], b"");
        assert_eq!(list.out, "a.b\naXb\n", "{pattern}");
        let ends = run(&node, &["kafka-get-offsets", "--topic", pattern], b"");
        assert_eq!(ends.out, "a.b:0:0\naXb:0:0\n", "{pattern}");
        let described = run(&node, &["kafka-topics", "--describe", "--topic", pattern], b"");
        assert_eq!(described.out.matches("PartitionCount").count(), 2, "{pattern}");
    }
    let parts = run(&node, &["kafka-get-offsets", "--topic-partitions", "'a.b':0,other:1-"], b"");
    assert_eq!(parts.out, "a.b:0:0\naXb:0:0\n");
    let gone = run(&node, &["kafka-topics", "--delete", "--topic", "'a.b'"], b"");
    assert_eq!(gone.code, 0, "{}", gone.out);
    assert_eq!(run(&node, &["kafka-topics", "--list"], b"").out, "other\n");
    node.stop();
}
