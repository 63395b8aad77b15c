//! Produced batches over the wire: what is refused and how, what is stored, and what look-ups find.
//! (The rules themselves have their table in the tests of `records`.)

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_records::{
    Batch, BatchBuilder, BatchOptions, Compression, HEADER_BYTES, NewRecord, batches_in, crc32c,
};
use ottla_types::ErrorCode;

use crate::node::{Home, Node};
use crate::raw::{Bounds, at_time, outcome, produce_bytes, records};
use crate::talk;

const VERSION: i16 = 8;
const HOUR: i64 = 3_600_000;
const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn start(topics: &[(&str, &[(&str, &str)])]) -> (Home, Node) {
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    for (topic, settings) in topics {
        talk::create_with(node.address, topic, 1, settings);
    }
    (home, node)
}

/// A batch of records with these timestamps, whose values have so many bytes.
fn batch(times: &[i64], value_bytes: usize, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (at, timestamp) in times.iter().enumerate() {
        // Not all the same, or it would be packed to nothing.
        let value: Vec<u8> =
            (0..value_bytes).map(|it| (it * it + at * 7).to_le_bytes()[0]).collect();
        let value = Some(&value[..]);
        builder.push(&NewRecord { timestamp: *timestamp, value, ..NewRecord::default() });
    }
    builder.build().unwrap()
}

/// The batch with other bytes in it, and a checksum that matches.
fn patched(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&batch[21..]).to_be_bytes();
    batch[17..21].copy_from_slice(&crc);
    batch
}

fn with_max_time(batch: Vec<u8>, time: i64) -> Vec<u8> {
    patched(batch, 35, &time.to_be_bytes())
}

fn packed(compression: Compression) -> BatchOptions {
    BatchOptions { compression, ..BatchOptions::default() }
}

fn ask(stream: &mut TcpStream, topic: &str, records: &[u8]) -> PartitionProduceResponse {
    stream.write_all(&produce_bytes(topic, -1, VERSION, records)).unwrap();
    outcome(stream, VERSION)
}

fn codes(answer: &PartitionProduceResponse) -> (ErrorCode, i64, i64) {
    (ErrorCode(answer.error_code), answer.base_offset, answer.log_start_offset)
}

const WIDE: Bounds = Bounds { bytes_min: 1, bytes_max: 1 << 20, partition_bytes_max: 1 << 20 };

#[test]
fn a_broken_batch_is_refused_and_readers_go_on() {
    let (_home, node) = start(&[("t", &[])]);
    let mut stream = node.connect();
    let now = Clock::real().wall_ms();
    let good = batch(&[now, now], 100, BatchOptions::default());
    assert_eq!(codes(&ask(&mut stream, "t", &good)), (ErrorCode::NONE, 0, 0));
    let garbage = patched(good.clone(), HEADER_BYTES, &[0xff; 20]);
    let refused = ask(&mut stream, "t", &garbage);
    assert_eq!(codes(&refused), (ErrorCode::INVALID_RECORD, -1, 0));
    assert!(refused.error_message.is_some_and(|it| it.contains("record 0")));
    for codec in CODECS {
        // Small ones are read by the thread that serves, large ones by another.
        for value_bytes in [100, 100_000] {
            let good = batch(&[now; 3], value_bytes, packed(codec));
            let broken = patched(good.clone(), HEADER_BYTES, &[1, 2, 3, 4].repeat(6));
            let cut = &good[..good.len() - 1];
            assert_ne!(ask(&mut stream, "t", &broken).error_code, 0, "{codec:?} {value_bytes}");
            assert_eq!(codes(&ask(&mut stream, "t", cut)), (ErrorCode::INVALID_RECORD, -1, -1));
            assert_eq!(ask(&mut stream, "t", &good).error_code, 0, "{codec:?} {value_bytes}");
        }
    }
    // All that is there can be read: 2 records, and 3 for each codec and size.
    assert_eq!(at_time(&mut stream, "t", -1).1, 26);
    let mut offset = 0;
    while offset < 26 {
        let bytes = records(&mut stream, "t", offset, &WIDE);
        for batch in batches_in(&bytes) {
            let batch = batch.unwrap();
            assert!(batch.crc_is_right());
            let unpacked = batch.unpack(1 << 20).unwrap();
            assert!(unpacked.records().all(|it| it.is_ok()));
            offset = batch.next_offset();
        }
    }
    node.stop();
}

