//! What lies on the disk when a log is closed, or has come back from a fault.

use std::path::Path;
use std::sync::Arc;

use ottla_records::BatchOptions;
use ottla_storage::{DiskFiles, Fate, Fault, Files, Log, LogOptions, SimDisk, Stamp};

use crate::{batch, opening, read_all};

const FOLDER: &str = "/data/t-0";

fn open(files: &Arc<dyn Files>, clean: bool, recovery_point: i64) -> Log {
    let mut opening = opening(files, Path::new(FOLDER), clean);
    opening.options = LogOptions { index_interval_bytes: 100, ..LogOptions::default() };
    opening.recovery_point = recovery_point;
    Log::open(opening).unwrap()
}

fn append(log: &mut Log, leader_epoch: i32, count: usize) {
    let stamp = Stamp { leader_epoch, append_time: None, max_timestamp: None };
    log.append_as_leader(&batch(count, BatchOptions::default()), stamp, 0).unwrap();
}

fn flush(log: &mut Log) -> bool {
    let Some(flush) = log.begin_flush().unwrap() else { return true };
    let done = flush.run();
    log.end_flush(flush, done).is_ok()
}

fn content(files: &dyn Files, name: &str) -> Vec<u8> {
    let file = files.open(&Path::new(FOLDER).join(name)).unwrap();
    let mut bytes = Vec::new();
    file.read_into(&mut bytes, 0, usize::try_from(file.size().unwrap()).unwrap()).unwrap();
    bytes
}

#[test]
fn epochs_that_found_no_room_are_written_when_there_is_some() {
    let disk = SimDisk::new(1);
    let files = disk.files();
    let mut log = open(&files, true, 0);
    append(&mut log, 3, 1);
    disk.set_fault(Path::new("/data"), Some(Fault::Full));
    assert!(!flush(&mut log));
    disk.set_fault(Path::new("/data"), None);
    assert!(flush(&mut log));
    assert_eq!(content(&*files, "leader-epoch-checkpoint"), b"0\n1\n3 0\n");
}

#[test]
fn a_small_log_that_nobody_wrote_to_is_not_written_again() {
    let disk = SimDisk::new(1);
    let files = disk.files();
    let mut log = open(&files, true, 0);
    append(&mut log, 0, 1);
    log.close_clean().unwrap();
    let log = open(&files, true, 0);
    let before = disk.changes();
    log.close_clean().unwrap();
    assert_eq!(disk.changes(), before);
}

#[test]
fn an_index_keeps_nothing_of_records_that_a_crash_took() {
    let files = SimDisk::new(1).files();
    let mut log = open(&files, true, 0);
    for _ in 0..9 {
        append(&mut log, 0, 2);
    }
    assert!(flush(&mut log));
    let point = log.recovery_point();
    let size = content(&*files, "00000000000000000000.log").len() as u64;
    for _ in 0..9 {
        append(&mut log, 0, 2);
    }
    assert!(flush(&mut log));
    drop(log);
    // The second flush is forgotten, and so are its records, but not its index entries.
    let file = files.open(&Path::new(FOLDER).join("00000000000000000000.log")).unwrap();
    file.truncate(size).unwrap();
    let entries = |name| content(&*files, name).len();
    let before = (entries("00000000000000000000.index"), entries("00000000000000000000.timeindex"));
    let log = open(&files, false, point);
    assert_eq!(log.log_end(), point);
    log.close_clean().unwrap();
    let index = content(&*files, "00000000000000000000.index");
    assert!(!index.is_empty() && index.len() < before.0, "{} of {}", index.len(), before.0);
    let is_there = |entry: &[u8]| {
        let position = u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]]);
        u64::from(position) < size
    };
    assert!(index.chunks(8).all(is_there));
    assert!(entries("00000000000000000000.timeindex") <= before.1);
}

/// Appends until the next segment should be made ready.
fn half_fill(log: &mut Log) {
    let most = log.log_end() + 1000;
    while log.preparation().is_none() && log.log_end() < most {
        append(log, 0, 20);
    }
}

