//! Lives of a log that end with a power cut: what was flushed is there, nothing is made up, and
//! what is known of producers and transactions is what the batches say.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_records::control::ControlKind;
use ottla_records::{Batch, BatchOptions, batches_in};
use ottla_storage::{
    AbortedTransaction, AppendError, Fate, Files, Log, LogOptions, Opening, ProducerEntry,
    Retention, SimDisk, Slice, Stamp, StorageError,
};
use proptest::prelude::*;

use crate::compact::{flush, marker};
use crate::{batch, opening, read_all};

const FOLDER: &str = "/data/t-0";
const PLAIN: i64 = -1;
const IDEMPOTENT: i64 = 4000;
const TRANSACTIONAL: i64 = 4001;

/// One thing that happens to a log, or to the disk below it.
#[derive(Clone, Debug)]
enum Event {
    /// So many records come.
    Append(usize),
    /// So many records of an idempotent producer.
    Produce(usize),
    /// So many records of a transaction, which begins with them if it has not.
    Transact(usize),
    /// The transaction ends.
    End(ControlKind),
    /// Two batches in one write, if the log takes them so.
    Together,
    Flush,
    Sync,
    /// So many records from the end.
    Cut(i64),
    /// Everything: the log starts so many records behind its end, or before it.
    Reset(i64),
    /// So many records from the start.
    Retire(i64),
    Roll,
    WriteBack,
}

/// Events until the power goes, at the change of this number, and what it leaves.
#[derive(Clone, Debug)]
struct Life {
    events: Vec<Event>,
    changes: u64,
    fate: Fate,
}

