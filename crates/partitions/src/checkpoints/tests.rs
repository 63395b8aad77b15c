use std::path::Path;

use bytes::Bytes;
use ottla_clock::{Clock, Share};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_replication::Assignment;
use ottla_storage::{Fault, SimDisk};
use ottla_types::{TopicPartition, Uuid};

use super::*;
use crate::owner::Terms;
use crate::partitions::Assigned;
use crate::rules::PartitionRules;

const DIR: &str = "/data";
const WATERMARKS: &str = "replication-offset-checkpoint";
const STARTS: &str = "log-start-offset-checkpoint";
const POINTS: &str = "recovery-point-offset-checkpoint";

/// A node with one directory, which counts what is changed in it and has faults if asked to.
struct TestNode {
    disk: SimDisk,
    partitions: Partitions,
}

impl TestNode {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let dir = DataDir::open(disk.files(), Path::new(DIR)).expect("a disk").expect("not locked");
        let dirs = vec![(dir, Uuid::of(500), true)];
        let partitions = Partitions::new(1, Clock::manual(1000), dirs).expect("readable");
        Self { disk, partitions }
    }

    fn with(indexes: &[i32]) -> Self {
        let node = Self::new();
        node.assign(indexes);
        node
    }

    fn assign(&self, indexes: &[i32]) {
        let assigned = |index: &i32| Assigned {
            place: TopicPartition::new("t", *index),
            topic_id: Uuid::of(700),
            directory: Uuid::ZERO,
            assignment: Assignment { leader: 1, in_sync: vec![1], ..Assignment::default() },
            rules: PartitionRules::default(),
        };
        let wanted: Vec<_> = indexes.iter().map(assigned).collect();
        assert!(self.partitions.reconcile(&wanted).is_empty());
    }

    fn at(&self, index: i32) -> Partition {
        self.partitions.find("t", index).expect("assigned")
    }

    fn append(&self, index: i32) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = Some(&b"value"[..]);
        builder.push(&NewRecord { timestamp: 900, value, ..NewRecord::default() });
        let batch = Bytes::from(builder.build().expect("small"));
        self.at(index).append(&batch, &Terms::for_all(1000)).expect("appended");
    }

    /// The next write of this file fails, or not any more.
    fn fail(&self, file: &str, fault: Option<Fault>) {
        self.disk.set_fault(&Path::new(DIR).join(format!("{file}.tmp")), fault);
    }

    fn said(&self, file: &str) -> Vec<(i32, Offset)> {
        let path = Path::new(DIR).join(file);
        let read = OffsetCheckpoint::read(&*self.disk.files(), &path).expect("written whole");
        read.0.into_iter().map(|(place, offset)| (place.partition, offset)).collect()
    }
}

#[test]
fn where_nothing_moves_no_file_is_written() {
    let node = TestNode::with(&[0, 1]);
    node.append(0);
    node.partitions.checkpoint().expect("written");
    let before = node.disk.changes();
    node.partitions.checkpoint().expect("nothing to do");
    node.partitions.note_recovery_points(&node.partitions.dirs[0]);
    assert_eq!(node.disk.changes(), before);
    // A turn that moves nothing asks for a look, and no more.
    node.at(1).turn(StorageError::Failed, |_| Ok(())).expect("open");
    assert!(node.partitions.bells().of(Share(0)).has_changed());
    node.partitions.checkpoint_changes(&node.partitions.dirs[0]);
    assert_eq!(node.disk.changes(), before);
}

#[test]
fn only_the_file_is_written_that_would_say_something_else() {
    type Move = fn(&TestNode);
    let moves: [(&str, Move); 3] = [
        (WATERMARKS, |node| node.append(0)),
        (POINTS, |node| node.at(0).flush().expect("flushed")),
        (STARTS, |node| assert_eq!(node.at(0).delete_before(1).expect("there"), 1)),
    ];
    let node = TestNode::with(&[0, 1]);
    node.partitions.checkpoint().expect("written");
    for (file, go) in moves {
        go(&node);
        for other in [WATERMARKS, STARTS, POINTS].into_iter().filter(|it| *it != file) {
            node.fail(other, Some(Fault::Writes));
        }
        node.partitions.checkpoint().unwrap_or_else(|error| panic!("{file}: {error}"));
        for other in [WATERMARKS, STARTS, POINTS] {
            node.fail(other, None);
        }
    }
    assert_eq!(node.said(WATERMARKS), [(0, 1), (1, 0)]);
    assert_eq!(node.said(POINTS), [(0, 1), (1, 0)]);
    assert_eq!(node.said(STARTS), [(0, 1)]);
}

#[test]
fn a_partition_that_comes_or_goes_changes_the_files() {
    let node = TestNode::with(&[0]);
    node.partitions.checkpoint().expect("written");
    for (wanted, said) in [(&[0, 1][..], vec![(0, 0), (1, 0)]), (&[1], vec![(1, 0)])] {
        node.assign(wanted);
        node.partitions.checkpoint().expect("written");
        assert_eq!(node.said(WATERMARKS), said, "of {wanted:?}");
        assert_eq!(node.said(POINTS), said, "of {wanted:?}");
    }
}

#[test]
fn what_could_not_be_written_is_written_when_it_can_though_nothing_moves() {
    for (file, fault) in
        [(WATERMARKS, Fault::Writes), (STARTS, Fault::Syncs), (POINTS, Fault::Full)]
    {
        let node = TestNode::with(&[0]);
        node.append(0);
        node.at(0).flush().expect("flushed");
        node.at(0).delete_before(1).expect("within the log");
        node.fail(file, Some(fault));
        node.partitions.checkpoint_changes(&node.partitions.dirs[0]);
        assert_eq!(node.said(file), [], "{file}");
        node.fail(file, None);
        node.partitions.checkpoint_changes(&node.partitions.dirs[0]);
        for file in [WATERMARKS, STARTS, POINTS] {
            assert_eq!(node.said(file), [(0, 1)], "{file}");
        }
    }
}
