//! What a follower takes over of a leader's log, and what it refuses.

use std::path::Path;

use ottla_records::{BatchOptions, batches_in, crc32c};
use ottla_storage::{
    AppendError, FetchedBatches, FetchedError, Log, LogOptions, Opening, SimDisk, Slice, Stamp,
};

use crate::{batch, opening, read_all};

const FOLDER: &str = "/data/t-0";
const EPOCH: i32 = 3;

fn options() -> LogOptions {
    LogOptions { segment_bytes: 600, index_interval_bytes: 100, ..LogOptions::default() }
}

fn open(disk: &SimDisk, clean: bool) -> Log {
    let opening = opening(&disk.files(), Path::new(FOLDER), clean);
    Log::open(Opening { options: options(), ..opening }).unwrap()
}

/// Batches of 1, 2, 3 and so on records at offsets from `base` on, as a leader in `epoch` wrote
/// them.
fn led(base: i64, batches: usize, epoch: i32) -> Vec<u8> {
    let mut all = Vec::new();
    let mut offset = base;
    for count in 1..=batches {
        let mut bytes = batch(count, BatchOptions::default());
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        offset += i64::try_from(count).unwrap();
        all.extend(bytes);
    }
    all
}

/// A disk with a data directory that no power cut takes.
fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    let files = disk.files();
    files.make_dir(Path::new("/data")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    disk
}

/// Makes everything durable, and moves the recovery point.
fn flush_all(log: &mut Log) {
    if let Some(flush) = log.begin_flush().unwrap() {
        let done = flush.run();
        log.end_flush(flush, done).unwrap();
    }
}

fn append(log: &mut Log, records: &[u8]) -> Result<i64, AppendError> {
    let fetched = FetchedBatches::check(records, EPOCH)?;
    log.append_as_follower(&fetched, 0).map(|appended| appended.end)
}

#[test]
fn what_is_fetched_is_appended_as_it_is_and_says_so() {
    let mut log = open(&SimDisk::new(1), true);
    let records = led(0, 6, EPOCH);
    let fetched = FetchedBatches::check(&records, EPOCH).unwrap();
    let appended = log.append_as_follower(&fetched, 0).unwrap();
    assert_eq!((appended.first_offset, appended.last_offset, appended.end), (0, 20, 21));
    assert_eq!((appended.max_timestamp, appended.bytes), (1005, records.len() as u64));
    assert_eq!(read_all(&log), records);
    assert!(log.view().extents().len() > 1, "segments end as a leader's do");
    assert_eq!(log.view().latest_epoch(), EPOCH);
    let nothing = FetchedBatches::check(&[], EPOCH).unwrap();
    let appended = log.append_as_follower(&nothing, 0).unwrap();
    assert_eq!((appended.first_offset, appended.last_offset, appended.bytes), (21, 20, 0));
}

#[test]
fn offsets_may_be_missing_and_the_rest_of_a_batch_comes_again() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, true);
    let mut records = led(5, 2, EPOCH);
    records.extend(led(100, 2, EPOCH));
    records.extend(&led(200, 1, EPOCH)[..70]);
    let fetched = FetchedBatches::check(&records, EPOCH).unwrap();
    assert_eq!((fetched.summary().batches, fetched.summary().incomplete_bytes), (4, 70));
    assert_eq!(append(&mut log, &records).unwrap(), 103);
    assert_eq!(append(&mut log, &led(200, 1, EPOCH)).unwrap(), 201);
    log.flush().unwrap();
    drop(log);
    disk.crash();
    assert_eq!(open(&disk, false).log_end(), 201);
}

#[test]
fn a_gap_that_no_segment_can_span_begins_a_segment() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, true);
    for base in [1 << 33, 1 << 35, (1 << 35) + 7] {
        append(&mut log, &led(base, 1, EPOCH)).unwrap();
        let slice = Slice { offset: base, bytes_max: 1, at_least_one: true, upper: i64::MAX };
        assert_eq!(log.view().read(slice).unwrap(), led(base, 1, EPOCH));
        log.assert_sound();
    }
    let bases: Vec<_> = log.view().extents().into_iter().map(|(base, _)| base).collect();
    assert_eq!(bases, [1 << 33, 1 << 35]);
    assert_eq!(log.log_start(), 0);
}

