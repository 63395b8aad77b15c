//! DescribeQuorum: the voters of the metadata log and how far each has it.
//!
//! KIP-595. 1: when each replica fetched (KIP-836). 2: directory ids and endpoints of voters
//! (KIP-853).
//!
//! Answered by the leader: a broker forwards it there.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node as QuorumNode, PartitionData, ReplicaState, TopicData,
};
use ottla_quorum::{Endpoint, Quorum, ReplicaKey};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeQuorum, 0, 2);

const TOPIC: &str = "__cluster_metadata";

/// Describes the quorum, if this node leads it.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if !call.may(node, Operation::Describe, Resource::Cluster) {
        return error_answers(&request)(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if !asks_for_the_quorum(&request) {
        return unknown_partitions(&request);
    }
    let described =
        node.controller.member().look(|quorum| describe_as_leader(node, quorum)).flatten();
    described.unwrap_or_else(|| not_the_leader(node))
}

/// What the leader knows; `None` if this node is not it.
fn describe_as_leader(node: &Node, quorum: &Quorum) -> Option<DescribeQuorumResponse> {
    quorum.leads()?;
    let own = node.controller.member().own().key;
    let log_end = quorum.log_end();
    // The core counts from a start of its own.
    let (wall_ms, monotonic) = (node.clock.wall_ms(), node.clock.monotonic().as_millis());
    let at = |ms: Option<u64>| {
        let ago = ms.map(|ms| monotonic.saturating_sub(u128::from(ms)));
        ago.map_or(-1, |ago| wall_ms - i64::try_from(ago).unwrap_or(i64::MAX))
    };
    let progress: Vec<_> = quorum.raft().replicas().collect();
    let state = |key: ReplicaKey| {
        let known = progress.iter().find(|(it, _)| it.id == key.id && may_be(key, **it));
        let (end, fetched, caught_up) = match known {
            _ if key.id == own.id => (log_end, wall_ms, wall_ms),
            Some((_, it)) => (it.end, at(it.fetched_ms), at(it.caught_up_ms)),
            None => (-1, -1, -1),
        };
        ReplicaState {
            replica_id: key.id,
            replica_directory_id: known.map_or(key.directory, |(known, _)| known.directory),
            log_end_offset: end,
            last_fetch_timestamp: fetched,
            last_caught_up_timestamp: caught_up,
            ..Default::default()
        }
    };
    let voters = quorum.voters();
    let is_observer = |key: &ReplicaKey| !voters.has(*key);
    let observers = progress.iter().map(|(key, _)| **key).filter(is_observer);
    let partition = PartitionData {
        partition_index: 0,
        leader_id: own.id,
        leader_epoch: quorum.epoch(),
        high_watermark: quorum.committed(),
        current_voters: voters.iter().map(|voter| state(voter.key)).collect(),
        observers: observers.map(state).collect(),
        ..Default::default()
    };
    let topic_name = TOPIC.to_owned();
    let topics = vec![TopicData { topic_name, partitions: vec![partition], ..Default::default() }];
    let listener = |endpoint: &Endpoint| Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Default::default()
    };
    let nodes = voters.iter().map(|voter| {
        let endpoints = match voter.key.id == own.id {
            true => &node.facts.voter_listeners,
            false => &voter.endpoints,
        };
        let listeners = endpoints.iter().map(listener).collect();
        QuorumNode { node_id: voter.key.id, listeners, ..Default::default() }
    });
    Some(DescribeQuorumResponse { topics, nodes: nodes.collect(), ..Default::default() })
}

/// Is this the replica of that voter? Before kraft.version 1 voters have no directory ids.
fn may_be(voter: ReplicaKey, replica: ReplicaKey) -> bool {
    voter.directory.is_zero() || voter.directory == replica.directory
}

fn not_the_leader(node: &Node) -> DescribeQuorumResponse {
    let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    let standing = node.controller.member().view().standing;
    let partition = PartitionData {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        leader_id: standing.leader.unwrap_or(-1),
        leader_epoch: standing.epoch,
        ..Default::default()
    };
    let topic_name = TOPIC.to_owned();
    let topics = vec![TopicData { topic_name, partitions: vec![partition], ..Default::default() }];
    DescribeQuorumResponse { topics, ..Default::default() }
}

/// The answer if the quorum cannot be described at all.
pub fn error_answers(
    _: &DescribeQuorumRequest,
) -> impl Fn(ErrorCode) -> DescribeQuorumResponse + use<> {
    |code| DescribeQuorumResponse {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    }
}

/// There is one such log, and it has one partition: a request for anything else is refused whole.
fn asks_for_the_quorum(request: &DescribeQuorumRequest) -> bool {
    let [topic] = &request.topics[..] else { return false };
    let [partition] = &topic.partitions[..] else { return false };
    topic.topic_name == TOPIC && partition.partition_index == 0
}

fn unknown_partitions(request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| PartitionData {
            partition_index: partition.partition_index,
            error_code: code.0,
            error_message: Some(code.message().to_owned()),
            ..Default::default()
        });
        let topic_name = topic.topic_name.clone();
        TopicData { topic_name, partitions: partitions.collect(), ..Default::default() }
    });
    DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }
}