#[test]
fn a_segment_made_ready_is_taken_by_the_next_roll_or_by_the_next_start() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("t-0");
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let open = |clean| {
        let mut opening = opening(&files, &folder, clean);
        opening.options.segment_bytes = 4000;
        Log::open(opening).unwrap()
    };
    let names = || {
        let mut names: Vec<String> =
            files.list(&folder).unwrap().into_iter().map(|it| it.name).collect();
        names.retain(|name| name.ends_with(".log") || name.ends_with(".tmp"));
        names
    };
    let mut log = open(true);
    append(&mut log, 0, 20);
    assert!(log.preparation().is_none(), "it is not half full");
    for _ in 0..6 {
        append(&mut log, 0, 20);
    }
    let spare = log.preparation().unwrap().run().unwrap().unwrap();
    log.set_spare(spare);
    assert!(log.preparation().is_none(), "one is enough");
    assert_eq!(names(), ["00000000000000000000.log", "next-segment.tmp"]);
    while names()[1].ends_with("tmp") && log.log_end() < 1000 {
        append(&mut log, 0, 20);
    }
    assert!(names()[1].ends_with(".log"), "{:?}", names());
    assert!(flush(&mut log));
    let (end, written) = (log.log_end(), read_all(&log));
    half_fill(&mut log);
    log.set_spare(log.preparation().unwrap().run().unwrap().unwrap());
    drop(log);
    let mut log = open(false);
    assert!(read_all(&log).starts_with(&written) && log.log_end() > end);
    assert_eq!(names()[2..], ["next-segment.tmp"]);
    while names().len() == 3 && names()[2].ends_with("tmp") && log.log_end() < 2000 {
        append(&mut log, 0, 20);
    }
    assert!(names()[2].ends_with(".log"), "{:?}", names());
    half_fill(&mut log);
    log.set_spare(log.preparation().unwrap().run().unwrap().unwrap());
    log.close_clean().unwrap();
    assert!(names().iter().all(|name| name.ends_with(".log")), "{:?}", names());
}

#[test]
fn the_snapshot_before_the_last_stays_for_a_start_that_knows_no_better() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("t-0");
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let mut log = Log::open(opening(&files, &folder, true)).unwrap();
    let snapshots = || {
        let names = files.list(&folder).unwrap().into_iter().map(|it| it.name);
        names.filter(|name| name.ends_with(".snapshot")).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        append(&mut log, 0, 10);
        assert!(flush(&mut log));
    }
    let kept = ["00000000000000000020.snapshot", "00000000000000000030.snapshot"];
    assert_eq!(snapshots(), kept);
    // A crash came before the last recovery point was written down.
    drop(log);
    let mut late = opening(&files, &folder, false);
    late.recovery_point = 20;
    let mut log = Log::open(late).unwrap();
    assert_eq!((log.log_end(), snapshots()), (30, vec![kept[0].to_owned()]));
    for _ in 0..3 {
        append(&mut log, 0, 10);
        assert!(flush(&mut log));
    }
    let kept = ["00000000000000000050.snapshot", "00000000000000000060.snapshot"];
    assert_eq!(snapshots(), kept);
    // Older snapshots are removed after the next snapshot, too.
    drop(log);
    let mut known = opening(&files, &folder, false);
    known.recovery_point = 60;
    let mut log = Log::open(known).unwrap();
    for _ in 0..2 {
        append(&mut log, 0, 10);
        assert!(flush(&mut log));
    }
    let kept = ["00000000000000000070.snapshot", "00000000000000000080.snapshot"];
    assert_eq!(snapshots(), kept);
}

#[test]
fn the_indexes_of_a_closed_segment_survive_a_power_cut() {
    let disk = SimDisk::new(1);
    let files = disk.files();
    files.make_dir(Path::new("/data")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    let mut log = open(&files, true, 0);
    for _ in 0..9 {
        append(&mut log, 0, 2);
    }
    // Written while the segment is open, and nothing is added to them when it is closed.
    assert!(flush(&mut log));
    let names = ["00000000000000000000.index", "00000000000000000000.timeindex"];
    let before = names.map(|name| content(&*files, name));
    log.roll().unwrap();
    append(&mut log, 0, 2);
    assert!(flush(&mut log));
    disk.power_cut_as(Fate::Lost);
    let after = disk.files();
    assert_eq!(names.map(|name| content(&*after, name)), before);
    assert!(!before[0].is_empty() && !before[1].is_empty());
}

#[test]
fn a_folder_whose_metadata_a_power_cut_has_emptied_belongs_to_nobody_yet() {
    let folder = tempfile::tempdir().unwrap();
    let read = || ottla_storage::PartitionMetadata::read(&DiskFiles, folder.path());
    assert_eq!(read().unwrap(), None);
    let known = ottla_storage::PartitionMetadata { topic_id: ottla_types::Uuid::of(7) };
    known.write(&DiskFiles, folder.path()).unwrap();
    assert_eq!(read().unwrap(), Some(known));
    let file = folder.path().join("partition.metadata");
    let whole = std::fs::read(&file).unwrap();
    let cut_off = |at: usize| whole[..at].to_vec();
    let zeroed = |at: usize| [cut_off(at), vec![0; whole.len() - at]].concat();
    for lost in (0..whole.len()).flat_map(|at| [cut_off(at), zeroed(at)]).chain([vec![0; 40]]) {
        std::fs::write(&file, &lost).unwrap();
        assert_eq!(read().unwrap(), None, "{}", lost.escape_ascii());
    }
    for corrupt in ["something else", "version: 0\ntopic_id: ?"] {
        std::fs::write(&file, corrupt).unwrap();
        assert!(read().is_err(), "what is there is not overlooked");
    }
}
