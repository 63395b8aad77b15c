//! Logs of leaders, of any history, copied in any slices: followers have the same bytes, and know
//! the same, also after truncations, resets and power cuts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_records::control::ControlKind;
use ottla_records::{Batch, BatchOptions, Compression, batches_in};
use ottla_storage::{
    AbortedTransaction, AppendError, Fate, FetchedBatches, Files, Log, LogOptions, LogView,
    Opening, ProducerEntry, Retention, SimDisk, Slice, Stamp, StorageError, Truncation,
};

use crate::compact::{Dice, PLENTY, clean, committed, flush, keyed, marker};
use crate::opening;

const FOLDER: &str = "/data/t-0";
/// Producers up to here write plain, those above in transactions.
const TRANSACTIONAL: i64 = 10;

fn options() -> LogOptions {
    LogOptions { segment_bytes: 700, index_interval_bytes: 100, ..LogOptions::default() }
}

fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let files = disk.files();
    files.make_dir(Path::new("/data")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    disk
}

/// All whole batches from the log's start to its end; offsets may be missing at the end.
fn batches_of(view: &LogView) -> BTreeMap<i64, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut offset = view.log_start();
    while offset < view.log_end() {
        let slice = Slice { offset, bytes_max: 900, at_least_one: true, upper: i64::MAX };
        let bytes = view.read(slice).unwrap();
        for batch in batches_in(&bytes).map(|it| it.unwrap()) {
            assert!(batch.crc_is_right(), "the batch at {} is torn", batch.base_offset());
            assert!(batch.last_offset() >= offset, "{offset} was read twice");
            offset = batch.next_offset();
            all.insert(batch.base_offset(), batch.bytes().to_vec());
        }
        if bytes.is_empty() {
            break;
        }
    }
    all
}

/// A leader, and what it has done so far.
struct Leading {
    log: Log,
    dice: Dice,
    epoch: i32,
    now_ms: i64,
    sequences: BTreeMap<i64, i32>,
    /// The first offset of each open transaction.
    open: BTreeMap<i64, i64>,
    compacts: bool,
    deletes: bool,
    clean_upto: i64,
}

impl Leading {
    fn new(seed: u64, compacts: bool, deletes: bool) -> Self {
        let opening = opening(&new_disk(seed).files(), Path::new(FOLDER), true);
        let mut log = Log::open(Opening { options: options(), ..opening }).unwrap();
        log.assign_epoch(1, 0);
        Self {
            log,
            dice: Dice(seed),
            epoch: 1,
            now_ms: 0,
            sequences: BTreeMap::new(),
            open: BTreeMap::new(),
            compacts,
            deletes,
            clean_upto: 0,
        }
    }

    fn append(&mut self, options: BatchOptions) {
        let compression = [Compression::None, Compression::Lz4][self.dice.roll(2)];
        let count = 1 + self.dice.roll(5);
        let record = |dice: &mut Dice| {
            let value = (dice.roll(5) > 0).then(|| format!("value-{}", dice.roll(999)));
            (format!("key-{}", dice.roll(7)), value)
        };
        let records: Vec<_> = (0..count).map(|_| record(&mut self.dice)).collect();
        let bytes = keyed(&records, BatchOptions { compression, ..options });
        if options.producer_id >= 0 {
            *self.sequences.entry(options.producer_id).or_default() +=
                i32::try_from(count).unwrap();
        }
        let stamp = self.stamp();
        self.log.append_as_leader(&bytes, stamp, self.now_ms).unwrap();
    }

    fn stamp(&mut self) -> Stamp {
        self.now_ms += i64::try_from(self.dice.roll(50)).unwrap();
        let append_time = (self.dice.roll(2) == 0).then_some(self.now_ms);
        Stamp { leader_epoch: self.epoch, append_time, max_timestamp: None }
    }

    fn append_as(&mut self, producer_id: i64) {
        let base_sequence = self.sequences.get(&producer_id).copied().unwrap_or(0);
        let transactional = producer_id > TRANSACTIONAL;
        if transactional {
            self.open.entry(producer_id).or_insert(self.log.log_end());
        }
        let options = BatchOptions {
            producer_id,
            producer_epoch: 0,
            base_sequence,
            transactional,
            ..BatchOptions::default()
        };
        self.append(options);
    }

