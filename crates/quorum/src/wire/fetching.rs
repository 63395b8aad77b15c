//! Fetches of the metadata log and of its snapshots.

use bytes::Bytes;
use ottla_protocol::messages::fetch_request as fetch;
use ottla_protocol::messages::fetch_response::{self as fetched, FetchResponse};
use ottla_protocol::messages::fetch_snapshot_request as snapshot;
use ottla_protocol::messages::fetch_snapshot_response::{self as snapshots, FetchSnapshotResponse};
use ottla_raft::{
    FetchAnswer, FetchAsked, LogEnd, ReplicaKey, SnapshotAsked, SnapshotId, Standing,
};
use ottla_types::{CLUSTER_METADATA, ErrorCode, Offset, Uuid};

use super::{
    LeaderAddress, Speaker, check_partition, leader_address, leader_id, standing_of, the_only,
};

/// The id of the topic of the metadata log.
const TOPIC_ID: Uuid = Uuid::ONE;
/// How long a leader keeps a fetch that it has nothing new for, in milliseconds.
const FETCH_WAIT_MS: i32 = 500;

/// How many bytes one fetch asks for; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// `controller.quorum.fetch.max.bytes`: of the log. One batch comes whole, however large.
    pub records_bytes: i32,
    /// `controller.quorum.fetch.snapshot.max.bytes`: of a snapshot.
    pub snapshot_bytes: i32,
}

