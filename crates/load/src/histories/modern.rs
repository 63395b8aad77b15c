//! Groups whose coordinator assigns, and groups on their way from one kind to the other.

use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_types::Uuid;

use super::History;
use super::classic::{
    self, enter_group, heartbeat_request, join_request, leave_request, member_assignment,
    sync_request,
};
use super::player::Player;
use crate::wire::LoadError;

pub const ALL: &[History] = &[
    ("consumer group life", consumer_life),
    ("consumer group of two", consumer_two),
    ("consumer static members", consumer_static),
    ("consumer refusals", consumer_refusals),
    ("migration up and down", group_migration),
];

pub fn consumer_heartbeat(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

pub fn consumer_join(group: &str, member: &str, topic: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec![topic.to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..consumer_heartbeat(group, member, 0)
    }
}

fn owning_partitions(
    request: ConsumerGroupHeartbeatRequest,
    topic_id: Uuid,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let partitions = partitions.to_vec();
    let owned = TopicPartitions { topic_id, partitions, ..Default::default() };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(vec![owned]), ..request }
}

fn describe_consumer(play: &mut Player, group: &str) -> Result<(), LoadError> {
    let group_ids = vec![group.to_owned()];
    let request = ConsumerGroupDescribeRequest { group_ids, ..Default::default() };
    let mut told = play.quietly(&request, 1)?;
    for group in &mut told.groups {
        group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    }
    play.note(&told);
    Ok(())
}

fn consumer_life(play: &mut Player) -> Result<(), LoadError> {
    let (topic, id) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    play.about("a group that is not there");
    describe_consumer(play, group)?;
    play.ask(&consumer_heartbeat(group, "one", 1), 1)?;
    play.ask(&consumer_heartbeat(group, "one", -1), 1)?;
    play.about("it joins");
    let told = play.ask(&consumer_join(group, "one", &topic), 1)?;
    let epoch = told.member_epoch;
    describe_consumer(play, group)?;
    classic::describe_classic(play, group)?;
    play.about("it is there, with and without what it owns");
    play.ask(&consumer_heartbeat(group, "one", epoch), 1)?;
    play.ask(&owning_partitions(consumer_heartbeat(group, "one", epoch), id, &[0, 1]), 1)?;
    play.ask(&owning_partitions(consumer_heartbeat(group, "one", epoch), id, &[0]), 1)?;
    play.about("it reads another topic too");
    let (more, _) = play.topic("more", 1)?;
    let both = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec![topic.clone(), more]),
        ..owning_partitions(consumer_heartbeat(group, "one", epoch), id, &[0, 1])
    };
    let mut told = play.quietly(&both, 1)?;
    if let Some(assignment) = &mut told.assignment {
        // By id, which differs.
        assignment.topic_partitions.sort_by_key(|it| it.partitions.len());
    }
    play.note(&told);
    play.about("the answer was lost");
    play.ask(&both, 1)?;
    play.about("it joins again, and leaves");
    let again = play.ask(&consumer_join(group, "one", &topic), 1)?;
    play.ask(&consumer_heartbeat(group, "one", told.member_epoch), 1)?;
    play.ask(&consumer_heartbeat(group, "one", again.member_epoch), 1)?;
    play.ask(&consumer_heartbeat(group, "one", -1), 1)?;
    play.ask(&consumer_heartbeat(group, "one", again.member_epoch), 1)?;
    describe_consumer(play, group)
}

fn consumer_two(play: &mut Player) -> Result<(), LoadError> {
    let (topic, id) = play.topic("t", 4)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let one = play.ask(&consumer_join(group, "one", &topic), 1)?;
    play.about("another comes, and waits");
    let two = play.ask(&consumer_join(group, "two", &topic), 1)?;
    describe_consumer(play, group)?;
    play.about("the first must revoke, and does");
    let before = one.member_epoch;
    play.ask(&consumer_heartbeat(group, "one", before), 1)?;
    play.ask(&consumer_heartbeat(group, "one", before), 1)?;
    play.ask(&consumer_heartbeat(group, "two", two.member_epoch), 1)?;
    describe_consumer(play, group)?;
    let kept = vec![0, 1];
    let one =
        play.ask(&owning_partitions(consumer_heartbeat(group, "one", before), id, &kept), 1)?;
    let two = play.ask(&consumer_heartbeat(group, "two", two.member_epoch), 1)?;
    describe_consumer(play, group)?;
    play.about("the answer was lost: the epoch before, with less, with more");
    play.ask(&owning_partitions(consumer_heartbeat(group, "one", before), id, &kept), 1)?;
    play.ask(&owning_partitions(consumer_heartbeat(group, "one", before), id, &[0]), 1)?;
    play.ask(&owning_partitions(consumer_heartbeat(group, "one", before), id, &[0, 1, 2, 3]), 1)?;
    play.ask(&consumer_heartbeat(group, "one", before), 1)?;
    play.ask(&consumer_heartbeat(group, "one", one.member_epoch + 1), 1)?;
    play.about("one leaves, the other gets everything");
    play.ask(&consumer_heartbeat(group, "one", -1), 1)?;
    describe_consumer(play, group)?;
    play.ask(&consumer_heartbeat(group, "two", two.member_epoch), 1)?;
    describe_consumer(play, group)
}

