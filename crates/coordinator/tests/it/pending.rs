//! Offsets of open transactions when what they belong to is deleted, or other offsets expire.

use std::sync::Arc;

use ottla_coordinator::group::{DeletedTopic, GroupCommand, GroupMachine};
use ottla_machine::testkit::MachineBench;
use ottla_types::{ErrorCode, Uuid};

use crate::offsets::{
    PRODUCER, commit, committed, delete, deleted, ended_of, in_transaction_of, pended, read,
};
use crate::play::{GROUP, reloaded, stage};

const OTHER: (i64, i16) = (41, 0);
const MONTH_MS: i64 = 30 * 24 * 60 * 60 * 1000;

fn topic_deleted(name: &str, id: u64) -> GroupCommand {
    GroupCommand::TopicsDeleted(vec![DeletedTopic { name: Arc::from(name), id: Uuid::of(id) }])
}

/// A way in which an offset goes, and its name.
type Way = (&'static str, fn(&mut MachineBench<GroupMachine>));

const WAYS: [Way; 3] = [
    ("topic deleted", |bench| drop(bench.run(topic_deleted("t", 5)))),
    ("group deleted", |bench| assert_eq!(deleted(bench), ErrorCode::NONE)),
    ("offset deleted", |bench| drop(bench.run(delete("t")))),
];

fn pend(bench: &mut MachineBench<GroupMachine>, producer: (i64, i16), offset: i64) {
    let command = in_transaction_of(producer, "", -1, offset);
    assert_eq!(pended(bench, command), ErrorCode::NONE);
}

#[test]
fn a_pending_offset_does_not_outlive_a_deletion() {
    for (way, delete) in WAYS {
        for has_plain in [true, false] {
            let mut bench = stage();
            if has_plain {
                committed(&mut bench, commit("", -1, "t", 20, ""));
            }
            pend(&mut bench, PRODUCER, 10);
            pend(&mut bench, OTHER, 11);
            // What is deleted may have been read from the log.
            let mut again = reloaded(&bench.records, bench.now_ms);
            for bench in [&mut bench, &mut again] {
                delete(bench);
                assert_eq!(read(bench, true), Some(-1), "{way}: nothing is unstable");
                assert!(bench.machine.stored().pending.is_empty(), "{way}");
            }
            let mut after = reloaded(&bench.records, bench.now_ms);
            assert_eq!(after.machine.stored(), bench.machine.stored(), "{way}: as loaded");
            for bench in [&mut bench, &mut again, &mut after] {
                bench.run(ended_of(PRODUCER, true));
                bench.run(ended_of(OTHER, true));
                assert_eq!(read(bench, true), Some(-1), "{way}, plain {has_plain}");
            }
        }
    }
}

#[test]
fn a_pending_offset_written_after_a_deletion_is_in_force_at_the_commit() {
    for (way, delete) in WAYS {
        let mut bench = stage();
        pend(&mut bench, PRODUCER, 10);
        delete(&mut bench);
        pend(&mut bench, PRODUCER, 12);
        assert_eq!(read(&mut bench, true), None, "{way}: unstable again");
        bench.run(ended_of(PRODUCER, true));
        assert_eq!(read(&mut bench, true), Some(12), "{way}");
    }
}

#[test]
fn an_offset_that_says_another_topic_of_the_name_stays() {
    let mut bench = stage();
    let GroupCommand::CommitOffsets { mut request, version } = commit("", -1, "t", 20, "") else {
        unreachable!("it is a commit")
    };
    request.topics[0].topic_id = Uuid::of(6);
    committed(&mut bench, GroupCommand::CommitOffsets { request, version });
    bench.run(topic_deleted("t", 5));
    assert_eq!(read(&mut bench, true), Some(20), "it belongs to the topic made since");
    bench.run(topic_deleted("t", 6));
    assert_eq!(read(&mut bench, true), Some(-1));
}

#[test]
fn a_pending_offset_keeps_its_partition_and_its_group_and_nothing_else() {
    let mut bench = stage();
    committed(&mut bench, commit("", -1, "t", 20, ""));
    committed(&mut bench, commit("", -1, "other", 21, ""));
    pend(&mut bench, PRODUCER, 10);
    let mut again = reloaded(&bench.records, bench.now_ms);
    for bench in [&mut bench, &mut again] {
        bench.pass(MONTH_MS);
        let stored = bench.machine.stored();
        assert!(stored.committed(GROUP, "t", 0).is_some(), "its transaction is open");
        assert!(stored.committed(GROUP, "other", 0).is_none(), "its week is over");
        bench.run(ended_of(PRODUCER, false));
        bench.pass(MONTH_MS);
        assert_eq!(read(bench, true), Some(-1));
        assert_eq!(deleted(bench), ErrorCode::GROUP_ID_NOT_FOUND, "the group has gone as well");
    }
}

#[test]
fn a_group_that_has_only_pending_offsets_is_there() {
    let mut bench = stage();
    pend(&mut bench, PRODUCER, 10);
    let mut again = reloaded(&bench.records, bench.now_ms);
    again.pass(MONTH_MS);
    assert_eq!(deleted(&mut again), ErrorCode::NONE, "a transaction keeps the group");
    again.run(ended_of(PRODUCER, true));
    assert_eq!(read(&mut again, true), Some(-1));
}