/// A log and its disk through all its lives.
struct World {
    disk: SimDisk,
    /// Batches that no power cut may take, by their first offset.
    durable: BTreeMap<i64, Vec<u8>>,
    /// Every version of a batch that was ever written at an offset.
    ever: BTreeMap<i64, Vec<Vec<u8>>>,
    /// The recovery point and the log start that were written down.
    point: i64,
    start: i64,
    leader_epoch: i32,
    /// Of all producers; it grows where a producer cannot know what is left of its records.
    producer_epoch: i16,
    sequences: BTreeMap<i64, i32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let files = disk.files();
        files.make_dir(Path::new("/data")).unwrap();
        files.sync_dir(Path::new("/")).unwrap();
        Self {
            disk,
            durable: BTreeMap::new(),
            ever: BTreeMap::new(),
            point: 0,
            start: 0,
            leader_epoch: 0,
            producer_epoch: 0,
            sequences: BTreeMap::new(),
        }
    }

    fn opening(&self, clean: bool) -> Opening {
        let mut opening = opening(&self.disk.files(), Path::new(FOLDER), clean);
        opening.options = options();
        (opening.recovery_point, opening.log_start) = (self.point, self.start);
        opening
    }

    /// Lives until the power is cut.
    fn live(&mut self, life: &Life) {
        self.disk.cut_power_after(life.changes);
        self.forget_sequences();
        self.leader_epoch += 1;
        let is_first = self.ever.is_empty();
        if let Ok(mut log) = Log::open(self.opening(is_first)) {
            self.check(&log);
            let _ = life.events.iter().try_for_each(|event| self.meet(&mut log, event));
        }
        self.disk.power_cut_as(life.fate);
    }

    fn forget_sequences(&mut self) {
        self.producer_epoch += 1;
        self.sequences.clear();
    }

    fn meet(&mut self, log: &mut Log, event: &Event) -> Result<(), AppendError> {
        match *event {
            Event::Append(count) => self.append(log, PLAIN, count)?,
            Event::Produce(count) => self.append(log, IDEMPOTENT, count)?,
            Event::Transact(count) => self.append(log, TRANSACTIONAL, count)?,
            Event::End(kind) => self.end(log, kind)?,
            Event::Together => self.append_together(log)?,
            Event::Flush => self.flush(log)?,
            Event::Sync => {
                log.flush()?;
                self.all_durable(log);
            }
            Event::Cut(count) => self.cut(log, (log.log_end() - count).max(log.log_start()))?,
            Event::Reset(count) => self.reset(log, (log.log_end() + count).max(0))?,
            Event::Retire(count) => {
                let offset = (log.log_start() + count).min(log.log_end());
                self.retire(log, offset)?;
            }
            Event::Roll => log.roll()?,
            Event::WriteBack => self.disk.write_back(),
        }
        log.assert_sound();
        Ok(())
    }

    const fn stamp(&self) -> Stamp {
        Stamp { leader_epoch: self.leader_epoch, append_time: None, max_timestamp: None }
    }

    fn append(&mut self, log: &mut Log, producer: i64, count: usize) -> Result<(), AppendError> {
        let mut options = BatchOptions::default();
        if producer != PLAIN {
            let next = self.sequences.entry(producer).or_default();
            options = BatchOptions {
                producer_id: producer,
                producer_epoch: self.producer_epoch,
                base_sequence: *next,
                transactional: producer == TRANSACTIONAL,
                ..options
            };
            *next += i32::try_from(count).unwrap();
        }
        let base = log.log_end();
        log.append_as_leader(&batch(count, options), self.stamp(), 0)?;
        self.remember(log, base);
        Ok(())
    }

    fn remember(&mut self, log: &Log, base: i64) {
        let slice = Slice { offset: base, bytes_max: 1, at_least_one: true, upper: i64::MAX };
        let bytes = log.view().read(slice).unwrap().to_vec();
        self.ever.entry(base).or_default().push(bytes);
    }

    fn end(&mut self, log: &mut Log, kind: ControlKind) -> Result<(), AppendError> {
        if log.producer(TRANSACTIONAL).is_none_or(|it| it.open_since.is_none()) {
            return Ok(());
        }
        let base = log.log_end();
        let marker = marker(TRANSACTIONAL, self.producer_epoch, kind);
        log.append_as_coordinator(&marker, self.stamp(), 0)?;
        self.remember(log, base);
        Ok(())
    }

    fn append_together(&mut self, log: &mut Log) -> Result<(), AppendError> {
        let stamp = self.stamp();
        let (one, two) = (batch(1, BatchOptions::default()), batch(2, BatchOptions::default()));
        // A power cut may leave the first without the second.
        for (base, bytes) in [(log.log_end(), &one), (log.log_end() + 1, &two)] {
            let mut bytes = bytes.clone();
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            bytes[12..16].copy_from_slice(&stamp.leader_epoch.to_be_bytes());
            self.ever.entry(base).or_default().push(bytes);
        }
        log.append_together_as_leader(&[&one, &two], stamp, 0)?;
        Ok(())
    }

    fn flush(&mut self, log: &mut Log) -> Result<(), StorageError> {
        flush(log)?;
        self.point = log.recovery_point();
        self.all_durable(log);
        Ok(())
    }

    /// No power cut may take what is there now.
    fn all_durable(&mut self, log: &Log) {
        let all = read_all(log);
        self.durable = batches_in(&all)
            .map(|it| it.unwrap())
            .map(|it| (it.base_offset(), it.bytes().to_vec()))
            .collect();
    }

    fn cut(&mut self, log: &mut Log, offset: i64) -> Result<(), StorageError> {
        self.durable.retain(|_, bytes| Batch::first(bytes).unwrap().last_offset() < offset);
        // Truncation moves the recovery point first.
        self.point = self.point.min(offset);
        let cut = log.truncate_to(offset);
        self.point = self.point.min(log.recovery_point());
        self.start = log.log_start();
        let is_ahead = log.recovery_point() > log.log_end();
        assert!(cut.is_err() || !is_ahead, "what is gone is called durable");
        self.forget_sequences();
        cut
    }

    fn reset(&mut self, log: &mut Log, offset: i64) -> Result<(), StorageError> {
        self.durable.clear();
        let reset = log.begin_reset(offset)?;
        self.point = self.point.min(log.recovery_point());
        let done = reset.run();
        log.end_truncation(reset, done)?;
        self.start = log.log_start();
        self.forget_sequences();
        Ok(())
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

    /// A log that was just opened: what was flushed and not given up must be there, what is there
    /// must have been written there once, and all that was derived must follow from it.
    fn check(&mut self, log: &Log) {
        let found = read_all(log);
        let mut there = BTreeMap::new();
        let mut end = None;
        for batch in batches_in(&found).map(|it| it.unwrap()) {
            let base = batch.base_offset();
            assert!(batch.crc_is_right(), "{base} is torn");
            assert!(end.is_none_or(|end| end == base), "a hole before {base}");
            end = Some(batch.next_offset());
            there.insert(base, batch.bytes().to_vec());
        }
        for (base, bytes) in &there {
            let known = self.ever.get(base).is_some_and(|all| all.contains(bytes));
            // The append that the cut ended may be there whole, though its writer never knew.
            let is_last = there.keys().last() == Some(base);
            assert!(known || is_last, "{base} was never written");
            if !known {
                self.ever.entry(*base).or_default().push(bytes.clone());
            }
        }
        for (base, bytes) in &self.durable {
            assert!(there.get(base) == Some(bytes), "{base} is lost");
        }
        self.check_derived(log);
    }

    /// Indexes, producers and aborted transactions, against a log that has only the batches.
    fn check_derived(&self, log: &Log) {
        let view = log.view();
        for offset in view.log_start()..view.log_end() {
            let slice = Slice { offset, bytes_max: 1, at_least_one: true, upper: i64::MAX };
            let bytes = view.read(slice).unwrap();
            let batch = Batch::first(&bytes).unwrap();
            let held = batch.base_offset()..=batch.last_offset();
            assert!(held.contains(&offset), "{offset} is elsewhere");
        }
        let first = view.extents()[0].0;
        let scratch = from_batches(&*self.disk.files());
        let all = |log: &Log| log.producers().into_iter().collect::<BTreeMap<_, _>>();
        let (known, due) = (all(log), all(&scratch));
        let told = |it: &ProducerEntry| (it.epoch, it.last_sequence(), it.last_offset());
        for (id, due) in &due {
            let known = known.get(id).unwrap_or_else(|| panic!("producer {id} is forgotten"));
            // A marker at the log start does not show the batches that were deleted before it.
            if due.last_offset().is_some() {
                assert_eq!(told(known), told(due), "producer {id}");
            }
            if known.open_since.is_none_or(|since| since >= first) {
                assert_eq!(known.open_since, due.open_since, "producer {id}");
            }
        }
        for (id, known) in known.iter().filter(|(id, _)| !due.contains_key(id)) {
            let last = known.last_offset();
            assert!(last.is_none_or(|last| last < first), "producer {id} is made up: {last:?}");
        }
        // Of a transaction that began in what was deleted the batches say less.
        let (known, due) = (log.view().aborted(0, i64::MAX), scratch.view().aborted(0, i64::MAX));
        let is_in = |one: &AbortedTransaction, all: &[AbortedTransaction]| {
            let end = (one.producer_id, one.last_offset);
            let mut same = all.iter().filter(|it| (it.producer_id, it.last_offset) == end);
            same.any(|it| it.first_offset <= one.first_offset)
        };
        let whole: Vec<_> = known.iter().copied().filter(|it| it.first_offset >= first).collect();
        assert!(due.iter().all(|it| is_in(it, &known)), "{known:?} lacks some of {due:?}");
        assert!(whole.iter().all(|it| due.contains(it)), "{whole:?} has more than {due:?}");
    }
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 600, index_interval_bytes: 100, ..LogOptions::default() }
}

