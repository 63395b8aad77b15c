//! Groups whose members agree among themselves.

use bytes::Bytes;
use ottla_protocol::encode_value;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::shared::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition,
};
use ottla_protocol::shared::consumer_protocol_subscription::ConsumerProtocolSubscription;

use super::History;
use super::player::Player;
use crate::wire::LoadError;

pub const ALL: &[History] = &[
    ("classic group life", classic_life),
    ("classic group of two", classic_two),
    ("classic static members", classic_static),
    ("classic refusals", classic_refusals),
];

/// What a consumer of these topics says of itself.
pub fn consumer_subscription(topics: &[&str]) -> Result<Bytes, LoadError> {
    let topics = topics.iter().map(|it| (*it).to_owned()).collect();
    let text = ConsumerProtocolSubscription { topics, ..Default::default() };
    Ok(encode_value(&text, 1)?)
}

pub fn consumer_assignment(topic: &str, partitions: &[i32]) -> Result<Bytes, LoadError> {
    let topic = TopicPartition {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let text =
        ConsumerProtocolAssignment { assigned_partitions: vec![topic], ..Default::default() };
    Ok(encode_value(&text, 1)?)
}

pub fn join_request(group: &str, member: &str, topic: &str) -> Result<JoinGroupRequest, LoadError> {
    Ok(JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: consumer_subscription(&[topic])?,
            ..Default::default()
        }],
        ..Default::default()
    })
}

pub fn sync_request(group: &str, member: &str, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        ..Default::default()
    }
}

pub fn member_assignment(
    member: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<SyncGroupRequestAssignment, LoadError> {
    let assignment = consumer_assignment(topic, partitions)?;
    Ok(SyncGroupRequestAssignment {
        member_id: member.to_owned(),
        assignment,
        ..Default::default()
    })
}

pub fn heartbeat_request(group: &str, member: &str, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        ..Default::default()
    }
}

pub fn leave_request(group: &str, member: &str, instance: Option<&str>) -> LeaveGroupRequest {
    let member = MemberIdentity {
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..Default::default()
    };
    LeaveGroupRequest { group_id: group.to_owned(), members: vec![member], ..Default::default() }
}

pub fn describe_classic(play: &mut Player, group: &str) -> Result<(), LoadError> {
    let groups = vec![group.to_owned()];
    let request = DescribeGroupsRequest { groups, ..Default::default() };
    play.ask(&request, 5)?;
    play.ask(&request, 6).map(drop)
}

fn delete_group(play: &mut Player, group: &str) -> Result<(), LoadError> {
    let groups_names = vec![group.to_owned()];
    let request = DeleteGroupsRequest { groups_names, ..Default::default() };
    play.ask(&request, 2).map(drop)
}

/// A member comes in; says its id.
pub fn enter_group(
    play: &mut Player,
    group: &str,
    topic: &str,
    name: &str,
) -> Result<String, LoadError> {
    let told = play.ask(&join_request(group, "", topic)?, 9)?;
    play.call(&told.member_id, name);
    Ok(told.member_id)
}

fn classic_life(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    play.about("a group that is not there");
    describe_classic(play, group)?;
    delete_group(play, group)?;
    play.ask(&heartbeat_request(group, "unknown-member", 1), 4)?;
    play.ask(&sync_request(group, "unknown-member", 1), 5)?;
    play.ask(&leave_request(group, "unknown-member", None), 5)?;
    play.about("it joins");
    let one = enter_group(play, group, &topic, "one")?;
    let told = play.ask(&join_request(group, &one, &topic)?, 9)?;
    let generation = told.generation_id;
    play.about("before it has synced");
    play.ask(&heartbeat_request(group, &one, generation), 4)?;
    describe_classic(play, group)?;
    let mut lead = sync_request(group, &one, generation);
    lead.assignments = vec![member_assignment(&one, &topic, &[0, 1])?];
    play.ask(&lead, 5)?;
    play.about("it is stable");
    describe_classic(play, group)?;
    play.ask(&heartbeat_request(group, &one, generation), 4)?;
    play.ask(&heartbeat_request(group, &one, generation + 1), 4)?;
    play.ask(&heartbeat_request(group, "unknown-member", generation), 4)?;
    play.ask(&sync_request(group, &one, generation), 5)?;
    play.ask(&sync_request(group, &one, generation + 1), 5)?;
    let mut other = sync_request(group, &one, generation);
    other.protocol_name = Some("roundrobin".to_owned());
    play.ask(&other, 5)?;
    delete_group(play, group)?;
    play.about("it is listed");
    for (states, types) in [(vec![], vec![]), (vec!["Stable"], vec![]), (vec![], vec!["consumer"])]
    {
        let texts = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect();
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
            ..Default::default()
        };
        let version = if request.types_filter.is_empty() { 4 } else { 5 };
        let mut found = play.quietly(&request, version)?;
        found.groups.retain(|it| it.group_id == *group);
        play.note(&found);
    }
    play.about("it leaves");
    play.ask(&leave_request(group, &one, None), 5)?;
    play.ask(&leave_request(group, &one, None), 5)?;
    play.ask(&heartbeat_request(group, &one, generation), 4)?;
    describe_classic(play, group)?;
    delete_group(play, group)?;
    describe_classic(play, group)
}