#[test]
fn what_is_read_by_another_thread_keeps_its_place() {
    let (_home, node) = start(&[("t", &[])]);
    let mut stream = node.connect();
    let now = Clock::real().wall_ms();
    // One idempotent producer; every second batch is large and compressed.
    let batches: Vec<Vec<u8>> = (0..20)
        .map(|sequence| {
            let (compression, bytes) = if sequence % 2 == 0 {
                (Compression::Zstd, 300_000)
            } else {
                (Compression::None, 50)
            };
            let base_sequence = sequence;
            batch(
                &[now],
                bytes,
                BatchOptions {
                    compression,
                    producer_id: 77,
                    producer_epoch: 0,
                    base_sequence,
                    ..BatchOptions::default()
                },
            )
        })
        .collect();
    let frames = batches.iter().flat_map(|it| produce_bytes("t", -1, VERSION, it));
    let frames: Vec<u8> = frames.collect();
    let mut writer = stream.try_clone().unwrap();
    let sent = std::thread::spawn(move || writer.write_all(&frames).unwrap());
    for at in 0..20 {
        let answer = outcome(&mut stream, VERSION);
        assert_eq!(codes(&answer), (ErrorCode::NONE, at, 0), "batch {at}");
    }
    sent.join().unwrap();
    node.stop();
}

#[test]
fn a_bomb_is_refused_and_leaves_no_memory_behind() {
    let (_home, node) = start(&[("t", &[])]);
    let mut stream = node.connect();
    let zeros = vec![0; 160 << 20];
    let body = Compression::Zstd.compress(&zeros, None).unwrap();
    drop(zeros);
    let one = batch(&[0], 1, packed(Compression::Zstd));
    let length = i32::try_from(HEADER_BYTES - 12 + body.len()).unwrap().to_be_bytes();
    let bomb = [&one[..HEADER_BYTES], &body].concat();
    let bomb = patched(patched(bomb, 8, &length), 61, &body[..1]);
    let before = node.resident_bytes();
    for _ in 0..3 {
        assert_eq!(codes(&ask(&mut stream, "t", &bomb)), (ErrorCode::MESSAGE_TOO_LARGE, -1, 0));
    }
    let small = batch(&[0], 200_000, packed(Compression::Zstd));
    // The allocator gives memory back a little later, while it is used.
    let has_grown = || node.resident_bytes().saturating_sub(before) > 64 << 20;
    let clock = Clock::real();
    let deadline = clock.monotonic() + PATIENCE;
    while has_grown() && clock.monotonic() < deadline {
        assert_eq!(ask(&mut stream, "t", &small).error_code, 0);
    }
    assert!(!has_grown(), "{} bytes, {before} before", node.resident_bytes());
    node.stop();
}

/// How long memory may take to be given back.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_newest_time_comes_from_the_records_and_look_ups_are_right() {
    let (home, node) = start(&[("t", &[]), ("packed", &[("compression.type", "lz4")])]);
    let now = Clock::real().wall_ms();
    let mut stream = node.connect();
    for topic in ["t", "packed"] {
        for codec in [Compression::None, Compression::Zstd] {
            for lie in [now - 5000, now + 5000, -1] {
                let sound = batch(&[now, now + 2, now + 1], 9, packed(codec));
                let answer = ask(&mut stream, topic, &with_max_time(sound, lie));
                assert_eq!(answer.error_code, 0);
            }
        }
    }
    let look = |stream: &mut TcpStream| {
        for topic in ["t", "packed"] {
            let bytes = records(stream, topic, 0, &WIDE);
            let first = Batch::first(&bytes).unwrap();
            assert!(first.crc_is_right());
            assert_eq!(first.max_timestamp(), now + 2, "{topic}");
            assert_eq!(at_time(stream, topic, now + 1), (now + 2, 1), "{topic}");
            assert_eq!(at_time(stream, topic, now + 3), (-1, -1), "nothing is later");
            assert_eq!(at_time(stream, topic, -3), (now + 2, 1), "{topic}: the newest record");
        }
    };
    look(&mut stream);
    // After recovery, too.
    node.kill();
    let node = home.start();
    look(&mut node.connect());
    node.stop();
}

