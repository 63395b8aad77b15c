//! Offsets: committed, fetched, deleted, expired.

use ottla_coordinator::group::{GroupCommand, GroupMachine, GroupReply, TransactionEnd};
use ottla_machine::testkit::MachineBench;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_types::ErrorCode;

use crate::play::{GROUP, alone, leave, reloaded, stage};

pub fn commit(member: &str, generation: i32, topic: &str, offset: i64, note: &str) -> GroupCommand {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some(note.to_owned()),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    GroupCommand::CommitOffsets { request, version: 9 }
}

pub fn committed(bench: &mut MachineBench<GroupMachine>, command: GroupCommand) -> ErrorCode {
    match bench.run(command).1.pop() {
        Some((_, GroupReply::CommitOffsets(it))) => {
            ErrorCode(it.topics[0].partitions[0].error_code)
        }
        other => panic!("no answer to the commit: {other:?}"),
    }
}

/// Topic, partition, offset, metadata of all that is committed.
fn fetched(bench: &mut MachineBench<GroupMachine>) -> Vec<(String, i64, String)> {
    let request =
        OffsetFetchRequestGroup { group_id: GROUP.to_owned(), topics: None, ..Default::default() };
    let command = GroupCommand::FetchOffsets { request, require_stable: true };
    let Some((_, GroupReply::FetchOffsets(found))) = bench.run(command).1.pop() else {
        panic!("no answer to the fetch")
    };
    let row = |topic: &str, it: &OffsetFetchResponsePartitions| {
        (topic.to_owned(), it.committed_offset, it.metadata.clone().unwrap())
    };
    found.topics.iter().flat_map(|it| it.partitions.iter().map(|p| row(&it.name, p))).collect()
}

#[test]
fn what_is_committed_is_there_after_a_restart() {
    let mut bench = stage();
    assert_eq!(committed(&mut bench, commit("", -1, "t", 42, "note")), ErrorCode::NONE);
    let wanted = vec![("t".to_owned(), 42, "note".to_owned())];
    assert_eq!(fetched(&mut bench), wanted);
    let records = bench.records.clone();
    assert_eq!(fetched(&mut reloaded(&records, 0)), wanted);
}

