//! Any bytes as batches: looked at, checked as a leader does, unpacked under a bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_records::{Rules, batches, check};

const LIMIT: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let rules = Rules {
        batch_bytes_max: LIMIT,
        zstd_allowed: true,
        keys_needed: true,
        timestamps: None,
        unpacked_bytes_max: LIMIT,
    };
    let _ = check(input, &rules);
    for batch in batches(input).flatten() {
        let Ok(unpacked) = batch.unpack(LIMIT) else { continue };
        assert!(unpacked.bytes().len() <= LIMIT.max(input.len()));
        for record in unpacked.records().flatten() {
            let _ = record.headers().count();
        }
    }
});
