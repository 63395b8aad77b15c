//! ElectLeaders, and the elections that the controller holds by itself (KIP-183, KIP-460).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, PartitionIndex};

use super::partition_change::{ChangedTopic, ElectionChoice, NO_LEADER, PartitionChange};
use super::{Controller, ControllerReply, ControllerScene};
use crate::cluster::PartitionState;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
/// How many elections the controller holds by itself in one turn.
const ELECTIONS_MAX: usize = 1000;

pub(super) fn elect_leaders(
    scene: &ControllerScene<'_>,
    request: &ElectLeadersRequest,
    turn: &mut Turn<Controller>,
) {
    let election = match request.election_type {
        PREFERRED => ElectionChoice::Preferred,
        UNCLEAN => ElectionChoice::Unclean,
        other => return turn.reply(ControllerReply::ElectLeaders(unknown_type(request, other))),
    };
    let mut response = ElectLeadersResponse::default();
    for topic in request.topic_partitions.iter().flatten() {
        let known = scene.cluster.topic(&topic.topic).map(|it| ChangedTopic::new(scene, it));
        let one = |index: &PartitionIndex| {
            let found = known.and_then(|it| Some((it, it.topic.partitions.get(index)?)));
            let elected = match found {
                Some((topic, state)) => elect_partition(topic, *index, state, election),
                None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            };
            partition_result(*index, elected, turn)
        };
        let partition_result = topic.partitions.iter().map(one).collect();
        let topic = topic.topic.clone();
        let result = ReplicaElectionResult { topic, partition_result, ..Default::default() };
        response.replica_election_results.push(result);
    }
    if request.topic_partitions.is_none() {
        for topic in scene.cluster.topics() {
            let mut rows = Vec::new();
            let changed = ChangedTopic::new(scene, topic);
            for (index, state) in &topic.partitions {
                let elected = elect_partition(changed, *index, state, election);
                // Of all partitions, only those that need an election are named.
                if elected != Err(ErrorCode::ELECTION_NOT_NEEDED) {
                    rows.push(partition_result(*index, elected, turn));
                }
            }
            response.replica_election_results.push(ReplicaElectionResult {
                topic: String::from(&*topic.name),
                partition_result: rows,
                ..Default::default()
            });
        }
    }
    turn.reply(ControllerReply::ElectLeaders(response));
}

fn partition_result(
    partition_id: PartitionIndex,
    elected: Result<MetadataRecord, ErrorCode>,
    turn: &mut Turn<Controller>,
) -> PartitionResult {
    let code = match elected {
        Ok(record) => {
            turn.record(record);
            ErrorCode::NONE
        }
        Err(code) => code,
    };
    let error_message = code.is_error().then(|| String::from(code.message()));
    PartitionResult { partition_id, error_code: code.0, error_message, ..Default::default() }
}

/// The answer to a kind of election that there is not.
fn unknown_type(request: &ElectLeadersRequest, kind: i8) -> ElectLeadersResponse {
    let code = ErrorCode::INVALID_REQUEST.0;
    let partition = |partition_id: &PartitionIndex| PartitionResult {
        partition_id: *partition_id,
        error_code: code,
        error_message: Some(format!("Unknown election type {kind}")),
        ..Default::default()
    };
    let topics = request.topic_partitions.iter().flatten().map(|topic| ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    });
    ElectLeadersResponse {
        error_code: code,
        replica_election_results: topics.collect(),
        ..Default::default()
    }
}

fn elect_partition(
    topic: ChangedTopic<'_>,
    index: PartitionIndex,
    state: &PartitionState,
    election: ElectionChoice,
) -> Result<MetadataRecord, ErrorCode> {
    let is_needed = match election {
        ElectionChoice::Preferred => !is_led_by_preferred(state),
        ElectionChoice::Unclean | ElectionChoice::Online => state.leader == NO_LEADER,
    };
    if !is_needed {
        return Err(ErrorCode::ELECTION_NOT_NEEDED);
    }
    let change = PartitionChange { election, ..topic.change(index, state) };
    change.build().map(MetadataRecord::from).ok_or(match election {
        ElectionChoice::Preferred => ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
        ElectionChoice::Unclean | ElectionChoice::Online => {
            ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE
        }
    })
}

fn is_led_by_preferred(state: &PartitionState) -> bool {
    state.replicas.first() == Some(&state.leader)
}

/// Gives partitions back to their preferred replicas; are there more to do?
pub(super) fn balance_leaders(scene: &ControllerScene<'_>, turn: &mut Turn<Controller>) -> bool {
    elect_all(scene, ElectionChoice::Preferred, turn)
}

/// Lets a replica lead that may lack records, where the topic allows it and no other replica can;
/// are there more to do?
pub(super) fn elect_uncleanly(scene: &ControllerScene<'_>, turn: &mut Turn<Controller>) -> bool {
    elect_all(scene, ElectionChoice::Unclean, turn)
}

fn elect_all(
    scene: &ControllerScene<'_>,
    election: ElectionChoice,
    turn: &mut Turn<Controller>,
) -> bool {
    for topic in scene.cluster.topics() {
        let needs_setting = election == ElectionChoice::Unclean;
        let has_leaders = topic.partitions.values().all(|it| it.leader != NO_LEADER);
        if needs_setting && has_leaders {
            continue;
        }
        let changed = ChangedTopic::new(scene, topic);
        if needs_setting && !changed.rules.is_unclean_allowed {
            continue;
        }
        for (index, state) in &topic.partitions {
            let elected = elect_partition(changed, *index, state, election);
            turn.records.extend(elected);
            if turn.records.len() >= ELECTIONS_MAX {
                return true;
            }
        }
    }
    false
}