    fn step(&mut self) {
        let producer = i64::try_from(self.dice.roll(4)).unwrap();
        match self.dice.roll(16) {
            0..=4 => self.append(BatchOptions::default()),
            5 | 6 => self.append_as(producer),
            7..=9 => self.append_as(TRANSACTIONAL + 1 + producer),
            10..=12 => {
                let Some((id, _)) = self.open.pop_first() else { return };
                let kind = [ControlKind::Commit, ControlKind::Abort][self.dice.roll(2)];
                let stamp = self.stamp();
                self.log.append_as_coordinator(&marker(id, 0, kind), stamp, self.now_ms).unwrap();
            }
            13 => {
                self.epoch += 1 + i32::try_from(self.dice.roll(2)).unwrap();
                self.log.assign_epoch(self.epoch, self.log.log_end());
            }
            14 if self.compacts => {
                flush(&mut self.log).unwrap();
                let (from, now_ms) = (self.clean_upto, self.now_ms);
                self.clean_upto = clean(&mut self.log, from, now_ms, PLENTY).unwrap();
            }
            15 if self.deletes => self.delete(),
            _ => {}
        }
    }

    /// DeleteRecords up to some offset, which may be within a batch, and what follows from it.
    fn delete(&mut self) {
        let (start, end) = (self.log.log_start(), self.log.log_end());
        let count = self.dice.roll(usize::try_from((end - start) / 3 + 1).unwrap());
        self.log.advance_log_start(start + i64::try_from(count).unwrap());
        if self.dice.roll(2) == 0 {
            remove_deleted(&mut self.log).unwrap();
        }
    }
}

/// Removes the segments below the log's start.
fn remove_deleted(log: &mut Log) -> Result<(), StorageError> {
    let Some(upto) = log.view().expired(Retention::default(), log.log_end(), 0)? else {
        return Ok(());
    };
    if let Some(retired) = log.retire_before(upto)? {
        retired.mark()?;
        retired.remove()?;
    }
    Ok(())
}

/// A follower, and what of it is written down elsewhere.
struct Following {
    disk: SimDisk,
    log: Log,
    dice: Dice,
    has_gaps: bool,
    point: i64,
    start: i64,
}

impl Following {
    fn new(seed: u64, has_gaps: bool) -> Self {
        let disk = new_disk(seed + 1);
        let log = Self::open(&disk, has_gaps, true, (0, 0));
        Self { disk, log, dice: Dice(seed + 2), has_gaps, point: 0, start: 0 }
    }

    fn open(disk: &SimDisk, has_gaps: bool, clean: bool, (point, start): (i64, i64)) -> Log {
        let opening = opening(&disk.files(), Path::new(FOLDER), clean);
        let (recovery_point, log_start) = (point, start);
        let options = options();
        Log::open(Opening { options, has_gaps, recovery_point, log_start, ..opening }).unwrap()
    }

    /// Copies some batches; `false` if there are none.
    fn copy(&mut self, leading: &Leading) -> bool {
        let view = leading.log.view();
        let (start, end) = (view.log_start(), view.log_end());
        if self.log.log_end() < start || self.log.log_end() > end {
            let reset = self.log.begin_reset(start).unwrap();
            self.run(reset);
        }
        let offset = self.log.log_end();
        let bytes_max = 1 + self.dice.roll(2500);
        let slice = Slice { offset, bytes_max, at_least_one: true, upper: i64::MAX };
        let bytes = view.read(slice).unwrap();
        if bytes.is_empty() {
            assert_eq!(offset, end, "a leader has nothing for its follower");
            return false;
        }
        self.append_hostile(&bytes, leading.epoch);
        // A response is cut off anywhere.
        let first = Batch::first(&bytes).unwrap().size();
        let length = first + self.dice.roll(bytes.len() - first + 1);
        let fetched = FetchedBatches::check(&bytes[..length], leading.epoch).unwrap();
        let appended = self.log.append_as_follower(&fetched, leading.now_ms).unwrap();
        assert_eq!(appended.bytes, fetched.bytes().len() as u64);
        assert_eq!(appended.end, self.log.log_end());
        self.log.advance_log_start(start);
        self.log.assert_sound();
        true
    }

