//! Background work for partitions: retention, compaction, durability.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::{Clock, ClockTraits, SimulatedTime};
use ottla_locks::Mutex;
use ottla_partitions::{
    Compaction, Isolation, Keeper, KeeperSettings, Lanes, LogOptions, Partition, PartitionRules,
    PartitionSlice, Partitions, Retention, Terms, Waited,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord, batches_in};
use ottla_storage::{DataDir, DiskOperation, SimDisk};
use ottla_types::{TopicPartition, Uuid};

fn keyed(key: &str, value: &str, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    builder.push(&NewRecord { timestamp, key, value, headers: &[] });
    Bytes::from(builder.build().unwrap())
}

fn open(dir: &Path, rules: &PartitionRules) -> Partitions {
    crate::open(dir, &[(TopicPartition::new("t", 0), Uuid::of(700))], rules)
}

/// Segments of about three batches.
fn small() -> LogOptions {
    LogOptions { segment_bytes: 250, ..LogOptions::default() }
}

fn fill(partition: &Partition, count: usize) {
    for at in 0..count {
        let timestamp = 1000 * i64::try_from(at).unwrap();
        let batch = keyed(&format!("k{}", at % 4), &format!("v{at}"), timestamp);
        partition.append(&batch, &Terms::for_all(1000)).unwrap();
    }
}

fn logs(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("t-0")).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".log")).collect();
    names.sort();
    names
}

#[test]
fn what_is_too_much_is_deleted_from_the_front() {
    let work = tempfile::tempdir().unwrap();
    let retention = Retention { bytes: Some(600), ms: None };
    let rules = PartitionRules { log: small(), retention, ..PartitionRules::default() };
    let partitions = open(work.path(), &rules);
    let partition = partitions.find("t", 0).unwrap();
    fill(&partition, 30);
    let before = partition.size_bytes();
    assert!(before > 1800, "{before}");
    partitions.retain(&Clock::manual(1000));
    let after = partition.size_bytes();
    assert!((600..900).contains(&after), "{after}: no more than a segment above what is asked");
    let start = partition.ends().log_start;
    assert_eq!(logs(work.path())[0], format!("{start:020}.log"));
    assert!(partition.read(PartitionSlice::new(start - 1, 100, Isolation::Uncommitted)).is_err());
    assert!(
        !partition
            .read(PartitionSlice::new(start, 100, Isolation::Uncommitted))
            .unwrap()
            .records
            .is_empty()
    );
    drop((partitions, partition));
    let partition = open(work.path(), &rules).find("t", 0).unwrap();
    assert_eq!((partition.ends().log_start, partition.ends().log_end), (start, 30));
}

#[test]
fn segments_are_durable_before_they_are_deleted() {
    let disk = SimDisk::new(1);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let first = "00000000000000000000.log";
    disk.on_call(Arc::new(move |call| {
        if call.path.ends_with(first) {
            seen.lock().push(call.operation);
        }
    }));
    let dir = DataDir::open(disk.files(), Path::new("/data")).unwrap().unwrap();
    let dirs = vec![(dir, Uuid::of(500), true)];
    let partitions = Partitions::new(1, Clock::manual(1000), dirs).unwrap();
    let retention = Retention { bytes: Some(1), ms: None };
    let rules = PartitionRules { log: small(), retention, ..PartitionRules::default() };
    let assigned = crate::assigned(TopicPartition::new("t", 0), Uuid::of(700), &rules);
    assert!(partitions.reconcile(&[assigned]).is_empty());
    fill(&partitions.find("t", 0).unwrap(), 9);
    partitions.retain(&Clock::manual(1000));
    let calls = calls.lock().clone();
    let at = |wanted| calls.iter().position(|it| *it == wanted).unwrap();
    assert!(at(DiskOperation::Sync) < at(DiskOperation::Rename), "{calls:?}");
}

