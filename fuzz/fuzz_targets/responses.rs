//! Any bytes as a response: the first two numbers say of which API in which version.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_protocol::messages::AnyResponse;
use ottla_protocol::{ApiKey, Decoder, Encoder};

fuzz_target!(|input: &[u8]| {
    let mut d = Decoder::new(Bytes::copy_from_slice(input));
    let (Ok(key), Ok(version)) = (d.i16(), d.i16()) else { return };
    let Some(key) = ApiKey::of(key) else { return };
    let Ok(response) = AnyResponse::decode(key, &mut d, version) else { return };
    let mut e = Encoder::new();
    response.encode(&mut e, version).expect("what was read can be written");
});
