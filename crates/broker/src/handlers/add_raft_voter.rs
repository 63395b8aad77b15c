//! AddRaftVoter: a controller becomes a voter of the metadata quorum.
//!
//! KIP-853. 1: the answer may come as soon as the change is in the leader's log (KIP-1186).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::add_raft_voter_request::AddRaftVoterRequest;
use ottla_protocol::messages::add_raft_voter_response::AddRaftVoterResponse;
use ottla_quorum::{ChangeAnswered, MembershipChange, wire};
use ottla_types::ErrorCode;

use crate::audit::{self, VoterChange};
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};
use crate::voter_refusals::explain_voter_refusal;

/// Operators, and controllers that join by themselves.
pub const API: Api = Api::of(ApiKey::AddRaftVoter, 0, 1);

/// Asks the leader of the quorum, if it is this node.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    let voter = wire::read_add(&request);
    let key = voter.key;
    let asked = async {
        call.check(node, Operation::Alter, Resource::Cluster)?;
        let answered = match request.ack_when_committed {
            true => ChangeAnswered::WhenCommitted,
            false => ChangeAnswered::WhenAppended,
        };
        let cluster_id = request.cluster_id.as_deref();
        node.quorum.change_voters(cluster_id, None, MembershipChange::Add(voter), answered).await
    };
    match asked.await {
        Ok(()) => {
            audit::voters_changed(call, VoterChange::Added, key);
            AddRaftVoterResponse::default()
        }
        Err(code) => AddRaftVoterResponse {
            error_code: code.0,
            error_message: Some(explain_voter_refusal(node, code, VoterChange::Added, key)),
            ..Default::default()
        },
    }
}

/// The answer if the voters stay as they are.
pub fn error_answers(
    _: &AddRaftVoterRequest,
) -> impl Fn(ErrorCode) -> AddRaftVoterResponse + use<> {
    |code| AddRaftVoterResponse {
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    }
}
