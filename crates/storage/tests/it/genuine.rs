//! A genuine Kafka 4.3.1's directories: opened, read, closed, rebuilt.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_records::{BatchOptions, batches_in};
use ottla_storage::{DataDir, DiskFiles, Files, Log, Stamp};
use serde_json::Value;

use crate::{batch, opening, read_all};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

/// Topic, partition, and the row of `expected/offsets.jsonl`.
fn offsets() -> Vec<(String, Value)> {
    let text = fs::read_to_string(golden("expected/offsets.jsonl")).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (format!("{}-{}", row["topic"].as_str().unwrap(), row["partition"]), row)
    };
    text.lines().map(row).collect()
}

fn files() -> Arc<dyn Files> {
    Arc::new(DiskFiles)
}

#[test]
fn every_partition_ends_where_kafka_says() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden("data-dir"), work.path());
    let dir = DataDir::open(files(), work.path()).unwrap().unwrap();
    assert_eq!(dir.meta().unwrap().unwrap().node_id, 1);
    assert_eq!(dir.take_clean_shutdown().unwrap().unwrap().broker_epoch, 555);
    let starts = dir.log_starts().unwrap().0;
    let (live, deleted) = (dir.partitions().unwrap(), dir.deleted().unwrap());
    assert_eq!((live.len(), deleted.len()), (40, 0), "39 partitions and the metadata log");
    let rows: BTreeMap<String, Value> = offsets().into_iter().collect();
    let mut compared = 0;
    for place in live.iter().filter(|place| &*place.topic != "__cluster_metadata") {
        let folder = dir.folder(place);
        let before = content(&folder);
        let mut opening = opening(&files(), &folder, true);
        opening.log_start = starts.get(place).copied().unwrap_or(0);
        let log = Log::open(opening).unwrap();
        let row = &rows[&place.to_string()];
        assert_eq!(log.log_start(), row["log_start"].as_i64().unwrap(), "{place}: log start");
        assert_eq!(log.log_end(), row["end_offset"].as_i64().unwrap(), "{place}: end");
        let stable = log.first_unstable(log.log_end()).unwrap_or(log.log_end());
        assert_eq!(stable, row["last_stable_offset"].as_i64().unwrap(), "{place}: last stable");
        read_all(&log);
        log.close_clean().unwrap();
        let after = content(&folder);
        let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "{place}");
        for (file, bytes) in &before {
            assert!(&after[file] == bytes, "{place}/{file} is not what it was");
        }
        compared += 1;
    }
    assert_eq!(compared, 39);
}

#[test]
fn indexes_are_made_again_as_they_were() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden("data-dir"), work.path());
    let folder = work.path().join("segs-0");
    let before = content(&folder);
    for file in before.keys().filter(|name| name.ends_with("index")) {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let mut opening = opening(&files(), &folder, true);
    // The topic's own `index.interval.bytes`.
    opening.options.index_interval_bytes = 512;
    let log = Log::open(opening).unwrap();
    log.close_clean().unwrap();
    let after = content(&folder);
    // Not the last: a restart in its middle made Kafka count the bytes between entries from 0
    // again.
    let sealed = before.iter().filter(|(name, _)| name.ends_with("index"));
    let sealed: Vec<_> = sealed.filter(|(name, _)| !name.contains("400.")).collect();
    assert_eq!(sealed.len(), 14);
    for (file, bytes) in sealed {
        assert_eq!(&after[file], bytes, "{file}");
    }
}

#[test]
fn after_a_crash_the_log_is_cut_at_the_half_batch() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden("data-dir-crashed"), work.path());
    let folder = work.path().join("crash-0");
    let mut opening = opening(&files(), &folder, false);
    opening.recovery_point = 20;
    let mut log = Log::open(opening).unwrap();
    log.begin_flush().unwrap().expect("there is something to make durable").run().unwrap();
    assert_eq!(log.log_end(), 95);
    assert_eq!(fs::metadata(folder.join("00000000000000000000.log")).unwrap().len(), 5693);
    let names: Vec<String> = content(&folder).into_keys().collect();
    assert!(names.contains(&"00000000000000000095.snapshot".to_owned()), "{names:?}");
    assert!(!names.contains(&"00000000000000000040.snapshot".to_owned()), "{names:?}");
    let epochs = fs::read_to_string(folder.join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(epochs, "0\n3\n0 0\n2 20\n4 40\n");
    let last = batches_in(&read_all(&log)).map(|batch| batch.unwrap().last_offset()).last();
    assert_eq!(last, Some(94));
}

#[test]
fn appending_goes_on_where_kafka_stopped() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden("data-dir/segs-0"), work.path());
    let mut log = Log::open(opening(&files(), work.path(), true)).unwrap();
    let stamp = Stamp { leader_epoch: 9, append_time: None, max_timestamp: None };
    let appended = log.append_as_leader(&batch(3, BatchOptions::default()), stamp, 0).unwrap();
    assert_eq!((appended.base_offset, appended.end), (412, 415));
    log.close_clean().unwrap();
    let log = Log::open(opening(&files(), work.path(), true)).unwrap();
    assert_eq!((log.log_end(), log.view().latest_epoch()), (415, 9));
}

#[test]
fn a_record_is_found_by_its_time() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden("data-dir/segs-0"), work.path());
    let log = Log::open(opening(&files(), work.path(), true)).unwrap();
    // Create times start at 1700000000000 and go on by a second a record.
    let view = log.view();
    for second in [0, 1, 59, 60, 61, 250, 399] {
        let time = 1_700_000_000_000 + second * 1000;
        assert_eq!(view.at_time(time).unwrap(), Some((time, second)));
        assert_eq!(view.at_time(time - 1).unwrap(), Some((time, second)));
    }
    let (newest, offset) = view.newest().unwrap().unwrap();
    assert!(newest > 1_700_000_399_000 && offset >= 400);
    assert_eq!(view.at_time(newest + 1).unwrap(), None);
}
