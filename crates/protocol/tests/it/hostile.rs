//! Nonsense: an error, never a panic, never memory that the bytes do not account for.

use bytes::Bytes;
use ottla_protocol::messages::{AnyRequest, AnyResponse};
use ottla_protocol::{ApiKey, Decoder, decode_metadata, read_request_head};

use crate::golden::pairs;
use crate::made::{Dice, bytes, schemas};
use crate::schema::Kind;

fn read(kind: Kind, key: ApiKey, version: i16, input: Vec<u8>) -> bool {
    let mut d = Decoder::new(Bytes::from(input));
    if kind == Kind::Request {
        AnyRequest::decode(key, &mut d, version).is_ok()
    } else {
        AnyResponse::decode(key, &mut d, version).is_ok()
    }
}

#[test]
fn a_message_cut_short_is_refused() {
    for message in schemas("rpc") {
        let key = ApiKey::of(message.key).unwrap();
        let version = *key.versions().end();
        let whole = bytes(&message, version, &mut Dice(1));
        let step = 1 + whole.len() / 200;
        for length in (0..whole.len()).step_by(step) {
            let cut = whole[..length].to_vec();
            assert!(!read(message.kind, key, version, cut), "{} at {length}", message.name);
        }
    }
}

#[test]
fn mangled_frames_never_panic() {
    let mut dice = Dice(7);
    let (mut good, mut bad) = (0, 0);
    for pair in pairs() {
        let key = ApiKey::of(pair.key).unwrap();
        for _ in 0..40 {
            let mut frame = pair.request.to_vec();
            for _ in 0..=dice.roll(3) {
                let at = usize::try_from(dice.roll(frame.len() as u64)).unwrap();
                frame[at] = u8::try_from(dice.roll(256)).unwrap();
            }
            let mut d = Decoder::new(Bytes::from(frame));
            if read_request_head(&mut d).is_ok()
                && AnyRequest::decode(key, &mut d, pair.version).is_ok()
            {
                good += 1;
            } else {
                bad += 1;
            }
        }
    }
    // Both kinds come up: a decoder that refuses or takes everything fails here.
    assert!(good > 1000 && bad > 1000, "{good} {bad}");
}

#[test]
fn a_claimed_count_allocates_nothing() {
    // Metadata v1: an array of two billion topics in a frame of four bytes.
    assert!(!read(Kind::Request, ApiKey::Metadata, 1, vec![0x7f, 0xff, 0xff, 0xff]));
    // Metadata v12, compact: the same as a varint.
    assert!(!read(Kind::Request, ApiKey::Metadata, 12, vec![0xff, 0xff, 0xff, 0xff, 0x0f]));
}

#[test]
fn a_million_elements_are_enough() {
    // DeleteGroups v0: two million empty names, each of two bytes, all of them really there.
    let mut frame = 2_000_000i32.to_be_bytes().to_vec();
    frame.resize(4 + 4_000_000, 0);
    assert!(!read(Kind::Request, ApiKey::DeleteGroups, 0, frame));
}

#[test]
fn a_varint_that_never_ends_is_refused() {
    assert!(decode_metadata(Bytes::from_static(&[0xff; 64])).is_err());
}

#[test]
fn bytes_behind_a_metadata_record_are_refused() {
    // Frame 1, type 20 (NoOp), version 0, no tags.
    assert!(decode_metadata(Bytes::from_static(&[1, 20, 0, 0])).is_ok());
    assert!(decode_metadata(Bytes::from_static(&[1, 20, 0, 0, 0])).is_err());
}