#[test]
fn what_is_too_old_is_deleted_even_if_that_is_all() {
    let work = tempfile::tempdir().unwrap();
    let retention = Retention { ms: Some(10_000), bytes: None };
    let rules = PartitionRules { log: small(), retention, ..PartitionRules::default() };
    let partitions = open(work.path(), &rules);
    let partition = partitions.find("t", 0).unwrap();
    fill(&partition, 30);
    partitions.retain(&Clock::manual(25_000));
    let start = partition.ends().log_start;
    assert!((10..=15).contains(&start), "{start}: a segment goes when its newest record is old");
    partitions.retain(&Clock::manual(1_000_000));
    assert_eq!((partition.ends().log_start, partition.ends().log_end), (30, 30));
    assert_eq!(logs(work.path()), [format!("{:020}.log", 30)]);
    partition.append(&keyed("k", "v", 0), &Terms::for_all(1000)).unwrap();
    assert_eq!(partition.ends().log_end, 31);
}

#[test]
fn deleted_records_take_their_segments_with_them() {
    let work = tempfile::tempdir().unwrap();
    let partitions =
        open(work.path(), &PartitionRules { log: small(), ..PartitionRules::default() });
    let partition = partitions.find("t", 0).unwrap();
    fill(&partition, 30);
    let before = logs(work.path()).len();
    partition.delete_before(17).unwrap();
    assert_eq!(partition.ends().log_start, 17);
    partitions.retain(&Clock::manual(1000));
    assert_eq!(partition.ends().log_start, 17, "within a segment");
    assert!(logs(work.path()).len() < before);
    drop((partitions, partition));
    let partition = open(work.path(), &PartitionRules::default()).find("t", 0).unwrap();
    assert_eq!(partition.ends().log_start, 17);
}

fn compacted() -> PartitionRules {
    let compaction = Compaction {
        dirty_millionths: 500_000,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
        delete_retention_ms: 0,
    };
    PartitionRules {
        log: small(),
        compacted: true,
        compaction: Some(compaction),
        ..PartitionRules::default()
    }
}

#[test]
fn a_topic_made_anew_under_an_old_name_is_dirty_from_its_start() {
    let work = tempfile::tempdir().unwrap();
    let partitions = open(work.path(), &compacted());
    let again = |count| {
        let partition = partitions.find("t", 0).unwrap();
        fill(&partition, count);
        partition.flush().unwrap();
        partitions.clean_all().unwrap()
    };
    assert_eq!(again(30), 1);
    let other = crate::assigned(TopicPartition::new("t", 0), Uuid::of(701), &compacted());
    assert!(partitions.reconcile(&[other]).is_empty());
    assert_eq!(partitions.find("t", 0).unwrap().ends().log_end, 0);
    assert_eq!(again(20), 1);
    assert!(!logs(work.path()).is_empty(), "the old topic's end took only its own files");
}

#[test]
fn a_partition_is_cleaned_from_when_its_topic_is_compacted_until_it_is_not() {
    let work = tempfile::tempdir().unwrap();
    let plain = PartitionRules { compacted: false, compaction: None, ..compacted() };
    let partitions = open(work.path(), &plain);
    let partition = partitions.find("t", 0).unwrap();
    for (rules, cleaned) in [(plain.clone(), 0), (compacted(), 1), (plain, 0), (compacted(), 1)] {
        let wanted = crate::assigned(TopicPartition::new("t", 0), Uuid::of(700), &rules);
        assert!(partitions.reconcile(&[wanted]).is_empty());
        fill(&partition, 30);
        partition.flush().unwrap();
        assert_eq!(partitions.clean_all().unwrap(), cleaned, "compacted: {}", rules.compacted);
    }
}

#[test]
fn a_compacted_partition_keeps_the_last_of_each_key() {
    let work = tempfile::tempdir().unwrap();
    let partitions = open(work.path(), &compacted());
    let partition = partitions.find("t", 0).unwrap();
    fill(&partition, 30);
    partition.flush().unwrap();
    assert_eq!(partitions.clean_all().unwrap(), 1);
    assert_eq!(partitions.clean_all().unwrap(), 0, "it is clean");
    let (mut at, mut last, mut count) = (0, BTreeMap::new(), 0);
    while at < 30 {
        let read = partition.read(PartitionSlice::new(at, 300, Isolation::Uncommitted)).unwrap();
        for batch in batches_in(&read.records) {
            let batch = batch.unwrap();
            at = batch.next_offset();
            for record in batch.unpack(1000).unwrap().records() {
                let record = record.unwrap();
                let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec());
                last.insert(text(record.key).unwrap(), text(record.value).unwrap());
                count += 1;
            }
        }
    }
    assert!(count < 10, "{count} records are left");
    let wanted = [("k0", "v28"), ("k1", "v29"), ("k2", "v26"), ("k3", "v27")];
    assert_eq!(last, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let clean = std::fs::read_to_string(work.path().join("cleaner-offset-checkpoint")).unwrap();
    assert!(clean.starts_with("0\n1\nt 0 2"), "{clean}");
}