/// A log of the batches that lie in the folder, and of nothing else.
fn from_batches(files: &dyn Files) -> Log {
    let disk = SimDisk::new(0);
    let copy = disk.files();
    copy.make_dir(Path::new(FOLDER)).unwrap();
    for entry in files.list(Path::new(FOLDER)).unwrap() {
        if entry.name.ends_with(".log") {
            let path = Path::new(FOLDER).join(&entry.name);
            let mut bytes = vec![0; usize::try_from(entry.size_bytes).unwrap()];
            files.open(&path).unwrap().read_at(&mut bytes, 0).unwrap();
            copy.create(&path).unwrap().write_at(&bytes, 0).unwrap();
        }
    }
    Log::open(Opening { options: options(), ..opening(&copy, Path::new(FOLDER), false) }).unwrap()
}

/// Lives all lives, and starts twice more: both starts must find the same.
fn live_and_start_again(seed: u64, lives: &[Life]) {
    let mut world = World::new(seed);
    lives.iter().for_each(|life| world.live(life));
    let log = Log::open(world.opening(false)).unwrap();
    world.check(&log);
    let found = read_all(&log);
    drop(log);
    let again = Log::open(world.opening(false)).unwrap();
    world.check(&again);
    assert_eq!(read_all(&again), found, "the second start");
}

