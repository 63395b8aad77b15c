//! 712 request/response pairs of a genuine Kafka 4.3.1: decoded and encoded, the bytes stay.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::{AnyRequest, AnyResponse};
use ottla_protocol::{ApiKey, Decoder, Encoder, read_request_head, response_head_is_flexible};

/// One recorded pair.
pub struct Pair {
    pub key: i16,
    pub version: i16,
    pub request: Bytes,
    pub response: Bytes,
}

pub fn pairs() -> Vec<Pair> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/frames.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let hex = |row: &serde_json::Value, name: &str| {
        let digits = row[name].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect::<Bytes>()
    };
    let number =
        |row: &serde_json::Value, name: &str| i16::try_from(row[name].as_i64().unwrap()).unwrap();
    text.lines()
        .map(|line| {
            let row = serde_json::from_str(line).unwrap();
            Pair {
                key: number(&row, "api_key"),
                version: number(&row, "api_version"),
                request: hex(&row, "request_hex"),
                response: hex(&row, "response_hex"),
            }
        })
        .collect()
}

#[test]
fn every_request_is_written_as_it_was_read() {
    let mut read = 0;
    for pair in pairs() {
        let key = ApiKey::of(pair.key).unwrap();
        let mut d = Decoder::new(pair.request.clone());
        let head = read_request_head(&mut d).unwrap();
        assert_eq!((head.key, head.version), (pair.key, pair.version));
        if !key.versions().contains(&pair.version) {
            continue;
        }
        let body = d.clone().rest();
        let request = AnyRequest::decode(key, &mut d, pair.version)
            .unwrap_or_else(|error| panic!("{key:?} v{}: {error}", pair.version));
        // librdkafka's requests may have a few bytes behind their end, and Kafka lets it pass.
        let behind = d.remaining();
        let librdkafka = head.client_id.as_deref().is_some_and(|id| id.starts_with("rd"));
        assert!(behind == 0 || librdkafka && behind <= 3, "{head:?}: {behind} bytes behind");
        let mut e = Encoder::new();
        request.encode(&mut e, pair.version).unwrap();
        assert_eq!(e.into_bytes(), body[..body.len() - behind], "{key:?} v{}", pair.version);
        read += 1;
    }
    assert!(read >= 700, "{read}");
}

#[test]
fn every_response_is_written_as_it_was_read() {
    let mut read = 0;
    for pair in pairs() {
        let key = ApiKey::of(pair.key).unwrap();
        // To a version it does not know, Kafka answers ApiVersions in version 0.
        let known = key.versions().contains(&pair.version);
        let version = if known { pair.version } else { 0 };
        let mut d = Decoder::new(pair.response.clone());
        let mut head = BytesMut::new();
        head.put_i32(d.i32().unwrap());
        if response_head_is_flexible(key, version) {
            assert_eq!(d.uvarint().unwrap(), 0);
            head.put_u8(0);
        }
        let response = AnyResponse::decode(key, &mut d, version)
            .unwrap_or_else(|error| panic!("{key:?} v{version}: {error}"));
        d.finish().unwrap();
        let mut e = Encoder::new();
        e.raw(&head);
        response.encode(&mut e, version).unwrap();
        assert_eq!(e.into_bytes(), pair.response, "{key:?} v{version}");
        read += 1;
    }
    assert_eq!(read, 712);
}
