//! Several data directories, one of which has a fault; and bytes that are not what they were.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_partitions::{
    DataDir, DiskFiles, Fault, FaultyFiles, Files, Isolation, Keeper, KeeperSettings, LogOptions,
    Partition, PartitionRules, PartitionSlice, Partitions, Terms, Waited,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord, batches_in};
use ottla_types::{ErrorCode, TopicPartition, Uuid};

/// Two directories with a partition in each.
struct Jbod {
    disk: FaultyFiles,
    partitions: Arc<Partitions>,
    paths: [PathBuf; 2],
}

impl Jbod {
    fn new(work: &Path, rules: &PartitionRules) -> Self {
        let disk = FaultyFiles::new(Arc::new(DiskFiles));
        let paths = ["a", "b"].map(|name| work.join(name));
        let dir = |(path, id): (&PathBuf, u64)| {
            let files: Arc<dyn Files> = Arc::new(disk.clone());
            (DataDir::open(files, path).unwrap().unwrap(), Uuid::of(id), true)
        };
        let dirs = paths.iter().zip([501, 502]).map(dir).collect();
        let partitions = Partitions::new(1, Clock::manual(1000), dirs).unwrap();
        let assigned =
            |index: i32| crate::assigned(TopicPartition::new("t", index), Uuid::of(700), rules);
        assert!(partitions.reconcile(&[assigned(0), assigned(1)]).is_empty());
        Self { disk, partitions: Arc::new(partitions), paths }
    }

    fn at(&self, index: i32) -> Partition {
        self.partitions.find("t", index).unwrap()
    }
}

fn batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = Some(value.as_bytes());
    builder.push(&NewRecord { timestamp: 900, value, ..NewRecord::default() });
    Bytes::from(builder.build().unwrap())
}

#[test]
fn what_is_made_at_once_is_spread_over_the_directories() {
    let work = tempfile::tempdir().unwrap();
    let jbod = Jbod::new(work.path(), &PartitionRules::default());
    let assigned = |index: i32| {
        crate::assigned(TopicPartition::new("t", index), Uuid::of(700), &PartitionRules::default())
    };
    let all: Vec<_> = (0..40).map(assigned).collect();
    assert!(jbod.partitions.reconcile(&all).is_empty());
    let held = |id| (0..40).filter(|index| jbod.at(*index).directory() == id).count();
    assert_eq!((held(Uuid::of(501)), held(Uuid::of(502))), (20, 20));
}

#[test]
fn a_directory_that_fails_goes_offline_and_the_others_serve() {
    let work = tempfile::tempdir().unwrap();
    let jbod = Jbod::new(work.path(), &PartitionRules::default());
    let (bad, good) = (jbod.at(0), jbod.at(1));
    assert_ne!(bad.directory(), good.directory());
    bad.append(&batch("before"), &Terms::for_all(1000)).unwrap();
    jbod.disk.set(&jbod.paths[0], Some(Fault::Writes));
    let refused = bad.append(&batch("x"), &Terms::for_all(1000)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KAFKA_STORAGE_ERROR);
    // It does not come back by itself: what is on that disk is not known any more.
    jbod.disk.set(&jbod.paths[0], None);
    assert!(bad.append(&batch("x"), &Terms::for_all(1000)).is_err());
    let refused = bad.read(PartitionSlice::new(0, 100, Isolation::Uncommitted)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KAFKA_STORAGE_ERROR);
    good.append(&batch("x"), &Terms::for_all(1000)).unwrap();
    assert!(
        !good.read(PartitionSlice::new(0, 100, Isolation::Uncommitted)).unwrap().records.is_empty()
    );
    jbod.partitions.close(1).unwrap();
    let is_marked = |at: usize| jbod.paths[at].join(".kafka_cleanshutdown").exists();
    assert!(!is_marked(0) && is_marked(1), "what has failed was not closed; the other was");
    let online: Vec<bool> = jbod.partitions.directories().iter().map(|it| it.is_online).collect();
    assert_eq!(online, [false, true]);
}

