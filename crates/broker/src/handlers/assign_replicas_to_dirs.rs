//! AssignReplicasToDirs: a broker says in which of its data directories its replicas are.
//!
//! KIP-858.

use ottla_metadata::{AssignedDirectory, ControllerCommand};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::assign_replicas_to_dirs_request as asked;
use ottla_protocol::messages::assign_replicas_to_dirs_response::{
    AssignReplicasToDirsResponse, DirectoryData, PartitionData, TopicData,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers.
pub const API: Api = Api::of(ApiKey::AssignReplicasToDirs, 0, 0);

/// Asks the controller.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: asked::AssignReplicasToDirsRequest,
) -> AssignReplicasToDirsResponse {
    let refused =
        |code: ErrorCode| AssignReplicasToDirsResponse { error_code: code.0, ..Default::default() };
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return refused(code);
    }
    let command = ControllerCommand::AssignDirectories {
        broker: request.broker_id,
        broker_epoch: Some(request.broker_epoch),
        assigned: assigned_directories(&request),
    };
    let codes: Result<Result<Vec<ErrorCode>, ErrorCode>, ErrorCode> =
        node.controller.ask(command).await;
    match codes.flatten() {
        Ok(codes) => AssignReplicasToDirsResponse {
            directories: answer_partitions(&request, codes),
            ..Default::default()
        },
        Err(code) => refused(code),
    }
}

fn assigned_directories(request: &asked::AssignReplicasToDirsRequest) -> Vec<AssignedDirectory> {
    let mut all = Vec::new();
    for directory in &request.directories {
        for topic in &directory.topics {
            all.extend(topic.partitions.iter().map(|partition| AssignedDirectory {
                topic_id: topic.topic_id,
                index: partition.partition_index,
                directory: directory.id,
            }));
        }
    }
    all
}

/// The answer to each partition, from their codes in the order of [`assigned_directories`].
fn answer_partitions(
    request: &asked::AssignReplicasToDirsRequest,
    codes: Vec<ErrorCode>,
) -> Vec<DirectoryData> {
    let mut codes = codes.into_iter();
    let mut partition = |asked: &asked::PartitionData| PartitionData {
        partition_index: asked.partition_index,
        error_code: codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR).0,
        ..Default::default()
    };
    let mut topic = |asked: &asked::TopicData| TopicData {
        topic_id: asked.topic_id,
        partitions: asked.partitions.iter().map(&mut partition).collect(),
        ..Default::default()
    };
    let directory = |asked: &asked::DirectoryData| DirectoryData {
        id: asked.id,
        topics: asked.topics.iter().map(&mut topic).collect(),
        ..Default::default()
    };
    request.directories.iter().map(directory).collect()
}

#[cfg(test)]
#[path = "assign_replicas_to_dirs_tests.rs"]
mod tests;
