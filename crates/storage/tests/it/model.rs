//! Appends, rolls, cuts and crashes, compared with what must be there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_records::{Batch, BatchOptions, batches_in};
use ottla_storage::{
    AppendError, Fate, Files, Log, LogOptions, ProducerError, Retention, SimDisk, Slice, Stamp,
    StorageError,
};

use proptest::prelude::*;

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

/// Makes everything durable, records, indexes and producers.
fn flush_all(log: &mut Log) -> Result<i64, StorageError> {
    if let Some(flush) = log.begin_flush()? {
        let done = flush.run();
        log.end_flush(flush, done)?;
    }
    Ok(log.recovery_point())
}

/// A life of appends and flushes until the disk fails; up to where it was durable then, and from
/// where on it is to be recovered.
fn life(files: &Arc<dyn Files>) -> (i64, i64) {
    let (mut durable, mut point) = (0, 0);
    let mut opening = opening(files, Path::new("/data/t-0"), true);
    opening.options = small();
    let Ok(mut log) = Log::open(opening) else { return (0, 0) };
    for count in 1..16 {
        let bytes = batch(count, BatchOptions::default());
        if log.append_as_leader(&bytes, STAMP, 0).is_err() {
            return (durable, point);
        }
        let done = match count % 4 {
            0 => log.flush(),
            2 => flush_all(&mut log).inspect(|end| point = *end),
            _ => continue,
        };
        match done {
            Ok(end) => durable = end,
            Err(_) => return (durable, point),
        }
    }
    let end = log.close_clean().unwrap_or(durable);
    (end, point)
}

/// Cuts the power at every change of a life; what was flushed is there, nothing is half there,
/// and a second start finds what the first has found.
#[test]
fn no_power_cut_takes_what_was_flushed() {
    let whole = SimDisk::new(1);
    let all = whole.files();
    all.make_dir(Path::new("/data")).unwrap();
    assert_eq!(life(&all).0, 120, "without a cut everything is flushed");
    let written = read_all(&open(&all, true));
    let changes = whole.changes();
    assert!(changes > 80, "{changes}");
    for at in 1..changes {
        for fate in [Fate::Lost, Fate::Kept, Fate::Torn(at), Fate::Torn(at + 1000)] {
            let disk = SimDisk::new(at);
            let files = disk.files();
            files.make_dir(Path::new("/data")).unwrap();
            files.sync_dir(Path::new("/")).unwrap();
            disk.cut_power_after(at);
            let (durable, point) = life(&files);
            disk.power_cut_as(fate);
            let files = disk.files();
            let mut opening = opening(&files, Path::new("/data/t-0"), false);
            opening.options = small();
            opening.recovery_point = point;
            let log = Log::open(opening.clone()).unwrap();
            let end = log.log_end();
            assert!(end >= durable, "{fate:?} at {at}: {end} < {durable}");
            let found = read_all(&log);
            assert!(written.starts_with(&found), "{fate:?} at {at}: not what was written");
            for offset in 0..end {
                let view = log.view();
                let slice = Slice { offset, bytes_max: 1, at_least_one: true, upper: end };
                let bytes = view.read(slice).unwrap();
                let batch = Batch::first(&bytes).unwrap();
                let held = batch.base_offset()..=batch.last_offset();
                assert!(held.contains(&offset), "{fate:?} at {at}: {offset} is elsewhere");
            }
            drop(log);
            let again = Log::open(opening).unwrap();
            assert_eq!(read_all(&again), found, "{fate:?} at {at}: the second start");
        }
    }
}

/// What a life with cuts at both ends has left: what is durable, and all that was ever written.
#[derive(Default)]
struct Left {
    /// Batches that no power cut may take, by their first offset.
    durable: BTreeMap<i64, Vec<u8>>,
    /// Every version of a batch that was ever written at an offset.
    ever: BTreeMap<i64, Vec<Vec<u8>>>,
    point: i64,
    start: i64,
}