#[test]
fn a_partition_that_could_not_be_opened_is_opened_when_its_disk_recovers() {
    for fault in [Fault::Writes, Fault::Full] {
        let work = tempfile::tempdir().unwrap();
        let jbod = Jbod::new(work.path(), &PartitionRules::default());
        let all: Vec<_> = (0..4)
            .map(|index| {
                let place = TopicPartition::new("new", index);
                crate::assigned(place, Uuid::of(701), &PartitionRules::default())
            })
            .collect();
        jbod.paths.iter().for_each(|path| jbod.disk.set(path, Some(fault)));
        let failed = jbod.partitions.reconcile(&all);
        assert!(!failed.is_empty() && jbod.partitions.has_retriable(), "{fault:?}");
        assert!(jbod.partitions.reconcile(&all).is_empty(), "{fault:?} is no news again");
        jbod.paths.iter().for_each(|path| jbod.disk.set(path, None));
        assert!(jbod.partitions.reconcile(&all).is_empty());
        assert!(!jbod.partitions.has_retriable());
        for index in 0..4 {
            assert!(!jbod.partitions.is_offline("new", index), "{fault:?}");
            let partition = jbod.partitions.find("new", index).unwrap();
            partition.append(&batch("x"), &Terms::for_all(1000)).unwrap();
        }
    }
}

#[test]
fn a_directory_that_takes_no_checkpoint_keeps_the_others_from_none() {
    let work = tempfile::tempdir().unwrap();
    let jbod = Jbod::new(work.path(), &PartitionRules::default());
    jbod.disk.set(&jbod.paths[0], Some(Fault::Writes));
    assert!(jbod.partitions.checkpoint().is_err());
    let said = |at: usize| jbod.paths[at].join("recovery-point-offset-checkpoint").exists();
    assert!(!said(0) && said(1));
}

#[test]
fn a_node_knows_when_it_has_nothing_left_to_serve() {
    let work = tempfile::tempdir().unwrap();
    let jbod = Jbod::new(work.path(), &PartitionRules::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for at in [0, 1] {
        let all = Arc::clone(&jbod.partitions);
        let waiting = runtime.spawn(async move { all.all_failed().await });
        runtime.block_on(tokio::task::yield_now());
        assert!(!waiting.is_finished());
        jbod.disk.set(&jbod.paths[at], Some(Fault::Writes));
        let index = i32::try_from(at).unwrap();
        assert!(jbod.at(index).append(&batch("x"), &Terms::for_all(1000)).is_err());
        if at == 1 {
            runtime.block_on(waiting).unwrap();
        }
    }
}

#[test]
fn a_full_directory_serves_on_when_there_is_room() {
    let work = tempfile::tempdir().unwrap();
    let jbod = Jbod::new(work.path(), &PartitionRules::default());
    let full = jbod.at(0);
    full.append(&batch("before"), &Terms::for_all(1000)).unwrap();
    jbod.disk.set(&jbod.paths[0], Some(Fault::Full));
    let refused = full.append(&batch("x"), &Terms::for_all(1000)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KAFKA_STORAGE_ERROR);
    assert!(
        !full.read(PartitionSlice::new(0, 100, Isolation::Uncommitted)).unwrap().records.is_empty()
    );
    jbod.disk.set(&jbod.paths[0], None);
    assert_eq!(full.append(&batch("after"), &Terms::for_all(1000)).unwrap().base_offset, 1);
    assert!(jbod.partitions.directories().iter().all(|it| it.is_online));
}

#[test]
fn where_no_more_files_can_be_opened_the_others_serve_on() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { segment_bytes: 100, ..LogOptions::default() };
    let jbod = Jbod::new(work.path(), &PartitionRules { log, ..PartitionRules::default() });
    let partition = jbod.at(0);
    partition.append(&batch("before"), &Terms::for_all(1000)).unwrap();
    jbod.disk.set(&jbod.paths[0], Some(Fault::NoHandles));
    // The next one needs a new segment.
    let refused = partition.append(&batch("x"), &Terms::for_all(1000)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KAFKA_STORAGE_ERROR);
    assert!(partition.flush().is_err());
    jbod.disk.set(&jbod.paths[0], None);
    assert_eq!(partition.append(&batch("after"), &Terms::for_all(1000)).unwrap().base_offset, 1);
    partition.flush().unwrap();
    assert!(jbod.partitions.directories().iter().all(|it| it.is_online));
}

