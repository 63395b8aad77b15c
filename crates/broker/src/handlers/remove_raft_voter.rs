//! RemoveRaftVoter: a controller votes in the metadata quorum no longer.
//!
//! KIP-853.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::remove_raft_voter_request::RemoveRaftVoterRequest;
use ottla_protocol::messages::remove_raft_voter_response::RemoveRaftVoterResponse;
use ottla_quorum::{ChangeAnswered, MembershipChange, ReplicaKey};
use ottla_types::ErrorCode;

use crate::audit::{self, VoterChange};
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};
use crate::voter_refusals::explain_voter_refusal;

/// Operators.
pub const API: Api = Api::of(ApiKey::RemoveRaftVoter, 0, 0);

/// Asks the leader of the quorum, if it is this node.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let key = ReplicaKey { id: request.voter_id, directory: request.voter_directory_id };
    let asked = async {
        call.check(node, Operation::Alter, Resource::Cluster)?;
        let change = MembershipChange::Remove(key);
        let (cluster_id, answered) = (request.cluster_id.as_deref(), ChangeAnswered::WhenCommitted);
        node.quorum.change_voters(cluster_id, None, change, answered).await
    };
    match asked.await {
        Ok(()) => {
            audit::voters_changed(call, VoterChange::Removed, key);
            RemoveRaftVoterResponse::default()
        }
        Err(code) => RemoveRaftVoterResponse {
            error_code: code.0,
            error_message: Some(explain_voter_refusal(node, code, VoterChange::Removed, key)),
            ..Default::default()
        },
    }
}

/// The answer if the voters stay as they are.
pub fn error_answers(
    _: &RemoveRaftVoterRequest,
) -> impl Fn(ErrorCode) -> RemoveRaftVoterResponse + use<> {
    |code| RemoveRaftVoterResponse {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    }
}
