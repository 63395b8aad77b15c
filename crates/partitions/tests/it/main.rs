//! The partitions of a genuine Kafka 4.3.1, read as its clients read them; and our own, appended
//! to and read.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod disks;
mod following;
mod genuine;
mod moves;
mod own;
mod stable;
mod transactions;
mod upkeep;

use std::path::Path;
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_partitions::{
    Assigned, Assignment, DataDir, DiskFiles, Files, PartitionRules, Partitions,
};
use ottla_types::{TopicPartition, Uuid};

/// A partition that node 1 leads.
pub fn assigned(place: TopicPartition, topic_id: Uuid, rules: &PartitionRules) -> Assigned {
    let assignment = Assignment {
        leader: 1,
        leader_epoch: 9,
        partition_epoch: 1,
        replicas: vec![1],
        in_sync: vec![1],
        ..Assignment::default()
    };
    let directory = Uuid::ZERO;
    Assigned { place, topic_id, directory, assignment, rules: rules.clone() }
}

/// The partitions in a directory, led by node 1.
pub fn open(dir: &Path, places: &[(TopicPartition, Uuid)], rules: &PartitionRules) -> Partitions {
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let data = DataDir::open(files, dir).unwrap().unwrap();
    let clean = data.take_clean_shutdown().unwrap().is_some();
    let dirs = vec![(data, Uuid::of(500), clean)];
    let partitions = Partitions::new(1, Clock::manual(1000), dirs).unwrap();
    let wanted: Vec<Assigned> =
        places.iter().map(|(place, id)| assigned(place.clone(), *id, rules)).collect();
    let failed = partitions.reconcile(&wanted);
    assert!(failed.is_empty(), "{failed:?}");
    partitions
}
