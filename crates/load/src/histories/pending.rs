//! Offsets of an open transaction when their topic, their group or they themselves are deleted.

use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_types::ErrorCode;

use super::History;
use super::offsets::commit_request;
use super::player::Player;
use super::transactions::{await_markers, end_request, init_producer, txn_offset_request};
use crate::wire::LoadError;

pub const ALL: &[History] = &[
    ("pending offset of a deleted topic", deleted_topic),
    ("pending offset of a deleted group", deleted_group),
    ("pending offset that is deleted", deleted_offset),
];

/// How often the history checks whether a deleted topic's offsets have gone.
const TRIES: usize = 50_000;

fn offset_request(group: &str, topic: &str, require_stable: bool) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics {
        name: topic.to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() }
}

/// One offset in force, another pending; then `delete`, and the transaction commits.
fn play_it(
    play: &mut Player,
    delete: impl FnOnce(&mut Player, &str, &str) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 1)?;
    let id = &play.name.clone();
    let group = &format!("{id}-group");
    play.coordinator(id, 1)?;
    play.coordinator(group, 0)?;
    let producer = init_producer(play, id)?;
    play.ask(&commit_request(group, ("", -1), (&topic, 0), 20), 8)?;
    play.insist(&txn_offset_request(id, producer, group, &topic, 10), 5, |answer| {
        let all = answer.topics.iter().flat_map(|it| &it.partitions);
        all.map(|it| it.error_code).next().unwrap_or(0)
    })?;
    play.ask(&offset_request(group, &topic, true), 9)?;
    play.about("it is deleted");
    delete(play, group, &topic)?;
    play.ask(&offset_request(group, &topic, true), 9)?;
    play.about("the transaction commits");
    play.ask(&end_request(id, producer, true), 5)?;
    await_markers(play, id)?;
    play.ask(&offset_request(group, &topic, true), 9)?;
    play.ask(&offset_request(group, &topic, false), 9).map(drop)
}

fn deleted_topic(play: &mut Player) -> Result<(), LoadError> {
    play_it(play, |play, group, topic| {
        let topic_names = vec![topic.to_owned()];
        let request = DeleteTopicsRequest { topic_names, timeout_ms: 30_000, ..Default::default() };
        play.ask(&request, 5)?;
        for _ in 0..TRIES {
            let told = play.quietly(&offset_request(group, topic, true), 9)?;
            let parts = told.groups.iter().flat_map(|it| &it.topics).flat_map(|it| &it.partitions);
            let unstable = ErrorCode::UNSTABLE_OFFSET_COMMIT.0;
            if parts.clone().all(|it| it.error_code != unstable && it.committed_offset < 0) {
                break;
            }
        }
        // Another of the same name.
        play.topic("t", 1).map(drop)
    })
}

fn deleted_group(play: &mut Player) -> Result<(), LoadError> {
    play_it(play, |play, group, _| {
        let request =
            DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() };
        play.ask(&request, 2).map(drop)
    })
}

fn deleted_offset(play: &mut Player) -> Result<(), LoadError> {
    play_it(play, |play, group, topic| {
        let topic = OffsetDeleteRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetDeleteRequestPartition::default()],
            ..Default::default()
        };
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: vec![topic],
            ..Default::default()
        };
        play.ask(&request, 0).map(drop)
    })
}
