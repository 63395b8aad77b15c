//! AlterReplicaLogDirs: move partitions to other directories of this node.
//!
//! KIP-113. Version 0 was removed in Kafka 4.0. 2: flexible. As in Kafka the answer says that a
//! move is planned, and DescribeLogDirs how far it is; planned moves go on after a crash.
//!
//! Gap: a directory cannot be chosen for a partition that is not here yet.

use std::collections::BTreeMap;

use ottla_partitions::MoveRefused;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use ottla_types::{ErrorCode, TopicPartition};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::AlterReplicaLogDirs, 1, 2);

/// Plans each move and begins them; the answer does not wait for their end.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let allowed = call.may(node, Operation::Alter, Resource::Cluster);
    // Of a partition that is named twice the last directory counts.
    let mut asked: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let partitions = topic.partitions.iter();
            asked.extend(partitions.map(|index| ((topic.name.as_str(), *index), &*dir.path)));
        }
    }
    let mut topics: BTreeMap<&str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for ((topic, index), path) in asked {
        let code = if !allowed {
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        } else {
            let place = TopicPartition::new(topic, index);
            match node.partitions.plan_move_on_lane(place, path.to_owned()).await {
                Ok(_) => ErrorCode::NONE,
                Err(refused) => MoveRefused::code(refused),
            }
        };
        topics.entry(topic).or_default().push(AlterReplicaLogDirPartitionResult {
            partition_index: index,
            error_code: code.0,
            ..Default::default()
        });
    }
    node.start_moves();
    let topic = |(name, partitions): (&str, _)| AlterReplicaLogDirTopicResult {
        topic_name: name.to_owned(),
        partitions,
        ..Default::default()
    };
    AlterReplicaLogDirsResponse {
        results: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}
