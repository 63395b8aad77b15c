//! The requests and answers of the quorum, between Kafka's messages and the core's terms.
//!
//! There is one such log, `__cluster_metadata`, with one partition. A request for another one, or
//! for several, is refused by the reader that finds it.

use bytes::Bytes;
use ottla_protocol::messages::add_raft_voter_request::{
    AddRaftVoterRequest, Listener as AddedListener,
};
use ottla_protocol::messages::begin_quorum_epoch_request as begin;
use ottla_protocol::messages::begin_quorum_epoch_response::{
    self as began, BeginQuorumEpochResponse,
};
use ottla_protocol::messages::end_quorum_epoch_request as end;
use ottla_protocol::messages::end_quorum_epoch_response::{self as ended, EndQuorumEpochResponse};
use ottla_protocol::messages::fetch_request as fetch;
use ottla_protocol::messages::fetch_response::{self as fetched, FetchResponse};
use ottla_protocol::messages::fetch_snapshot_request as snapshot;
use ottla_protocol::messages::fetch_snapshot_response::{self as snapshots, FetchSnapshotResponse};
use ottla_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;
use ottla_protocol::messages::update_raft_voter_request::{
    KRaftVersionFeature, Listener as UpdatedListener, UpdateRaftVoterRequest,
};
use ottla_protocol::messages::vote_request as vote;
use ottla_protocol::messages::vote_response::{self as voted, VoteResponse};
use ottla_raft::{
    Ballot, BeginAsked, EndAsked, Endpoint, FetchAnswer, FetchAsked, LogEnd, ReplicaKey,
    SnapshotAsked, SnapshotId, Standing, VoteAnswer, VoteAsked, Voter,
};
use ottla_types::{CLUSTER_METADATA, ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};

/// The id of the topic of the metadata log.
const TOPIC_ID: Uuid = Uuid::ONE;
/// How long a leader keeps a fetch that it has nothing new for, in milliseconds.
const FETCH_WAIT_MS: i32 = 500;
/// How many bytes one fetch asks for.
const FETCH_BYTES_MAX: i32 = 8 << 20;
/// How many bytes of a snapshot one fetch asks for.
const SNAPSHOT_BYTES_MAX: i32 = 1 << 20;

/// The leader as it was named, if it was.
fn node_named(id: NodeId) -> Option<NodeId> {
    (id >= 0).then_some(id)
}

/// The standing in an answer.
fn standing(epoch: LeaderEpoch, leader: NodeId) -> Standing {
    Standing { epoch, leader: node_named(leader) }
}

/// What every answer says: the epoch, its leader, and where that one listens.
#[derive(Clone, Debug, Default)]
pub struct Speaker {
    /// The epoch and the leader.
    pub standing: Standing,
    /// Where the leader listens, if that is known.
    pub endpoint: Option<Endpoint>,
}

impl Speaker {
    /// The leader's endpoint, for the list of nodes in an answer.
    fn nodes<T>(&self, node: impl FnOnce(NodeId, &Endpoint) -> T) -> Vec<T> {
        let known = self.standing.leader.zip(self.endpoint.as_ref());
        known.map(|(leader, endpoint)| node(leader, endpoint)).into_iter().collect()
    }
}

/// Where a leader listens, as an answer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderAddress {
    /// The leader.
    pub node: NodeId,
    /// Its host and port.
    pub address: String,
}

fn leader_address(node: NodeId, host: &str, port: i32) -> LeaderAddress {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    LeaderAddress { node, address: format!("{host}:{port}") }
}

/// The leader's id in an answer; -1 if none is known.
fn leader_id(standing: Standing) -> NodeId {
    standing.leader.unwrap_or(-1)
}

/// Takes the only one out of a list.
fn the_only<T>(all: &[T]) -> Result<&T, ErrorCode> {
    match all {
        [one] => Ok(one),
        _ => Err(ErrorCode::INVALID_REQUEST),
    }
}

fn check_partition(topic: &str, index: i32) -> Result<(), ErrorCode> {
    if topic == CLUSTER_METADATA && index == 0 { Ok(()) } else { Err(ErrorCode::INVALID_REQUEST) }
}

