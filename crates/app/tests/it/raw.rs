//! Requests as frames, and their answers, for tests that look at bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::list_offsets_response::ListOffsetsResponse;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::{Decoder, Message, Request, request_frame, response_head_is_flexible};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};

const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;
const LIST_OFFSETS_VERSION: i16 = 2;

fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    request_frame(request, version, 0, "calls").unwrap()
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
