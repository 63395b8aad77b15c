//! UpdateRaftVoter: a voter of the metadata quorum listens elsewhere, or speaks other versions.
//!
//! KIP-853.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::update_raft_voter_request::UpdateRaftVoterRequest;
use ottla_protocol::messages::update_raft_voter_response::UpdateRaftVoterResponse;
use ottla_quorum::{ChangeAnswered, MembershipChange, wire};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Controllers.
pub const API: Api = Api::of(ApiKey::UpdateRaftVoter, 0, 0);

/// Asks the leader of the quorum, if it is this node.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: UpdateRaftVoterRequest,
) -> UpdateRaftVoterResponse {
    let asked = async {
        call.check(node, Operation::ClusterAction, Resource::Cluster)?;
        let change = MembershipChange::Update(wire::read_update(&request));
        let epoch = Some(request.current_leader_epoch);
        let (cluster_id, answered) = (request.cluster_id.as_deref(), ChangeAnswered::WhenCommitted);
        node.quorum.change_voters(cluster_id, epoch, change, answered).await
    };
    let error_code = asked.await.err().unwrap_or_default().0;
    UpdateRaftVoterResponse { error_code, ..Default::default() }
}
