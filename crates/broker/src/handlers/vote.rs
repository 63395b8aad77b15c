//! Vote: a controller asks to be elected as the leader of the metadata quorum, or whether it would
//! be.
//!
//! KIP-595. 1: directory ids and endpoints (KIP-853). 2: pre-votes (KIP-996).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::vote_request::VoteRequest;
use ottla_protocol::messages::vote_response::VoteResponse;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Controllers.
pub const API: Api = Api::of(ApiKey::Vote, 0, 2);

/// Answers as a member of the metadata quorum.
pub async fn handle(node: &Node, call: &Call, request: VoteRequest) -> VoteResponse {
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return VoteResponse { error_code: code.0, ..Default::default() };
    }
    node.quorum.vote(request).await
}