fn classic_two(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let one = enter_group(play, group, &topic, "one")?;
    let told = play.ask(&join_request(group, &one, &topic)?, 9)?;
    let mut lead = sync_request(group, &one, told.generation_id);
    lead.assignments = vec![member_assignment(&one, &topic, &[0, 1])?];
    play.ask(&lead, 5)?;
    play.about("another comes");
    let two = enter_group(play, group, &topic, "two")?;
    play.send(1, &join_request(group, &two, &topic)?, 9)?;
    play.until_rebalance(group, &one, told.generation_id)?;
    play.about("both join: the first leads");
    let mut next = play.quietly(&join_request(group, &one, &topic)?, 9)?;
    next.members.sort_by_key(|it| it.member_id != one);
    play.note(&next);
    play.hear::<JoinGroupRequest>(1, 9)?;
    let generation = next.generation_id;
    play.send(1, &sync_request(group, &two, generation), 5)?;
    let mut lead = sync_request(group, &one, generation);
    lead.assignments =
        vec![member_assignment(&one, &topic, &[0])?, member_assignment(&two, &topic, &[1])?];
    play.ask(&lead, 5)?;
    play.hear::<SyncGroupRequest>(1, 5)?;
    play.about("the leader leaves");
    play.ask(&leave_request(group, &one, None), 5)?;
    play.ask(&heartbeat_request(group, &two, generation), 4)?;
    play.ask(&sync_request(group, &two, generation), 5)?;
    let alone = play.ask(&join_request(group, &two, &topic)?, 9)?;
    let mut lead = sync_request(group, &two, alone.generation_id);
    lead.assignments = vec![member_assignment(&two, &topic, &[0, 1])?];
    play.ask(&lead, 5).map(drop)
}

fn classic_static(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let mut request = join_request(group, "", &topic)?;
    request.group_instance_id = Some("machine".to_owned());
    let one = play.ask(&request, 9)?;
    play.call(&one.member_id, "one");
    let mut lead = sync_request(group, &one.member_id, one.generation_id);
    lead.group_instance_id = Some("machine".to_owned());
    lead.assignments = vec![member_assignment(&one.member_id, &topic, &[0, 1])?];
    play.ask(&lead, 5)?;
    play.about("it comes back without its id");
    let two = play.ask(&request, 9)?;
    play.call(&two.member_id, "two");
    play.about("its former self is fenced");
    let mut old = heartbeat_request(group, &one.member_id, one.generation_id);
    play.ask(&old, 4)?;
    old.group_instance_id = Some("machine".to_owned());
    play.ask(&old, 4)?;
    let mut late = sync_request(group, &one.member_id, one.generation_id);
    late.group_instance_id = Some("machine".to_owned());
    play.ask(&late, 5)?;
    play.ask(&leave_request(group, &one.member_id, Some("machine")), 5)?;
    let mut again = join_request(group, &one.member_id, &topic)?;
    again.group_instance_id = Some("machine".to_owned());
    play.ask(&again, 9)?;
    play.about("its new self goes on");
    let mut new = sync_request(group, &two.member_id, two.generation_id);
    new.group_instance_id = Some("machine".to_owned());
    play.ask(&new, 5)?;
    describe_classic(play, group)?;
    play.about("an operator removes it by its name");
    play.ask(&leave_request(group, "", Some("unknown-member")), 5)?;
    play.ask(&leave_request(group, "", Some("machine")), 5)?;
    describe_classic(play, group)
}

fn classic_refusals(play: &mut Player) -> Result<(), LoadError> {
    let (topic, _) = play.topic("t", 2)?;
    let group = &play.name.clone();
    play.coordinator(group, 0)?;
    let good = join_request(group, "", &topic)?;
    play.about("a session that is too short, then one that is too long");
    play.ask(&JoinGroupRequest { session_timeout_ms: 1, ..good.clone() }, 9)?;
    play.ask(&JoinGroupRequest { session_timeout_ms: i32::MAX, ..good.clone() }, 9)?;
    play.about("no group, no protocol, no type, an id that was never given");
    play.ask(&JoinGroupRequest { group_id: String::new(), ..good.clone() }, 9)?;
    play.ask(&JoinGroupRequest { protocols: Vec::new(), ..good.clone() }, 9)?;
    play.ask(&JoinGroupRequest { protocol_type: String::new(), ..good.clone() }, 9)?;
    play.ask(&JoinGroupRequest { member_id: "unknown-member".to_owned(), ..good.clone() }, 9)?;
    play.about("empty group ids");
    play.ask(&heartbeat_request("", "unknown-member", 1), 4)?;
    play.ask(&sync_request("", "unknown-member", 1), 5)?;
    play.ask(&leave_request("", "unknown-member", None), 5)?;
    describe_classic(play, "")?;
    delete_group(play, "")?;
    play.about("a member of another type, and one with another protocol");
    let one = enter_group(play, group, &topic, "one")?;
    let told = play.ask(&join_request(group, &one, &topic)?, 9)?;
    let mut lead = sync_request(group, &one, told.generation_id);
    lead.assignments = vec![member_assignment(&one, &topic, &[0, 1])?];
    play.ask(&lead, 5)?;
    play.ask(&JoinGroupRequest { protocol_type: "connect".to_owned(), ..good.clone() }, 9)?;
    let mut other = good.clone();
    if let Some(protocol) = other.protocols.first_mut() {
        protocol.name = "roundrobin".to_owned();
    }
    play.ask(&other, 9)?;
    play.about("an instance id that no member has");
    let mut beat = heartbeat_request(group, &one, told.generation_id);
    beat.group_instance_id = Some("unknown-member".to_owned());
    play.ask(&beat, 4).map(drop)
}
