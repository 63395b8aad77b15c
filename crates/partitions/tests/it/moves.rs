//! A partition moves to another directory: while it is written, when a disk fails, when the power
//! goes in between.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_partitions::{
    Assigned, DataDir, DiskFiles, Fault, FaultyFiles, Files, Isolation, LogOptions, MoveRefused,
    Partition, PartitionRules, PartitionSlice, Partitions, StorageError, Terms,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord, batches_in};
use ottla_types::{TopicPartition, Uuid};

const TOPIC: Uuid = Uuid::of(700);
const DIRS: [Uuid; 2] = [Uuid::of(501), Uuid::of(502)];

fn place() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Small segments, so that there are many.
fn rules() -> PartitionRules {
    let log = LogOptions { segment_bytes: 4000, ..LogOptions::default() };
    PartitionRules { log, ..PartitionRules::default() }
}

fn assigned(directory: Uuid) -> Assigned {
    Assigned { directory, ..crate::assigned(place(), TOPIC, &rules()) }
}

/// A node with two directories, `a` and `b`.
fn node(work: &Path, files: &Arc<dyn Files>) -> Partitions {
    let dir = |(name, id)| {
        let data = DataDir::open(Arc::clone(files), &work.join(name)).unwrap().unwrap();
        let clean = data.take_clean_shutdown().unwrap().is_some();
        (data, id, clean)
    };
    let dirs = ["a", "b"].into_iter().zip(DIRS).map(dir).collect();
    Partitions::new(1, Clock::manual(1000), dirs).unwrap()
}

fn opened(work: &Path, directory: Uuid) -> (Partitions, Partition) {
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let partitions = node(work, &files);
    assert!(partitions.reconcile(&[assigned(directory)]).is_empty());
    let partition = partitions.find("t", 0).unwrap();
    (partitions, partition)
}

/// A producer's batch with a number in it.
fn batch(number: i32) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: 5,
        producer_epoch: 0,
        base_sequence: number,
        ..BatchOptions::default()
    });
    let value = number.to_string();
    let value = Some(value.as_bytes());
    builder.push(&NewRecord { timestamp: 900, value, ..NewRecord::default() });
    Bytes::from(builder.build().unwrap())
}

fn write(partition: &Partition, numbers: std::ops::Range<i32>) {
    for number in numbers {
        partition.append(&batch(number), &Terms::for_all(1000)).unwrap();
    }
}

/// The numbers that can be read.
fn numbers(partition: &Partition) -> Vec<i32> {
    let mut all = Vec::new();
    let mut at = partition.ends().log_start;
    while at < partition.ends().high_watermark {
        let read =
            partition.read(PartitionSlice::new(at, 100_000, Isolation::Uncommitted)).unwrap();
        for batch in batches_in(&read.records).map(Result::unwrap) {
            all.push(batch.base_sequence());
            at = batch.next_offset();
        }
    }
    all
}

fn go(partitions: &Partitions) -> Result<(), StorageError> {
    partitions.carry_out(&place(), &mut |_, _| Ok(()), &mut |_| Ok(()))
}

fn path(work: &Path, name: &str) -> String {
    work.join(name).display().to_string()
}

#[test]
fn a_partition_moves_while_it_is_written_and_nothing_is_lost() {
    let work = tempfile::tempdir().unwrap();
    let (partitions, partition) = opened(work.path(), DIRS[0]);
    write(&partition, 0..300);
    let (partitions, done) = (Arc::new(partitions), Arc::new(AtomicBool::new(false)));
    let writer = std::thread::spawn({
        let (partition, done) = (partition.clone(), Arc::clone(&done));
        move || {
            let mut next = 300;
            while !done.load(Ordering::Acquire) {
                write(&partition, next..next + 1);
                next += 1;
            }
            next
        }
    });
    assert_eq!(partitions.plan_move(&place(), &path(work.path(), "b")), Ok(true));
    let mut told = None;
    let mut seen = 0;
    partitions
        .carry_out(
            &place(),
            &mut |partition, directory| {
                told = Some((partition.index(), directory));
                Ok(())
            },
            &mut |bytes| {
                seen += bytes;
                Ok(())
            },
        )
        .unwrap();
    done.store(true, Ordering::Release);
    let end = writer.join().unwrap();
    assert_eq!(told, Some((0, DIRS[1])));
    assert!(seen > 10_000, "{seen} bytes were copied before writers had to wait");
    assert_eq!((partition.directory(), partitions.moves()), (DIRS[1], vec![]));
    assert!(!work.path().join("a/t-0").exists() && work.path().join("b/t-0").exists());
    assert_eq!(numbers(&partition), (0..end).collect::<Vec<_>>());
    // The producer goes on where it was, and what it sends twice is known.
    write(&partition, end..end + 1);
    assert!(
        partition.append(&batch(end + 5), &Terms::for_all(1000)).is_err(),
        "a gap in its sequence"
    );
    partitions.close(1).unwrap();
    drop((partition, partitions));
    let (_partitions, partition) = opened(work.path(), DIRS[1]);
    assert_eq!((partition.directory(), numbers(&partition).len()), (DIRS[1], end as usize + 1));
}