impl Left {
    fn append(&mut self, log: &mut Log, count: usize, epoch: i32) -> Result<(), AppendError> {
        let stamp = Stamp { leader_epoch: epoch, append_time: None, max_timestamp: None };
        let base = log.log_end();
        log.append_as_leader(&batch(count, BatchOptions::default()), stamp, 0)?;
        let slice = Slice { offset: base, bytes_max: 1, at_least_one: true, upper: i64::MAX };
        let bytes = log.view().read(slice).unwrap().to_vec();
        self.ever.entry(base).or_default().push(bytes);
        Ok(())
    }

    /// Two batches in one write, if the log takes them so.
    fn append_together(&mut self, log: &mut Log, epoch: i32) -> Result<(), AppendError> {
        let stamp = Stamp { leader_epoch: epoch, append_time: None, max_timestamp: None };
        let (one, two) = (batch(1, BatchOptions::default()), batch(2, BatchOptions::default()));
        // A power cut may leave the first without the second.
        for (base, bytes) in [(log.log_end(), &one), (log.log_end() + 1, &two)] {
            let mut bytes = bytes.clone();
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
            self.ever.entry(base).or_default().push(bytes);
        }
        log.append_together_as_leader(&[&one, &two], stamp, 0)?;
        Ok(())
    }

    fn flush(&mut self, log: &mut Log) -> Result<(), StorageError> {
        self.point = flush_all(log)?;
        let all = read_all(log);
        self.durable = batches_in(&all)
            .map(|it| it.unwrap())
            .map(|it| (it.base_offset(), it.bytes().to_vec()))
            .collect();
        Ok(())
    }

    fn cut(&mut self, log: &mut Log, offset: i64) -> Result<(), StorageError> {
        self.durable.retain(|_, bytes| Batch::first(bytes).unwrap().last_offset() < offset);
        // As whoever cuts must.
        self.point = self.point.min(offset);
        let cut = log.truncate_to(offset);
        self.point = self.point.min(log.recovery_point());
        self.start = log.log_start();
        let is_ahead = log.recovery_point() > log.log_end();
        assert!(cut.is_err() || !is_ahead, "what is gone is called durable");
        cut
    }

    fn retire(&mut self, log: &mut Log, offset: i64) -> Result<(), StorageError> {
        self.durable.retain(|base, _| *base >= offset);
        log.advance_log_start(offset);
        self.start = offset;
        let retention = Retention::default();
        let Some(upto) = log.view().expired(retention, log.log_end(), 0)? else { return Ok(()) };
        self.durable.retain(|base, _| *base >= upto);
        if let Some(retired) = log.retire_before(upto)? {
            retired.mark()?;
            retired.remove()?;
        }
        Ok(())
    }

    fn live(&mut self, log: &mut Log) -> Result<(), AppendError> {
        for round in 1..5 {
            for count in 1..6 {
                self.append(log, count + usize::try_from(round).unwrap(), round)?;
                if count == 3 {
                    self.flush(log)?;
                }
            }
            self.cut(log, log.log_end() - 12)?;
            self.append(log, 4, round)?;
            self.append_together(log, round)?;
            if round % 2 == 0 {
                self.flush(log)?;
                self.retire(log, self.start + 15)?;
            }
        }
        Ok(())
    }
}

