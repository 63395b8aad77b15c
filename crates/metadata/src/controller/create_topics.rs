//! CreateTopics.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::config_record::ConfigRecord;
use ottla_protocol::metadata::partition_record::PartitionRecord;
use ottla_protocol::metadata::topic_record::TopicRecord;
use ottla_types::{ErrorCode, NodeId, Uuid, check_topic_name};

use super::{
    ConfigChange, Controller, ControllerRefusal, ControllerReply, ControllerScene, place,
    repeated_items,
};
use crate::cluster::{BrokerRegistration, ResourceKind};

/// No turn may write more records than this (one batch).
const RECORDS_MAX: usize = 10_000;
/// No request may ask for more partitions than this, as in Kafka.
pub(super) const PARTITIONS_MAX: usize = 10_000;

pub(super) fn create_topics(
    scene: &ControllerScene<'_>,
    request: CreateTopicsRequest,
    uuids: Vec<Uuid>,
    turn: &mut Turn<Controller>,
) {
    let mut response = CreateTopicsResponse::default();
    let repeated = repeated_items(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut answered = BTreeSet::new();
    let mut records = Vec::new();
    let wanted: usize = request.topics.iter().map(|topic| partition_count(scene, topic)).sum();
    for (topic, id) in request.topics.iter().zip(uuids) {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let made = if repeated.contains(topic.name.as_str()) {
            Err((ErrorCode::INVALID_REQUEST, String::from("Duplicate topic name.")))
        } else if wanted > PARTITIONS_MAX {
            let why = format!(
                "Too many partitions in one request: {wanted}, and {PARTITIONS_MAX} are allowed."
            );
            Err((ErrorCode::POLICY_VIOLATION, why))
        } else {
            create_topic(scene, topic, id, RECORDS_MAX - records.len())
        };
        let result = match made {
            Ok(mut made) => {
                records.append(&mut made.records);
                made.result
            }
            Err((code, why)) => CreatableTopicResult {
                name: topic.name.clone(),
                error_code: code.0,
                error_message: Some(why),
                configs: Some(Vec::new()),
                ..Default::default()
            },
        };
        response.topics.push(result);
    }
    if !request.validate_only {
        turn.records = records;
    }
    turn.reply(ControllerReply::CreateTopics(response));
}

struct PlannedTopic {
    result: CreatableTopicResult,
    records: Vec<MetadataRecord>,
}

fn create_topic(
    scene: &ControllerScene<'_>,
    topic: &CreatableTopic,
    id: Uuid,
    room: usize,
) -> Result<PlannedTopic, ControllerRefusal> {
    if scene.cluster.topic(&topic.name).is_some() {
        let why = format!("Topic '{}' already exists.", topic.name);
        return Err((ErrorCode::TOPIC_ALREADY_EXISTS, why));
    }
    let (own, replicas) = all_of(
        check_new_name(scene, &topic.name),
        checked_configs(scene, topic),
        replica_lists(scene, topic, id, room.saturating_sub(topic.configs.len())),
    )?;
    let mut records: Vec<MetadataRecord> = Vec::new();
    let record = TopicRecord { name: topic.name.clone(), topic_id: id, ..Default::default() };
    records.push(record.into());
    for (name, value) in &own {
        let record = ConfigRecord {
            resource_type: ResourceKind::Topic as i8,
            resource_name: topic.name.clone(),
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        };
        records.push(record.into());
    }
    for (index, replicas) in replicas.iter().enumerate() {
        records.push(new_partition_record(scene, id, index, replicas).into());
    }
    let count = i32::try_from(replicas.len()).unwrap_or(i32::MAX);
    let factor = replicas.first().map_or(0, Vec::len);
    let result = CreatableTopicResult {
        name: topic.name.clone(),
        topic_id: id,
        // The schema's default is an empty text, which clients could take for an error's.
        error_message: None,
        num_partitions: count,
        replication_factor: i16::try_from(factor).unwrap_or(i16::MAX),
        configs: Some(scene.rules.describe_topic(scene.cluster, &own)),
        ..Default::default()
    };
    Ok(PlannedTopic { result, records })
}

/// All that is wrong with a topic, so that it is asked for only once more; the first fault's code.
fn all_of<A, B>(
    name: Result<(), ControllerRefusal>,
    configs: Result<A, ControllerRefusal>,
    replicas: Result<B, ControllerRefusal>,
) -> Result<(A, B), ControllerRefusal> {
    match (name, configs, replicas) {
        (Ok(()), Ok(configs), Ok(replicas)) => Ok((configs, replicas)),
        (name, configs, replicas) => {
            let faults = [name.err(), configs.err(), replicas.err()];
            let mut faults = faults.into_iter().flatten();
            let (code, mut text) = faults.next().unwrap_or_default();
            for (_, more) in faults {
                text = format!("{}; {more}", text.trim_end_matches('.'));
            }
            Err((code, text))
        }
    }
}

/// How many partitions are asked for.
fn partition_count(scene: &ControllerScene<'_>, topic: &CreatableTopic) -> usize {
    match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(scene.settings.partitions).unwrap_or(0),
        count => usize::try_from(count).unwrap_or(0),
    }
}

/// A new partition: its first replica leads, all are in sync.
pub(super) fn new_partition_record(
    scene: &ControllerScene<'_>,
    topic_id: Uuid,
    index: usize,
    replicas: &[NodeId],
) -> PartitionRecord {
    let serves =
        |id: &&NodeId| scene.cluster.broker(**id).is_some_and(BrokerRegistration::is_active);
    let isr: Vec<NodeId> = replicas.iter().filter(serves).copied().collect();
    PartitionRecord {
        partition_id: i32::try_from(index).unwrap_or(i32::MAX),
        topic_id,
        replicas: replicas.to_vec(),
        leader: isr.first().copied().unwrap_or(-1),
        isr,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: place::replica_directories(scene, replicas),
        ..Default::default()
    }
}

