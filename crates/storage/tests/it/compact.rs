//! Compaction of any history: what must stay stays, what must go goes, at any crash.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_records::control::ControlKind;
use ottla_records::{BatchBuilder, BatchOptions, Compression, NewRecord, batches_in};
use ottla_storage::{
    CleaningStep, CleaningTerms, Compaction, Fate, Files, Log, LogOptions, SimDisk, Stamp,
    StorageError,
};

use crate::{opening, read_all};

const RULES: Compaction = Compaction {
    dirty_millionths: 0,
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    delete_retention_ms: 1000,
};
const STAMP: Stamp = Stamp { leader_epoch: 0, append_time: None, max_timestamp: None };
pub const PLENTY: usize = 1 << 20;

/// Numbers that are the same in every run of a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    offset: i64,
    key: String,
    value: Option<String>,
}

fn small() -> LogOptions {
    LogOptions { segment_bytes: 700, index_interval_bytes: 100, ..LogOptions::default() }
}

fn open(files: &Arc<dyn Files>, clean: bool, recovery_point: i64) -> Log {
    let mut opening = opening(files, Path::new("/data/t-0"), clean);
    (opening.options, opening.recovery_point) = (small(), recovery_point);
    Log::open(opening).unwrap()
}

pub fn keyed(records: &[(String, Option<String>)], options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (at, (key, value)) in records.iter().enumerate() {
        let timestamp = i64::try_from(at).unwrap();
        let (key, value) = (Some(key.as_bytes()), value.as_ref().map(String::as_bytes));
        builder.push(&NewRecord { timestamp, key, value, headers: &[(b"h", Some(b"v"))] });
    }
    builder.build().unwrap()
}

