//! Kafka's own tools by our binary, beside a node.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use ottla_client::{
    ChangeMode, Compression, NewTopic, OnFailure, Producer, ProducerOptions, ProducerRecord,
};

use crate::node::{Home, Node};
use crate::talk;

/// The outcome of a tool: its exit code, its standard output, its standard error.
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
fn a_broker_that_does_not_exist_cannot_be_unregistered() {
    let home = Home::new();
    let node = home.start();
    for id in ["--id", "-i"] {
        let said = run(&node, &["kafka-cluster", "unregister", id, "99"], b"");
        assert_eq!(said.code, 1, "{}", said.out);
        assert!(said.err.contains("Broker ID 99 is not currently registered"), "{}", said.err);
    }
    let said = run(&node, &["kafka-cluster", "unregister"], b"");
    assert!(said.code != 0 && said.err.contains("[id]"), "{}", said.err);
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
            let client = talk::cluster(node.address).await;
            let named = NewTopic::named(&topic);
            let new = NewTopic { partitions: 1, replication_factor: 1, configs, ..named };
            client.create_topic(&new, ChangeMode::Change).await.unwrap();
            let options = ProducerOptions {
                compression,
                batch_bytes: 1 << 20,
                reports: true,
                on_failure: OnFailure::Keep,
                ..ProducerOptions::default()
            };
            let mut producer = Producer::new(client, options);
            for value in &values {
                let value = Some(Bytes::from(value.clone()));
                producer
                    .send(&topic, ProducerRecord { value, ..ProducerRecord::default() })
                    .await
                    .unwrap();
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

/// Writes this many records to a topic of one partition.
fn fill(node: &Node, topic: &str, count: usize) {
    talk::create(node.address, topic, 1);
    let lines: String = (0..count).map(|it| format!("{it}\n")).collect();
    let said = run(node, &["kafka-console-producer", "--topic", topic], lines.as_bytes());
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of plans")]
fn a_plan_is_refused_as_a_whole_or_carried_out() {
    let home = Home::new();
    let node = home.start();
    fill(&node, "t", 5);
    let file = home.path().join("plan.json");
    let path = file.display().to_string();
    let first =
        || run(&node, &["kafka-get-offsets", "--topic", "t", "--time", "earliest"], b"").out;
    let delete = ["kafka-delete-records", "--offset-json-file", &path];
    let elect =
        ["kafka-leader-election", "--election-type", "preferred", "--path-to-json-file", &path];
    let move_them = ["kafka-reassign-partitions", "--execute", "--reassignment-json-file", &path];
    let propose = [
        "kafka-reassign-partitions",
        "--generate",
        "--broker-list",
        "1",
        "--topics-to-move-json-file",
        &path,
    ];
    let cut = |offset: &str| format!(r#"{{"topic":"t","partition":0,"offset":{offset}}}"#);
    let place = r#"{"topic":"t","partition":0}"#.to_owned();
    let goes = |ids: &str| format!(r#"{{"topic":"t","partition":0,"replicas":{ids}}}"#);
    let partitions = |all: &[String]| format!(r#"{{"partitions":[{}]}}"#, all.join(","));
    let version = |version: &str, all: &[String]| {
        format!(r#"{{"version":{version},"partitions":[{}]}}"#, all.join(","))
    };
    for (tool, plan, right) in [
        (&delete[..], version("1", &[cut("3"), cut("2")]), "duplicate topic partitions: t-0"),
        (&delete, version("2", &[cut("3")]), "Not supported version field value 2"),
        (&delete, version("\"1\"", &[cut("3")]), "Expected `Integer` value, received \"1\""),
        (&delete, partitions(&[cut("\"3\"")]), "Expected `Long` value, received \"3\""),
        (&delete, partitions(&[cut("1.5")]), "Expected `Long` value, received 1.5"),
        (&delete, partitions(std::slice::from_ref(&place)), "No such field exists: `offset`"),
        (&delete, r#"{"version":1}"#.to_owned(), "Missing partitions field"),
        (&delete, "[]".to_owned(), "Expected `JSON object` value, received []"),
        (&delete, "{".to_owned(), "not valid JSON"),
        (&delete, String::new(), "not valid JSON"),
        (&elect, partitions(&[place.clone(), place.clone()]), "duplicate partitions: t-0"),
        (&elect, "{}".to_owned(), "Missing partitions field"),
        (&elect, partitions(&[r#"{"topic":"t"}"#.to_owned()]), "No such field exists: `partition`"),
        (&move_them, partitions(&[goes("[1]"), goes("[1]")]), "duplicate topic partitions: t-0"),
        (&move_them, partitions(&[goes("[1,1]")]), "contains multiple entries for: 1"),
        (&move_them, partitions(&[goes("[]")]), "Partition replica list cannot be empty"),
        (&move_them, partitions(&[goes("[\"1\"]")]), "Expected `Integer` value"),
        (&move_them, partitions(&[]), "Partition reassignment list cannot be empty"),
        (&move_them, version("3", &[goes("[1]")]), "Not supported version field value 3"),
        (
            &propose,
            r#"{"topics":[{"topic":"t"},{"topic":"t"}]}"#.to_owned(),
            "duplicate entries: t",
        ),
        (&propose, r#"{"topics":[{"topic":"t"}],"version":2}"#.to_owned(), "Not supported version"),
    ] {
        std::fs::write(&file, &plan).unwrap();
        let said = run(&node, tool, b"");
        let all = said.out.clone() + &said.err;
        assert!(said.code == 1 && all.contains(right), "{} {plan}: {} {all}", tool[0], said.code);
        assert_eq!(first(), "t:0:0\n", "{plan}: nothing may have been deleted");
    }
    let absent = r#"{"topic":"t","partition":7,"offset":1}"#.to_owned();
    std::fs::write(&file, version("1", &[cut("2"), absent])).unwrap();
    let said = run(&node, &delete, b"");
    assert!(
        said.code == 0 && said.out.contains("partition: t-0\tlow_watermark: 2\n"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("partition: t-7\terror: org.apache.kafka.common.errors."),
        "{}",
        said.out
    );
    std::fs::write(&file, partitions(&[cut("-1")])).unwrap();
    assert!(run(&node, &delete, b"").out.contains("low_watermark: 5\n"), "-1 is the end");
    std::fs::write(&file, partitions(&[cut("9")])).unwrap();
    let said = run(&node, &delete, b"");
    assert!(said.out.contains("OffsetOutOfRangeException"), "{}", said.out);
    node.stop();
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of plans")]
fn offsets_are_reset_as_by_apaches_tool() {
    let home = Home::new();
    let node = home.start();
    fill(&node, "t", 10);
    let plan = home.path().join("cut.json");
    std::fs::write(&plan, r#"{"partitions":[{"topic":"t","partition":0,"offset":2}]}"#).unwrap();
    let cut = ["kafka-delete-records", "--offset-json-file", &plan.display().to_string()];
    assert_eq!(run(&node, &cut, b"").code, 0);
    let csv = home.path().join("plan.csv");
    let file = csv.display().to_string();
    let reset = |line: &str| {
        let line = line.replace("FILE", &file);
        let words = ["kafka-consumer-groups", "--reset-offsets"];
        let words: Vec<&str> = words.into_iter().chain(line.split_whitespace()).collect();
        run(&node, &words, b"")
    };
    let to_3 = reset("--group g --topic t --to-offset 3 --execute");
    assert_eq!(to_3.code, 0, "{}{}", to_3.out, to_3.err);
    // Command line, file, exit code, the partition's new offset (or the output), the warning.
    for (line, text, code, goes, warned) in [
        ("--group g --topic t:0 --to-offset 5", "", 0, "5", ""),
        ("--group g --topic t --to-offset 99", "", 0, "10", "(99) is higher than latest"),
        ("--group g --topic t --to-offset 1", "", 0, "2", "(1) is lower than earliest"),
        ("--group g --topic t --shift-by 2", "", 0, "5", ""),
        ("--group g --all-topics --shift-by -9", "", 0, "2", "(-6) is lower than earliest"),
        ("--group g --topic t --to-current", "", 0, "3", ""),
        ("--group h --topic t --to-current", "", 0, "10", ""),
        ("--group g --topic t --to-earliest", "", 0, "2", ""),
        ("--all-groups --topic t --to-latest", "", 0, "10", ""),
        ("--group g --topic t --by-duration PT1H", "", 0, "2", ""),
        ("--group g --topic t --by-duration -PT1H", "", 0, "10", ""),
        (
            "--group g --topic t --by-duration -PT1H",
            "",
            0,
            "Warn: Partition 0 from topic t is empty.",
            "",
        ),
        ("--group g --topic t --to-datetime 2020-01-01T00:00:00.000", "", 0, "2", ""),
        ("--group g --topic t --to-datetime 2020-01-01T00:00:00", "", 0, "Error: Executing", ""),
        ("--group g --topic t --by-duration 1h", "", 0, "Error: Executing", ""),
        ("--group g --from-file FILE", "t,0,4\n", 0, "4", ""),
        ("--group g --from-file FILE", "t,0,44\n", 0, "10", "(44) is higher than latest"),
        ("--group g --from-file FILE", "g,t,0,4\nh,t,0,5\n", 0, "4", ""),
        ("--all-groups --from-file FILE", "g,t,0,4\n", 0, "4", ""),
        (
            "--group g --from-file FILE",
            "h,t,0,4\n",
            0,
            "Error: No reset plan for group g found",
            "",
        ),
        ("--group g --from-file FILE", "t,7,4\n", 0, "The partitions \"t-7\" do not exist", ""),
        ("--group g --from-file FILE", "u,0,4\n", 0, "UnknownTopicOrPartitionException", ""),
        ("--group g --from-file FILE", "t,0\n", 0, "line 1: \"t,0\" is not of the form", ""),
        ("--all-groups --from-file FILE", "t,0,4\n", 0, "is not of the form group,topic", ""),
        ("--group g --topic t:1 --to-earliest", "", 0, "The partitions \"t-1\" do not exist", ""),
        ("--group g --topic u --to-earliest", "", 0, "UnknownTopicOrPartitionException", ""),
        ("--group g --topic t:x --to-earliest", "", 1, "", "Invalid partition 'x' specified"),
        ("--group g --topic t: --to-earliest", "", 1, "", "Invalid topic arg 't:'"),
        ("--group h --topic t --shift-by 1", "", 1, "", "no current committed offset"),
        ("--group g --topic t --to-earliest --to-latest", "", 1, "", "can't be used with"),
        ("--group g --topic t --to-offset 1 --from-file FILE", "", 1, "", "can't be used with"),
        ("--group g --topic t", "", 1, "", "requires one of the following scenarios"),
        ("--group g --to-earliest", "", 1, "", "One of the reset scopes should be defined"),
        ("--group g --topic t --to-earliest --dry-run --execute", "", 1, "", "only accepts one of"),
    ] {
        std::fs::write(&csv, text).unwrap();
        let said = reset(line);
        assert_eq!(said.code, code, "{line}: {}{}", said.out, said.err);
        let last = said.out.split_whitespace().last().unwrap_or_default();
        let is_right = last == goes || said.out.contains(goes) && goes.parse::<i64>().is_err();
        assert!(is_right, "{line} {text:?}: {goes} is due: {}", said.out);
        assert!(said.err.contains(warned), "{line} {text:?}: {warned} is due: {}", said.err);
    }
    // None of these may change an offset.
    let now = reset("--group g --topic t --to-current --export");
    assert_eq!(now.out, "t,0,3\n");
    std::fs::write(&csv, &now.out).unwrap();
    assert_eq!(reset("--group g --topic t --to-latest --execute").code, 0);
    assert_eq!(reset("--group g --from-file FILE --execute").code, 0);
    assert_eq!(
        reset("--group g --group h --topic t --to-current --export").out,
        "g,t,0,3\nh,t,0,10\n"
    );
    node.stop();
}

#[test]
fn offsets_of_topics_are_deleted_one_by_one() {
    let home = Home::new();
    let node = home.start();
    fill(&node, "t", 3);
    let tool = |line: &str| {
        let words: Vec<&str> =
            ["kafka-consumer-groups"].into_iter().chain(line.split_whitespace()).collect();
        run(&node, &words, b"")
    };
    assert_eq!(tool("--reset-offsets --group g --topic t --to-earliest --execute").code, 0);
    let said = tool("--delete-offsets --group g --topic t --topic absent --topic t:5");
    assert_eq!(said.code, 0, "{}", said.err);
    let count = said.out.lines().filter(|it| it.starts_with(['t', 'a'])).count();
    assert_eq!(count, 3, "a row for each: {}", said.out);
    assert!(
        said.out.contains("absent") && said.out.contains("UnknownTopicOrPartitionException"),
        "{}",
        said.out
    );
    assert!(
        said.out.lines().any(|it| it.starts_with("t ") && it.ends_with("Successful")),
        "{}",
        said.out
    );
    let said = tool("--delete-offsets --group nobody --topic t:0");
    assert!(said.code == 0 && said.out.starts_with("\nError: "), "{}", said.out);
    assert!(said.out.contains("GroupIdNotFoundException"), "{}", said.out);
    assert_eq!(tool("--delete-offsets --group g --topic t:x").code, 1);
    assert_eq!(tool("--list --state Nonsense").code, 1);
    assert_eq!(tool("--list --type share").code, 1);
    assert_eq!(
        tool("--validate-regex a(b").out.split(" is ").nth(1).map(|it| &it[..7]),
        Some("invalid")
    );
    node.stop();
}
