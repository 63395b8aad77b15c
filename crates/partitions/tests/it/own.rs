//! Our own partitions: append, read, wait, delete, start again.

use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_partitions::{
    AppendRefusal, EpochRefused, Isolation, LedPartition, PartitionRules, PartitionSlice, Terms,
    TimestampKind, Waited,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord, batches_in};
use ottla_types::{ErrorCode, TopicPartition, Uuid};

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in values {
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: 900, value, ..NewRecord::default() });
    }
    Bytes::from(builder.build().unwrap())
}

fn places() -> Vec<(TopicPartition, Uuid)> {
    vec![(TopicPartition::new("t", 0), Uuid::of(700))]
}

#[test]
fn what_is_appended_is_read_and_there_after_a_clean_stop() {
    let work = tempfile::tempdir().unwrap();
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    let partition = partitions.find("t", 0).unwrap();
    let appended = partition.append(&batch(&["a", "b"]), &Terms::for_all(1000)).unwrap();
    assert_eq!((appended.base_offset, appended.end, appended.log_append_time_ms), (0, 2, -1));
    assert!(partition.is_committed(2), "the only replica is all of the in-sync set");
    let read = partition.read(PartitionSlice::new(0, 1000, Isolation::Uncommitted)).unwrap();
    let first = batches_in(&read.records).next().unwrap().unwrap();
    assert_eq!((first.leader_epoch(), first.record_count()), (9, 2));
    assert!(partitions.find_by_id(Uuid::of(700), 0).is_some());
    partitions.close(5).unwrap();
    drop((partitions, partition));
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    assert_eq!(partitions.find("t", 0).unwrap().ends().log_end, 2);
}

#[test]
fn a_client_with_another_epoch_in_mind_is_told() {
    let work = tempfile::tempdir().unwrap();
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    let partition = partitions.find("t", 0).unwrap();
    assert_eq!(partition.fence(-1), Ok(()));
    assert_eq!(partition.fence(9), Ok(()));
    assert_eq!(partition.fence(8), Err(EpochRefused::Older));
    assert_eq!(partition.fence(10), Err(EpochRefused::Newer));
}

#[test]
fn a_coordinator_of_another_epoch_appends_nothing() {
    let work = tempfile::tempdir().unwrap();
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    let partition = partitions.find("t", 0).unwrap();
    for epoch in [8, 10] {
        let led = LedPartition::new(partition.clone(), epoch);
        assert!(!led.accepts() && led.ends().is_none());
        let own = led.append_own(&batch(&["a"]), 1000);
        assert!(matches!(own, Err(AppendRefusal::NotLeader)), "epoch {epoch}");
        let produced = led.append(&batch(&["a"]), &Terms::for_all(1000));
        assert!(matches!(produced, Err(AppendRefusal::NotLeader)), "epoch {epoch}");
    }
    assert_eq!(partition.ends().log_end, 0);
    let led = LedPartition::new(partition, 9);
    assert!(led.accepts());
    assert_eq!(led.append_own(&batch(&["a"]), 1000).unwrap().end, 1);
    assert_eq!(led.ends().map(|ends| ends.log_end), Some(1));
}

#[test]
fn rules_are_kept() {
    let work = tempfile::tempdir().unwrap();
    let rules = PartitionRules {
        compacted: true,
        batch_bytes_max: 100,
        timestamps: TimestampKind::Append,
        in_sync_min: 1,
        ..PartitionRules::default()
    };
    let partitions = crate::open(work.path(), &places(), &rules);
    let partition = partitions.find("t", 0).unwrap();
    let refused = |values: &[&str]| -> AppendRefusal {
        partition.append(&batch(values), &Terms::for_leader(1000)).unwrap_err()
    };
    assert_eq!(refused(&["no key"]).code(), ErrorCode::INVALID_RECORD);
    assert_eq!(refused(&["x".repeat(200).as_str()]).code(), ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(partition.ends().log_end, 0, "nothing was written");
}

#[test]
fn records_are_deleted_from_the_front() {
    let work = tempfile::tempdir().unwrap();
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    let partition = partitions.find("t", 0).unwrap();
    for _ in 0..3 {
        partition.append(&batch(&["a", "b"]), &Terms::for_leader(1000)).unwrap();
    }
    assert_eq!(partition.delete_before(3).unwrap(), 3);
    assert!(partition.read(PartitionSlice::new(2, 100, Isolation::Uncommitted)).is_err());
    assert!(partition.read(PartitionSlice::new(3, 100, Isolation::Uncommitted)).is_ok());
    partitions.close(5).unwrap();
    drop((partitions, partition));
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    assert_eq!(partitions.find("t", 0).unwrap().ends().log_start, 3);
}

#[test]
fn a_partition_that_is_gone_leaves_nothing_and_refuses_everything() {
    let work = tempfile::tempdir().unwrap();
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    let partition = partitions.find("t", 0).unwrap();
    let appended = partition.append(&batch(&["a"]), &Terms::for_leader(1000)).unwrap();
    assert!(partitions.reconcile(&[]).is_empty());
    assert!(partitions.find("t", 0).is_none());
    assert!(!work.path().join("t-0").exists());
    let refused = partition.append(&batch(&["b"]), &Terms::for_leader(1000)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let clock = Clock::manual(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let waited = runtime.block_on(partition.committed(&appended, &clock, Duration::from_secs(1)));
    assert_eq!(waited, Waited::LeaderMoved);
}

#[test]
fn an_append_allocates_nothing_that_grows_with_the_batch() {
    let work = tempfile::tempdir().unwrap();
    let partitions = crate::open(work.path(), &places(), &PartitionRules::default());
    let partition = partitions.find("t", 0).unwrap();
    let allocated = |size: usize| {
        let batch = batch(&["x".repeat(size).as_str()]);
        // Once before: what is allocated only the first time does not count.
        partition.append(&batch, &Terms::for_all(1000)).unwrap();
        let measured = allocation_counter::measure(|| {
            partition.append(&batch, &Terms::for_all(1000)).unwrap();
        });
        measured.bytes_total
    };
    let (small, large) = (allocated(100), allocated(900_000));
    assert!(large <= small + 256, "{small} bytes for a small batch, {large} for a large one");
    assert!(small < 1024, "{small} bytes");
}