#[test]
fn the_leaders_log_may_start_within_the_first_batch() {
    let disk = disk();
    let mut log = open(&disk, true);
    log.reset_to(7, 0).unwrap();
    flush_all(&mut log);
    let records = led(5, 4, EPOCH);
    let records = &records[batches_in(&records).next().unwrap().unwrap().size()..];
    assert_eq!(append(&mut log, records).unwrap(), 15);
    assert_eq!((log.log_start(), log.log_end()), (7, 15));
    assert_eq!(log.view().epochs().starts()[0].start, 7);
    let slice = Slice { offset: 7, bytes_max: 9999, at_least_one: true, upper: i64::MAX };
    assert_eq!(log.view().read(slice).unwrap(), records);
    let again = append(&mut log, records).unwrap_err();
    assert!(matches!(again, AppendError::BehindEnd { first: 6, last: 7, end: 15 }), "{again}");
    log.flush().unwrap();
    drop(log);
    disk.power_cut();
    let opening = opening(&disk.files(), Path::new(FOLDER), false);
    let log = Log::open(Opening { log_start: 7, recovery_point: 15, ..opening }).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (7, 15));
    assert_eq!(log.view().read(slice).unwrap(), records);
}

#[test]
fn records_of_a_later_leader_are_left_out_and_counted() {
    let mut log = open(&SimDisk::new(1), true);
    let mut records = led(0, 2, EPOCH);
    records.extend(led(3, 3, EPOCH + 1));
    records.extend(led(9, 1, EPOCH));
    let fetched = FetchedBatches::check(&records, EPOCH).unwrap();
    assert_eq!((fetched.summary().batches, fetched.summary().later_epoch_batches), (2, 4));
    assert_eq!(append(&mut log, &records).unwrap(), 3);
    assert_eq!(read_all(&log), led(0, 2, EPOCH));
}

#[test]
fn what_is_broken_is_refused_as_a_whole() {
    let good = led(0, 3, EPOCH);
    let second = batches_in(&good).next().unwrap().unwrap().size();
    let check = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut records = good.clone();
        edit(&mut records);
        FetchedBatches::check(&records, EPOCH).map(|fetched| fetched.summary())
    };
    let put = |at: usize, value: &'static [u8]| {
        move |records: &mut Vec<u8>| records[at..at + value.len()].copy_from_slice(value)
    };
    let flipped = check(&|records| records[second + 70] ^= 1).unwrap_err();
    assert_eq!(flipped, FetchedError::Checksum { offset: 1 });
    let backwards = check(&put(second, &[0; 8])).unwrap_err();
    assert_eq!(backwards, FetchedError::Disorder { offset: 0, last: 0 });
    let negative = check(&put(second, &[255; 8])).unwrap_err();
    assert!(matches!(negative, FetchedError::Broken { .. } | FetchedError::Disorder { .. }));
    let no_epoch = check(&put(second + 12, &[255; 4])).unwrap_err();
    assert_eq!(no_epoch, FetchedError::Epoch { offset: 1, epoch: -1 });
    for magic in [&[0_u8][..], &[1], &[3]] {
        let old = check(&|records| records[second + 16] = magic[0]).unwrap_err();
        assert!(matches!(old, FetchedError::Broken { position, .. } if position == second));
    }
    for length in [&[0_u8, 0, 0, 0][..], &[255, 255, 255, 255], &[0, 0, 0, 20]] {
        let lying = check(&|records| records[second + 8..second + 12].copy_from_slice(length));
        assert!(lying.is_err(), "{length:?}");
    }
    // Longer than what is there: it can be no more than the beginning of a batch.
    let long = check(&put(second + 8, &[127, 255, 255, 255])).unwrap();
    assert_eq!((long.batches, long.incomplete_bytes), (1, good.len() - second));
    let checked = crc32c(&good[second + 21..]);
    assert_ne!(checked, 0);
}

#[test]
fn a_refusal_changes_nothing() {
    let mut log = open(&SimDisk::new(1), true);
    append(&mut log, &led(10, 3, EPOCH)).unwrap();
    let before = read_all(&log);
    for base in [0, 9, 10, 15] {
        let refused = append(&mut log, &led(base, 4, EPOCH)).unwrap_err();
        assert!(matches!(refused, AppendError::BehindEnd { end: 16, .. }), "{base}: {refused}");
    }
    assert_eq!((read_all(&log), log.log_end()), (before, 16));
    assert_eq!(append(&mut log, &led(16, 1, EPOCH)).unwrap(), 17);
}

