//! Any bytes as a record of the metadata log, or of `__consumer_offsets`.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_coordinator::group::GroupRecord;
use ottla_protocol::decode_metadata;

fuzz_target!(|input: &[u8]| {
    let _ = decode_metadata(Bytes::copy_from_slice(input));
    let half = input.len() / 2;
    let (key, value) = input.split_at(half);
    let _ = GroupRecord::decode(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
});