    /// Fetched bytes with something wrong in one batch: nothing of them is appended.
    fn append_hostile(&mut self, bytes: &[u8], epoch: i32) {
        let (log_end, size) = (self.log.log_end(), self.log.view().size_bytes());
        let mut wrong = bytes.to_vec();
        let count = batches_in(bytes).count();
        let chosen = self.dice.roll(count);
        let mut starts = batches_in(bytes).scan(0, |at, batch| {
            let start = *at;
            *at += batch.unwrap().size();
            Some(start..*at)
        });
        let place = starts.nth(chosen).unwrap();
        match self.dice.roll(4) {
            // Below the log, or below the batch before it.
            0 => wrong[place.start..place.start + 8].copy_from_slice(&(log_end - 1).to_be_bytes()),
            1 => wrong[place.start + 12] = 0x80,
            2 => wrong[place.start + 8] |= 0x80,
            // All that the checksum covers, and the checksum.
            _ => {
                let at = place.start + 16 + self.dice.roll(place.len() - 16);
                wrong[at] ^= 1 << self.dice.roll(8);
            }
        }
        let appended = FetchedBatches::check(&wrong, epoch)
            .map_err(AppendError::from)
            .and_then(|fetched| self.log.append_as_follower(&fetched, 0));
        // The first batch of an empty log may begin below its start.
        let may_begin_lower = chosen == 0 && self.log.log_end() > log_end;
        assert!(appended.is_err() || may_begin_lower, "{appended:?}");
        if appended.is_err() {
            assert_eq!((self.log.log_end(), self.log.view().size_bytes()), (log_end, size));
        } else {
            let reset = self.log.begin_reset(log_end).unwrap();
            self.run(reset);
        }
    }

    /// Runs a truncation while readers read; what they find was there before.
    fn run(&mut self, truncation: Truncation) {
        let view = self.log.view();
        let before = batches_of(&view);
        self.point = self.point.min(self.log.recovery_point());
        let done = truncation.run();
        for (base, bytes) in &before {
            let slice = Slice { offset: *base, bytes_max: 1, at_least_one: true, upper: i64::MAX };
            let Ok(read) = view.read(slice) else { continue };
            assert!(read.is_empty() || read == *bytes, "other bytes at {base}");
        }
        self.log.end_truncation(truncation, done).unwrap();
        self.start = self.log.log_start();
        self.log.assert_sound();
    }

    fn truncate(&mut self) {
        let (start, end) = (self.log.log_start(), self.log.log_end());
        let count = self.dice.roll(usize::try_from(end - start + 1).unwrap());
        let offset = end - i64::try_from(count).unwrap();
        let kept = batches_of(&self.log.view());
        if let Some(truncation) = self.log.begin_truncation(offset).unwrap() {
            self.run(truncation);
        }
        let kept: BTreeMap<_, _> = kept
            .into_iter()
            .filter(|(_, bytes)| Batch::first(bytes).unwrap().last_offset() < offset)
            .collect();
        assert_eq!(batches_of(&self.log.view()), kept, "cut at {offset}");
        assert!(self.log.log_end() <= offset);
    }

    fn flush(&mut self) {
        flush(&mut self.log).unwrap();
        (self.point, self.start) = (self.log.recovery_point(), self.log.log_start());
    }

