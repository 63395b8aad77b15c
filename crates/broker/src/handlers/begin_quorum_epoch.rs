//! BeginQuorumEpoch: a controller says that it leads the metadata quorum.
//!
//! KIP-595. 1: directory ids and endpoints (KIP-853).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::begin_quorum_epoch_request::BeginQuorumEpochRequest;
use ottla_protocol::messages::begin_quorum_epoch_response::BeginQuorumEpochResponse;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Controllers.
pub const API: Api = Api::of(ApiKey::BeginQuorumEpoch, 0, 1);

/// Answers as a member of the metadata quorum.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: BeginQuorumEpochRequest,
) -> BeginQuorumEpochResponse {
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return BeginQuorumEpochResponse { error_code: code.0, ..Default::default() };
    }
    node.quorum.begin_epoch(request).await
}