#[test]
fn a_log_that_is_truncated_takes_nothing_until_that_has_ended() {
    let mut log = open(&SimDisk::new(1), true);
    append(&mut log, &led(0, 6, EPOCH)).unwrap();
    flush_all(&mut log);
    assert_eq!(log.recovery_point(), 21);
    let view = log.view();
    let truncation = log.begin_truncation(11).unwrap().unwrap();
    assert!(log.recovery_point() < 11, "what is written down now holds in any case");
    let refused = append(&mut log, &led(21, 1, EPOCH)).unwrap_err();
    assert!(refused.to_string().contains("is being truncated"), "{refused}");
    let stamp = Stamp { leader_epoch: EPOCH, append_time: None, max_timestamp: None };
    assert!(log.append_as_leader(&batch(1, BatchOptions::default()), stamp, 0).is_err());
    assert!(log.begin_truncation(3).is_err() && log.roll().is_err());
    assert!(log.begin_flush().unwrap().is_none() && log.retire_before(21).unwrap().is_none());
    let sync = log.begin_sync().unwrap();
    let done = truncation.run();
    assert_eq!(view.log_end(), 21, "until the end readers see the log as it was");
    let slice = |offset| Slice { offset, bytes_max: 9999, at_least_one: true, upper: i64::MAX };
    assert!(view.read(slice(15)).unwrap().is_empty(), "but find nothing of what has gone");
    assert_eq!(log.end_truncation(truncation, done).unwrap(), 10);
    let synced = sync.run();
    log.end_sync(&sync, synced).unwrap();
    log.assert_sound();
    assert_eq!((view.log_end(), log.recovery_point(), log.durable()), (10, 10, 10));
    assert_eq!(append(&mut log, &led(10, 2, EPOCH)).unwrap(), 13);
    let mut due = led(0, 4, EPOCH);
    due.extend(led(10, 2, EPOCH));
    assert_eq!(read_all(&log), due);
}

#[test]
fn an_epoch_without_a_record_goes_where_nothing_else_is_cut_off() {
    let mut log = open(&SimDisk::new(1), true);
    append(&mut log, &led(0, 2, EPOCH)).unwrap();
    log.assign_epoch(EPOCH + 1, 3);
    assert_eq!(log.view().latest_epoch(), EPOCH + 1);
    assert!(log.begin_truncation(3).unwrap().is_none());
    assert_eq!(log.view().latest_epoch(), EPOCH);
    let refused = log.begin_truncation(-1).unwrap_err();
    assert_eq!(refused.to_string(), "a log cannot be truncated to offset -1");
}

#[test]
fn the_end_of_an_epoch_is_where_the_next_one_starts() {
    let mut log = open(&SimDisk::new(1), true);
    for (base, epoch) in [(10, 1), (11, 2), (12, 2), (13, 3)] {
        append(&mut log, &led(base, 1, epoch)).unwrap();
    }
    let view = log.view();
    let ends = |from: i32, upto: i32| (from..=upto).map(|epoch| view.end_of_epoch(epoch));
    let due =
        [Some((-2, 10)), None, Some((0, 10)), Some((1, 11)), Some((2, 13)), Some((3, 14)), None];
    assert_eq!(ends(-2, 4).collect::<Vec<_>>(), due);
    log.truncate_to(12).unwrap();
    let due = [None, Some((0, 10)), Some((1, 11)), Some((2, 12)), None];
    assert_eq!(ends(-1, 3).collect::<Vec<_>>(), due);
    log.advance_log_start(11);
    assert_eq!(ends(0, 2).collect::<Vec<_>>(), [Some((0, 11)), Some((1, 11)), Some((2, 12))]);
    log.reset_to(50, 7).unwrap();
    assert_eq!(ends(6, 8).collect::<Vec<_>>(), [Some((6, 50)), Some((7, 50)), None]);
    log.advance_log_start(99);
    assert_eq!((log.log_start(), log.log_end()), (50, 50), "never behind its end");
}