#[test]
fn a_disk_that_hangs_holds_up_nobody_else() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { flush_messages: 1, ..LogOptions::default() };
    let jbod = Jbod::new(work.path(), &PartitionRules { log, ..PartitionRules::default() });
    let clock = Clock::real();
    let ask = Arc::new(KeeperSettings::default);
    let keeper = Keeper::start(&jbod.partitions, &clock, ask).unwrap();
    let (hung, good) = (jbod.at(0), jbod.at(1));
    jbod.disk.set(&jbod.paths[0], Some(Fault::Hangs));
    hung.append(&batch("x"), &Terms::for_all(1000)).unwrap();
    // Not even produces to the partition that hangs, however often it asks for the
    // disk: one thread waits for that, and the others are for the others.
    let append = || hung.append(&batch("y"), &Terms::for_all(1000)).unwrap();
    for _ in 0..199 {
        append();
        std::thread::yield_now();
    }
    let last = append();
    let appended = good.append(&batch("x"), &Terms::for_all(1000)).unwrap();
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().unwrap();
    let deadline = clock.monotonic() + Duration::from_secs(60);
    let wait = |partition: &Partition, appended| {
        runtime.block_on(partition.committed(appended, &clock, deadline))
    };
    assert_eq!(wait(&good, &appended), Waited::Committed);
    assert!(!hung.is_committed(1));
    jbod.disk.set(&jbod.paths[0], None);
    assert_eq!(wait(&hung, &last), Waited::Committed);
    keeper.stop();
}

/// Fills the partition so that it needs a sync, a flush and a trim.
fn burden(partition: &Partition) {
    let large = batch(&"x".repeat(512 << 10));
    for _ in 0..36 {
        partition.append(&large, &Terms::for_all(1000)).unwrap();
    }
}

#[test]
fn a_directory_that_hangs_delays_no_upkeep_of_another() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { flush_messages: 1, segment_bytes: 10 << 20, ..LogOptions::default() };
    let rules = PartitionRules { log, ..PartitionRules::default() };
    let jbod = Jbod::new(work.path(), &rules);
    let assigned = |at| crate::assigned(TopicPartition::new("t", at), Uuid::of(700), &rules);
    assert!(jbod.partitions.reconcile(&(0..12).map(assigned).collect::<Vec<_>>()).is_empty());
    let clock = Clock::real();
    let ask = Arc::new(KeeperSettings::default);
    let keeper = Keeper::start(&jbod.partitions, &clock, ask).unwrap();
    jbod.disk.set(&jbod.paths[0], Some(Fault::Hangs));
    let (hung, good): (Vec<_>, Vec<_>) =
        (0..12).map(|at| jbod.at(at)).partition(|it| it.directory() == Uuid::of(501));
    assert_eq!((hung.len(), good.len()), (6, 6));
    hung.iter().for_each(burden);
    burden(&good[0]);
    let deadline = clock.monotonic() + Duration::from_secs(30);
    let until = |what: &str, is_true: &dyn Fn() -> bool| {
        while !is_true() {
            assert!(clock.monotonic() < deadline, "not {what} while another directory hangs");
            std::thread::yield_now();
        }
    };
    until("durable", &|| good[0].is_committed(36));
    let folder = jbod.paths[1].join(good[0].name().to_string());
    // A trim makes the next segment ready. One that came early has been used up by a roll: more
    // records ring for another.
    let mut end = 36;
    while !folder.join("next-segment.tmp").exists() {
        good[0].append(&batch(&"x".repeat(512 << 10)), &Terms::for_all(1000)).unwrap();
        end += 1;
        until("durable or trimmed", &|| good[0].is_committed(end));
    }
    let said = |name: &str| std::fs::read_to_string(jbod.paths[1].join(name)).unwrap_or_default();
    // A roll rang for the flush: the recovery point is beyond the first segment.
    let line = format!("{} {} ", good[0].topic(), good[0].index());
    until("flushed", &|| said("recovery-point-offset-checkpoint").contains(&line));
    let line = format!("{line}{end}");
    until("checkpointed", &|| said("replication-offset-checkpoint").contains(&line));
    assert!(hung.iter().all(|it| !it.is_committed(1)));
    jbod.disk.set(&jbod.paths[0], None);
    let deadline = clock.monotonic() + Duration::from_secs(30);
    for it in &hung {
        while !it.is_committed(36) {
            assert!(clock.monotonic() < deadline, "the disk works again");
            std::thread::yield_now();
        }
    }
    keeper.stop();
}

