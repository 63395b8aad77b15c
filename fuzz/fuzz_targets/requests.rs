//! Any bytes as a request: an error, or a message that is written and read again the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_protocol::messages::AnyRequest;
use ottla_protocol::{ApiKey, Decoder, Encoder, read_request_head};

fuzz_target!(|frame: &[u8]| {
    let mut d = Decoder::new(Bytes::copy_from_slice(frame));
    let Ok(head) = read_request_head(&mut d) else { return };
    let Some(key) = ApiKey::of(head.key) else { return };
    let Ok(request) = AnyRequest::decode(key, &mut d, head.version) else { return };
    let mut e = Encoder::new();
    request.encode(&mut e, head.version).expect("what was read can be written");
    let mut d = Decoder::new(e.into_bytes());
    let again = AnyRequest::decode(key, &mut d, head.version).expect("and read again");
    // Not compared where a number may be NaN, which is not equal to itself.
    assert!(again == request || format!("{again:?}").contains("NaN"));
});