#[test]
fn a_producer_may_not_choose_the_timestamp_type() {
    let settings: &[(&str, &str)] = &[("message.timestamp.type", "LogAppendTime")];
    let (_home, node) = start(&[("create", &[]), ("append", settings)]);
    let mut stream = node.connect();
    let now = Clock::real().wall_ms();
    let claims = |time| {
        let append_time = Some(time);
        batch(&[now, now + 2], 9, BatchOptions { append_time, ..BatchOptions::default() })
    };
    assert_eq!(codes(&ask(&mut stream, "create", &claims(now))), (ErrorCode::NONE, 0, 0));
    let stored = records(&mut stream, "create", 0, &WIDE);
    let stored = Batch::first(&stored).unwrap();
    assert!(stored.crc_is_right() && !stored.is_append_time());
    assert_eq!(stored.max_timestamp(), now + 2);
    for (topic, time) in [("create", now + 2 * HOUR), ("create", -1), ("append", now)] {
        let refused = ask(&mut stream, topic, &claims(time));
        let named: Vec<i32> = refused.record_errors.iter().map(|it| it.batch_index).collect();
        assert_eq!(refused.error_code, ErrorCode::INVALID_TIMESTAMP.0, "{topic} {time}");
        assert_eq!(named, [0, 1], "{topic} {time}");
    }
    let plain = batch(&[now, now + 2 * HOUR], 9, BatchOptions::default());
    let answer = ask(&mut stream, "append", &plain);
    assert_eq!(codes(&answer), (ErrorCode::NONE, 0, 0));
    assert!(answer.log_append_time_ms >= now);
    let stored = records(&mut stream, "append", 0, &WIDE);
    let stored = Batch::first(&stored).unwrap();
    assert!(stored.crc_is_right() && stored.is_append_time());
    assert_eq!(stored.max_timestamp(), answer.log_append_time_ms);
    node.stop();
}

#[test]
fn a_duplicate_is_answered_with_the_time_of_the_stored_batch() {
    let (home, node) = start(&[("t", &[])]);
    let now = Clock::real().wall_ms();
    let producer = BatchOptions {
        producer_id: 77,
        producer_epoch: 0,
        base_sequence: 0,
        ..BatchOptions::default()
    };
    let sent = with_max_time(batch(&[now, now + 7], 9, producer), now + 9);
    let mut stream = node.connect();
    let first = ask(&mut stream, "t", &sent);
    assert_eq!((codes(&first), first.log_append_time_ms), ((ErrorCode::NONE, 0, 0), -1));
    let again = ask(&mut stream, "t", &sent);
    assert_eq!((codes(&again), again.log_append_time_ms), ((ErrorCode::NONE, 0, 0), now + 7));
    node.kill();
    let node = home.start();
    let again = ask(&mut node.connect(), "t", &sent);
    assert_eq!((codes(&again), again.log_append_time_ms), ((ErrorCode::NONE, 0, 0), now + 7));
    node.stop();
}

#[test]
fn a_refusal_names_the_records_and_the_log_start() {
    let (_home, node) = start(&[("t", &[]), ("compacted", &[("cleanup.policy", "compact")])]);
    let mut stream = node.connect();
    let now = Clock::real().wall_ms();
    let late = batch(&[now, now + 2 * HOUR, now, now + 3 * HOUR], 9, BatchOptions::default());
    let refused = ask(&mut stream, "t", &late);
    assert_eq!(codes(&refused), (ErrorCode::INVALID_TIMESTAMP, -1, 0));
    let named: Vec<i32> = refused.record_errors.iter().map(|it| it.batch_index).collect();
    assert_eq!(named, [1, 3]);
    assert!(refused.record_errors.iter().all(|it| it.batch_index_error_message.is_some()));
    let keyless = batch(&[now; 2], 9, packed(Compression::Snappy));
    let refused = ask(&mut stream, "compacted", &keyless);
    assert_eq!(codes(&refused), (ErrorCode::INVALID_RECORD, -1, 0));
    assert_eq!(refused.record_errors.len(), 2);
    assert_eq!(at_time(&mut stream, "t", -1).1, 0, "nothing was stored");
    node.stop();
}

#[test]
fn sizes_are_looked_at_again_after_recompression() {
    let plain: &[(&str, &str)] =
        &[("compression.type", "uncompressed"), ("max.message.bytes", "10000")];
    let segment: &[(&str, &str)] = &[
        ("compression.type", "uncompressed"),
        ("segment.bytes", "1048576"),
        ("max.message.bytes", "10000000"),
    ];
    let (_home, node) = start(&[("plain", plain), ("segment", segment)]);
    let mut stream = node.connect();
    let zeros = vec![0; 9000];
    let small = |count: usize| {
        let mut builder = BatchBuilder::new(packed(Compression::Gzip));
        for _ in 0..count {
            builder.push(&NewRecord { value: Some(&zeros), ..NewRecord::default() });
        }
        builder.build().unwrap()
    };
    assert!(small(200).len() < 10_000);
    let refused = ask(&mut stream, "plain", &small(20));
    assert_eq!(codes(&refused), (ErrorCode::MESSAGE_TOO_LARGE, -1, -1));
    assert_eq!(codes(&ask(&mut stream, "plain", &small(1))), (ErrorCode::NONE, 0, 0));
    let refused = ask(&mut stream, "segment", &small(200));
    assert_eq!(codes(&refused), (ErrorCode::RECORD_LIST_TOO_LARGE, -1, -1));
    assert_eq!(codes(&ask(&mut stream, "segment", &small(100))), (ErrorCode::NONE, 0, 0));
    node.stop();
}