#[test]
fn only_members_of_this_generation_commit_while_there_are_members() {
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    let mut code = |command| committed(&mut bench, command);
    assert_eq!(code(commit(&one, generation, "t", 1, "")), ErrorCode::NONE);
    assert_eq!(code(commit(&one, generation + 1, "t", 1, "")), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(code(commit("who", generation, "t", 1, "")), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(code(commit("", -1, "t", 1, "")), ErrorCode::UNKNOWN_MEMBER_ID);
    let long = "x".repeat(5000);
    let too_long = code(commit(&one, generation, "t", 1, &long));
    assert_eq!(too_long, ErrorCode::OFFSET_METADATA_TOO_LARGE);
}

#[test]
fn a_group_that_is_missing_is_told_in_a_code_that_the_version_knows() {
    for (asked, code) in [
        (0, ErrorCode::ILLEGAL_GENERATION),
        (8, ErrorCode::ILLEGAL_GENERATION),
        (9, ErrorCode::GROUP_ID_NOT_FOUND),
        (10, ErrorCode::GROUP_ID_NOT_FOUND),
    ] {
        let GroupCommand::CommitOffsets { request, .. } = commit("m", 3, "t", 1, "") else {
            unreachable!("it is a commit")
        };
        let command = GroupCommand::CommitOffsets { request, version: asked };
        assert_eq!(committed(&mut stage(), command), code, "version {asked}");
    }
}

pub fn delete(topic: &str) -> GroupCommand {
    GroupCommand::DeleteOffsets(OffsetDeleteRequest {
        group_id: GROUP.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetDeleteRequestPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    })
}

#[test]
fn offsets_of_topics_that_members_read_stay() {
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    committed(&mut bench, commit(&one, generation, "t", 1, ""));
    committed(&mut bench, commit(&one, generation, "other", 1, ""));
    let mut code = |command| match bench.run(command).1.pop() {
        Some((_, GroupReply::DeleteOffsets(it))) => {
            ErrorCode(it.topics[0].partitions[0].error_code)
        }
        other => panic!("no answer to the delete: {other:?}"),
    };
    assert_eq!(code(delete("t")), ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(code(delete("other")), ErrorCode::NONE);
    assert_eq!(fetched(&mut bench).len(), 1);
}

pub fn deleted(bench: &mut MachineBench<GroupMachine>) -> ErrorCode {
    match bench.run(GroupCommand::Delete { groups: vec![GROUP.to_owned()] }).1.pop() {
        Some((_, GroupReply::Delete(results))) => ErrorCode(results[0].error_code),
        other => panic!("no answer to the delete: {other:?}"),
    }
}

#[test]
fn a_group_with_members_is_not_deleted_and_one_without_is() {
    let mut bench = stage();
    assert_eq!(deleted(&mut bench), ErrorCode::GROUP_ID_NOT_FOUND);
    let (one, generation) = alone(&mut bench);
    committed(&mut bench, commit(&one, generation, "t", 1, ""));
    assert_eq!(deleted(&mut bench), ErrorCode::NON_EMPTY_GROUP);
    bench.run(leave(&one, None));
    assert_eq!(deleted(&mut bench), ErrorCode::NONE);
    assert!(fetched(&mut bench).is_empty());
    assert_eq!(deleted(&mut bench), ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn offsets_expire_a_week_after_the_last_member_left() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    committed(&mut bench, commit(&one, generation, "t", 1, ""));
    bench.run(leave(&one, None));
    bench.pass(7 * DAY - 10_000);
    assert_eq!(fetched(&mut bench).len(), 1);
    bench.pass(DAY);
    assert!(fetched(&mut bench).is_empty());
    assert_eq!(deleted(&mut bench), ErrorCode::GROUP_ID_NOT_FOUND, "the group is gone as well");
}

pub const PRODUCER: (i64, i16) = (40, 2);

fn in_transaction(member: &str, generation: i32, offset: i64) -> GroupCommand {
    in_transaction_of(PRODUCER, member, generation, offset)
}

pub fn in_transaction_of(
    producer: (i64, i16),
    member: &str,
    generation: i32,
    offset: i64,
) -> GroupCommand {
    let partition =
        TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    GroupCommand::CommitInTransaction(TxnOffsetCommitRequest {
        group_id: GROUP.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    })
}

pub fn pended(bench: &mut MachineBench<GroupMachine>, command: GroupCommand) -> ErrorCode {
    match bench.run(command).1.pop() {
        Some((_, GroupReply::CommitInTransaction(it))) => {
            ErrorCode(it.topics[0].partitions[0].error_code)
        }
        other => panic!("no answer to the commit: {other:?}"),
    }
}

pub fn ended(commit: bool) -> GroupCommand {
    ended_of(PRODUCER, commit)
}

pub fn ended_of(producer: (i64, i16), commit: bool) -> GroupCommand {
    let producer = (producer.0, producer.1 + 1);
    let end = TransactionEnd { producer, commit, coordinator_epoch: 0, is_bumped: true };
    GroupCommand::EndTransaction(end)
}

/// The offset of the group's only partition; `None` if it may still change and that matters.
pub fn read(bench: &mut MachineBench<GroupMachine>, require_stable: bool) -> Option<i64> {
    let topic = OffsetFetchRequestTopics {
        name: "t".to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let request = OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    match bench.run(GroupCommand::FetchOffsets { request, require_stable }).1.pop() {
        Some((_, GroupReply::FetchOffsets(it))) => {
            let one = &it.topics[0].partitions[0];
            let unstable = one.error_code == ErrorCode::UNSTABLE_OFFSET_COMMIT.0;
            (!unstable).then_some(one.committed_offset)
        }
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn offsets_of_a_transaction_are_in_force_when_it_commits() {
    for commits in [true, false] {
        let mut bench = stage();
        let (member, generation) = alone(&mut bench);
        assert_eq!(committed(&mut bench, commit(&member, generation, "t", 3, "")), ErrorCode::NONE);
        assert_eq!(pended(&mut bench, in_transaction("", -1, 8)), ErrorCode::NONE);
        assert_eq!((read(&mut bench, false), read(&mut bench, true)), (Some(3), None));
        let mut again = reloaded(&bench.records, bench.now_ms);
        assert_eq!(again.machine.stored(), bench.machine.stored(), "G4 LoadEqualsRun");
        for bench in [&mut bench, &mut again] {
            bench.run(ended(commits));
            let wanted = Some(if commits { 8 } else { 3 });
            assert_eq!(read(bench, true), wanted, "G3 TxnOffsetAtomicity");
        }
    }
}

#[test]
fn a_later_commit_stands_against_a_transaction_that_ends_after_it() {
    let mut bench = stage();
    let (member, generation) = alone(&mut bench);
    assert_eq!(pended(&mut bench, in_transaction(&member, generation, 8)), ErrorCode::NONE);
    assert_eq!(committed(&mut bench, commit(&member, generation, "t", 9, "")), ErrorCode::NONE);
    bench.run(ended(true));
    assert_eq!(read(&mut bench, true), Some(9), "G1 OffsetCommitOrder");
}

#[test]
fn a_member_that_is_none_any_more_commits_nothing_in_a_transaction() {
    let mut bench = stage();
    let (member, generation) = alone(&mut bench);
    let refused = [
        (in_transaction(&member, generation - 1, 1), ErrorCode::ILLEGAL_GENERATION),
        (in_transaction("unknown-member", generation, 1), ErrorCode::UNKNOWN_MEMBER_ID),
        (in_transaction("unknown-member", -1, 1), ErrorCode::UNKNOWN_MEMBER_ID),
    ];
    for (command, code) in refused {
        assert_eq!(pended(&mut bench, command), code);
    }
    assert!(bench.machine.stored().pending.is_empty());
}

#[test]
fn offsets_do_not_expire_under_an_open_transaction() {
    let mut bench = stage();
    assert_eq!(committed(&mut bench, commit("", -1, "t", 3, "")), ErrorCode::NONE);
    assert_eq!(pended(&mut bench, in_transaction("", -1, 8)), ErrorCode::NONE);
    bench.pass(30 * 24 * 60 * 60 * 1000);
    assert_eq!(read(&mut bench, false), Some(3));
    bench.run(ended(true));
    bench.pass(30 * 24 * 60 * 60 * 1000);
    assert_eq!(read(&mut bench, false), Some(-1));
}
