//! Offsets: written, read, deleted, in all the versions that matter.

use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_types::Uuid;

use super::History;
use super::classic::{enter_group, join_request, member_assignment, sync_request};
use super::modern::{consumer_heartbeat, consumer_join};
use super::player::Player;
use crate::wire::LoadError;

pub const ALL: &[History] = &[
    ("offsets without a member", offsets_without_members),
    ("offsets of members", offsets_of_members),
    ("offsets of an epoch before", offsets_of_past_epoch),
    ("offsets by topic id", by_id),
    ("offsets refused", refused_offsets),
];

pub fn commit_request(
    group: &str,
    member: (&str, i32),
    place: (&str, i32),
    offset: i64,
) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        member_id: member.0.to_owned(),
        generation_id_or_member_epoch: member.1,
        topics: vec![OffsetCommitRequestTopic {
            name: place.0.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: place.1,
                committed_offset: offset,
                committed_metadata: Some("what it said".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The offsets of two partitions, asked for in the way of each version.
pub fn fetch_offsets(
    play: &mut Player,
    group: &str,
    topic: &str,
    version: i16,
) -> Result<(), LoadError> {
    let (name, partition_indexes) = (topic.to_owned(), vec![0, 1]);
    let request = if version < 8 {
        let topic = OffsetFetchRequestTopic { name, partition_indexes, ..Default::default() };
        let (group_id, topics) = (group.to_owned(), Some(vec![topic]));
        OffsetFetchRequest { group_id, topics, ..Default::default() }
    } else {
        let topic = OffsetFetchRequestTopics { name, partition_indexes, ..Default::default() };
        let group = OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        OffsetFetchRequest { groups: vec![group], ..Default::default() }
    };
    play.ask(&request, version).map(drop)
}

fn fetch_all_offsets(play: &mut Player, group: &str) -> Result<(), LoadError> {
    let group_id = group.to_owned();
    let group = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
    play.ask(&OffsetFetchRequest { groups: vec![group], ..Default::default() }, 9).map(drop)
}

fn offsets_without_members(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    play.about("none yet");
    for version in [1, 2, 5, 6, 7, 8, 9] {
        fetch_offsets(play, group, &topic, version)?;
    }
    fetch_all_offsets(play, group)?;
    play.about("written in every version");
    for version in 2..=9 {
        let offset = i64::from(version) * 10;
        play.ask(&commit_request(group, ("", -1), (&topic, 0), offset), version)?;
        fetch_offsets(play, group, &topic, 8)?;
    }
    fetch_all_offsets(play, group)?;
    super::classic::describe_classic(play, group)?;
    play.about("as a member that is none");
    play.ask(&commit_request(group, ("unknown-member", -1), (&topic, 0), 1), 9)?;
    play.ask(&commit_request(group, ("unknown-member", 1), (&topic, 0), 1), 9)?;
    play.ask(&commit_request(group, ("", 1), (&topic, 0), 1), 9)?;
    play.about("deleted");
    let one = OffsetDeleteRequestTopic {
        name: topic.clone(),
        partitions: [0, 1, 7]
            .map(|partition_index| OffsetDeleteRequestPartition {
                partition_index,
                ..Default::default()
            })
            .to_vec(),
        ..Default::default()
    };
    let none = OffsetDeleteRequestTopic { name: "absent".to_owned(), ..one.clone() };
    let topics = vec![one, none];
    let request = OffsetDeleteRequest { group_id: group.clone(), topics, ..Default::default() };
    play.ask(&request, 0)?;
    let request = OffsetDeleteRequest { group_id: "absent".to_owned(), ..request };
    play.ask(&request, 0)?;
    fetch_all_offsets(play, group)?;
    play.ask(&commit_request(group, ("", -1), (&topic, 1), 7), 9)?;
    let groups_names = vec![group.clone(), "absent".to_owned()];
    play.ask(&DeleteGroupsRequest { groups_names, ..Default::default() }, 2)?;
    fetch_all_offsets(play, group)
}

fn offsets_of_members(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let one = enter_group(play, group, &topic, "one")?;
    let told = play.ask(&join_request(group, &one, &topic)?, 9)?;
    let generation = told.generation_id;
    play.about("before it has synced");
    play.ask(&commit_request(group, (&one, generation), (&topic, 0), 1), 8)?;
    let mut lead = sync_request(group, &one, generation);
    lead.assignments = vec![member_assignment(&one, &topic, &[0, 1])?];
    play.ask(&lead, 5)?;
    play.about("as the member, of another generation, without a member id");
    for (member, generation) in [
        (one.as_str(), generation),
        (&one, generation + 1),
        (&one, -1),
        ("", -1),
        ("unknown-member", generation),
    ] {
        play.ask(&commit_request(group, (member, generation), (&topic, 0), 2), 8)?;
    }
    let mut named = commit_request(group, (&one, generation), (&topic, 0), 3);
    named.group_instance_id = Some("machine".to_owned());
    play.ask(&named, 8)?;
    fetch_offsets(play, group, &topic, 8)?;
    play.about("of a group whose coordinator assigns");
    let modern = &format!("{group}-modern");
    play.coordinator(modern, 0)?;
    let told = play.ask(&consumer_join(modern, "one", &topic), 1)?;
    let epoch = told.member_epoch;
    for (member, epoch) in [
        ("one", epoch),
        ("one", epoch + 1),
        ("one", epoch - 1),
        ("one", -1),
        ("", -1),
        ("unknown-member", epoch),
    ] {
        play.ask(&commit_request(modern, (member, epoch), (&topic, 0), 2), 9)?;
    }
    play.ask(&commit_request(modern, ("one", epoch), (&topic, 0), 3), 8)?;
    play.about("read as a member");
    for (member, epoch) in
        [("one", epoch), ("one", epoch + 1), ("unknown-member", epoch), ("one", -1)]
    {
        let names = OffsetFetchRequestTopics {
            name: topic.clone(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: modern.clone(),
            member_id: Some(member.to_owned()),
            member_epoch: epoch,
            topics: Some(vec![names]),
            ..Default::default()
        };
        play.ask(&OffsetFetchRequest { groups: vec![group], ..Default::default() }, 9)?;
    }
    play.ask(&consumer_heartbeat(modern, "one", -1), 1)?;
    play.ask(&commit_request(modern, ("", -1), (&topic, 0), 4), 9)?;
    fetch_offsets(play, modern, &topic, 9)
}

/// A member has come further since it read what it commits (KIP-1251).
fn offsets_of_past_epoch(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 1)?;
    let (more, _) = play.topic("more", 1)?;
    let (other, _) = play.topic("other", 1)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let first = play.quietly(&consumer_join(group, "one", &topic), 1)?.member_epoch;
    let names = |all: &[&str]| Some(all.iter().map(|it| (*it).to_owned()).collect());
    let mut epoch = first;
    for read in [&[topic.as_str(), &more][..], &[&more]] {
        let request = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: names(read),
            topic_partitions: Some(Vec::new()),
            ..consumer_heartbeat(group, "one", epoch)
        };
        epoch = play.quietly(&request, 1)?.member_epoch;
        play.about(&format!("it reads {} topics, in epoch {epoch}", read.len()));
        for place in [&topic, &more, &other] {
            for said in [first - 1, first, first + 1, epoch, epoch + 1] {
                play.ask(&commit_request(group, ("one", said), (place, 0), 1), 9)?;
            }
        }
    }
    play.about("read as the member of an epoch before");
    let topics = OffsetFetchRequestTopics {
        name: more.clone(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    for member_epoch in [first, epoch] {
        let group = OffsetFetchRequestGroup {
            group_id: group.clone(),
            member_id: Some("one".to_owned()),
            member_epoch,
            topics: Some(vec![topics.clone()]),
            ..Default::default()
        };
        play.ask(&OffsetFetchRequest { groups: vec![group], ..Default::default() }, 9)?;
    }
    Ok(())
}

fn by_id(play: &mut Player) -> Result<(), LoadError> {
    let (topic, id) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    for (topic_id, offset) in [(id, 5), (Uuid::of(77), 6)] {
        let mut request = commit_request(group, ("", -1), ("", 0), offset);
        request.topics.iter_mut().for_each(|it| it.topic_id = topic_id);
        play.ask(&request, 10)?;
        let topics = OffsetFetchRequestTopics {
            topic_id,
            partition_indexes: vec![0, 1],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: group.clone(),
            topics: Some(vec![topics]),
            ..Default::default()
        };
        play.ask(&OffsetFetchRequest { groups: vec![group], ..Default::default() }, 10)?;
    }
    let group_id = group.clone();
    let everything = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
    play.ask(&OffsetFetchRequest { groups: vec![everything], ..Default::default() }, 10)?;
    fetch_offsets(play, group, &topic, 9)
}

fn refused_offsets(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    play.about("a topic and a partition that are not there, no group");
    play.ask(&commit_request(group, ("", -1), ("absent", 0), 1), 9)?;
    play.ask(&commit_request(group, ("", -1), (&topic, 7), 1), 9)?;
    play.ask(&commit_request(group, ("", -1), (&topic, -1), 1), 9)?;
    play.ask(&commit_request("", ("", -1), (&topic, 0), 1), 9)?;
    fetch_offsets(play, "", &topic, 8)?;
    fetch_offsets(play, group, "absent", 8)?;
    play.about("the metadata text is too long, or empty");
    let mut long = commit_request(group, ("", -1), (&topic, 0), 1);
    let said = |request: &mut OffsetCommitRequest, text: Option<String>| {
        let partitions = request.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        partitions.for_each(|it| it.committed_metadata.clone_from(&text));
    };
    said(&mut long, Some("x".repeat(4097)));
    play.ask(&long, 9)?;
    said(&mut long, Some("x".repeat(4096)));
    play.ask(&long, 9)?;
    said(&mut long, None);
    play.ask(&long, 9)?;
    play.about("an offset below 0");
    play.ask(&commit_request(group, ("", -1), (&topic, 1), -5), 9)?;
    fetch_offsets(play, group, &topic, 8)?;
    play.about("two groups at once, one of them unknown");
    let one = |group_id: &str| OffsetFetchRequestGroup {
        group_id: group_id.to_owned(),
        topics: None,
        ..Default::default()
    };
    let groups = vec![one(group), one("absent")];
    play.ask(&OffsetFetchRequest { groups, ..Default::default() }, 9).map(drop)
}