/// A disk on which a life may begin.
fn begin(disk: &SimDisk) -> Arc<dyn Files> {
    let files = disk.files();
    files.make_dir(Path::new("/data")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    files
}

/// Lives until the power is cut; then what was flushed and not given up must be there, and what is
/// there must have been written there once; a second start must find the same.
fn live_and_die(at: u64, fate: Fate, live: impl FnOnce(&mut Left, &mut Log)) {
    let disk = SimDisk::new(at);
    let files = begin(&disk);
    disk.cut_power_after(at);
    let mut left = Left::default();
    let mut first = opening(&files, Path::new("/data/t-0"), true);
    first.options = small();
    if let Ok(mut log) = Log::open(first) {
        live(&mut left, &mut log);
    }
    disk.power_cut_as(fate);
    let files = disk.files();
    let mut opening = opening(&files, Path::new("/data/t-0"), false);
    opening.options = small();
    (opening.recovery_point, opening.log_start) = (left.point, left.start);
    let log = Log::open(opening.clone()).unwrap();
    let found = read_all(&log);
    let mut there = BTreeMap::new();
    let mut end = None;
    for batch in batches_in(&found).map(|it| it.unwrap()) {
        let base = batch.base_offset();
        assert!(batch.crc_is_right(), "{fate:?} at {at}: {base} is torn");
        assert!(end.is_none_or(|end| end == base), "{fate:?} at {at}: a hole before {base}");
        end = Some(batch.next_offset());
        there.insert(base, batch.bytes().to_vec());
    }
    for (base, bytes) in &there {
        let known = left.ever.get(base).is_some_and(|all| all.contains(bytes));
        // The append that the cut ended may be there whole, though nobody was told.
        let is_last = there.keys().last() == Some(base);
        assert!(known || is_last, "{fate:?} at {at}: {base} was never written");
    }
    for (base, bytes) in &left.durable {
        assert!(there.get(base) == Some(bytes), "{fate:?} at {at}: {base} is lost");
    }
    drop(log);
    assert_eq!(read_all(&Log::open(opening).unwrap()), found, "{fate:?} at {at}: again");
}

/// As above, where the log is also cut at its end and deleted from its front.
#[test]
fn no_power_cut_while_a_log_is_cut_or_deleted_makes_up_records() {
    let whole = SimDisk::new(1);
    let mut left = Left::default();
    left.live(&mut open(&begin(&whole), true)).unwrap();
    assert!(left.start == 30 && !left.durable.is_empty());
    let changes = whole.changes();
    assert!(changes > 100, "{changes}");
    for at in 1..changes {
        for fate in [Fate::Lost, Fate::Kept, Fate::Torn(at), Fate::Torn(at + 1000)] {
            live_and_die(at, fate, |left, log| drop(left.live(log)));
        }
    }
}

/// One thing that happens to a log.
#[derive(Clone, Debug)]
enum Event {
    Append(usize),
    Flush,
    Sync,
    /// So many records from the end.
    Cut(i64),
    /// So many records from the start.
    Retire(i64),
    Roll,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1_usize..12).prop_map(Event::Append),
        2 => Just(Event::Flush),
        2 => Just(Event::Sync),
        1 => (1_i64..20).prop_map(Event::Cut),
        1 => (1_i64..20).prop_map(Event::Retire),
        1 => Just(Event::Roll),
    ]
}

impl Left {
    fn meet(&mut self, log: &mut Log, event: &Event) -> Result<(), AppendError> {
        match *event {
            Event::Append(count) => self.append(log, count, 1)?,
            Event::Flush => self.flush(log)?,
            Event::Sync => {
                log.flush()?;
            }
            Event::Cut(count) => self.cut(log, (log.log_end() - count).max(log.log_start()))?,
            Event::Retire(count) => {
                let offset = (log.log_start() + count).min(log.log_end());
                self.retire(log, offset)?;
            }
            Event::Roll => log.roll()?,
        }
        Ok(())
    }
}

proptest! {
    // As many as PROPTEST_CASES says, 256 by default; a failure prints its case and its seed.
    #[test]
    fn no_power_cut_in_any_life_loses_or_makes_up_records(
        events in proptest::collection::vec(event(), 1..40),
        at in 1_u64..250,
        torn in any::<Option<u64>>(),
    ) {
        live_and_die(at, torn.map_or(Fate::Lost, Fate::Torn), |left, log| {
            let _ = events.iter().try_for_each(|event| left.meet(log, event));
        });
    }
}
