//! ElectLeaders: let the preferred replica lead again, or (unclean) one that is out of sync.
//!
//! KIP-183. 1: unclean elections (KIP-460).
//!
//! Gap: with one replica there is no other to elect.

use ottla_metadata::Cluster;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call, is_over};

/// Operators.
pub const API: Api = Api::of(ApiKey::ElectLeaders, 0, 2);

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// On one node every partition's only replica leads it: there is nothing to elect.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    if !call.may(node, Operation::Alter, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return ElectLeadersResponse { error_code, ..Default::default() };
    }
    if is_over(request.timeout_ms) {
        return refused(&request, ErrorCode::REQUEST_TIMED_OUT, None);
    }
    if !(PREFERRED..=UNCLEAN).contains(&request.election_type) {
        let why = format!("Unknown election type {}", request.election_type);
        return refused(&request, ErrorCode::INVALID_REQUEST, Some(&why));
    }
    let cluster = node.cluster();
    let results = match &request.topic_partitions {
        Some(named) => named.iter().map(|topic| result(&cluster, topic)).collect(),
        // Of all partitions, only those that need it are named.
        None => cluster.topics().map(|it| nothing(&it.name)).collect(),
    };
    ElectLeadersResponse { replica_election_results: results, ..Default::default() }
}

/// The answer if no partition's election could be tried.
fn refused(
    request: &ElectLeadersRequest,
    code: ErrorCode,
    why: Option<&str>,
) -> ElectLeadersResponse {
    let partition = |partition_id: &i32| PartitionResult {
        partition_id: *partition_id,
        error_code: code.0,
        error_message: why.map(str::to_owned),
        ..Default::default()
    };
    let topic = |topic: &TopicPartitions| ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    ElectLeadersResponse {
        error_code: code.0,
        replica_election_results: request.topic_partitions.iter().flatten().map(topic).collect(),
        ..Default::default()
    }
}

fn nothing(topic: &str) -> ReplicaElectionResult {
    ReplicaElectionResult { topic: topic.to_owned(), ..Default::default() }
}

fn result(cluster: &Cluster, topic: &TopicPartitions) -> ReplicaElectionResult {
    let known = cluster.topic(&topic.topic);
    let one = |partition_id: &i32| {
        let code = match known.filter(|it| it.partitions.contains_key(partition_id)) {
            Some(_) => ErrorCode::ELECTION_NOT_NEEDED,
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        };
        PartitionResult {
            partition_id: *partition_id,
            error_code: code.0,
            error_message: Some(code.message().to_owned()),
            ..Default::default()
        }
    };
    ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic.partitions.iter().map(one).collect(),
        ..Default::default()
    }
}