fn check_new_name(scene: &ControllerScene<'_>, name: &str) -> Result<(), ControllerRefusal> {
    if let Err(why) = check_topic_name(name) {
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_string()));
    }
    if let Some(other) = scene.cluster.topics.colliding(name) {
        let why = format!("Topic '{name}' collides with existing topic: {other}");
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, why));
    }
    Ok(())
}

fn checked_configs(
    scene: &ControllerScene<'_>,
    topic: &CreatableTopic,
) -> Result<Vec<(String, String)>, ControllerRefusal> {
    let mut all = Vec::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let why = format!("Null value not supported for topic configs: {}", config.name);
            return Err((ErrorCode::INVALID_CONFIG, why));
        };
        all.retain(|(name, _)| *name != config.name);
        all.push((config.name.clone(), value.clone()));
    }
    scene.rules.check(&ConfigChange {
        cluster: scene.cluster,
        kind: ResourceKind::Topic,
        resource: &topic.name,
        before: &BTreeMap::new(),
        after: &all.iter().cloned().collect(),
    })?;
    Ok(all)
}

fn replica_lists(
    scene: &ControllerScene<'_>,
    topic: &CreatableTopic,
    id: Uuid,
    room: usize,
) -> Result<Vec<Vec<NodeId>>, ControllerRefusal> {
    // The topic itself is a record, too.
    let most = room.saturating_sub(1);
    let asked = partition_count(scene, topic);
    if asked > most {
        let why = format!("Too many partitions in one request: {asked}, where {most} have room.");
        return Err((ErrorCode::POLICY_VIOLATION, why));
    }
    if !topic.assignments.is_empty() {
        return assigned_replicas(scene, topic);
    }
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let why = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err((ErrorCode::INVALID_REPLICATION_FACTOR, String::from(why)));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        let why = "Number of partitions was set to an invalid non-positive value.";
        return Err((ErrorCode::INVALID_PARTITIONS, String::from(why)));
    }
    let or = |value: i32, default: i32| if value == -1 { default } else { value };
    let count = or(topic.num_partitions, scene.settings.partitions);
    let factor = or(topic.replication_factor.into(), scene.settings.replication_factor.into());
    let (count, factor) =
        (usize::try_from(count).unwrap_or(0), usize::try_from(factor).unwrap_or(0));
    place::spread_replicas(scene, count, factor, usize::from(id.0[15]))
}

fn assigned_replicas(
    scene: &ControllerScene<'_>,
    topic: &CreatableTopic,
) -> Result<Vec<Vec<NodeId>>, ControllerRefusal> {
    let refuse = |code, why: &str| Err((code, String::from(why)));
    if topic.replication_factor != -1 {
        let why = "A manual partition assignment was specified, but replication factor was not \
                   set to -1.";
        return refuse(ErrorCode::INVALID_REQUEST, why);
    }
    if topic.num_partitions != -1 {
        let why = "A manual partition assignment was specified, but numPartitions was not set to \
                   -1.";
        return refuse(ErrorCode::INVALID_REQUEST, why);
    }
    let mut all: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
    for one in &topic.assignments {
        if all.insert(one.partition_index, one.broker_ids.clone()).is_some() {
            let why = format!(
                "Found multiple manual partition assignments for partition {}",
                one.partition_index
            );
            return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, &why);
        }
    }
    let all_there = all.keys().enumerate().all(|(at, index)| usize::try_from(*index) == Ok(at));
    if !all_there {
        let why = "partitions should be a consecutive 0-based integer sequence";
        return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
    }
    let all: Vec<Vec<NodeId>> = all.into_values().collect();
    let factor = all[0].len();
    for (index, replicas) in all.iter().enumerate() {
        check_assignment(scene, replicas, Some(factor))?;
        check_any_serves(scene, index, replicas)?;
    }
    place::check_replicas_max(scene, factor)?;
    Ok(all)
}

/// Does one of these brokers serve, so that the new partition has a leader?
pub(super) fn check_any_serves(
    scene: &ControllerScene<'_>,
    index: usize,
    replicas: &[NodeId],
) -> Result<(), ControllerRefusal> {
    let serves = |id: &NodeId| scene.cluster.broker(*id).is_some_and(BrokerRegistration::is_active);
    if replicas.iter().any(serves) {
        return Ok(());
    }
    let why = format!(
        "All brokers specified in the manual partition assignment for partition {index} are fenced \
         or in controlled shutdown."
    );
    Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why))
}

/// Do these brokers exist, each once, and as many as elsewhere?
pub(super) fn check_assignment(
    scene: &ControllerScene<'_>,
    replicas: &[NodeId],
    factor: Option<usize>,
) -> Result<(), ControllerRefusal> {
    let refuse = |why: String| Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    if replicas.is_empty() {
        return refuse(String::from(
            "The manual partition assignment includes an empty replica list.",
        ));
    }
    if replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len() {
        let why = "The manual partition assignment includes the same broker twice.";
        return refuse(String::from(why));
    }
    if let Some(unknown) = replicas.iter().find(|id| scene.cluster.broker(**id).is_none()) {
        let why = format!(
            "The manual partition assignment includes broker {unknown}, but no such broker is \
             registered."
        );
        return refuse(why);
    }
    if factor.is_some_and(|factor| factor != replicas.len()) {
        let why = format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is \
             not consistent with previous partitions, which have {} replica(s).",
            replicas.len(),
            factor.unwrap_or(0)
        );
        return refuse(why);
    }
    Ok(())
}