#[test]
fn a_request_that_is_wrong_in_two_ways_hears_of_the_first() {
    let (_home, node) = start(&[("t", &[])]);
    let mut stream = node.connect();
    let good = batch(&[0], 9, BatchOptions::default());
    let mut old = good.clone();
    old[16] = 1;
    let cases = [
        ("t", 2, &good, ErrorCode::INVALID_REQUIRED_ACKS),
        ("t", -2, &good, ErrorCode::INVALID_REQUIRED_ACKS),
        ("t", 2, &old, ErrorCode::INVALID_RECORD),
        ("nowhere", 2, &good, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("nowhere", 1, &old, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ];
    for (topic, acks, bytes, due) in cases {
        stream.write_all(&produce_bytes(topic, acks, VERSION, bytes)).unwrap();
        let answer = outcome(&mut stream, VERSION);
        assert_eq!(codes(&answer), (due, -1, -1), "{topic}, acks {acks}");
    }
    // Without an answer, the closed connection shows the error.
    stream.write_all(&produce_bytes("t", 0, VERSION, &old)).unwrap();
    let closed = stream.read(&mut [0; 1]);
    let is_reset = matches!(&closed, Err(error) if error.kind() == ErrorKind::ConnectionReset);
    assert!(is_reset || closed.is_ok_and(|it| it == 0));
    node.stop();
}

#[test]
fn a_fetch_waits_for_no_more_than_may_be_sent() {
    let (_home, node) = start(&[("t", &[])]);
    let mut stream = node.connect();
    for _ in 0..3 {
        ask(&mut stream, "t", &batch(&[0], 2000, BatchOptions::default()));
    }
    let one = records(&mut stream, "t", 2, &WIDE).len();
    let cases = [
        // From, at least, at most, at most of the partition; how many batches come.
        (0, 1000, 1 << 20, 1, 1),
        (0, 1000, 1, 1, 1),
        (0, 1000, 999, 1 << 20, 1),
        (2, 1000, 1 << 20, 999, 1),
        (2, 100_000, 1, 1, 1),
        (0, 100_000, 2500, 1 << 20, 1),
        (0, i32::MAX, 5000, 5000, 2),
        (1, 4000, 1 << 20, 1 << 20, 2),
    ];
    for (offset, bytes_min, bytes_max, partition_bytes_max, due) in cases {
        let bounds = Bounds { bytes_min, bytes_max, partition_bytes_max };
        let found = records(&mut stream, "t", offset, &bounds);
        assert_eq!(found.len(), due * one, "{offset} {bytes_min} {bytes_max}");
    }
    node.stop();
}

#[test]
fn a_batch_of_a_transaction_needs_its_name_before_all_else() {
    let (_home, node) = start(&[("t", &[])]);
    let mut stream = node.connect();
    let plain = batch(&[1], 10, BatchOptions::default());
    let transactional = patched(plain, 21, &16i16.to_be_bytes());
    // The count of records, too, is wrong, and in the last the checksum.
    let mut cases: Vec<_> = [1i32, 0, -1]
        .iter()
        .map(|it| patched(transactional.clone(), 57, &it.to_be_bytes()))
        .collect();
    let mut flipped = transactional;
    *flipped.last_mut().unwrap() ^= 1;
    cases.push(flipped);
    for (at, batch) in cases.iter().enumerate() {
        for version in [3, 8] {
            stream.write_all(&produce_bytes("t", -1, version, batch)).unwrap();
            let code = ErrorCode(outcome(&mut stream, version).error_code);
            assert_eq!(code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "case {at}");
        }
    }
    node.stop();
}

#[test]
fn a_codec_that_does_not_exist_tells_the_log_start_only_where_kafka_does() {
    let (_home, node) = start(&[("t", &[])]);
    let mut stream = node.connect();
    let batch = patched(batch(&[1], 10, BatchOptions::default()), 21, &7i16.to_be_bytes());
    for (version, log_start) in [(5, -1), (6, -1), (7, 0), (8, 0)] {
        stream.write_all(&produce_bytes("t", -1, version, &batch)).unwrap();
        let told = outcome(&mut stream, version);
        assert_eq!(ErrorCode(told.error_code), ErrorCode::UNKNOWN_SERVER_ERROR);
        assert_eq!(told.log_start_offset, log_start, "version {version}");
    }
    node.stop();
}
