//! A disk that is full, and one that fails.

use std::path::Path;

use ottla_records::{BatchOptions, batches_in, legacy};
use ottla_storage::{AppendError, Fault, Log, SimDisk, Stamp, StorageError};

use crate::{batch, opening, read_all};

const STAMP: Stamp = Stamp { leader_epoch: 0, append_time: None, max_timestamp: None };

fn disk() -> SimDisk {
    SimDisk::new(1)
}

fn is(disk: &SimDisk, fault: Option<Fault>) {
    disk.set_fault(Path::new("/data"), fault);
}

fn open(disk: &SimDisk) -> Log {
    let mut opening = opening(&disk.files(), Path::new("/data/t-0"), false);
    opening.options.segment_bytes = 400;
    Log::open(opening).unwrap()
}

fn append(log: &mut Log, count: usize) -> Result<i64, AppendError> {
    let bytes = batch(count, BatchOptions::default());
    log.append_as_leader(&bytes, STAMP, 0).map(|it| it.end)
}

fn flush(log: &mut Log) -> Result<(), StorageError> {
    let Some(flush) = log.begin_flush()? else { return Ok(()) };
    let done = flush.run();
    log.end_flush(flush, done)
}

#[test]
fn an_empty_log_whose_file_cannot_be_opened_goes_on_when_it_can() {
    let disk = disk();
    drop(open(&disk));
    let mut log = open(&disk);
    is(&disk, Some(Fault::NoHandles));
    // The file is opened by the first record; nothing was written where it could not be.
    assert!(matches!(append(&mut log, 1), Err(AppendError::Storage(_))));
    is(&disk, None);
    assert_eq!(append(&mut log, 2).unwrap(), 2);
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    let disk = disk();
    let mut log = open(&disk);
    for _ in 0..4 {
        append(&mut log, 2).unwrap();
    }
    let before = read_all(&log);
    is(&disk, Some(Fault::Full));
    // Small ones fail at the write, large ones at the new segment.
    for count in [1, 1, 20, 20, 1] {
        assert!(matches!(append(&mut log, count), Err(AppendError::Storage(_))));
        assert_eq!(log.log_end(), 8);
    }
    assert!(flush(&mut log).is_err());
    assert_eq!(read_all(&log), before, "reads go on");
    is(&disk, None);
    assert_eq!(append(&mut log, 20).unwrap(), 28);
    flush(&mut log).unwrap();
    assert_eq!(log.recovery_point(), 28);
    drop(log);
    assert!(read_all(&open(&disk)).starts_with(&before));
    assert_eq!(open(&disk).log_end(), 28);
}

#[test]
fn a_disk_that_fails_to_write_ends_the_log_until_it_is_opened_again() {
    for fault in [Fault::Writes, Fault::ReadOnly] {
        let disk = disk();
        let mut log = open(&disk);
        append(&mut log, 3).unwrap();
        is(&disk, Some(fault));
        assert!(append(&mut log, 1).is_err());
        is(&disk, None);
        assert!(matches!(append(&mut log, 1), Err(AppendError::Storage(StorageError::Failed))));
        assert_eq!(log.log_end(), 3);
        assert!(!read_all(&log).is_empty());
        assert_eq!(open(&disk).log_end(), 3);
    }
}

#[test]
fn what_could_not_be_made_durable_is_never_called_so() {
    for thorough in [false, true] {
        let disk = disk();
        let mut log = open(&disk);
        append(&mut log, 3).unwrap();
        is(&disk, Some(Fault::Syncs));
        let done = if thorough { flush(&mut log) } else { log.flush().map(|_| ()) };
        assert!(done.is_err());
        is(&disk, None);
        // A second fsync would succeed though the pages are gone.
        assert!(matches!(flush(&mut log), Err(StorageError::Failed)));
        assert!(matches!(log.flush(), Err(StorageError::Failed)));
        assert_eq!((log.durable(), log.recovery_point()), (0, 0));
    }
}

#[test]
fn a_smaller_batch_after_one_that_found_no_room_has_nothing_behind_it() {
    let disk = disk();
    let mut log = open(&disk);
    append(&mut log, 1).unwrap();
    is(&disk, Some(Fault::Full));
    assert!(append(&mut log, 14).is_err());
    is(&disk, None);
    append(&mut log, 1).unwrap();
    log.close_clean().unwrap();
    let log = Log::open(opening(&disk.files(), Path::new("/data/t-0"), true)).unwrap();
    assert_eq!(log.log_end(), 2);
    assert_eq!(batches_in(&read_all(&log)).count(), 2);
}

#[test]
fn after_a_crash_the_log_ends_before_the_first_wrong_checksum() {
    let disk = disk();
    let mut log = open(&disk);
    for _ in 0..3 {
        append(&mut log, 1).unwrap();
    }
    let size = read_all(&log).len() as u64 / 3;
    drop(log);
    let file = disk.files().open(Path::new("/data/t-0/00000000000000000000.log")).unwrap();
    // A byte of the second batch's value.
    file.write_at(b"?", size * 2 - 3).unwrap();
    let log = open(&disk);
    assert_eq!(log.log_end(), 1);
    assert_eq!(file.size().unwrap(), size);
}

#[test]
fn a_segment_that_was_flushed_before_it_was_rolled_knows_its_newest_record_after_a_crash() {
    let disk = disk();
    let mut opening = opening(&disk.files(), Path::new("/data/t-0"), false);
    opening.options.index_interval_bytes = 100;
    let mut log = Log::open(opening.clone()).unwrap();
    let append_at = |log: &mut Log, now_ms: i64| {
        let stamp = Stamp { append_time: Some(now_ms), ..STAMP };
        log.append_as_leader(&batch(1, BatchOptions::default()), stamp, now_ms).unwrap();
    };
    // The third has an index entry, the fourth has none.
    [10, 20, 30, 40].into_iter().for_each(|now_ms| append_at(&mut log, now_ms));
    flush(&mut log).unwrap();
    opening.recovery_point = log.recovery_point();
    log.roll().unwrap();
    append_at(&mut log, 50);
    drop(log);
    disk.crash();
    opening.files = disk.files();
    let view = Log::open(opening).unwrap().view();
    assert_eq!(view.at_time(35).unwrap(), Some((40, 3)));
}

#[test]
fn a_log_from_before_kafka_0_11_is_refused_and_not_cut() {
    let disk = disk();
    let mut log = open(&disk);
    append(&mut log, 2).unwrap();
    let new = read_all(&log);
    drop(log);
    let old = legacy::convert_down(&new, 1, 1 << 20).unwrap();
    let path = Path::new("/data/t-0/00000000000000000000.log");
    let file = disk.files().create(path).unwrap();
    file.write_at(&old, 0).unwrap();
    let refused = Log::open(opening(&disk.files(), Path::new("/data/t-0"), false)).unwrap_err();
    assert!(refused.to_string().contains("format 0 or 1"), "{refused}");
    assert_eq!(file.size().unwrap(), old.len() as u64);
}