#[test]
fn where_durability_is_chosen_one_sync_lets_all_answers_go() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { flush_messages: 1, ..LogOptions::default() };
    let partitions = open(work.path(), &PartitionRules { log, ..PartitionRules::default() });
    let partition = partitions.find("t", 0).unwrap();
    for at in 0..3 {
        let appended = partition.append(&keyed("k", "v", at), &Terms::for_leader(1000)).unwrap();
        assert!(appended.awaits_disk && !partition.is_committed(appended.end));
    }
    let read = partition.read(PartitionSlice::new(0, 1000, Isolation::Uncommitted)).unwrap();
    assert!(read.records.is_empty(), "readers see no record that a power cut could undo");
    partition.sync().unwrap();
    assert!(partition.is_committed(3));
}

#[test]
fn where_durability_is_chosen_a_crash_hides_nothing_that_was_seen() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { flush_messages: 1, ..LogOptions::default() };
    let rules = PartitionRules { log, ..PartitionRules::default() };
    let partitions = open(work.path(), &rules);
    let partition = partitions.find("t", 0).unwrap();
    partition.append(&keyed("k", "v", 0), &Terms::for_all(1000)).unwrap();
    partition.sync().unwrap();
    assert_eq!(partition.ends().high_watermark, 1);
    // The process ends; the recovery point was never written down.
    drop((partitions, partition));
    let partitions = open(work.path(), &rules);
    assert_eq!(partitions.find("t", 0).unwrap().ends().high_watermark, 1);
}

#[test]
fn a_keeper_comes_when_a_producer_waits() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { flush_messages: 1, ..LogOptions::default() };
    let partitions =
        Arc::new(open(work.path(), &PartitionRules { log, ..PartitionRules::default() }));
    let clock = Clock::real();
    let keeper = Keeper::start(&partitions, &clock, Arc::new(KeeperSettings::default)).unwrap();
    let partition = partitions.find("t", 0).unwrap();
    let appended = partition.append(&keyed("k", "v", 0), &Terms::for_all(1000)).unwrap();
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().unwrap();
    let deadline = clock.monotonic() + Duration::from_secs(60);
    let waited = runtime.block_on(partition.committed(&appended, &clock, deadline));
    assert_eq!(waited, Waited::Committed);
    keeper.stop();
}

#[test]
fn records_become_durable_after_a_while_where_that_is_asked_for() {
    let work = tempfile::tempdir().unwrap();
    let rules = PartitionRules { flush_ms: Some(1), ..PartitionRules::default() };
    let partitions = Arc::new(open(work.path(), &rules));
    let clock = Clock::real();
    let keeper = Keeper::start(&partitions, &clock, Arc::new(KeeperSettings::default)).unwrap();
    let partition = partitions.find("t", 0).unwrap();
    partition.append(&keyed("k", "v", 0), &Terms::for_all(1000)).unwrap();
    let deadline = clock.monotonic() + Duration::from_secs(60);
    while partition.durable() < 1 {
        assert!(clock.monotonic() < deadline, "the keeper did not run");
        std::thread::yield_now();
    }
    keeper.stop();
}

#[test]
fn what_was_flushed_is_not_read_again_after_a_crash() {
    let work = tempfile::tempdir().unwrap();
    let partitions = open(work.path(), &PartitionRules::default());
    let partition = partitions.find("t", 0).unwrap();
    fill(&partition, 300);
    partition.flush().unwrap();
    partitions.checkpoint().unwrap();
    fill(&partition, 5);
    drop((partitions, partition));
    // Records below the recovery point are trusted, though they are corrupt here: they are not
    // read.
    let path = work.path().join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let partitions = open(work.path(), &PartitionRules::default());
    assert_eq!(partitions.find("t", 0).unwrap().ends().log_end, 305);
    drop(partitions);
    std::fs::remove_file(work.path().join("recovery-point-offset-checkpoint")).unwrap();
    let partitions = open(work.path(), &PartitionRules::default());
    assert_eq!(partitions.find("t", 0).unwrap().ends().log_end, 0, "now it was");
}

