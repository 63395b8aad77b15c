//! Where readers of committed records stop: a transaction has ended when its marker is committed,
//! not when it is written (KIP-98).

use bytes::Bytes;
use ottla_partitions::{
    AppendRefusal, AppendResult, Assignment, Ends, FetchedRecords, Guard, Isolation, LogOptions,
    Marker, Partition, PartitionRules, PartitionSlice, Partitions, Terms,
};
use ottla_records::control::ControlKind;
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{TopicPartition, Uuid};

const PRODUCER: i64 = 7;

fn place() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn open(dir: &std::path::Path, rules: &PartitionRules) -> (Partitions, Partition) {
    let partitions = crate::open(dir, &[(place(), Uuid::of(700))], rules);
    let partition = partitions.find("t", 0).unwrap();
    (partitions, partition)
}

/// Two records of a transaction.
fn begin(partition: &Partition) {
    let guard = partition.to_verify(PRODUCER, 0);
    append_verified(partition, 0, guard).unwrap();
}

fn append_verified(partition: &Partition, epoch: i16, guard: Option<Guard>) -> AppendResult {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: PRODUCER,
        producer_epoch: epoch,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    });
    for value in [b"a", b"b"] {
        builder.push(&NewRecord { timestamp: 900, value: Some(value), ..NewRecord::default() });
    }
    let batch = Bytes::from(builder.build().unwrap());
    let terms = Terms { now_ms: 1000, for_all: false, zstd_allowed: true, guard };
    partition.append(&batch, &terms)
}

fn end(partition: &Partition, commit: bool) {
    let marker =
        Marker { producer_id: PRODUCER, epoch: 0, commit, coordinator_epoch: 1, is_bumped: false };
    partition.end_transaction(&marker, 1000).unwrap();
}

/// Node 1 leads; `in_sync` are the in-sync replicas.
fn in_sync(partitions: &Partitions, in_sync: &[i32], rules: &PartitionRules) {
    let assignment = Assignment {
        leader: 1,
        leader_epoch: 9,
        partition_epoch: i32::try_from(in_sync.len()).unwrap(),
        replicas: vec![1, 2],
        in_sync: in_sync.to_vec(),
        ..Assignment::default()
    };
    let wanted = crate::assigned(place(), Uuid::of(700), rules);
    let failed = partitions.reconcile(&[ottla_partitions::Assigned { assignment, ..wanted }]);
    assert!(failed.is_empty(), "{failed:?}");
}

fn ends(partition: &Partition) -> (i64, i64, i64) {
    let Ends { last_stable, high_watermark, log_end, .. } = partition.ends();
    (last_stable, high_watermark, log_end)
}

#[test]
fn the_last_stable_offset_waits_for_the_marker_to_be_committed() {
    let work = tempfile::tempdir().unwrap();
    let rules = PartitionRules::default();
    let (partitions, partition) = open(work.path(), &rules);
    in_sync(&partitions, &[1], &rules);
    begin(&partition);
    assert_eq!(ends(&partition), (0, 2, 2), "the transaction is open");
    // From now on a follower is waited for that does not fetch.
    in_sync(&partitions, &[1, 2], &rules);
    end(&partition, true);
    assert_eq!(ends(&partition), (0, 2, 3), "the marker may still be lost");
    let read = partition.read(PartitionSlice::new(0, 1000, Isolation::Committed)).unwrap();
    assert!(read.records.is_empty(), "{} bytes of an undecided transaction", read.records.len());
    in_sync(&partitions, &[1], &rules);
    assert_eq!(ends(&partition), (3, 3, 3), "it is committed");
    let read = partition.read(PartitionSlice::new(0, 1000, Isolation::Committed)).unwrap();
    assert!(!read.records.is_empty());
}

