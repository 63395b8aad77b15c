//! Requests as frames, and their answers, for tests that look at bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::list_offsets_response::ListOffsetsResponse;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use ottla_protocol::{Decoder, Message, Request, request_frame, response_head_is_flexible};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};

const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;
const LIST_OFFSETS_VERSION: i16 = 2;

fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    request_frame(request, version, 0, "calls").unwrap()
}

/// These bytes for one partition, as they are.
pub fn produce_bytes(topic: &str, acks: i16, version: i16, records: &[u8]) -> Vec<u8> {
    let records = Some(Bytes::copy_from_slice(records));
    let partition = PartitionProduceData { index: 0, records, ..Default::default() };
    let name = topic.to_owned();
    let topic = TopicProduceData { name, partition_data: vec![partition], ..Default::default() };
    let topic_data = vec![topic];
    let request = ProduceRequest { acks, timeout_ms: 1000, topic_data, ..Default::default() };
    frame(&request, version)
}

/// What a partition answers to a produce.
pub fn outcome(stream: &mut TcpStream, version: i16) -> PartitionProduceResponse {
    let mut response: ProduceResponse = message(stream, version);
    response.responses.remove(0).partition_responses.remove(0)
}

/// Timestamp and offset that ListOffsets finds by time (-3: of the newest record).
pub fn at_time(stream: &mut TcpStream, topic: &str, timestamp: i64) -> (i64, i64) {
    let partition = ListOffsetsPartition { timestamp, ..Default::default() };
    let name = topic.to_owned();
    let topic = ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    // Version 7 is the first that knows -3.
    let response = ask(stream, &request, 7);
    let found = &response.topics[0].partitions[0];
    assert_eq!(found.error_code, 0);
    (found.timestamp, found.offset)
}

/// How the fetch of one partition is bounded.
pub struct Bounds {
    pub bytes_min: i32,
    pub bytes_max: i32,
    pub partition_bytes_max: i32,
}

/// The records from an offset on; without enough of them there is no answer in time.
pub fn records(stream: &mut TcpStream, topic: &str, fetch_offset: i64, bounds: &Bounds) -> Bytes {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let partition_max_bytes = bounds.partition_bytes_max;
    let partition = FetchPartition { fetch_offset, partition_max_bytes, ..Default::default() };
    let topic =
        FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 3_600_000,
        min_bytes: bounds.bytes_min,
        max_bytes: bounds.bytes_max,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    stream.write_all(&frame(&request, FETCH_VERSION)).unwrap();
    let mut response: FetchResponse = message(stream, FETCH_VERSION);
    let mut partition = response.responses.remove(0).partitions.remove(0);
    assert_eq!(partition.error_code, 0);
    partition.records.take().unwrap()
}

fn message<M: Message>(stream: &mut TcpStream, version: i16) -> M {
    let mut d = Decoder::new(Bytes::from(body(stream)));
    d.i32().unwrap();
    M::decode(&mut d, version).unwrap()
}

/// A batch of one record, whose value has so many bytes.
pub fn produce(topic: &str, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'x'; bytes];
    builder.push(&NewRecord { timestamp: 1, value: Some(&value), ..NewRecord::default() });
    let records = Some(Bytes::from(builder.build().unwrap()));
    let partition = PartitionProduceData { index: 0, records, ..Default::default() };
    let name = topic.to_owned();
    let topic = TopicProduceData { name, partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..Default::default()
    };
    frame(&request, PRODUCE_VERSION)
}

/// Whatever is there, 1 MB at most, as soon as there are so many bytes.
pub fn fetch(topic: &str, fetch_offset: i64, min_bytes: i32) -> Vec<u8> {
    let partition =
        FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic =
        FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 20_000,
        min_bytes,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    frame(&request, FETCH_VERSION)
}

/// Reads one answer, and throws it away; how long it was.
pub fn answer(stream: &mut TcpStream) -> usize {
    body(stream).len()
}

/// Reads the answer to a produce to one partition: error code and first offset.
pub fn produced(stream: &mut TcpStream) -> (i16, i64) {
    let mut d = Decoder::new(Bytes::from(body(stream)));
    d.i32().unwrap();
    let response = ProduceResponse::decode(&mut d, PRODUCE_VERSION).unwrap();
    let answer = &response.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset)
}

/// Asks where partition 0 of a topic ends.
pub fn end_offset(topic: &str) -> Vec<u8> {
    let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let name = topic.to_owned();
    let topic = ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    frame(&request, LIST_OFFSETS_VERSION)
}

/// Reads the answer to [`end_offset`]: error code and offset.
pub fn end_offset_answer(stream: &mut TcpStream) -> (i16, i64) {
    let mut d = Decoder::new(Bytes::from(body(stream)));
    d.i32().unwrap();
    let response = ListOffsetsResponse::decode(&mut d, LIST_OFFSETS_VERSION).unwrap();
    let answer = &response.topics[0].partitions[0];
    (answer.error_code, answer.offset)
}

/// Asks, and reads the answer.
pub fn ask<R: Request>(stream: &mut TcpStream, request: &R, version: i16) -> R::Response {
    stream.write_all(&frame(request, version)).unwrap();
    let mut d = Decoder::new(Bytes::from(body(stream)));
    d.i32().unwrap();
    if response_head_is_flexible(R::KEY, version) {
        d.tags(&mut Default::default(), |_, _| Ok(false)).unwrap();
    }
    let response = R::Response::decode(&mut d, version).unwrap();
    assert_eq!(d.remaining(), 0, "stray bytes behind the answer to {:?}", R::KEY);
    response
}

fn body(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
