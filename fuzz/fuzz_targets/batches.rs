//! Any bytes as batches: parsed, checked as a leader does, unpacked under a bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_records::{BatchRules, Compression, RepackAs, TimestampRules, batches_in, check_batches};

const LIMIT: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let rules = BatchRules {
        batch_bytes_max: LIMIT,
        zstd_allowed: true,
        segment_bytes_max: LIMIT as u64,
        keys_needed: true,
        timestamps: TimestampRules::Create { now_ms: 0, before_max_ms: 1 << 40, after_max_ms: 0 },
        unpacked_bytes_max: LIMIT,
        store_as: input.first().is_some_and(|byte| byte & 1 == 1).then_some(RepackAs {
            codec: Compression::Lz4,
            level: None,
        }),
    };
    let _ = check_batches(input, &rules).map(|it| it.bytes().len());
    for batch in batches_in(input).flatten() {
        let Ok(unpacked) = batch.unpack(LIMIT) else { continue };
        assert!(unpacked.bytes().len() <= LIMIT.max(input.len()));
        for record in unpacked.records().flatten() {
            let _ = record.headers().count();
        }
    }
});
