//! The log against what a genuine Kafka left on its disk, against a model, and against power cuts.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod compact;
mod faults;
mod files;
mod follow;
mod follow_model;
mod genuine;
mod model;
mod power;
mod sim_disk;
mod together;
mod window;

use std::path::Path;
use std::sync::Arc;

use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_storage::{Files, Log, LogOptions, Opening};

/// A batch of `count` records, as a producer sends it.
pub fn batch(count: usize, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for at in 0..count {
        let value = format!("value {at}");
        let timestamp = 1000 + i64::try_from(at).unwrap();
        let (key, headers) = (None, &[][..]);
        builder.push(&NewRecord { timestamp, key, value: Some(value.as_bytes()), headers });
    }
    builder.build().unwrap()
}

/// A batch of two records of an idempotent producer.
pub fn sequenced(epoch: i16, sequence: i32) -> Vec<u8> {
    let producer = BatchOptions {
        producer_id: 4000,
        producer_epoch: epoch,
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    batch(2, producer)
}

/// What opens a log in `folder`.
pub fn opening(files: &Arc<dyn Files>, folder: &Path, clean: bool) -> Opening {
    Opening {
        files: Arc::clone(files),
        folder: folder.to_owned(),
        options: LogOptions { index_interval_bytes: 256, ..LogOptions::default() },
        clean,
        recovery_point: 0,
        log_start: 0,
        has_gaps: false,
        now_ms: 0,
    }
}

/// Everything there is to read, from the log's start.
pub fn read_all(log: &Log) -> Vec<u8> {
    let view = log.view();
    let mut all = Vec::new();
    let mut at = view.log_start();
    while at < view.log_end() {
        let slice = ottla_storage::Slice {
            offset: at,
            bytes_max: 700,
            at_least_one: true,
            upper: i64::MAX,
        };
        let bytes = view.read(slice).unwrap();
        let last = ottla_records::batches_in(&bytes).last().unwrap().unwrap();
        at = last.next_offset();
        all.extend_from_slice(&bytes);
    }
    all
}