#[test]
fn a_move_is_refused_called_off_or_nothing() {
    let work = tempfile::tempdir().unwrap();
    let (partitions, partition) = opened(work.path(), DIRS[0]);
    write(&partition, 0..3);
    let plan =
        |place: &TopicPartition, name: &str| partitions.plan_move(place, &path(work.path(), name));
    assert_eq!(plan(&place(), "c"), Err(MoveRefused::NoDirectory));
    assert_eq!(plan(&TopicPartition::new("t", 9), "b"), Err(MoveRefused::NoPartition));
    let long = TopicPartition::new("t".repeat(249), 0);
    assert_eq!(plan(&long, "c"), Err(MoveRefused::NameTooLong));
    assert_eq!(plan(&place(), "a/"), Ok(false), "it is there");
    assert_eq!(plan(&place(), "b"), Ok(true));
    assert_eq!(partitions.moves()[0].1.directory, DIRS[1]);
    assert_eq!(plan(&place(), "a"), Ok(false), "called off");
    go(&partitions).unwrap();
    assert_eq!(partition.directory(), DIRS[0]);
    // Cancelled while it is copied: no file of the copy remains.
    assert_eq!(plan(&place(), "b"), Ok(true));
    let mut stop = |_| {
        plan(&place(), "a").unwrap();
        Ok(())
    };
    let mut tell = |_: &Partition, _| -> Result<(), StorageError> { panic!("not so far") };
    write(&partition, 3..4);
    let done = partitions.carry_out(&place(), &mut tell, &mut stop);
    assert!(done.is_err() || partition.directory() == DIRS[0]);
    assert_eq!(
        std::fs::read_dir(work.path().join("b"))
            .unwrap()
            .filter(|it| { it.as_ref().unwrap().path().is_dir() })
            .count(),
        0
    );
    assert_eq!(numbers(&partition), [0, 1, 2, 3]);
}

#[test]
fn a_disk_that_fails_leaves_the_partition_where_it_was() {
    let work = tempfile::tempdir().unwrap();
    let disk = FaultyFiles::new(Arc::new(DiskFiles));
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let partitions = node(work.path(), &files);
    assert!(partitions.reconcile(&[assigned(DIRS[0])]).is_empty());
    let partition = partitions.find("t", 0).unwrap();
    write(&partition, 0..100);
    let target = work.path().join("b");
    assert_eq!(partitions.plan_move(&place(), &path(work.path(), "b")), Ok(true));
    disk.set(&target, Some(Fault::Writes));
    assert!(go(&partitions).is_err());
    disk.set(&target, None);
    write(&partition, 100..101);
    assert_eq!((partition.directory(), numbers(&partition).len()), (DIRS[0], 101));
    assert_eq!(partitions.moves(), []);
    // The next attempt works.
    assert_eq!(partitions.plan_move(&place(), &path(work.path(), "b")), Ok(true));
    go(&partitions).unwrap();
    assert_eq!((partition.directory(), numbers(&partition).len()), (DIRS[1], 101));
}

