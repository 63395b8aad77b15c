//! A partition that another node leads: what it takes from its leader, and gives to consumers.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use ottla_partitions::{
    Assigned, Assignment, FetchedRecords, Interest, Isolation, Partition, PartitionRules,
    PartitionSlice, Partitions, ReadRefused, ServedFrom, Wait,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord, batches_in};
use ottla_types::{TopicPartition, Uuid};

/// Node 1, which follows node 2.
fn follower(dir: &std::path::Path) -> (Partitions, Partition) {
    let place = TopicPartition::new("t", 0);
    let rules = PartitionRules::default();
    let partitions = crate::open(dir, &[], &rules);
    let assignment = Assignment {
        leader: 2,
        leader_epoch: 9,
        replicas: vec![2, 1],
        in_sync: vec![2, 1],
        ..Assignment::default()
    };
    let wanted = crate::assigned(place, Uuid::of(700), &rules);
    let failed = partitions.reconcile(&[Assigned { assignment, ..wanted }]);
    assert!(failed.is_empty(), "{failed:?}");
    let partition = partitions.find("t", 0).unwrap();
    (partitions, partition)
}

/// A batch of one record, as the leader wrote it in its epoch.
fn batch_at(offset: i64) -> Bytes {
    let options = BatchOptions { base_offset: offset, leader_epoch: 9, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.push(&NewRecord { timestamp: 900, value: Some(b"v"), ..NewRecord::default() });
    Bytes::from(builder.build().unwrap())
}

fn take(partition: &Partition, offset: i64, records: &Bytes, high_watermark: i64) {
    let fetched = FetchedRecords { leader_epoch: 9, offset, records, high_watermark, log_start: 0 };
    partition.append_fetched(&fetched, 1000).unwrap();
}

/// The offsets that a consumer reads of the batches from there on.
fn read(partition: &Partition, offset: i64) -> Result<Vec<i64>, ReadRefused> {
    let slice = PartitionSlice::new(offset, 10_000, Isolation::Uncommitted);
    let read = partition.read(PartitionSlice { served: ServedFrom::AnyReplica, ..slice })?;
    Ok(batches_in(&read.records).map(|it| it.unwrap().base_offset()).collect())
}

#[test]
fn a_follower_serves_consumers_up_to_the_high_watermark_that_it_knows() {
    let work = tempfile::tempdir().unwrap();
    let (_partitions, partition) = follower(work.path());
    for offset in 0..3 {
        take(&partition, offset, &batch_at(offset), 1);
    }
    assert_eq!(read(&partition, 0).unwrap(), [0], "one record is committed");
    assert_eq!(read(&partition, 1).unwrap(), [0; 0]);
    assert_eq!(read(&partition, 3).unwrap(), [0; 0], "at its end");
    assert!(matches!(read(&partition, 4), Err(ReadRefused::OutOfRange(4))), "beyond its end");
    take(&partition, 3, &Bytes::new(), 3);
    assert_eq!(read(&partition, 0).unwrap(), [0, 1, 2]);
    let by_the_leader = PartitionSlice::new(0, 10_000, Isolation::Uncommitted);
    assert!(matches!(partition.read(by_the_leader), Err(ReadRefused::NotLeader)));
}

#[test]
fn a_consumer_that_waits_at_a_follower_is_woken_by_its_watermark() {
    let work = tempfile::tempdir().unwrap();
    let (_partitions, partition) = follower(work.path());
    let mut wait = Wait::new();
    wait.add(partition.progress(), Interest::Committed);
    let mut cx = Context::from_waker(Waker::noop());
    take(&partition, 0, &batch_at(0), 0);
    assert!(pin!(wait.moved()).poll(&mut cx).is_pending(), "nothing is committed");
    take(&partition, 1, &Bytes::new(), 1);
    assert!(pin!(wait.moved()).poll(&mut cx).is_ready());
}
