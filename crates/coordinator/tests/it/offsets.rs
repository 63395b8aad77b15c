//! Offsets: committed, fetched, deleted, expired.

use ottla_coordinator::group::{Command, GroupMachine, Reply};
use ottla_machine::testkit::Bench;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions;
use ottla_types::ErrorCode;

use crate::play::{GROUP, alone, leave, reloaded, stage};

fn commit(member: &str, generation: i32, topic: &str, offset: i64, note: &str) -> Command {
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
    Command::CommitOffsets { request, version: 9 }
}

fn committed(bench: &mut Bench<GroupMachine>, command: Command) -> ErrorCode {
    match bench.run(command).1.pop() {
        Some((_, Reply::CommitOffsets(it))) => ErrorCode(it.topics[0].partitions[0].error_code),
        other => panic!("no answer to the commit: {other:?}"),
    }
}

/// Topic, partition, offset, metadata of all that is committed.
fn fetched(bench: &mut Bench<GroupMachine>) -> Vec<(String, i64, String)> {
    let request =
        OffsetFetchRequestGroup { group_id: GROUP.to_owned(), topics: None, ..Default::default() };
    let command = Command::FetchOffsets { request, require_stable: true };
    let Some((_, Reply::FetchOffsets(found))) = bench.run(command).1.pop() else {
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

fn delete(topic: &str) -> Command {
    Command::DeleteOffsets(OffsetDeleteRequest {
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
        Some((_, Reply::DeleteOffsets(it))) => ErrorCode(it.topics[0].partitions[0].error_code),
        other => panic!("no answer to the delete: {other:?}"),
    };
    assert_eq!(code(delete("t")), ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(code(delete("other")), ErrorCode::NONE);
    assert_eq!(fetched(&mut bench).len(), 1);
}

fn deleted(bench: &mut Bench<GroupMachine>) -> ErrorCode {
    match bench.run(Command::Delete { groups: vec![GROUP.to_owned()] }).1.pop() {
        Some((_, Reply::Delete(results))) => ErrorCode(results[0].error_code),
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