/// The marker that ends a producer's transaction.
pub fn marker(producer_id: i64, producer_epoch: i16, kind: ControlKind) -> Vec<u8> {
    let options = BatchOptions {
        producer_id,
        producer_epoch,
        transactional: true,
        control: true,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    let key = kind.key();
    builder.push(&NewRecord { timestamp: 5, key: Some(&key), value: Some(&[0; 6]), headers: &[] });
    builder.build().unwrap()
}

/// What a reader of committed records sees of the whole log.
pub fn committed(log: &Log) -> Vec<Seen> {
    let bytes = read_all(log);
    let aborted = log.view().aborted(0, i64::MAX);
    let mut seen = Vec::new();
    for batch in batches_in(&bytes) {
        let batch = batch.unwrap();
        assert!(batch.crc_is_right(), "a batch at {} has a wrong checksum", batch.base_offset());
        let is_aborted = aborted.iter().any(|it| {
            let span = it.first_offset..=it.last_offset;
            it.producer_id == batch.producer_id() && span.contains(&batch.base_offset())
        });
        if batch.is_control() || batch.is_transactional() && is_aborted {
            continue;
        }
        for record in batch.unpack(PLENTY).unwrap().records() {
            let record = record.unwrap();
            assert_eq!(record.headers().collect::<Vec<_>>(), [(&b"h"[..], Some(&b"v"[..]))]);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let (key, value) = (text(record.key.unwrap()), record.value.map(text));
            seen.push(Seen { offset: record.offset, key, value });
        }
    }
    seen
}

pub fn flush(log: &mut Log) -> Result<(), StorageError> {
    if let Some(flush) = log.begin_flush()? {
        let done = flush.run();
        log.end_flush(flush, done)?;
    }
    Ok(())
}

/// Cleans what can be cleaned; says up to where the log is clean then.
pub fn clean(log: &mut Log, from: i64, now_ms: i64, memory: usize) -> Result<i64, StorageError> {
    let limit = log.first_unstable(log.log_end()).unwrap_or_else(|| log.log_end());
    let dirt = log.view().dirt(from, limit, &RULES, now_ms)?;
    let terms = CleaningTerms { rules: RULES, dirt, now_ms, memory_bytes: memory, seed: [7; 16] };
    let mut cleaning = log.begin_cleaning(terms);
    // Steps of all sizes, from a batch to all at once.
    let mut sizes = [1, 100, 700, u64::MAX].into_iter().cycle();
    loop {
        match cleaning.step(sizes.next().unwrap())? {
            CleaningStep::More => {}
            CleaningStep::Swap(swap) => {
                assert!(log.replace(&swap));
                swap.finish()?.remove()?;
            }
            CleaningStep::Done => return Ok(cleaning.upto()),
        }
    }
}

/// A log with a history, and what readers of it must see.
struct History {
    log: Log,
    dice: Dice,
    /// Everything that was ever committed.
    all: Vec<Seen>,
    /// Of each open transaction: what it wrote.
    open: BTreeMap<i64, Vec<Seen>>,
    /// The next sequence number of each producer.
    sequences: BTreeMap<i64, i32>,
}

impl History {
    fn new(files: &Arc<dyn Files>, seed: u64) -> Self {
        let log = open(files, true, 0);
        Self {
            log,
            dice: Dice(seed),
            all: vec![],
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
        }
    }

    fn records(&mut self) -> Vec<(String, Option<String>)> {
        let count = 1 + self.dice.roll(4);
        let mut one = || {
            let key = format!("key-{}", self.dice.roll(7));
            let value = (self.dice.roll(5) > 0).then(|| format!("value-{}", self.dice.roll(999)));
            (key, value)
        };
        (0..count).map(|_| one()).collect()
    }

    fn append(&mut self, options: BatchOptions) -> Vec<Seen> {
        let records = self.records();
        let bytes = keyed(&records, options);
        let base = self.log.append_as_leader(&bytes, STAMP, 0).unwrap().base_offset;
        let seen = records.into_iter().zip(base..);
        seen.map(|((key, value), offset)| Seen { offset, key, value }).collect()
    }

    fn append_sequenced(&mut self, producer_id: i64, options: BatchOptions) -> Vec<Seen> {
        let base_sequence = self.sequences.get(&producer_id).copied().unwrap_or(0);
        let seen =
            self.append(BatchOptions { producer_id, producer_epoch: 0, base_sequence, ..options });
        let next = base_sequence + i32::try_from(seen.len()).unwrap();
        self.sequences.insert(producer_id, next);
        seen
    }

    fn step(&mut self) {
        let compression = [Compression::None, Compression::Lz4, Compression::Zstd];
        let compression = compression[self.dice.roll(3)];
        let plain = BatchOptions { compression, ..BatchOptions::default() };
        match self.dice.roll(6) {
            0..=2 => {
                let seen = self.append(plain);
                self.all.extend(seen);
            }
            3 => {
                let seen = self.append_sequenced(1, plain);
                self.all.extend(seen);
            }
            4 => {
                let id = 10 + i64::try_from(self.dice.roll(3)).unwrap();
                let seen = self.append_sequenced(id, BatchOptions { transactional: true, ..plain });
                self.open.entry(id).or_default().extend(seen);
            }
            _ => self.end_one(),
        }
    }

    fn end_one(&mut self) {
        let Some((id, seen)) = self.open.pop_first() else { return };
        let commits = self.dice.roll(2) == 0;
        let kind = if commits { ControlKind::Commit } else { ControlKind::Abort };
        self.log.append_as_leader(&marker(id, 0, kind), STAMP, 0).unwrap();
        if commits {
            self.all.extend(seen);
        }
    }

    /// Only the last record of each key below `upto` is there, and everything behind it;
    /// tombstones may be gone.
    fn check(&self, upto: i64, context: &str) {
        let mut all = self.all.clone();
        all.sort_by_key(|it| it.offset);
        let open: Vec<i64> = self.open.values().flatten().map(|it| it.offset).collect();
        let found: Vec<Seen> =
            committed(&self.log).into_iter().filter(|it| !open.contains(&it.offset)).collect();
        for seen in &found {
            assert!(all.contains(seen), "{context}: {seen:?} was never committed");
        }
        for (at, seen) in all.iter().enumerate() {
            let later = |it: &&Seen| it.key == seen.key && it.offset < upto;
            let is_outdated = seen.offset < upto && all[at + 1..].iter().any(|it| later(&it));
            let is_there = found.contains(seen);
            if is_outdated {
                assert!(!is_there, "{context}: {seen:?} should be gone below {upto}");
            } else if seen.value.is_some() || seen.offset >= upto {
                assert!(is_there, "{context}: {seen:?} is gone, clean below {upto}");
            }
        }
    }
}

#[test]
fn of_any_history_the_last_value_of_each_key_stays() {
    for seed in 0..60 {
        let files = SimDisk::new(1).files();
        let mut history = History::new(&files, seed);
        let (mut clean_upto, mut now) = (0, 10);
        for round in 0..6 {
            (0..25).for_each(|_| history.step());
            let memory = if seed % 3 == 0 { 48 * 5 } else { PLENTY };
            flush(&mut history.log).unwrap();
            clean_upto = clean(&mut history.log, clean_upto, now, memory).unwrap();
            history.check(clean_upto, &format!("seed {seed}, round {round}"));
            now += 400;
            if round % 2 == 1 {
                let is_clean = history.dice.roll(2) == 0;
                let point = history.log.recovery_point();
                let other = open(&files, true, 0);
                let log = std::mem::replace(&mut history.log, other);
                let end = log.log_end();
                if is_clean {
                    log.close_clean().unwrap();
                }
                history.log = open(&files, is_clean, point);
                assert_eq!(history.log.log_end(), end, "seed {seed}, round {round}: reopened");
                history.check(clean_upto, &format!("seed {seed}, round {round}, reopened"));
            }
        }
    }
}

#[test]
fn a_tombstone_goes_when_everybody_had_time_to_see_it() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true, 0);
    let put = |log: &mut Log, value: Option<&str>| {
        let record = ("k".to_owned(), value.map(str::to_owned));
        log.append_as_leader(&keyed(&[record], BatchOptions::default()), STAMP, 0).unwrap();
        log.roll().unwrap();
        flush(log).unwrap();
    };
    put(&mut log, Some("v"));
    put(&mut log, None);
    put(&mut log, Some("other"));
    let record = ("z".to_owned(), None);
    log.append_as_leader(&keyed(&[record], BatchOptions::default()), STAMP, 0).unwrap();
    log.roll().unwrap();
    put(&mut log, Some("last"));
    assert_eq!(clean(&mut log, 0, 100, PLENTY).unwrap(), 5);
    assert_eq!(committed(&log).iter().map(|it| it.offset).collect::<Vec<_>>(), [3, 4]);
    clean(&mut log, 0, 1099, PLENTY).unwrap();
    assert_eq!(committed(&log).len(), 2, "not yet");
    clean(&mut log, 0, 1100, PLENTY).unwrap();
    assert_eq!(committed(&log).iter().map(|it| it.offset).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_producer_is_remembered_when_its_records_are_gone() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true, 0);
    let idempotent =
        BatchOptions { producer_id: 5, producer_epoch: 0, base_sequence: 0, ..Default::default() };
    let first = keyed(&[("k".to_owned(), Some("old".to_owned()))], idempotent);
    log.append_as_leader(&first, STAMP, 0).unwrap();
    log.roll().unwrap();
    let later = keyed(&[("k".to_owned(), Some("new".to_owned()))], BatchOptions::default());
    log.append_as_leader(&later, STAMP, 0).unwrap();
    log.roll().unwrap();
    flush(&mut log).unwrap();
    clean(&mut log, 0, 0, PLENTY).unwrap();
    assert_eq!(committed(&log).iter().map(|it| it.offset).collect::<Vec<_>>(), [1]);
    // Only the log has it now.
    for entry in files.list(Path::new("/data/t-0")).unwrap() {
        if entry.name.ends_with(".snapshot") {
            files.remove(&Path::new("/data/t-0").join(entry.name)).unwrap();
        }
    }
    let mut log = open(&files, false, 0);
    let again = log.append_as_leader(&first, STAMP, 0).unwrap();
    assert!(again.duplicate && again.base_offset == 0);
}

