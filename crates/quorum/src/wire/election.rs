//! Votes, and news of leaders.

use ottla_protocol::messages::begin_quorum_epoch_request as begin;
use ottla_protocol::messages::begin_quorum_epoch_response as began;
use ottla_protocol::messages::end_quorum_epoch_request as end;
use ottla_protocol::messages::end_quorum_epoch_response as ended;
use ottla_protocol::messages::vote_request as vote;
use ottla_protocol::messages::vote_response::{self as voted, VoteResponse};
use ottla_raft::{
    Ballot, BeginAsked, EndAsked, LogEnd, ReplicaKey, Standing, VoteAnswer, VoteAsked, Voter,
};
use ottla_types::{CLUSTER_METADATA, ErrorCode, LeaderEpoch, NodeId, Uuid};

use super::{Speaker, check_partition, leader_id, node_named, standing_of, the_only};

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
    Ok((standing_of(it.leader_epoch, it.leader_id), answer))
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
    begin::BeginQuorumEpochRequest {
        cluster_id: Some(cluster_id.to_owned()),
        voter_id: voter.id,
        topics: vec![begin::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        leader_endpoints: written_endpoints!(leader.endpoints => begin::LeaderEndpoint),
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
    end::EndQuorumEpochRequest {
        cluster_id: Some(cluster_id.to_owned()),
        topics: vec![end::TopicData {
            topic_name: CLUSTER_METADATA.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        leader_endpoints: written_endpoints!(leader.endpoints => end::LeaderEndpoint),
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
    let key = |candidate: &end::ReplicaInfo| ReplicaKey {
        id: candidate.candidate_id,
        directory: candidate.candidate_directory_id,
    };
    let preferred = if it.preferred_candidates.is_empty() {
        let ids = it.preferred_successors.iter();
        ids.map(|id| ReplicaKey { id: *id, directory: Uuid::ZERO }).collect()
    } else {
        it.preferred_candidates.iter().map(key).collect()
    };
    Ok(EndAsked { leader: it.leader_id, epoch: it.leader_epoch, preferred })
}

/// Writes and reads the answer to a BeginQuorumEpoch or an EndQuorumEpoch: two types of the same
/// fields.
macro_rules! epoch_answers {
    ($($name:literal $messages:ident::$response:ident: $write:ident, $read:ident;)*) => {$(
        #[doc = concat!("The answer to ", $name, ".")]
        #[must_use]
        pub fn $write(speaker: &Speaker, error: ErrorCode) -> $messages::$response {
            let standing = speaker.standing;
            let partition = $messages::PartitionData {
                error_code: error.0,
                leader_id: leader_id(standing),
                leader_epoch: standing.epoch,
                ..Default::default()
            };
            $messages::$response {
                topics: vec![$messages::TopicData {
                    topic_name: CLUSTER_METADATA.to_owned(),
                    partitions: vec![partition],
                    ..Default::default()
                }],
                node_endpoints: speaker.nodes(|node, endpoint| $messages::NodeEndpoint {
                    node_id: node,
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    ..Default::default()
                }),
                ..Default::default()
            }
        }

        #[doc = concat!("The standing in the answer to ", $name, ", if there is one.")]
        #[must_use]
        pub fn $read(response: &$messages::$response) -> Option<Standing> {
            let it = the_only(&the_only(&response.topics).ok()?.partitions).ok()?;
            Some(standing_of(it.leader_epoch, it.leader_id))
        }
    )*};
}

epoch_answers! {
    "a BeginQuorumEpoch" began::BeginQuorumEpochResponse: begin_response, read_begin_response;
    "an EndQuorumEpoch" ended::EndQuorumEpochResponse: end_response, read_end_response;
}
