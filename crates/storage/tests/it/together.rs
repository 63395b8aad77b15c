//! Batches that came together, in one write.

use std::path::Path;
use std::sync::Arc;

use ottla_records::{BatchOptions, batches_in};
use ottla_storage::{Appended, Fault, Files, Log, SimDisk, Stamp, StorageError};

use crate::{batch, opening, read_all, sequenced};

const STAMP: Stamp = Stamp { leader_epoch: 3, append_time: None, max_timestamp: None };

fn open(files: &Arc<dyn Files>, segment_bytes: u64) -> Log {
    let mut opening = opening(files, Path::new("/data/t-0"), false);
    opening.options.segment_bytes = segment_bytes;
    Log::open(opening).unwrap()
}

fn plain(counts: &[usize]) -> Vec<Vec<u8>> {
    counts.iter().map(|count| batch(*count, BatchOptions::default())).collect()
}

fn together(log: &mut Log, all: &[Vec<u8>]) -> Result<Option<Vec<Appended>>, StorageError> {
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    log.append_together_as_leader(&all, STAMP, 0)
}

#[test]
fn they_stand_as_if_they_had_come_one_by_one() {
    let all = plain(&[1, 5, 2, 9]);
    let files = SimDisk::new(1).files();
    let mut log = open(&files, 1 << 20);
    let appended = together(&mut log, &all).unwrap().unwrap();
    let other = SimDisk::new(2).files();
    let mut one_by_one = open(&other, 1 << 20);
    let expected: Vec<Appended> =
        all.iter().map(|it| one_by_one.append_as_leader(it, STAMP, 0).unwrap()).collect();
    assert_eq!(appended, expected);
    assert_eq!(read_all(&log), read_all(&one_by_one));
    drop(log);
    // And a start after a crash finds them.
    assert_eq!(read_all(&open(&files, 1 << 20)), read_all(&one_by_one));
}

#[test]
fn what_does_not_fit_into_the_segment_is_not_written() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, 300);
    assert_eq!(together(&mut log, &plain(&[1, 1, 9, 9])).unwrap(), None);
    assert_eq!((log.log_end(), read_all(&log).len()), (0, 0));
    assert!(together(&mut log, &plain(&[1, 1])).unwrap().is_some());
    // The next would be full with the second of these.
    assert_eq!(together(&mut log, &plain(&[1, 4])).unwrap(), None);
    assert_eq!(log.log_end(), 2);
}

#[test]
fn a_producers_sequence_counts_those_before_it() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, 1 << 20);
    let appended = together(&mut log, &[0, 2, 4].map(|it| sequenced(0, it))).unwrap().unwrap();
    assert_eq!(appended.iter().map(|it| it.end).collect::<Vec<_>>(), [2, 4, 6]);
    let before = read_all(&log);
    for refused in [[6, 10], [10, 6], [4, 6], [6, 6]] {
        // A gap, or a batch that is there already: its producer must get an error.
        assert_eq!(
            together(&mut log, &refused.map(|it| sequenced(0, it))).unwrap(),
            None,
            "{refused:?}"
        );
        assert_eq!((log.log_end(), read_all(&log)), (6, before.clone()));
    }
    // What was refused is not remembered.
    assert!(!log.append_as_leader(&sequenced(0, 6), STAMP, 0).unwrap().duplicate);
    assert!(together(&mut log, &[8, 10].map(|it| sequenced(0, it))).unwrap().is_some());
    assert!(log.append_as_leader(&sequenced(0, 10), STAMP, 0).unwrap().duplicate);
}

#[test]
fn transactions_come_one_by_one() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, 1 << 20);
    let options = BatchOptions {
        producer_id: 4000,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    let all = [batch(1, BatchOptions::default()), batch(1, options)];
    assert_eq!(together(&mut log, &all).unwrap(), None);
    assert_eq!((log.log_end(), log.first_unstable(0)), (0, None));
}

#[test]
fn without_room_none_of_them_is_there_and_the_log_goes_on() {
    let disk = SimDisk::new(1);
    let files = disk.files();
    let mut log = open(&files, 1 << 20);
    together(&mut log, &plain(&[2, 2])).unwrap().unwrap();
    let before = read_all(&log);
    disk.set_fault(Path::new("/data"), Some(Fault::Full));
    // The first of the two is whole when the room ends.
    assert!(together(&mut log, &plain(&[1, 20])).is_err());
    assert_eq!((log.log_end(), read_all(&log)), (4, before));
    disk.set_fault(Path::new("/data"), None);
    together(&mut log, &plain(&[1, 1])).unwrap().unwrap();
    drop(log);
    let again = read_all(&open(&files, 1 << 20));
    let ends: Vec<i64> = batches_in(&again).map(|it| it.unwrap().next_offset()).collect();
    assert_eq!(ends, [2, 4, 5, 6]);
}

#[test]
fn a_disk_that_fails_ends_the_log() {
    let disk = SimDisk::new(1);
    let files = disk.files();
    let mut log = open(&files, 1 << 20);
    disk.set_fault(Path::new("/data"), Some(Fault::Writes));
    assert!(matches!(together(&mut log, &plain(&[1, 1])), Err(StorageError::Io { .. })));
    disk.set_fault(Path::new("/data"), None);
    assert!(matches!(together(&mut log, &plain(&[1, 1])), Err(StorageError::Failed)));
    assert_eq!(log.log_end(), 0);
}