/// How many changes of the disk a life takes that no power cut ends.
fn changes_of(events: &[Event]) -> u64 {
    let mut world = World::new(1);
    let before = world.disk.changes();
    world.live(&Life { events: events.to_vec(), changes: u64::MAX, fate: Fate::Kept });
    world.disk.changes() - before
}

/// Cuts the power at every change of a life, in four ways.
fn sweep(events: &[Event]) {
    for changes in 0..changes_of(events) {
        for fate in [Fate::Lost, Fate::Kept, Fate::Torn(changes), Fate::Torn(changes + 1000)] {
            let life = Life { events: events.to_vec(), changes, fate };
            let lived = std::panic::catch_unwind(|| live_and_start_again(changes, &[life]));
            assert!(lived.is_ok(), "power cut at change {changes}: {fate:?}");
        }
    }
}

#[test]
fn no_power_cut_takes_what_was_flushed() {
    let mut events = Vec::new();
    for count in 1..16 {
        events.push(Event::Append(count));
        match count % 4 {
            0 => events.push(Event::Sync),
            2 => events.push(Event::Flush),
            _ => {}
        }
    }
    assert!(changes_of(&events) > 60);
    sweep(&events);
}

#[test]
fn no_power_cut_while_a_log_is_cut_or_deleted_makes_up_records() {
    let mut events = Vec::new();
    for round in 1..5 {
        for count in 1..6 {
            events.push(Event::Append(count + round));
            if count == 3 {
                events.push(Event::Flush);
            }
        }
        events.extend([Event::Cut(12), Event::Append(4), Event::Together]);
        if round % 2 == 0 {
            events.extend([Event::Flush, Event::Retire(15)]);
        }
    }
    assert!(changes_of(&events) > 80);
    sweep(&events);
}

#[test]
fn no_power_cut_while_a_log_starts_over_makes_up_records() {
    use Event::{Append, Cut, Flush, Produce, Reset, Roll, Sync, Transact};
    for offset in [-12, 0, 7] {
        let mut events = vec![Append(8), Produce(3), Append(7), Flush, Transact(4), Append(9)];
        events.extend([Roll, Append(4), Reset(offset), Append(3), Produce(2), Sync, Append(9)]);
        events.extend([Flush, Append(5), Reset(offset), Cut(3), Append(1), Flush]);
        sweep(&events);
    }
}

#[test]
fn no_power_cut_gives_a_producer_what_it_has_not_written() {
    let mut events = Vec::new();
    for round in 1..4 {
        events.extend([Event::Produce(round), Event::Transact(2), Event::Append(3)]);
        events.extend([Event::Flush, Event::Transact(1), Event::End(ControlKind::Abort)]);
        events.extend([Event::Produce(4), Event::Sync, Event::Transact(2), Event::Roll]);
        events.extend([Event::End(ControlKind::Commit), Event::Cut(4), Event::Produce(1)]);
    }
    sweep(&events);
}

/// Lives in which bugs were found.
#[test]
fn no_power_cut_in_lives_that_had_bugs_loses_or_makes_up_records() {
    use Event::{Append, Cut, Flush, Retire, Roll, Sync};
    let lives: [&[Event]; 6] = [
        &[Append(8), Append(7), Retire(9), Cut(1), Append(1)],
        &[
            Append(2),
            Append(9),
            Append(3),
            Append(4),
            Cut(5),
            Append(9),
            Append(6),
            Flush,
            Cut(6),
            Append(1),
            Append(1),
            Append(1),
            Flush,
        ],
        &[Append(1), Roll, Append(5), Append(7), Append(9), Append(5), Cut(5)],
        &[
            Append(1),
            Append(1),
            Roll,
            Flush,
            Cut(1),
            Roll,
            Append(7),
            Append(7),
            Append(10),
            Append(2),
            Sync,
        ],
        &[Append(1), Flush, Roll, Cut(1)],
        &[
            Append(5),
            Append(7),
            Flush,
            Cut(1),
            Append(3),
            Append(7),
            Append(11),
            Cut(1),
            Append(6),
            Flush,
            Cut(14),
            Append(5),
            Append(10),
            Flush,
            Append(6),
            Retire(14),
        ],
    ];
    lives.iter().for_each(|events| sweep(events));
}

