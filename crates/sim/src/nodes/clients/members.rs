//! Members of groups, of the classic protocol and of KIP-848's: they join, commit what they have,
//! leave, and vanish without a word.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::metadata_request::MetadataRequest;
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_types::{ErrorCode, Uuid};

use super::offsets::{Committer, CoordinatorKind};
use super::{SimClient, is_passing};
use crate::invariant::Invariant;
use crate::nodes::model::Place;

/// After how long without a word a member is taken for gone, in milliseconds.
pub const SESSION_MS: u64 = 6_000;
/// How long a member may take to give a partition up. Longer than a session: the model knows of one
/// time only after which a silent member has nothing any more.
const REVOCATION_MS: i32 = 7_000;
/// The groups that members meet in.
const CLASSIC: &str = "members-classic";
const CONSUMER: &str = "members-consumer";

/// How far offsets have been committed by all members of a group together: each commit is a higher
/// offset than any before it.
fn next_offset(client: &SimClient) -> i64 {
    let next = client.shared.offsets.get() + 1;
    client.shared.offsets.set(next);
    next
}

fn all_places(client: &SimClient) -> Vec<Place> {
    let topics = client.shared.topics.iter();
    topics
        .flat_map(|topic| (0..topic.partitions).map(|index| (topic.name.clone(), index)))
        .collect()
}

/// Is the group, as far as clients know, complete, or nothing promised of it any more?
fn is_settled(client: &SimClient, group: &str) -> bool {
    let places = all_places(client);
    let is_complete =
        client.shared.model.borrow().groups.is_complete(group, &places, client.now_ms());
    client.is_over() && (is_complete || client.shared.era.get() > 0)
}

/// Commits an offset of one of a member's partitions; is it still a member?
async fn commit_some(client: &mut SimClient, who: &Committer, places: &[Place]) -> bool {
    if places.is_empty() {
        return true;
    }
    let place = places[client.dice.index(places.len())].clone();
    let (offset, latest) =
        (next_offset(client), client.shared.model.borrow().groups.latest(&who.group));
    let era = client.shared.era.get();
    let Some(code) = client.commit(who, &place, offset).await else { return true };
    if code == ErrorCode::NONE && who.group == CLASSIC && era == client.shared.era.get() {
        let holds = latest <= who.generation;
        let why = format!("a commit of generation {} passes after {latest}", who.generation);
        client.demand(Invariant::GroupsAreExclusive, if holds { Ok(()) } else { Err(why) });
    }
    match code {
        ErrorCode::NONE | ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::STALE_MEMBER_EPOCH => true,
        ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::GROUP_ID_NOT_FOUND
        | ErrorCode::FENCED_MEMBER_EPOCH => false,
        code if is_passing(code) => true,
        code => {
            client.unexpected("a member's OffsetCommit", code);
            false
        }
    }
}

/// What a member of a classic group is.
struct SimClassicMember {
    id: String,
    generation: i32,
    places: Vec<Place>,
}

/// A member of the classic group.
pub async fn run_classic(client: &mut SimClient) {
    client.find_coordinator(CoordinatorKind::Group, CLASSIC).await;
    let mut id = String::new();
    while !is_settled(client, CLASSIC) {
        let Some(member) = join_and_sync(client, &mut id).await else {
            client.rest().await;
            continue;
        };
        stay_in_group(client, &member).await;
        if client.dice.chance(200) && !client.is_over() {
            // It vanishes, and comes back as another.
            if client.dice.chance(500) {
                leave_group(client, &member).await;
            }
            id.clear();
        }
        if !client.is_over() {
            client.shared.model.borrow_mut().groups.keep(CLASSIC, &member.id, &[]);
        }
    }
}