    fn reopen(&mut self) {
        let (clean, point, start) = (self.dice.roll(2) == 0, self.point, self.start);
        let scratch = Self::open(&new_disk(0), false, true, (0, 0));
        let log = std::mem::replace(&mut self.log, scratch);
        let end = log.log_end();
        if clean {
            self.start = log.log_start();
            self.point = log.close_clean().unwrap();
            self.log = Self::open(&self.disk, self.has_gaps, true, (self.point, self.start));
            assert!(self.log.log_end() <= end);
            return;
        }
        let before = batches_of(&log.view());
        drop(log);
        let fate = [Fate::Kept, Fate::Lost, Fate::Torn(self.dice.0)][self.dice.roll(3)];
        self.disk.power_cut_as(fate);
        self.log = Self::open(&self.disk, self.has_gaps, false, (point, start));
        let found = batches_of(&self.log.view());
        for (base, bytes) in &before {
            let is_durable = Batch::first(bytes).unwrap().last_offset() < point;
            let there = found.get(base);
            assert!(there == Some(bytes) || !is_durable && there.is_none(), "at {base}: {there:?}");
        }
        // The log's start was perhaps not written down since it has moved.
        let first = before.keys().next().copied().unwrap_or(end);
        let made_up = found.range(first..).find(|(base, _)| !before.contains_key(base));
        assert!(made_up.is_none(), "{made_up:?} was not there");
        assert!(self.log.log_end() <= end);
    }

    fn step(&mut self, leading: &Leading) {
        match self.dice.roll(20) {
            0 => self.truncate(),
            1 | 2 => self.flush(),
            3 => self.reopen(),
            4 => remove_deleted(&mut self.log).unwrap(),
            5 => self.log.roll().unwrap(),
            _ => {
                self.copy(leading);
            }
        }
    }
}

/// Everything that follows from the batches.
fn compare(leading: &Leading, following: &Following, context: &str) {
    let (led, log) = (&leading.log, &following.log);
    let (start, end) = (led.log_start(), led.log_end());
    assert_eq!((log.log_start(), log.log_end()), (start, end), "{context}");
    let batches = batches_of(&led.view());
    assert_eq!(batches_of(&log.view()), batches, "{context}: bytes");
    assert_eq!(committed(log), committed(led), "{context}: committed records");
    let known = |log: &Log| -> BTreeMap<i64, ProducerEntry> {
        let is_known = |it: &ProducerEntry| it.last_offset().is_some_and(|last| last >= start);
        log.producers().into_iter().filter(|(_, it)| is_known(it)).collect()
    };
    let (known, due) = (known(log), known(led));
    assert!(known.keys().eq(due.keys()), "{context}: {known:?} for {due:?}");
    for (found, due) in known.values().zip(due.values()) {
        let told = |it: &ProducerEntry| (it.epoch, it.last_sequence(), it.last_offset());
        assert_eq!(told(found), told(due), "{context}: producers");
        // Of a transaction that began below the log's start a follower sees the rest.
        if due.open_since.is_none_or(|since| since >= start) {
            assert_eq!(found.open_since, due.open_since, "{context}: {found:?} for {due:?}");
        }
    }
    for (base, bytes) in &batches {
        let (offset, epoch) = ((*base).max(start), Batch::first(bytes).unwrap().leader_epoch());
        assert_eq!(log.view().epoch_of(offset), epoch, "{context}: the epoch of {offset}");
        assert_eq!(led.view().epoch_of(offset), epoch, "{context}: the leader's epoch of {offset}");
    }
    let newest = batches.values().map(|bytes| Batch::first(bytes).unwrap().max_timestamp());
    for timestamp in newest.flat_map(|newest| [newest, newest + 1]).chain([0, 2]) {
        let of = |log: &Log| log.view().at_time(timestamp).unwrap();
        assert_eq!(of(log), of(led), "{context}: the first record from {timestamp} on");
    }
    assert_eq!(log.view().newest().unwrap(), led.view().newest().unwrap(), "{context}: newest");
    let began_before = leading.open.values().any(|since| *since < start);
    if !began_before {
        assert_eq!(log.first_unstable(end), led.first_unstable(end), "{context}: unstable");
    }
    if leading.compacts {
        return;
    }
    // With all batches there, the epochs start where the leader's do, but for one without a record.
    let starts = |log: &Log| {
        let mut starts = log.view().epochs().starts().to_vec();
        starts.retain(|it| it.start < end);
        starts
    };
    assert_eq!(starts(log), starts(led), "{context}: epochs");
    compare_aborted(led, log, context);
}

