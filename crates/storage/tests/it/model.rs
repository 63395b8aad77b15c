//! Appends, rolls and cuts, compared with what must be there.

use std::path::Path;
use std::sync::Arc;

use ottla_records::control::ControlKind;
use ottla_records::{BatchOptions, batches_in};
use ottla_storage::{AppendError, Files, Log, LogOptions, ProducerError, SimDisk, Slice, Stamp};

use crate::compact::marker;
use crate::{batch, opening, read_all, sequenced};

const STAMP: Stamp = Stamp { leader_epoch: 0, append_time: None, max_timestamp: None };

fn small() -> LogOptions {
    LogOptions { segment_bytes: 600, index_interval_bytes: 100, ..LogOptions::default() }
}

fn open(files: &Arc<dyn Files>, clean: bool) -> Log {
    let mut opening = opening(files, Path::new("/data/t-0"), clean);
    opening.options = small();
    Log::open(opening).unwrap()
}

#[test]
fn what_is_appended_is_read_across_segments_and_restarts() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true);
    for count in 1..30 {
        log.append_as_leader(&batch(count, BatchOptions::default()), STAMP, 0).unwrap();
    }
    let written = read_all(&log);
    let mut at = 0;
    for batch in batches_in(&written) {
        let batch = batch.unwrap();
        assert!(batch.crc_is_right());
        assert_eq!(batch.base_offset(), at);
        at = batch.next_offset();
    }
    assert_eq!(at, 435);
    log.close_clean().unwrap();
    assert_eq!(read_all(&open(&files, true)), written, "after a clean stop");
    assert_eq!(read_all(&open(&files, false)), written, "after an unclean one");
}

#[test]
fn a_reader_gets_whole_batches_below_its_limit() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true);
    for _ in 0..6 {
        log.append_as_leader(&batch(5, BatchOptions::default()), STAMP, 0).unwrap();
    }
    let view = log.view();
    let read = |offset, bytes_max, at_least_one, upper| {
        let bytes = view.read(Slice { offset, bytes_max, at_least_one, upper }).unwrap();
        let bases = batches_in(&bytes).map(|batch| batch.unwrap().base_offset());
        bases.collect::<Vec<_>>()
    };
    assert_eq!(read(7, 10_000, true, 15), [5, 10], "from the batch that holds the offset");
    assert_eq!(read(0, 10_000, true, 5), [0], "not beyond the limit");
    assert_eq!(read(0, 1, true, 30), [0], "one at least");
    assert_eq!(read(0, 1, false, 30), [] as [i64; 0]);
    assert_eq!(read(30, 100, true, 30), [] as [i64; 0], "the end is no error");
    assert!(view.read(Slice { offset: 31, bytes_max: 1, at_least_one: true, upper: 31 }).is_err());
}

#[test]
fn what_is_cut_off_is_gone_and_the_log_goes_on() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true);
    for epoch in 0..8 {
        let stamp = Stamp { leader_epoch: epoch, append_time: None, max_timestamp: None };
        log.append_as_leader(&batch(5, BatchOptions::default()), stamp, 0).unwrap();
    }
    log.truncate_to(17).unwrap();
    assert_eq!(log.log_end(), 15, "a batch goes as a whole");
    assert_eq!(log.view().latest_epoch(), 2);
    log.append_as_leader(&batch(1, BatchOptions::default()), STAMP, 0).unwrap();
    assert_eq!(log.log_end(), 16);
    log.close_clean().unwrap();
    assert_eq!(open(&files, true).log_end(), 16);
}

#[test]
fn an_idempotent_producer_writes_each_batch_once() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true);
    let append = |log: &mut Log, epoch, sequence| {
        log.append_as_leader(&sequenced(epoch, sequence), STAMP, 0)
    };
    for sequence in (0..12).step_by(2) {
        assert!(!append(&mut log, 0, sequence).unwrap().duplicate);
    }
    let again = append(&mut log, 0, 2).unwrap();
    assert!(again.duplicate && again.base_offset == 2, "five batches are remembered");
    let lost = append(&mut log, 0, 0).unwrap_err();
    assert!(matches!(lost, AppendError::Producer(ProducerError::OutOfOrder { .. })), "not six");
    let gap = append(&mut log, 0, 14).unwrap_err();
    assert!(matches!(gap, AppendError::Producer(ProducerError::OutOfOrder { sent: 14, last: 11 })));
    assert!(append(&mut log, 1, 4).is_err(), "a new epoch starts at 0");
    append(&mut log, 1, 0).unwrap();
    let fenced = append(&mut log, 0, 12).unwrap_err();
    assert!(matches!(fenced, AppendError::Producer(ProducerError::Fenced { .. })));
    log.close_clean().unwrap();
    let mut log = open(&files, true);
    assert!(append(&mut log, 1, 0).unwrap().duplicate, "the last batch survives a restart");
    let mut log = open(&files, false);
    assert!(append(&mut log, 1, 0).unwrap().duplicate, "also an unclean one");
    assert_eq!(log.log_end(), 14);
}

#[test]
fn after_the_marker_of_a_new_epoch_its_first_batch_has_sequence_0() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true);
    log.append_as_leader(&sequenced(0, 0), STAMP, 0).unwrap();
    // With transaction.version 2 a marker has the epoch of the next transaction (KIP-890).
    let marker = marker(4000, 1, ControlKind::Commit);
    log.append_as_coordinator(&marker, STAMP, 0).unwrap();
    log.close_clean().unwrap();
    for clean in [true, false] {
        let mut log = open(&files, clean);
        let gap = log.append_as_leader(&sequenced(1, 2), STAMP, 0).unwrap_err();
        let gap_at = |sent| ProducerError::OutOfOrder { sent, last: -1 };
        assert!(matches!(gap, AppendError::Producer(error) if error == gap_at(2)));
    }
    let mut log = open(&files, false);
    log.append_as_leader(&sequenced(1, 0), STAMP, 0).unwrap();
}

#[test]
fn the_append_time_replaces_what_the_producer_said() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true);
    let stamp = Stamp { leader_epoch: 0, append_time: Some(77), max_timestamp: None };
    let appended = log.append_as_leader(&batch(2, BatchOptions::default()), stamp, 77).unwrap();
    assert_eq!(appended.append_time, 77);
    let bytes = read_all(&log);
    let batch = batches_in(&bytes).next().unwrap().unwrap();
    assert!(batch.crc_is_right() && batch.is_append_time());
    let times = batch.unpack(1000).unwrap();
    assert!(times.records().all(|record| record.unwrap().timestamp == 77));
}