async fn join_and_sync(client: &mut SimClient, id: &mut String) -> Option<SimClassicMember> {
    let protocol = JoinGroupRequestProtocol {
        name: "range".to_owned(),
        metadata: Bytes::from_static(b"topics"),
        ..Default::default()
    };
    let request = JoinGroupRequest {
        group_id: CLASSIC.to_owned(),
        session_timeout_ms: i32::try_from(SESSION_MS).unwrap_or(0),
        rebalance_timeout_ms: 6_000,
        member_id: id.clone(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let began = client.wire.patience;
    client.wire.patience = std::time::Duration::from_secs(12);
    let joined = client.ask(&request, 7).await;
    client.wire.patience = began;
    let joined = joined.ok()?;
    match ErrorCode(joined.error_code) {
        ErrorCode::NONE => {}
        ErrorCode::MEMBER_ID_REQUIRED => {
            id.clone_from(&joined.member_id);
            return None;
        }
        ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => {
            id.clear();
            return None;
        }
        code if is_passing(code) => return None,
        code => {
            client.unexpected("JoinGroup", code);
            return None;
        }
    }
    id.clone_from(&joined.member_id);
    sync_classic(client, &joined).await
}

async fn sync_classic(
    client: &mut SimClient,
    joined: &JoinGroupResponse,
) -> Option<SimClassicMember> {
    let (id, generation) = (joined.member_id.clone(), joined.generation_id);
    let (mut assignments, mut led) = (Vec::new(), None);
    if joined.leader == id {
        let mut given: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        let members = joined.members.len().max(1);
        for member in &joined.members {
            given.insert(member.member_id.clone(), Vec::new());
        }
        for (at, place) in all_places(client).into_iter().enumerate() {
            if let Some(member) = joined.members.get(at % members) {
                given.entry(member.member_id.clone()).or_default().push(place);
            }
        }
        assignments = given
            .iter()
            .map(|(member, places)| SyncGroupRequestAssignment {
                member_id: member.clone(),
                assignment: encode_assignment(places),
                ..Default::default()
            })
            .collect();
        led = Some(given);
    }
    let request = SyncGroupRequest {
        group_id: CLASSIC.to_owned(),
        generation_id: generation,
        member_id: id.clone(),
        assignments,
        ..Default::default()
    };
    let sent_ms = client.now_ms();
    let answer = client.ask(&request, 4).await.ok()?;
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => {}
        ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::REBALANCE_IN_PROGRESS => return None,
        code if is_passing(code) => return None,
        code => {
            client.unexpected("SyncGroup", code);
            return None;
        }
    }
    if let Some(given) = led {
        // Before that, a crash takes the generation back.
        let led = client.shared.model.borrow_mut().groups.lead(CLASSIC, generation, &id, given);
        client.demand(Invariant::GroupsAreExclusive, led);
    }
    let places = decode_assignment(&answer.assignment);
    let checked = {
        let mut model = client.shared.model.borrow_mut();
        model.groups.keep(CLASSIC, &id, &places);
        let given = model.groups.given(CLASSIC, generation, &id, &places);
        // A member that has not heard of the rebalance yet still believes that it has its own.
        let lease = (u64::MAX, sent_ms + SESSION_MS);
        given.and_then(|()| model.groups.hold(CLASSIC, &id, &places, lease))
    };
    client.demand(Invariant::GroupsAreExclusive, checked);
    Some(SimClassicMember { id, generation, places })
}

/// Sends heartbeats and commits, until the group is to change.
async fn stay_in_group(client: &mut SimClient, member: &SimClassicMember) {
    let who = Committer {
        group: CLASSIC.to_owned(),
        member: member.id.clone(),
        generation: member.generation,
    };
    let mut rounds = client.dice.between(2, 20);
    while rounds > 0 || client.is_over() {
        rounds = rounds.saturating_sub(1);
        client.rest().await;
        if is_settled(client, CLASSIC) || !commit_some(client, &who, &member.places).await {
            return;
        }
        let request = HeartbeatRequest {
            group_id: CLASSIC.to_owned(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            ..Default::default()
        };
        let sent_ms = client.now_ms();
        let Ok(answer) = client.ask(&request, 4).await else { continue };
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => {
                let lease = (u64::MAX, sent_ms + SESSION_MS);
                let mut model = client.shared.model.borrow_mut();
                let held = model.groups.hold(CLASSIC, &member.id, &member.places, lease);
                drop(model);
                client.demand(Invariant::GroupsAreExclusive, held);
            }
            ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::UNKNOWN_MEMBER_ID => return,
            code if is_passing(code) => {}
            code => return client.unexpected("Heartbeat", code),
        }
    }
}

async fn leave_group(client: &mut SimClient, member: &SimClassicMember) {
    let identity = MemberIdentity { member_id: member.id.clone(), ..Default::default() };
    let request = LeaveGroupRequest {
        group_id: CLASSIC.to_owned(),
        members: vec![identity],
        ..Default::default()
    };
    // Whether it was heard shows in the group.
    let _ = client.ask(&request, 4).await;
}

fn encode_assignment(places: &[Place]) -> Bytes {
    let lines: Vec<String> =
        places.iter().map(|(topic, index)| format!("{topic} {index}")).collect();
    Bytes::from(lines.join("\n"))
}

fn decode_assignment(bytes: &[u8]) -> Vec<Place> {
    let text = String::from_utf8_lossy(bytes);
    let place = |line: &str| {
        let (topic, index) = line.split_once(' ')?;
        Some((topic.to_owned(), index.parse().ok()?))
    };
    text.lines().filter_map(place).collect()
}

/// A member of the consumer protocol's group.
struct SimConsumerMember {
    id: String,
    epoch: i32,
    places: Vec<Place>,
    /// How often it has joined.
    joins: u32,
    /// Was its last heartbeat not answered? Then the next one says everything again.
    says_all: bool,
}

/// A member of the group of KIP-848.
pub async fn run_consumer(client: &mut SimClient) {
    client.find_coordinator(CoordinatorKind::Group, CONSUMER).await;
    let names = topic_ids(client).await;
    let new_id = |joins: u32, number: u32| format!("member-{number}-{joins}");
    let mut member = SimConsumerMember {
        id: new_id(0, client.number),
        epoch: 0,
        places: Vec::new(),
        joins: 0,
        says_all: true,
    };
    while !is_settled(client, CONSUMER) {
        if client.dice.chance(40) && !client.is_over() {
            if client.dice.chance(500) {
                member.epoch = -1;
                // It works on nothing any more when it says so.
                member.places.clear();
                beat_once(client, &mut member, &names).await;
            }
            // A new member from now on; the former sends no more.
            member.joins += 1;
            (member.id, member.epoch) = (new_id(member.joins, client.number), 0);
            member.places.clear();
        }
        beat_once(client, &mut member, &names).await;
        client.rest().await;
        if member.epoch > 0 && client.dice.chance(500) {
            let who = Committer {
                group: CONSUMER.to_owned(),
                member: member.id.clone(),
                generation: member.epoch,
            };
            if !commit_some(client, &who, &member.places).await {
                reset_member(client, &mut member);
            }
        }
    }
}

/// The group no longer has the member: it begins again.
fn reset_member(client: &SimClient, member: &mut SimConsumerMember) {
    member.epoch = 0;
    member.places.clear();
    client.shared.model.borrow_mut().groups.keep(CONSUMER, &member.id, &[]);
}

async fn topic_ids(client: &mut SimClient) -> BTreeMap<Uuid, String> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    loop {
        if let Ok(answer) = client.ask(&request, 12).await {
            let topics = answer.topics.into_iter();
            return topics.filter_map(|it| Some((it.topic_id, it.name?))).collect();
        }
        client.rest().await;
    }
}