/// Several lives in which bugs were found.
#[test]
fn no_power_cut_in_several_lives_that_had_bugs_loses_or_makes_up_records() {
    use Event::{
        Append, Cut, End, Flush, Produce, Retire, Roll, Sync, Together, Transact, WriteBack,
    };
    let life = |events: &[Event], changes, fate| Life { events: events.to_vec(), changes, fate };
    let cases = [
        // An aborted transaction whose marker was cut off came back from the index.
        (
            0,
            vec![life(
                &[Transact(1), End(ControlKind::Abort), Flush, Cut(1), Append(1)],
                23,
                Fate::Kept,
            )],
        ),
        // The log ended before its start, and what was appended there could not be read later.
        (
            0,
            vec![
                life(&[Together, Retire(1)], 3, Fate::Torn(2_671_314_486_785_044_743)),
                life(&[Append(1), Flush], 15, Fate::Kept),
            ],
        ),
        // A segment that one recovery removed came back among what had taken its offsets.
        (
            3_356_054_651_586_679_142,
            vec![
                life(&[WriteBack, Append(1), Roll], 4, Fate::Torn(3_566_779_576_317_191_745)),
                life(&[Append(9), Append(7), Append(7), Append(9), Flush], 12, Fate::Lost),
                life(&[Sync, Flush, Append(1), Retire(1), Append(1)], 26, Fate::Kept),
            ],
        ),
        // A torn end that one recovery cut off came back before a durable segment.
        (
            1_199_780_242_745,
            vec![
                life(
                    &[Append(8), Append(11), Flush, Append(1), Append(6), Append(4)],
                    17,
                    Fate::Torn(6_749_510_612_827),
                ),
                life(&[Roll, Append(1), Sync], 5, Fate::Lost),
            ],
        ),
        // A snapshot of what was cut off came back below the recovery point.
        (
            0,
            vec![life(
                &[
                    Append(6),
                    Roll,
                    Append(6),
                    Produce(1),
                    Roll,
                    Append(2),
                    Append(10),
                    Flush,
                    Cut(19),
                    Append(9),
                    Flush,
                    Append(8),
                    Transact(3),
                ],
                68,
                Fate::Lost,
            )],
        ),
    ];
    for (seed, lives) in cases {
        live_and_start_again(seed, &lives);
        lives.iter().for_each(|life| sweep(&life.events));
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1_usize..12).prop_map(Event::Append),
        2 => (1_usize..5).prop_map(Event::Produce),
        2 => (1_usize..5).prop_map(Event::Transact),
        1 => Just(Event::End(ControlKind::Abort)),
        1 => Just(Event::End(ControlKind::Commit)),
        1 => Just(Event::Together),
        2 => Just(Event::Flush),
        2 => Just(Event::Sync),
        1 => (1_i64..20).prop_map(Event::Cut),
        1 => (-30_i64..20).prop_map(Event::Reset),
        1 => (1_i64..20).prop_map(Event::Retire),
        1 => Just(Event::Roll),
        1 => Just(Event::WriteBack),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    let fate = prop_oneof![
        1 => Just(Fate::Kept),
        2 => Just(Fate::Lost),
        4 => any::<u64>().prop_map(Fate::Torn),
    ];
    (proptest::collection::vec(event(), 1..30), 0_u64..150, fate)
        .prop_map(|(events, changes, fate)| Life { events, changes, fate })
}

proptest! {
    // As many as PROPTEST_CASES says, 256 by default; a failure prints its case and its seed.
    #[test]
    fn no_power_cut_in_any_lives_loses_or_makes_up_records(
        lives in proptest::collection::vec(life(), 1..4),
        seed in any::<u64>(),
    ) {
        live_and_start_again(seed, &lives);
    }
}