/// Copies a folder with all that lies in it.
fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for it in std::fs::read_dir(from).unwrap() {
        let path = it.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn after_a_crash_the_folder_counts_that_the_metadata_names() {
    let work = tempfile::tempdir().unwrap();
    let (partitions, partition) = opened(work.path(), DIRS[0]);
    write(&partition, 0..50);
    partition.flush().unwrap();
    // What is left if the power goes after the new folder has its name and more was written there.
    copied(&work.path().join("a/t-0"), &work.path().join("old"));
    assert_eq!(partitions.plan_move(&place(), &path(work.path(), "b")), Ok(true));
    go(&partitions).unwrap();
    write(&partition, 50..60);
    partitions.close(1).unwrap();
    drop((partition, partitions));
    copied(&work.path().join("old"), &work.path().join("a/t-0"));
    let (partitions, partition) = opened(work.path(), DIRS[1]);
    assert_eq!((partition.directory(), numbers(&partition).len()), (DIRS[1], 60));
    assert!(!work.path().join("a/t-0").exists(), "the other is gone");
    drop((partition, partitions));
    // What is left if it goes while the copy is made: it begins again.
    let future = work.path().join("a/t-0.4711-future");
    copied(&work.path().join("old"), &future);
    let (partitions, partition) = opened(work.path(), DIRS[1]);
    partitions.resume_moves().unwrap();
    assert_eq!(partitions.moves()[0].1.directory, DIRS[0]);
    assert!(!future.exists(), "it has the id of another topic");
    go(&partitions).unwrap();
    assert_eq!((partition.directory(), numbers(&partition).len()), (DIRS[0], 60));
}

/// The folders of moves to a directory.
fn futures(work: &Path, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(work.join(name)).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut futures: Vec<String> = names.filter(|name| name.ends_with("-future")).collect();
    futures.sort();
    futures
}

#[test]
fn all_accepted_moves_go_on_after_a_crash() {
    let work = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let places: Vec<_> = (0..4).map(|index| TopicPartition::new("t", index)).collect();
    let all: Vec<_> = places
        .iter()
        .map(|place| Assigned {
            directory: DIRS[0],
            ..crate::assigned(place.clone(), TOPIC, &rules())
        })
        .collect();
    for place in &places {
        std::fs::create_dir_all(work.path().join("a").join(place.to_string())).unwrap();
    }
    let open = || {
        let partitions = node(work.path(), &files);
        assert!(partitions.reconcile(&all).is_empty());
        partitions
    };
    let partitions = open();
    let plan = |partitions: &Partitions, at: usize, name: &str| {
        partitions.plan_move(&places[at], &path(work.path(), name)).unwrap()
    };
    (0..4).for_each(|at| assert!(plan(&partitions, at, "b")));
    assert!(!plan(&partitions, 1, "a"), "cancelled");
    assert_eq!(futures(work.path(), "b").len(), 3);
    // None of them was begun when the process was killed; one partition is deleted meanwhile.
    drop(partitions);
    let without_last = &all[..3];
    let partitions = node(work.path(), &files);
    assert!(partitions.reconcile(without_last).is_empty());
    partitions.resume_moves().unwrap();
    let planned: Vec<_> = partitions.moves().into_iter().map(|(place, _)| place).collect();
    assert_eq!(planned, [places[0].clone(), places[2].clone()]);
    assert_eq!(futures(work.path(), "b").len(), 2);
    for place in [&places[0], &places[2]] {
        partitions.carry_out(place, &mut |_, _| Ok(()), &mut |_| Ok(())).unwrap();
        let moved = partitions.find("t", place.partition).unwrap();
        assert_eq!(moved.directory(), DIRS[1], "{place}");
    }
    assert_eq!((futures(work.path(), "b").len(), partitions.moves().len()), (0, 0));
}

#[test]
fn a_move_is_not_accepted_where_its_folder_cannot_be_made() {
    let work = tempfile::tempdir().unwrap();
    let disk = FaultyFiles::new(Arc::new(DiskFiles));
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let partitions = node(work.path(), &files);
    assert!(partitions.reconcile(&[assigned(DIRS[0])]).is_empty());
    disk.set(&work.path().join("b"), Some(Fault::Writes));
    let planned = partitions.plan_move(&place(), &path(work.path(), "b"));
    assert_eq!((planned, partitions.moves()), (Err(MoveRefused::Offline), vec![]));
}
