//! Data directories of brokers: what lies in them, and moving replicas between them.

use ottla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_types::{ErrorCode, NodeId, TopicPartition};

use crate::client::Client;
use crate::error::ClientError;

/// A data directory of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogDirDescription {
    /// Its path.
    pub path: String,
    /// `NONE`, or why it is offline.
    pub error: ErrorCode,
    /// The size of its disk in bytes; -1 if that is not known.
    pub total_bytes: i64,
    /// How many bytes of the disk are free; -1 if that is not known.
    pub usable_bytes: i64,
    /// What lies in it.
    pub replicas: Vec<ReplicaDescription>,
}

/// A replica in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// The partition.
    pub place: TopicPartition,
    /// Its size.
    pub size_bytes: i64,
    /// By how many records it is behind the high watermark, or a future replica behind the present.
    pub offset_lag: i64,
    /// Is it a copy that will replace the one in another directory?
    pub is_future: bool,
}

impl Client {
    /// The data directories of a broker.
    ///
    /// # Errors
    /// The broker refuses, or does not answer.
    pub async fn describe_log_dirs(
        &self,
        node: NodeId,
    ) -> Result<Vec<LogDirDescription>, ClientError> {
        let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let response = self.ask(node, &request).await?;
        ClientError::check(response.error_code, || format!("directories of broker {node}"))?;
        let dirs = response.results.into_iter().map(|dir| {
            let mut replicas = Vec::new();
            for topic in &dir.topics {
                let name: std::sync::Arc<str> = topic.name.as_str().into();
                replicas.extend(topic.partitions.iter().map(|partition| ReplicaDescription {
                    place: TopicPartition::new(
                        std::sync::Arc::clone(&name),
                        partition.partition_index,
                    ),
                    size_bytes: partition.partition_size,
                    offset_lag: partition.offset_lag,
                    is_future: partition.is_future_key,
                }));
            }
            LogDirDescription {
                path: dir.log_dir,
                error: ErrorCode(dir.error_code),
                total_bytes: dir.total_bytes,
                usable_bytes: dir.usable_bytes,
                replicas,
            }
        });
        Ok(dirs.collect())
    }

    /// Lets a broker move its replica of a partition to another of its directories; the code of its
    /// answer. `REPLICA_NOT_AVAILABLE`: the move begins when the replica is created.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn move_replica(
        &self,
        place: &TopicPartition,
        node: NodeId,
        path: &str,
    ) -> Result<ErrorCode, ClientError> {
        let topic = AlterReplicaLogDirTopic {
            name: place.topic.to_string(),
            partitions: vec![place.partition],
            ..Default::default()
        };
        let dirs = vec![AlterReplicaLogDir {
            path: path.to_owned(),
            topics: vec![topic],
            ..Default::default()
        }];
        let request = AlterReplicaLogDirsRequest { dirs, ..Default::default() };
        let response = self.ask(node, &request).await?;
        let code = response.results.iter().flat_map(|it| &it.partitions).next();
        Ok(code.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |it| ErrorCode(it.error_code)))
    }
}