async fn beat_once(
    client: &mut SimClient,
    member: &mut SimConsumerMember,
    names: &BTreeMap<Uuid, String>,
) {
    let says_all = member.epoch == 0 || member.says_all;
    let owned = |id: &Uuid, name: &String| {
        let own = member.places.iter().filter(|(topic, _)| topic == name);
        let partitions: Vec<i32> = own.map(|(_, index)| *index).collect();
        let topic_id = *id;
        (!partitions.is_empty()).then(|| TopicPartitions {
            topic_id,
            partitions,
            ..Default::default()
        })
    };
    let topics: Vec<String> = client.shared.topics.iter().map(|it| it.name.clone()).collect();
    let request = ConsumerGroupHeartbeatRequest {
        group_id: CONSUMER.to_owned(),
        member_id: member.id.clone(),
        member_epoch: member.epoch,
        rebalance_timeout_ms: if says_all { REVOCATION_MS } else { -1 },
        subscribed_topic_names: says_all.then_some(topics),
        topic_partitions: Some(names.iter().filter_map(|(id, name)| owned(id, name)).collect()),
        ..Default::default()
    };
    let sent_ms = client.now_ms();
    {
        let mut model = client.shared.model.borrow_mut();
        model.groups.keep(CONSUMER, &member.id, &member.places);
    }
    member.says_all = true;
    // Whether it was carried out shows later.
    let answer = match client.ask(&request, 1).await {
        Ok(answer) => answer,
        Err(_) => return,
    };
    member.says_all = false;
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => {}
        ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::FENCED_MEMBER_EPOCH
        | ErrorCode::GROUP_ID_NOT_FOUND => return reset_member(client, member),
        ErrorCode::UNRELEASED_INSTANCE_ID => return,
        code if is_passing(code) => {
            member.says_all = true;
            return;
        }
        code => return client.unexpected("ConsumerGroupHeartbeat", code),
    }
    if member.epoch < 0 {
        return;
    }
    member.epoch = answer.member_epoch;
    if let Some(assignment) = &answer.assignment {
        let places = assignment.topic_partitions.iter().flat_map(|topic| {
            let name = names.get(&topic.topic_id).cloned().unwrap_or_default();
            topic.partitions.iter().map(move |index| (name.clone(), *index))
        });
        member.places = places.collect();
    }
    let now_ms = client.now_ms();
    let held = {
        let mut model = client.shared.model.borrow_mut();
        let lease = (now_ms, sent_ms + SESSION_MS);
        model.groups.hold(CONSUMER, &member.id, &member.places, lease)
    };
    client.demand(Invariant::GroupsAreExclusive, held);
}