/// A life that ends with a cleaning, until the disk fails; was everything durable by then?
fn life(files: &Arc<dyn Files>) -> Option<i64> {
    let mut opening = opening(files, Path::new("/data/t-0"), true);
    opening.options = small();
    let mut log = Log::open(opening).ok()?;
    for at in 0..40 {
        let record = (format!("key-{}", at % 5), Some(format!("value-{at}")));
        let bytes = keyed(&[record], BatchOptions::default());
        log.append_as_leader(&bytes, STAMP, 0).ok()?;
    }
    flush(&mut log).ok()?;
    let point = log.recovery_point();
    // The power may go here or anywhere in it. The second time segments are joined.
    for _ in 0..2 {
        if clean(&mut log, 0, 0, PLENTY).is_err() {
            break;
        }
    }
    Some(point)
}

#[test]
fn no_power_cut_during_a_cleaning_takes_or_brings_back_anything() {
    let whole = SimDisk::new(1);
    let all = whole.files();
    all.make_dir(Path::new("/data")).unwrap();
    assert_eq!(life(&all), Some(40));
    let changes = whole.changes();
    let state = |log: &Log| {
        let seen = committed(log).into_iter();
        seen.map(|it| (it.key, it.value)).collect::<BTreeMap<_, _>>()
    };
    let wanted = state(&open(&all, false, 40));
    assert_eq!(wanted.len(), 5);
    let mut crashes = 0;
    for at in 1..=changes {
        for fate in [Fate::Lost, Fate::Kept, Fate::Torn(at), Fate::Torn(at + 1000)] {
            let disk = SimDisk::new(at);
            let files = disk.files();
            files.make_dir(Path::new("/data")).unwrap();
            files.sync_dir(Path::new("/")).unwrap();
            disk.cut_power_after(at);
            let Some(point) = life(&files) else { continue };
            disk.power_cut_as(fate);
            let files = disk.files();
            let log = open(&files, false, point);
            assert_eq!(log.log_end(), 40, "{fate:?} at {at}");
            assert_eq!(state(&log), wanted, "{fate:?} at {at}");
            let left = files.list(Path::new("/data/t-0")).unwrap();
            let odd = [".cleaned", ".swap", ".deleted"];
            let odd: Vec<_> =
                left.iter().filter(|it| odd.iter().any(|end| it.name.ends_with(end))).collect();
            assert!(odd.is_empty(), "{fate:?} at {at}: {odd:?}");
            let found = read_all(&log);
            let held = log.view().size_bytes();
            assert_eq!(found.len() as u64, held, "{fate:?} at {at}: something is there twice");
            drop(log);
            assert_eq!(read_all(&open(&files, false, point)), found, "{fate:?} at {at}: again");
            crashes += 1;
        }
    }
    assert!(crashes > 60, "{crashes}");
}
