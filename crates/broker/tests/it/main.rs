//! How often a request takes memory: counted, not timed, so that it is the same everywhere.
//!
//! All threads of the process are counted, so this is the only test of its binary.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::{Broker, Formatting, NoLevels, StartOptions};
use ottla_clock::Clock;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::{Request, request_frame};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_settings::Settings;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const REQUESTS: u64 = 1000;
/// What may be taken besides, by timers and by what grows with the log.
const STRAY_MAX: u64 = 100;

fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    request_frame(request, version, 0, "memory").unwrap()
}

fn create() -> Vec<u8> {
    let name = "t".to_owned();
    let topic =
        CreatableTopic { name, num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    frame(&request, 4)
}

/// Asks where the partition ends: the node serves as soon as it answers.
fn end() -> Vec<u8> {
    let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic {
        name: "t".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    frame(&ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }, 2)
}

fn produce() -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = [b'x'; 100];
    builder.push(&NewRecord { timestamp: 1, value: Some(&value), ..NewRecord::default() });
    let records = Some(Bytes::from(builder.build().unwrap()));
    let partition = PartitionProduceData { index: 0, records, ..Default::default() };
    let name = "t".to_owned();
    let topic = TopicProduceData { name, partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..Default::default()
    };
    frame(&request, 8)
}

/// One request; returns its answer and the answer's length, without an allocation.
fn ask(stream: &mut TcpStream, request: &[u8]) -> ([u8; 256], usize) {
    stream.write_all(request).unwrap();
    let (mut length, mut answer) = ([0; 4], [0; 256]);
    stream.read_exact(&mut length).unwrap();
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
    stream.read_exact(&mut answer[..length]).unwrap();
    (answer, length)
}

#[test]
fn a_produce_takes_no_memory() {
    let profiler = dhat::Profiler::builder().testing().build();
    let folder = tempfile::tempdir().unwrap();
    let overrides = [
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("log.dirs={}", folder.path().display()),
    ];
    let settings = Settings::read(None, &overrides).unwrap();
    let options = StartOptions {
        formatting: Formatting::IfEmpty,
        levels: Arc::new(NoLevels),
        authorizer: None,
    };
    let broker = Broker::start(settings, options, Clock::real()).unwrap();
    let mut stream = TcpStream::connect(broker.addresses()[0].1).unwrap();
    stream.set_nodelay(true).unwrap();
    ask(&mut stream, &create());
    // Behind the correlation id, one topic, its name, one partition and its index: the code.
    let is_ready = |(answer, _): ([u8; 256], usize)| answer[4 + 4 + 3 + 4 + 4 + 4..][..2] == [0; 2];
    while !is_ready(ask(&mut stream, &end())) {}
    let request = produce();
    for _ in 0..REQUESTS / 2 {
        ask(&mut stream, &request);
    }
    let before = dhat::HeapStats::get();
    for _ in 0..REQUESTS {
        ask(&mut stream, &request);
    }
    let after = dhat::HeapStats::get();
    let taken = after.total_blocks - before.total_blocks;
    assert!(taken <= STRAY_MAX, "{taken} times in {REQUESTS} requests");
    broker.stop().unwrap();
    drop(profiler);
}