fn consumer_static(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let with = |request: ConsumerGroupHeartbeatRequest| ConsumerGroupHeartbeatRequest {
        instance_id: Some("machine".to_owned()),
        ..request
    };
    let one = play.ask(&with(consumer_join(group, "one", &topic)), 1)?;
    play.about("another with its name, while it is there");
    play.ask(&with(consumer_join(group, "two", &topic)), 1)?;
    play.ask(&with(consumer_heartbeat(group, "two", one.member_epoch)), 1)?;
    play.ask(&consumer_heartbeat(group, "one", -2), 1)?;
    play.about("it will be back, and is, under another id");
    play.ask(&with(consumer_heartbeat(group, "one", -2)), 1)?;
    describe_consumer(play, group)?;
    play.ask(&with(consumer_heartbeat(group, "one", one.member_epoch)), 1)?;
    let back = play.ask(&with(consumer_join(group, "two", &topic)), 1)?;
    describe_consumer(play, group)?;
    play.ask(&with(consumer_heartbeat(group, "one", one.member_epoch)), 1)?;
    play.ask(&with(consumer_heartbeat(group, "two", back.member_epoch)), 1)?;
    play.ask(&with(consumer_heartbeat(group, "two", -1)), 1)?;
    describe_consumer(play, group)
}

fn consumer_refusals(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let good = consumer_join(group, "one", &topic);
    type Request = ConsumerGroupHeartbeatRequest;
    play.about("empty texts");
    play.ask(&Request { group_id: String::new(), ..good.clone() }, 1)?;
    play.ask(&Request { member_id: String::new(), ..good.clone() }, 1)?;
    play.ask(&Request { instance_id: Some(String::new()), ..good.clone() }, 1)?;
    play.ask(&Request { rack_id: Some(String::new()), ..good.clone() }, 1)?;
    play.about("what has to be there");
    play.ask(&Request { member_epoch: -3, ..good.clone() }, 1)?;
    play.ask(&Request { rebalance_timeout_ms: -1, ..good.clone() }, 1)?;
    play.ask(&Request { topic_partitions: None, ..good.clone() }, 1)?;
    play.ask(&Request { subscribed_topic_names: None, ..good.clone() }, 1)?;
    play.ask(&Request { subscribed_topic_names: Some(Vec::new()), ..good.clone() }, 1)?;
    play.about("an assignor and a pattern that are none");
    play.ask(&Request { server_assignor: Some("fair".to_owned()), ..good.clone() }, 1)?;
    let regex = Some("a(".to_owned());
    play.ask(&Request { subscribed_topic_regex: regex, ..good.clone() }, 1)?;
    play.about("a topic that is not there");
    let absent = vec!["absent".to_owned()];
    play.ask(&Request { subscribed_topic_names: Some(absent), ..good }, 1)?;
    describe_consumer(play, group)
}

fn group_migration(play: &mut Player) -> Result<(), LoadError> {
    let (topic, id) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let old = enter_group(play, group, &topic, "old")?;
    let told = play.ask(&join_request(group, &old, &topic)?, 9)?;
    let mut lead = sync_request(group, &old, told.generation_id);
    lead.assignments = vec![member_assignment(&old, &topic, &[0, 1])?];
    play.ask(&lead, 5)?;
    play.about("a member of the new protocol joins");
    let new = play.ask(&consumer_join(group, "new", &topic), 1)?;
    describe_consumer(play, group)?;
    classic::describe_classic(play, group)?;
    play.about("the old one is called, joins, and gets less");
    play.ask(&heartbeat_request(group, &old, told.generation_id), 4)?;
    play.ask(&sync_request(group, &old, told.generation_id), 5)?;
    let again = play.ask(&join_request(group, &old, &topic)?, 9)?;
    play.ask(&sync_request(group, &old, again.generation_id), 5)?;
    play.ask(&heartbeat_request(group, &old, again.generation_id), 4)?;
    play.ask(&heartbeat_request(group, &old, again.generation_id + 1), 4)?;
    play.ask(&owning_partitions(consumer_heartbeat(group, "new", new.member_epoch), id, &[]), 1)?;
    describe_consumer(play, group)?;
    play.about("another classic member, one with another protocol, one of another type");
    enter_group(play, group, &topic, "third")?;
    let mut other = join_request(group, "", &topic)?;
    if let Some(protocol) = other.protocols.first_mut() {
        protocol.name = "roundrobin".to_owned();
    }
    play.ask(&other, 9)?;
    play.ask(
        &JoinGroupRequest {
            protocol_type: "connect".to_owned(),
            ..join_request(group, "", &topic)?
        },
        9,
    )?;
    play.about("what belongs to the other protocol");
    play.ask(&heartbeat_request(group, "new", new.member_epoch), 4)?;
    play.ask(&leave_request(group, "new", None), 5)?;
    play.ask(&sync_request(group, "new", new.member_epoch), 5)?;
    play.about("the new one leaves: a classic group again");
    play.ask(&consumer_heartbeat(group, "new", -1), 1)?;
    classic::describe_classic(play, group)?;
    play.ask(&heartbeat_request(group, &old, again.generation_id), 4)?;
    let alone = play.ask(&join_request(group, &old, &topic)?, 9)?;
    let mut lead = sync_request(group, &old, alone.generation_id);
    lead.assignments = vec![member_assignment(&old, &topic, &[0, 1])?];
    play.ask(&lead, 5)?;
    play.ask(&leave_request(group, &old, None), 5)?;
    classic::describe_classic(play, group)
}
