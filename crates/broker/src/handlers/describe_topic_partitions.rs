//! DescribeTopicPartitions: topics in pages, with the replicas that may lead although they are not
//! in sync (KIP-966).

use ottla_metadata::{Cluster, PartitionState, Topic};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use ottla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use ottla_types::{ErrorCode, is_internal_topic};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Admin clients.
pub const API: Api = Api::of(ApiKey::DescribeTopicPartitions, 0, 0);

/// Describes topics by name, from the cursor on, until the page is full.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let cluster = node.cluster();
    if let Some(cursor) = &request.cursor {
        let mut asked = request.topics.iter().map(|topic| &topic.name);
        let is_asked = request.topics.is_empty() || asked.any(|name| *name == cursor.topic_name);
        if !is_asked || cursor.partition_index < 0 {
            return invalid_request(&request);
        }
    }
    let mut names: Vec<String> = if request.topics.is_empty() {
        cluster.topics().map(|topic| topic.name.to_string()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.clone()).collect()
    };
    names.sort();
    names.dedup();
    let may_see = |name: &String| call.may(node, Operation::Describe, Resource::Topic(name));
    let (mut names, mut hidden): (Vec<_>, Vec<_>) = names.into_iter().partition(may_see);
    if request.topics.is_empty() {
        hidden.clear();
    }
    let start = request.cursor.as_ref().map(|it| (it.topic_name.clone(), it.partition_index));
    if let Some((topic, _)) = &start {
        names.retain(|name| name >= topic);
        hidden.retain(|name| name >= topic);
    }
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut room = asked.clamp(1, node.own().page_partitions_max);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let first = match &start {
            Some((topic, index)) if *topic == name => *index,
            _ => 0,
        };
        if room == 0 {
            let (topic_name, partition_index) = (name, first);
            response.next_cursor =
                Some(Cursor { topic_name, partition_index, ..Default::default() });
            break;
        }
        let Some(topic) = cluster.topic(&name) else {
            let code = if ottla_types::check_topic_name(&name).is_err() {
                ErrorCode::INVALID_TOPIC_EXCEPTION
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                error_code: code.0,
                name: Some(name),
                ..Default::default()
            });
            continue;
        };
        let next = describe_topic(&cluster, topic, first, &mut room, &mut response);
        if let Some(partition_index) = next {
            let topic_name = name;
            response.next_cursor =
                Some(Cursor { topic_name, partition_index, ..Default::default() });
            break;
        }
    }
    for topic in &mut response.topics {
        let name = Resource::Topic(topic.name.as_deref().unwrap_or_default());
        topic.topic_authorized_operations = call.operations(node, name);
    }
    response.topics.extend(
        hidden.iter().map(|name| refused_topic(name, ErrorCode::TOPIC_AUTHORIZATION_FAILED)),
    );
    response
}

/// The answer to a cursor whose topic or partition is not in the request.
fn invalid_request(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter();
    DescribeTopicPartitionsResponse {
        topics: topics.map(|it| refused_topic(&it.name, ErrorCode::INVALID_REQUEST)).collect(),
        ..Default::default()
    }
}

fn refused_topic(topic: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.0,
        name: Some(topic.to_owned()),
        ..Default::default()
    }
}

/// Describes partitions from `first` on; returns the first that found no room.
fn describe_topic(
    cluster: &Cluster,
    topic: &Topic,
    first: i32,
    room: &mut usize,
    response: &mut DescribeTopicPartitionsResponse,
) -> Option<i32> {
    let mut all = topic.partitions.range(first..);
    let partitions: Vec<_> = all
        .by_ref()
        .take(*room)
        .map(|(index, state)| describe_partition(cluster, *index, state))
        .collect();
    *room -= partitions.len();
    response.topics.push(DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions,
        ..Default::default()
    });
    all.next().map(|(index, _)| *index)
}

fn describe_partition(
    cluster: &Cluster,
    partition_index: i32,
    state: &PartitionState,
) -> DescribeTopicPartitionsResponsePartition {
    let serves = |id: &&i32| cluster.broker(**id).is_some_and(|broker| !broker.fenced);
    let code = if state.leader < 0 { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::NONE };
    DescribeTopicPartitionsResponsePartition {
        error_code: code.0,
        partition_index,
        leader_id: state.leader,
        leader_epoch: state.leader_epoch,
        replica_nodes: state.replicas.clone(),
        isr_nodes: state.isr.clone(),
        eligible_leader_replicas: Some(state.elr.clone()),
        last_known_elr: Some(state.last_known_elr.clone()),
        offline_replicas: state.replicas.iter().filter(|id| !serves(id)).copied().collect(),
        ..Default::default()
    }
}