/// Vote, to a voter.
#[must_use]
pub fn vote_request(cluster_id: &str, asked: &VoteAsked, voter: ReplicaKey) -> vote::VoteRequest {
    let partition = vote::PartitionData {
        replica_epoch: asked.epoch,
        replica_id: asked.candidate.id,
        replica_directory_id: asked.candidate.directory,
        voter_directory_id: voter.directory,
        last_offset_epoch: asked.log.epoch,
        last_offset: asked.log.offset,
        pre_vote: asked.ballot == Ballot::PreVote,
        ..Default::default()
    };
    vote::VoteRequest {
        cluster_id: Some(cluster_id.to_owned()),
        voter_id: voter.id,
        topics: vec![vote::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What a Vote asks, and the voter that it names.
///
/// # Errors
/// The code of the answer: it is for another log.
pub fn read_vote(
    request: &vote::VoteRequest,
) -> Result<(VoteAsked, Option<ReplicaKey>), ErrorCode> {
    let topic = the_only(&request.topics)?;
    let it = the_only(&topic.partitions)?;
    check_partition(&topic.topic_name, it.partition_index)?;
    let ballot = if it.pre_vote { Ballot::PreVote } else { Ballot::Vote };
    let candidate = ReplicaKey { id: it.replica_id, directory: it.replica_directory_id };
    let log = LogEnd { epoch: it.last_offset_epoch, offset: it.last_offset };
    let asked = VoteAsked { candidate, epoch: it.replica_epoch, log, ballot };
    let voter = node_named(request.voter_id);
    Ok((asked, voter.map(|id| ReplicaKey { id, directory: it.voter_directory_id })))
}

/// The answer to a Vote.
#[must_use]
pub fn vote_response(speaker: &Speaker, answer: &VoteAnswer) -> VoteResponse {
    let standing = speaker.standing;
    let leader = if answer.epoch == standing.epoch { leader_id(standing) } else { -1 };
    let partition = voted::PartitionData {
        error_code: answer.error.0,
        leader_id: leader,
        leader_epoch: answer.epoch,
        vote_granted: answer.granted,
        ..Default::default()
    };
    VoteResponse {
        topics: vec![voted::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: speaker.nodes(|node, endpoint| voted::NodeEndpoint {
            node_id: node,
            host: endpoint.host.clone(),
            port: endpoint.port,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a voter answers to a Vote.
///
/// # Errors
/// The voter refuses to say.
pub fn read_vote_response(
    from: NodeId,
    ballot: Ballot,
    response: &VoteResponse,
) -> Result<(Standing, VoteAnswer), ErrorCode> {
    let code = ErrorCode(response.error_code);
    if code == ErrorCode::UNSUPPORTED_VERSION {
        return Ok((Standing::default(), unsupported_ballot(from, ballot)));
    }
    code.check()?;
    let it = the_only(&the_only(&response.topics)?.partitions)?;
    let answer = VoteAnswer {
        voter: from,
        epoch: it.leader_epoch,
        ballot,
        granted: it.vote_granted,
        error: ErrorCode(it.error_code),
    };
    Ok((standing(it.leader_epoch, it.leader_id), answer))
}

/// The answer of a voter that knows no such ballot.
#[must_use]
pub const fn unsupported_ballot(voter: NodeId, ballot: Ballot) -> VoteAnswer {
    let error = ErrorCode::UNSUPPORTED_VERSION;
    VoteAnswer { voter, epoch: 0, ballot, granted: false, error }
}

/// BeginQuorumEpoch, to a voter.
#[must_use]
pub fn begin_request(
    cluster_id: &str,
    leader: &Voter,
    epoch: LeaderEpoch,
    voter: ReplicaKey,
) -> begin::BeginQuorumEpochRequest {
    let partition = begin::PartitionData {
        voter_directory_id: voter.directory,
        leader_id: leader.key.id,
        leader_epoch: epoch,
        ..Default::default()
    };
    let endpoint = |it: &Endpoint| begin::LeaderEndpoint {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
        ..Default::default()
    };
    begin::BeginQuorumEpochRequest {
        cluster_id: Some(cluster_id.to_owned()),
        voter_id: voter.id,
        topics: vec![begin::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        leader_endpoints: leader.endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    }
}

/// What a BeginQuorumEpoch says.
///
/// # Errors
/// The code of the answer: it is for another log.
pub fn read_begin(request: &begin::BeginQuorumEpochRequest) -> Result<BeginAsked, ErrorCode> {
    let topic = the_only(&request.topics)?;
    let it = the_only(&topic.partitions)?;
    check_partition(&topic.topic_name, it.partition_index)?;
    let voter = node_named(request.voter_id);
    let voter = voter.map(|id| ReplicaKey { id, directory: it.voter_directory_id });
    Ok(BeginAsked { leader: it.leader_id, epoch: it.leader_epoch, voter })
}

/// The answer to a BeginQuorumEpoch.
#[must_use]
pub fn begin_response(speaker: &Speaker, error: ErrorCode) -> BeginQuorumEpochResponse {
    let standing = speaker.standing;
    let partition = began::PartitionData {
        error_code: error.0,
        leader_id: leader_id(standing),
        leader_epoch: standing.epoch,
        ..Default::default()
    };
    BeginQuorumEpochResponse {
        topics: vec![began::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: speaker.nodes(|node, endpoint| began::NodeEndpoint {
            node_id: node,
            host: endpoint.host.clone(),
            port: endpoint.port,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The standing in the answer to a BeginQuorumEpoch, if there is one.
#[must_use]
pub fn read_begin_response(response: &BeginQuorumEpochResponse) -> Option<Standing> {
    let it = the_only(&the_only(&response.topics).ok()?.partitions).ok()?;
    Some(standing(it.leader_epoch, it.leader_id))
}

/// EndQuorumEpoch.
#[must_use]
pub fn end_request(
    cluster_id: &str,
    leader: &Voter,
    epoch: LeaderEpoch,
    preferred: &[ReplicaKey],
) -> end::EndQuorumEpochRequest {
    let candidate = |key: &ReplicaKey| end::ReplicaInfo {
        candidate_id: key.id,
        candidate_directory_id: key.directory,
        ..Default::default()
    };
    let partition = end::PartitionData {
        leader_id: leader.key.id,
        leader_epoch: epoch,
        preferred_successors: preferred.iter().map(|key| key.id).collect(),
        preferred_candidates: preferred.iter().map(candidate).collect(),
        ..Default::default()
    };
    let endpoint = |it: &Endpoint| end::LeaderEndpoint {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
        ..Default::default()
    };
    end::EndQuorumEpochRequest {
        cluster_id: Some(cluster_id.to_owned()),
        topics: vec![end::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        leader_endpoints: leader.endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    }
}

/// What an EndQuorumEpoch says.
///
/// # Errors
/// The code of the answer: it is for another log.
pub fn read_end(request: &end::EndQuorumEpochRequest) -> Result<EndAsked, ErrorCode> {
    let topic = the_only(&request.topics)?;
    let it = the_only(&topic.partitions)?;
    check_partition(&topic.topic_name, it.partition_index)?;
    let key = |it: &end::ReplicaInfo| ReplicaKey {
        id: it.candidate_id,
        directory: it.candidate_directory_id,
    };
    let preferred = if it.preferred_candidates.is_empty() {
        let ids = it.preferred_successors.iter();
        ids.map(|id| ReplicaKey { id: *id, directory: Uuid::ZERO }).collect()
    } else {
        it.preferred_candidates.iter().map(key).collect()
    };
    Ok(EndAsked { leader: it.leader_id, epoch: it.leader_epoch, preferred })
}

/// The answer to an EndQuorumEpoch.
#[must_use]
pub fn end_response(speaker: &Speaker, error: ErrorCode) -> EndQuorumEpochResponse {
    let standing = speaker.standing;
    let partition = ended::PartitionData {
        error_code: error.0,
        leader_id: leader_id(standing),
        leader_epoch: standing.epoch,
        ..Default::default()
    };
    EndQuorumEpochResponse {
        topics: vec![ended::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: speaker.nodes(|node, endpoint| ended::NodeEndpoint {
            node_id: node,
            host: endpoint.host.clone(),
            port: endpoint.port,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The standing in the answer to an EndQuorumEpoch, if there is one.
#[must_use]
pub fn read_end_response(response: &EndQuorumEpochResponse) -> Option<Standing> {
    let it = the_only(&the_only(&response.topics).ok()?.partitions).ok()?;
    Some(standing(it.leader_epoch, it.leader_id))
}

/// Fetch of the metadata log.
#[must_use]
pub fn fetch_request(cluster_id: &str, asked: &FetchAsked) -> fetch::FetchRequest {
    let partition = fetch::FetchPartition {
        current_leader_epoch: asked.epoch,
        fetch_offset: asked.end.offset,
        last_fetched_epoch: asked.end.epoch,
        partition_max_bytes: FETCH_BYTES_MAX,
        replica_directory_id: asked.follower.directory,
        high_watermark: asked.high_watermark.unwrap_or(-1),
        ..Default::default()
    };
    fetch::FetchRequest {
        cluster_id: Some(cluster_id.to_owned()),
        replica_state: fetch::ReplicaState { replica_id: asked.follower.id, ..Default::default() },
        max_wait_ms: FETCH_WAIT_MS,
        max_bytes: FETCH_BYTES_MAX,
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
pub struct FetchReply {
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
    reply: FetchReply,
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
        standing: standing(it.current_leader.leader_epoch, it.current_leader.leader_id),
        answer,
        high_watermark: (it.high_watermark >= 0).then_some(it.high_watermark),
        records: it.records.unwrap_or_default(),
        leaders,
    })
}

/// FetchSnapshot.
#[must_use]
pub fn snapshot_request(cluster_id: &str, asked: &SnapshotAsked) -> snapshot::FetchSnapshotRequest {
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
        max_bytes: SNAPSHOT_BYTES_MAX,
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
    let standing = standing(it.current_leader.leader_epoch, it.current_leader.leader_id);
    Ok(SnapshotFetchedPart { standing, part })
}

/// AddRaftVoter, for a replica that adds itself.
#[must_use]
pub fn add_request(cluster_id: &str, voter: &Voter, timeout_ms: i32) -> AddRaftVoterRequest {
    let listener = |it: &Endpoint| AddedListener {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
        ..Default::default()
    };
    AddRaftVoterRequest {
        cluster_id: Some(cluster_id.to_owned()),
        timeout_ms,
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory,
        listeners: voter.endpoints.iter().map(listener).collect(),
        ack_when_committed: false,
        ..Default::default()
    }
}

/// The voter that an AddRaftVoter names; the levels of `kraft.version` that it speaks are asked.
#[must_use]
pub fn read_add(request: &AddRaftVoterRequest) -> Voter {
    let endpoint = |it: &AddedListener| Endpoint {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
    };
    Voter {
        key: ReplicaKey { id: request.voter_id, directory: request.voter_directory_id },
        endpoints: request.listeners.iter().map(endpoint).collect(),
        kraft_versions: (0, 0),
    }
}

/// RemoveRaftVoter.
#[must_use]
pub fn remove_request(cluster_id: &str, voter: ReplicaKey) -> RemoveRaftVoterRequest {
    RemoveRaftVoterRequest {
        cluster_id: Some(cluster_id.to_owned()),
        voter_id: voter.id,
        voter_directory_id: voter.directory,
        ..Default::default()
    }
}

/// UpdateRaftVoter.
#[must_use]
pub fn update_request(
    cluster_id: &str,
    voter: &Voter,
    epoch: LeaderEpoch,
) -> UpdateRaftVoterRequest {
    let listener = |it: &Endpoint| UpdatedListener {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
        ..Default::default()
    };
    UpdateRaftVoterRequest {
        cluster_id: Some(cluster_id.to_owned()),
        current_leader_epoch: epoch,
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory,
        listeners: voter.endpoints.iter().map(listener).collect(),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..Default::default()
        },
        ..Default::default()
    }
}

/// The voter that an UpdateRaftVoter names.
#[must_use]
pub fn read_update(request: &UpdateRaftVoterRequest) -> Voter {
    let endpoint = |it: &UpdatedListener| Endpoint {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
    };
    let versions = &request.kraft_version_feature;
    Voter {
        key: ReplicaKey { id: request.voter_id, directory: request.voter_directory_id },
        endpoints: request.listeners.iter().map(endpoint).collect(),
        kraft_versions: (versions.min_supported_version, versions.max_supported_version),
    }
}