/// Fetch of the metadata log.
#[must_use]
pub fn fetch_request(
    cluster_id: &str,
    asked: &FetchAsked,
    limits: FetchLimits,
) -> fetch::FetchRequest {
    let partition = fetch::FetchPartition {
        current_leader_epoch: asked.epoch,
        fetch_offset: asked.end.offset,
        last_fetched_epoch: asked.end.epoch,
        partition_max_bytes: limits.records_bytes,
        replica_directory_id: asked.follower.directory,
        high_watermark: asked.high_watermark.unwrap_or(-1),
        ..Default::default()
    };
    fetch::FetchRequest {
        cluster_id: Some(cluster_id.to_owned()),
        replica_state: fetch::ReplicaState { replica_id: asked.follower.id, ..Default::default() },
        max_wait_ms: FETCH_WAIT_MS,
        max_bytes: limits.records_bytes,
        topics: vec![fetch::FetchTopic {
            topic_id: TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What a fetch of the metadata log asks.
///
/// # Errors
/// The code of the answer: it is for another log.
pub fn read_fetch(request: &fetch::FetchRequest) -> Result<FetchAsked, ErrorCode> {
    let topic = the_only(&request.topics)?;
    let it = the_only(&topic.partitions)?;
    if topic.topic_id != TOPIC_ID && topic.topic != CLUSTER_METADATA || it.partition != 0 {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let id = request.replica_state.replica_id.max(request.replica_id);
    Ok(FetchAsked {
        follower: ReplicaKey { id, directory: it.replica_directory_id },
        epoch: it.current_leader_epoch,
        end: LogEnd { epoch: it.last_fetched_epoch, offset: it.fetch_offset },
        high_watermark: (it.high_watermark >= 0).then_some(it.high_watermark),
    })
}

/// What a leader answers to a fetch of its log.
#[derive(Debug, Default)]
pub struct LogReply {
    /// Refused, with this code.
    pub error: ErrorCode,
    /// What is committed.
    pub high_watermark: Option<Offset>,
    /// Where the log starts.
    pub log_start: Offset,
    /// The logs part there.
    pub diverging: Option<LogEnd>,
    /// This snapshot comes first.
    pub snapshot: Option<SnapshotId>,
    /// What comes next.
    pub records: Bytes,
}

/// The answer to a fetch of the metadata log.
#[must_use]
pub fn fetch_response(
    speaker: &Speaker,
    request: &fetch::FetchRequest,
    reply: LogReply,
) -> FetchResponse {
    let standing = speaker.standing;
    let mut partition = fetched::PartitionData {
        error_code: reply.error.0,
        high_watermark: reply.high_watermark.unwrap_or(-1),
        last_stable_offset: reply.high_watermark.unwrap_or(-1),
        log_start_offset: reply.log_start,
        current_leader: fetched::LeaderIdAndEpoch {
            leader_id: leader_id(standing),
            leader_epoch: standing.epoch,
            ..Default::default()
        },
        records: Some(reply.records),
        ..Default::default()
    };
    if let Some(at) = reply.diverging {
        partition.diverging_epoch.epoch = at.epoch;
        partition.diverging_epoch.end_offset = at.offset;
    }
    if let Some(id) = reply.snapshot {
        partition.snapshot_id.epoch = id.epoch;
        partition.snapshot_id.end_offset = id.end;
    }
    let topic = request.topics.first();
    FetchResponse {
        responses: vec![fetched::FetchableTopicResponse {
            topic: topic.map(|it| it.topic.clone()).unwrap_or_default(),
            topic_id: topic.map(|it| it.topic_id).unwrap_or_default(),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: speaker.nodes(|node, endpoint| fetched::NodeEndpoint {
            node_id: node,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a fetch of the metadata log was answered.
#[derive(Debug)]
pub struct FetchedPart {
    /// The epoch of the replica that answers, and its leader.
    pub standing: Standing,
    /// The answer; `None` if it is records.
    pub answer: Option<FetchAnswer>,
    /// The leader's high watermark.
    pub high_watermark: Option<Offset>,
    /// The records.
    pub records: Bytes,
    /// Where nodes listen that the answer names.
    pub leaders: Vec<LeaderAddress>,
}

impl FetchedPart {
    /// Is it an error?
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self.answer, Some(FetchAnswer::Refused(_)))
    }
}

/// Reads the answer to a fetch of the metadata log.
///
/// # Errors
/// The replica refuses to answer at all.
pub fn read_fetch_response(response: FetchResponse) -> Result<FetchedPart, ErrorCode> {
    ErrorCode(response.error_code).check()?;
    let named = response.node_endpoints.iter();
    let leaders = named.map(|it| leader_address(it.node_id, &it.host, it.port)).collect();
    let topic = response.responses.into_iter().next().ok_or(ErrorCode::INVALID_REQUEST)?;
    let it = topic.partitions.into_iter().next().ok_or(ErrorCode::INVALID_REQUEST)?;
    let error = ErrorCode(it.error_code);
    let answer = if error.is_error() {
        Some(FetchAnswer::Refused(error))
    } else if it.diverging_epoch.epoch >= 0 {
        let LogEnd { epoch, offset } =
            LogEnd { epoch: it.diverging_epoch.epoch, offset: it.diverging_epoch.end_offset };
        Some(FetchAnswer::Diverging(LogEnd { epoch, offset }))
    } else if it.snapshot_id.end_offset >= 0 {
        let id = &it.snapshot_id;
        Some(FetchAnswer::Snapshot(SnapshotId { end: id.end_offset, epoch: id.epoch }))
    } else {
        None
    };
    Ok(FetchedPart {
        standing: standing_of(it.current_leader.leader_epoch, it.current_leader.leader_id),
        answer,
        high_watermark: (it.high_watermark >= 0).then_some(it.high_watermark),
        records: it.records.unwrap_or_default(),
        leaders,
    })
}

/// FetchSnapshot.
#[must_use]
pub fn snapshot_request(
    cluster_id: &str,
    asked: &SnapshotAsked,
    limits: FetchLimits,
) -> snapshot::FetchSnapshotRequest {
    let partition = snapshot::PartitionSnapshot {
        current_leader_epoch: asked.epoch,
        snapshot_id: snapshot::SnapshotId {
            end_offset: asked.id.end,
            epoch: asked.id.epoch,
            ..Default::default()
        },
        position: i64::try_from(asked.position).unwrap_or(i64::MAX),
        replica_directory_id: asked.follower.directory,
        ..Default::default()
    };
    snapshot::FetchSnapshotRequest {
        cluster_id: Some(cluster_id.to_owned()),
        replica_id: asked.follower.id,
        max_bytes: limits.snapshot_bytes,
        topics: vec![snapshot::TopicSnapshot {
            name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What a FetchSnapshot asks.
///
/// # Errors
/// The code of the answer: it is for another log.
pub fn read_snapshot(request: &snapshot::FetchSnapshotRequest) -> Result<SnapshotAsked, ErrorCode> {
    let topic = the_only(&request.topics)?;
    let it = the_only(&topic.partitions)?;
    check_partition(&topic.name, it.partition)?;
    Ok(SnapshotAsked {
        follower: ReplicaKey { id: request.replica_id, directory: it.replica_directory_id },
        epoch: it.current_leader_epoch,
        id: SnapshotId { end: it.snapshot_id.end_offset, epoch: it.snapshot_id.epoch },
        position: u64::try_from(it.position).map_err(|_| ErrorCode::POSITION_OUT_OF_RANGE)?,
    })
}

/// The answer to a FetchSnapshot.
#[must_use]
pub fn snapshot_response(
    speaker: &Speaker,
    asked: &SnapshotAsked,
    part: Result<crate::SnapshotBytes, ErrorCode>,
) -> FetchSnapshotResponse {
    let standing = speaker.standing;
    let mut partition = snapshots::PartitionSnapshot {
        snapshot_id: snapshots::SnapshotId {
            end_offset: asked.id.end,
            epoch: asked.id.epoch,
            ..Default::default()
        },
        current_leader: snapshots::LeaderIdAndEpoch {
            leader_id: leader_id(standing),
            leader_epoch: standing.epoch,
            ..Default::default()
        },
        ..Default::default()
    };
    match part {
        Ok(part) => {
            partition.size = i64::try_from(part.size_bytes).unwrap_or(i64::MAX);
            partition.position = i64::try_from(asked.position).unwrap_or(i64::MAX);
            partition.unaligned_records = part.bytes;
        }
        Err(code) => partition.error_code = code.0,
    }
    FetchSnapshotResponse {
        topics: vec![snapshots::TopicSnapshot {
            name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: speaker.nodes(|node, endpoint| snapshots::NodeEndpoint {
            node_id: node,
            host: endpoint.host.clone(),
            port: endpoint.port,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a FetchSnapshot was answered.
#[derive(Debug)]
pub struct SnapshotFetchedPart {
    /// The epoch of the replica that answers, and its leader.
    pub standing: Standing,
    /// The part, or the code with which it is refused.
    pub part: Result<crate::SnapshotBytes, ErrorCode>,
}

/// Reads the answer to a FetchSnapshot.
///
/// # Errors
/// The replica refuses to answer at all.
pub fn read_snapshot_response(
    response: FetchSnapshotResponse,
) -> Result<SnapshotFetchedPart, ErrorCode> {
    ErrorCode(response.error_code).check()?;
    let topic = response.topics.into_iter().next().ok_or(ErrorCode::INVALID_REQUEST)?;
    let it = topic.partitions.into_iter().next().ok_or(ErrorCode::INVALID_REQUEST)?;
    let size_bytes = u64::try_from(it.size).unwrap_or(0);
    let part = match ErrorCode(it.error_code) {
        ErrorCode::NONE => Ok(crate::SnapshotBytes { size_bytes, bytes: it.unaligned_records }),
        code => Err(code),
    };
    let standing = standing_of(it.current_leader.leader_epoch, it.current_leader.leader_id);
    Ok(SnapshotFetchedPart { standing, part })
}
