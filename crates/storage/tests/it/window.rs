//! What is sent to the disk early, and what leaves the cache.

use std::path::Path;

use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_storage::{Log, SimDisk, Stamp};

use crate::opening;

const STAMP: Stamp = Stamp { leader_epoch: 0, append_time: None, max_timestamp: None };
const MB: u64 = 1 << 20;

const FIRST: &str = "/data/t-0/00000000000000000000.log";
const SECOND: &str = "/data/t-0/00000000000000000011.log";

/// An empty log, and the files it lies in.
fn open() -> (SimDisk, Log) {
    let disk = SimDisk::new(1);
    let mut opening = opening(&disk.files(), Path::new("/data/t-0"), false);
    opening.options.segment_bytes = 12 * MB;
    (disk, Log::open(opening).unwrap())
}

/// One record of a bit more than 1 MB.
fn append(log: &mut Log, times: usize) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'x'; 1 << 20];
    builder.push(&NewRecord { value: Some(&value), ..NewRecord::default() });
    let bytes = builder.build().unwrap();
    for _ in 0..times {
        log.append_as_leader(&bytes, STAMP, 0).unwrap();
    }
}

fn let_go(disk: &SimDisk, path: &str) -> Vec<(u64, u64)> {
    disk.let_go(Path::new(path)).into_iter().map(|it| (it.start, it.end)).collect()
}

#[test]
fn the_tail_that_is_appended_to_is_not_sent_to_the_disk() {
    let (disk, mut log) = open();
    append(&mut log, 3);
    log.view().trim_cache(100 * MB);
    assert_eq!(let_go(&disk, FIRST), []);
    append(&mut log, 3);
    log.view().trim_cache(100 * MB);
    assert_eq!(let_go(&disk, FIRST), [(0, 4 * MB)]);
    append(&mut log, 1);
    log.view().trim_cache(100 * MB);
    assert_eq!(let_go(&disk, FIRST), [(0, 4 * MB)]);
    append(&mut log, 3);
    log.view().trim_cache(100 * MB);
    assert_eq!(let_go(&disk, FIRST), [(0, 4 * MB), (4 * MB, 8 * MB)]);
    // It is full, and another begins: no more is appended to its tail.
    append(&mut log, 2);
    log.view().trim_cache(100 * MB);
    let size = disk.files().open(Path::new(FIRST)).unwrap().size().unwrap();
    assert_eq!(let_go(&disk, FIRST), [(0, 4 * MB), (4 * MB, 8 * MB), (8 * MB, size)]);
    assert_eq!(let_go(&disk, SECOND), []);
}

#[test]
fn what_lies_behind_the_window_leaves_the_cache() {
    let (disk, mut log) = open();
    append(&mut log, 10);
    let size = disk.files().open(Path::new(FIRST)).unwrap().size().unwrap();
    log.view().trim_cache(3 * MB);
    assert_eq!(let_go(&disk, FIRST), [(0, 8 * MB), (0, size - 3 * MB)]);
    assert!(!log.view().is_cold(9, 1));
}
