//! CreatePartitions: more of them, never fewer.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::ErrorCode;

use super::create_topics::{
    PARTITIONS_MAX, check_any_serves, check_assignment, new_partition_record,
};
use super::{
    Controller, ControllerRefusal, ControllerReply, ControllerScene, place, repeated_items,
};
use crate::cluster::Topic;

pub(super) fn create_partitions(
    scene: &ControllerScene<'_>,
    request: CreatePartitionsRequest,
    turn: &mut Turn<Controller>,
) {
    let mut response = CreatePartitionsResponse::default();
    let repeated = repeated_items(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut answered = BTreeSet::new();
    for topic in &request.topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let mut result =
            CreatePartitionsTopicResult { name: topic.name.clone(), ..Default::default() };
        let made = if repeated.contains(topic.name.as_str()) {
            Err((ErrorCode::INVALID_REQUEST, Some(String::from("Duplicate topic name."))))
        } else if let Some(known) = scene.cluster.topic(&topic.name) {
            added_partitions(scene, known, topic).map_err(|(code, why)| (code, Some(why)))
        } else {
            // Without a text: clients show the code's own.
            Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None))
        };
        match made {
            Ok(records) if !request.validate_only => turn.records.extend(records),
            Ok(_) => {}
            Err((code, why)) => {
                result.error_code = code.0;
                result.error_message = why;
            }
        }
        response.results.push(result);
    }
    turn.reply(ControllerReply::CreatePartitions(response));
}

fn added_partitions(
    scene: &ControllerScene<'_>,
    topic: &Topic,
    asked: &CreatePartitionsTopic,
) -> Result<Vec<MetadataRecord>, ControllerRefusal> {
    let now = topic.partitions.len();
    let wanted = usize::try_from(asked.count).unwrap_or(0);
    if wanted == now {
        let why = format!("Topic already has {now} partition(s).");
        return Err((ErrorCode::INVALID_PARTITIONS, why));
    }
    if wanted < now {
        let why = format!(
            "The topic {} currently has {now} partition(s); {} would not be an increase.",
            asked.name, asked.count
        );
        return Err((ErrorCode::INVALID_PARTITIONS, why));
    }
    let more = wanted - now;
    if more > PARTITIONS_MAX {
        let why = format!(
            "Too many partitions in one request: {more} more, and {PARTITIONS_MAX} are allowed."
        );
        return Err((ErrorCode::INVALID_PARTITIONS, why));
    }
    let factor = topic.partitions.values().next().map_or(1, |state| state.replicas.len());
    let replicas = match &asked.assignments {
        Some(given) => {
            if given.len() != more {
                let why = format!(
                    "Attempted to add {more} additional partition(s), but only {} assignment(s) \
                     were specified.",
                    given.len()
                );
                return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
            }
            for (at, one) in given.iter().enumerate() {
                check_assignment(scene, &one.broker_ids, Some(factor))?;
                check_any_serves(scene, now + at, &one.broker_ids)?;
            }
            given.iter().map(|one| one.broker_ids.clone()).collect()
        }
        None => place::spread_replicas(scene, more, factor, now)?,
    };
    let record = |(at, replicas): (usize, &Vec<i32>)| {
        new_partition_record(scene, topic.id, now + at, replicas).into()
    };
    Ok(replicas.iter().enumerate().map(record).collect())
}