/// How long a simulated disk takes to make one record durable, by the simulation's time.
fn simulated_sync(seed: u64) -> Duration {
    let work = tempfile::tempdir().unwrap();
    let time = SimulatedTime::new();
    let clock = Clock::simulated(&time, ClockTraits { wall_ms: 1000, drift_ppm: 0, seed });
    let log = LogOptions { flush_messages: 1, ..LogOptions::default() };
    let lanes = Lanes::simulated(&clock, Duration::from_secs(30));
    let opened = open(work.path(), &PartitionRules { log, ..PartitionRules::default() });
    let partitions = Arc::new(opened.on_lanes(lanes.clone()));
    let keeper = Keeper::start(&partitions, &clock, Arc::new(KeeperSettings::default)).unwrap();
    let partition = partitions.find("t", 0).unwrap();
    let appended = partition.append(&keyed("k", "v", 0), &Terms::for_all(1000)).unwrap();
    let mut driven = Box::pin(lanes.drive());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while !partition.is_committed(appended.end) {
        assert!(driven.as_mut().poll(&mut context).is_pending());
        time.advance_to(time.next_deadline().unwrap());
        assert!(driven.as_mut().poll(&mut context).is_pending());
    }
    keeper.stop();
    assert!(driven.as_mut().poll(&mut context).is_ready());
    time.now()
}

#[test]
fn a_simulated_disk_takes_as_long_as_its_seed_says() {
    let takes: Vec<_> = (0..3).map(simulated_sync).collect();
    assert!(takes.iter().all(|it| *it <= Duration::from_secs(30)), "{takes:?}");
    assert_eq!(takes, (0..3).map(simulated_sync).collect::<Vec<_>>());
    assert!(takes[0] != takes[1] && takes[1] != takes[2], "{takes:?}");
}

/// For how much simulated time 4 MB of one key are cleaned at this rate, in bytes a second.
fn simulated_cleaning(bytes_per_second: f64) -> Duration {
    let time = SimulatedTime::new();
    let clock = Clock::simulated(&time, ClockTraits { wall_ms: 1000, drift_ppm: 0, seed: 1 });
    let disk = SimDisk::new(1);
    let dir = DataDir::open(disk.files(), Path::new("/data")).unwrap().unwrap();
    let dirs = vec![(dir, Uuid::of(500), true)];
    let lanes = Lanes::simulated(&clock, Duration::ZERO);
    let partitions = Partitions::new(1, clock.clone(), dirs).unwrap().on_lanes(lanes.clone());
    let partitions = Arc::new(partitions);
    let rules = PartitionRules {
        log: LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() },
        ..compacted()
    };
    let assigned = crate::assigned(TopicPartition::new("t", 0), Uuid::of(700), &rules);
    assert!(partitions.reconcile(&[assigned]).is_empty());
    let partition = partitions.find("t", 0).unwrap();
    for _ in 0..16 {
        let batch = keyed("key", &"v".repeat(256 << 10), 1000);
        partition.append(&batch, &Terms::for_all(1000)).unwrap();
    }
    partition.flush().unwrap();
    let before = partition.size_bytes();
    let settings = move || KeeperSettings {
        cleaner_bytes_per_second: bytes_per_second,
        ..KeeperSettings::default()
    };
    let keeper = Keeper::start(&partitions, &clock, Arc::new(settings)).unwrap();
    let mut driving = std::pin::pin!(lanes.drive());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while partition.size_bytes() > before / 2 {
        assert!(driving.as_mut().poll(&mut context).is_pending());
        time.advance_to(time.next_deadline().expect("the cleaner comes again"));
    }
    keeper.stop();
    clock.monotonic()
}

#[test]
fn a_cleaner_that_keeps_to_its_rate_rests_between_its_rounds() {
    let fast = simulated_cleaning(f64::MAX);
    assert!(fast < Duration::from_secs(1), "{fast:?}");
    // 4 MB are learned and most of them read again, and little is written.
    let slow = simulated_cleaning(100_000.0);
    assert!((Duration::from_secs(40)..Duration::from_secs(80)).contains(&slow), "{slow:?}");
}
