//! DescribeLogDirs: what lies in which data directory, and how large it is.
//!
//! Version 0 was removed in Kafka 4.0 and is served here. 3: an error code of the whole answer. 4:
//! size and free space of the volume (KIP-827). 5: cordoned directories (KIP-1066).
//!
//! Gap: no directory can be cordoned.

use std::collections::BTreeMap;

use ottla_partitions::Partition;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeLogDirs, 0, 5);

/// Describes every directory.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if !call.may(node, Operation::Describe, Resource::Cluster) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
        return DescribeLogDirsResponse { error_code, ..Default::default() };
    }
    let wanted = |partition: &Partition| match &request.topics {
        None => true,
        Some(topics) => topics.iter().any(|topic| {
            topic.topic == partition.topic() && topic.partitions.contains(&partition.index())
        }),
    };
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let moves = node.partitions.moves();
    let results = node.partitions.directories().into_iter().map(|dir| {
        let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
        let all = node.partitions.all();
        for it in all.iter().filter(|it| it.directory() == dir.id && wanted(it)) {
            topics.entry(it.topic().to_owned()).or_default().push(DescribeLogDirsPartition {
                partition_index: it.index(),
                partition_size: i64::try_from(it.size_bytes()).unwrap_or(i64::MAX),
                ..Default::default()
            });
        }
        for (place, it) in moves.iter().filter(|(_, it)| it.directory == dir.id) {
            let copied = bytes(it.copied_bytes);
            let whole = node.partitions.find(&place.topic, place.partition);
            topics.entry(place.topic.to_string()).or_default().push(DescribeLogDirsPartition {
                partition_index: place.partition,
                partition_size: copied,
                // Bytes stand in for offsets: how far it has come is not known in records.
                offset_lag: whole.map_or(0, |it| (bytes(it.size_bytes()) - copied).max(0)),
                is_future_key: true,
                ..Default::default()
            });
        }
        let topic =
            |(name, partitions)| DescribeLogDirsTopic { name, partitions, ..Default::default() };
        let (total, usable) = dir.space.map_or((-1, -1), |(all, free)| (bytes(all), bytes(free)));
        if !dir.is_online {
            let error_code = ErrorCode::KAFKA_STORAGE_ERROR.0;
            return DescribeLogDirsResult { error_code, log_dir: dir.path, ..Default::default() };
        }
        DescribeLogDirsResult {
            log_dir: dir.path,
            total_bytes: total,
            usable_bytes: usable,
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        }
    });
    DescribeLogDirsResponse { results: results.collect(), ..Default::default() }
}