#[test]
fn bytes_that_rot_are_told_and_the_rest_is_served() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { index_interval_bytes: 1, ..LogOptions::default() };
    let jbod = Jbod::new(work.path(), &PartitionRules { log, ..PartitionRules::default() });
    let partition = jbod.at(0);
    for at in 0..9 {
        partition.append(&batch(&format!("value {at}")), &Terms::for_all(1000)).unwrap();
    }
    let path = jbod.paths[0].join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let size = bytes.len() / 9;
    // The magic byte of the fifth batch.
    bytes[4 * size + 16] = 99;
    std::fs::write(&path, &bytes).unwrap();
    let refused = partition.read(PartitionSlice::new(4, 1000, Isolation::Uncommitted)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::CORRUPT_MESSAGE);
    let read = partition.read(PartitionSlice::new(6, 1000, Isolation::Uncommitted)).unwrap();
    assert_eq!(batches_in(&read.records).count(), 3);
    let before = partition.read(PartitionSlice::new(2, size * 2, Isolation::Uncommitted)).unwrap();
    assert_eq!(batches_in(&before.records).count(), 2);
    assert_eq!(partition.append(&batch("on"), &Terms::for_all(1000)).unwrap().base_offset, 9);
}

#[test]
fn many_partitions_are_closed_and_only_then_is_their_directory_marked() {
    let work = tempfile::tempdir().unwrap();
    let jbod = Jbod::new(work.path(), &PartitionRules::default());
    let rules = PartitionRules::default();
    let assigned = |index| crate::assigned(TopicPartition::new("t", index), Uuid::of(700), &rules);
    let all: Vec<_> = (0..80).map(assigned).collect();
    assert!(jbod.partitions.reconcile(&all).is_empty());
    for index in 0..80 {
        jbod.at(index).append(&batch("x"), &Terms::for_all(1000)).unwrap();
    }
    // One log of the first directory cannot be made durable.
    let bad = (0..80).find(|index| jbod.at(*index).directory() == Uuid::of(501)).unwrap();
    jbod.disk.set(&jbod.paths[0].join(format!("t-{bad}")), Some(Fault::Syncs));
    assert!(jbod.partitions.close(1).is_err());
    let is_marked = |at: usize| jbod.paths[at].join(".kafka_cleanshutdown").exists();
    assert_eq!((is_marked(0), is_marked(1)), (false, true));
    let recovery = std::fs::read_to_string(jbod.paths[1].join("recovery-point-offset-checkpoint"));
    let recovery = recovery.unwrap();
    for index in (0..80).filter(|index| jbod.at(*index).directory() == Uuid::of(502)) {
        let line = format!("t {index} 1");
        assert!(recovery.lines().any(|it| it == line), "{line} is not in {recovery}");
    }
}