/// The aborted transactions; of one that began below the log's start a follower sees the rest.
fn compare_aborted(led: &Log, log: &Log, context: &str) {
    let start = led.log_start();
    let (known, due) = (log.view().aborted(start, i64::MAX), led.view().aborted(start, i64::MAX));
    let end_of = |it: &AbortedTransaction| (it.producer_id, it.last_offset);
    for known in &known {
        let found = due.iter().find(|it| end_of(it) == end_of(known));
        let found = found.unwrap_or_else(|| panic!("{context}: {known:?} is not the leader's"));
        assert!(known.first_offset >= found.first_offset, "{context}: {known:?} of {found:?}");
    }
    for due in due.iter().filter(|it| it.first_offset >= start) {
        let found = known.iter().find(|it| end_of(it) == end_of(due));
        let found = found.unwrap_or_else(|| panic!("{context}: {due:?} is missing"));
        assert_eq!(found.first_offset, due.first_offset, "{context}: {due:?}");
        if due.last_stable >= start {
            assert_eq!(found.last_stable, due.last_stable, "{context}: {due:?}");
        }
    }
    if start == 0 {
        assert_eq!(known, due, "{context}: aborted transactions, with the last stable offset");
    }
}

fn follow_from_seed(seed: u64) {
    let (compacts, deletes) = (seed % 3 == 1, seed % 2 == 1);
    let mut leading = Leading::new(seed, compacts, deletes);
    for _ in 0..60 {
        leading.step();
    }
    // What was copied must not be compacted behind the follower's back: it would be other bytes.
    let has_gaps = std::mem::take(&mut leading.compacts);
    let mut following = Following::new(seed, has_gaps);
    for round in 0..4 {
        for _ in 0..25 {
            if leading.dice.roll(3) == 0 {
                leading.step();
            }
            following.step(&leading);
        }
        while following.copy(&leading) {}
        following.log.advance_log_start(leading.log.log_start());
        leading.compacts = has_gaps;
        compare(&leading, &following, &format!("seed {seed}, round {round}"));
        following.flush();
        following.reopen();
        compare(&leading, &following, &format!("seed {seed}, round {round}, opened again"));
        leading.compacts = false;
    }
}

#[test]
fn a_log_that_is_copied_in_any_slices_is_the_leaders() {
    (0..400).for_each(follow_from_seed);
}

/// 762: a segment was flushed as the active one, rolled, and believed after a crash: its time index
/// lacked its newest record. 4271: a snapshot of the producers was older than all segments that
/// were left, and a transaction open that had ended between.
#[test]
fn copied_logs_that_had_bugs_are_the_leaders() {
    [762, 4271].into_iter().for_each(follow_from_seed);
}

#[test]
fn segments_and_indexes_are_the_leaders_file_by_file() {
    for seed in 0..40 {
        let (led, followed) = (new_disk(seed), new_disk(seed));
        let mut leading = Leading::new(seed, false, false);
        leading.log = Following::open(&led, false, true, (0, 0));
        leading.log.assign_epoch(1, 0);
        (0..80).for_each(|_| leading.step());
        let mut following = Following::new(seed, false);
        following.log = Following::open(&followed, false, true, (0, 0));
        while following.copy(&leading) {}
        following.log.close_clean().unwrap();
        leading.log.close_clean().unwrap();
        let files = |disk: &SimDisk| -> BTreeMap<String, Vec<u8>> {
            let files: Arc<dyn Files> = disk.files();
            let listed = files.list(Path::new(FOLDER)).unwrap();
            let content = |name: &str| {
                let file = files.open(&Path::new(FOLDER).join(name)).unwrap();
                let mut bytes = Vec::new();
                file.read_into(&mut bytes, 0, 1 << 20).unwrap();
                bytes
            };
            let named = listed.into_iter().map(|it| (content(&it.name), it.name));
            let all = named.map(|(bytes, name)| (name, bytes));
            all.filter(|(name, _)| name != "leader-epoch-checkpoint").collect()
        };
        assert_eq!(files(&followed), files(&led), "seed {seed}");
    }
}