#[test]
fn a_marker_that_a_power_cut_could_take_back_ends_nothing() {
    let work = tempfile::tempdir().unwrap();
    let log = LogOptions { flush_messages: 1, ..LogOptions::default() };
    let rules = PartitionRules { log, ..PartitionRules::default() };
    let (_partitions, partition) = open(work.path(), &rules);
    begin(&partition);
    partition.sync().unwrap();
    end(&partition, false);
    assert_eq!(ends(&partition), (0, 2, 3));
    partition.sync().unwrap();
    assert_eq!(ends(&partition), (3, 3, 3));
}

#[test]
fn the_last_stable_offset_is_never_below_the_logs_start() {
    let work = tempfile::tempdir().unwrap();
    let (_partitions, partition) = open(work.path(), &PartitionRules::default());
    begin(&partition);
    partition.delete_before(1).unwrap();
    assert_eq!((partition.ends().log_start, partition.ends().last_stable), (1, 1));
}

#[test]
fn only_the_marker_of_its_own_transaction_makes_a_verification_worthless() {
    let work = tempfile::tempdir().unwrap();
    let (_partitions, partition) = open(work.path(), &PartitionRules::default());
    begin(&partition);
    // With `transaction.version` 2 the next transaction may be verified before the marker of the
    // last one is written, which has its epoch; EndTxn does not wait for that.
    let next = partition.to_verify(PRODUCER, 1);
    let marker = |epoch, is_bumped| Marker {
        producer_id: PRODUCER,
        epoch,
        commit: true,
        coordinator_epoch: 1,
        is_bumped,
    };
    for _ in 0..2 {
        partition.end_transaction(&marker(1, true), 1000).unwrap();
    }
    append_verified(&partition, 1, next).unwrap();
    // Before, the marker that ends a transaction has the epoch of its records: what was verified
    // and comes late must not begin another one.
    partition.end_transaction(&marker(1, false), 1000).unwrap();
    let late = partition.to_verify(PRODUCER, 1);
    partition.end_transaction(&marker(1, false), 1000).unwrap();
    let refused = append_verified(&partition, 1, late).unwrap_err();
    assert!(matches!(refused, AppendRefusal::Unverified), "{refused:?}");
}

/// Node 1 leads in odd epochs, and follows in even ones.
fn led_in(partitions: &Partitions, leader_epoch: i32) {
    let leader = if leader_epoch % 2 == 1 { 1 } else { 2 };
    let assignment = Assignment {
        leader,
        leader_epoch,
        partition_epoch: leader_epoch,
        replicas: vec![1, 2],
        in_sync: vec![1],
        ..Assignment::default()
    };
    let wanted = crate::assigned(place(), Uuid::of(700), &PartitionRules::default());
    let failed = partitions.reconcile(&[ottla_partitions::Assigned { assignment, ..wanted }]);
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_marker_that_another_leader_wrote_makes_a_verification_worthless() {
    let work = tempfile::tempdir().unwrap();
    let (partitions, partition) = open(work.path(), &PartitionRules::default());
    led_in(&partitions, 11);
    begin(&partition);
    end(&partition, false);
    let late = partition.to_verify(PRODUCER, 0);
    led_in(&partitions, 12);
    let mut marker = BatchBuilder::new(BatchOptions {
        base_offset: 3,
        leader_epoch: 12,
        producer_id: PRODUCER,
        producer_epoch: 0,
        transactional: true,
        control: true,
        ..BatchOptions::default()
    });
    let (key, value) = (ControlKind::Abort.key(), [0, 0, 0, 0, 0, 1]);
    let (key, value) = (Some(&key[..]), Some(&value[..]));
    marker.push(&NewRecord { timestamp: 1000, key, value, headers: &[] });
    let records = Bytes::from(marker.build().unwrap());
    let fetched = FetchedRecords {
        leader_epoch: 12,
        offset: 3,
        records: &records,
        high_watermark: 4,
        log_start: 0,
    };
    partition.append_fetched(&fetched, 1000).unwrap();
    led_in(&partitions, 13);
    let refused = append_verified(&partition, 0, late).unwrap_err();
    assert!(matches!(refused, AppendRefusal::Unverified), "{refused:?}");
}
