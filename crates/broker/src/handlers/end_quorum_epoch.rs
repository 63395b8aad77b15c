//! EndQuorumEpoch: a controller says that it leads the metadata quorum no longer.
//!
//! KIP-595. 1: directory ids and endpoints (KIP-853).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::end_quorum_epoch_request::EndQuorumEpochRequest;
use ottla_protocol::messages::end_quorum_epoch_response::EndQuorumEpochResponse;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Controllers.
pub const API: Api = Api::of(ApiKey::EndQuorumEpoch, 0, 1);

/// Answers as a member of the metadata quorum.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: EndQuorumEpochRequest,
) -> EndQuorumEpochResponse {
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return EndQuorumEpochResponse { error_code: code.0, ..Default::default() };
    }
    node.quorum.end_epoch(request).await
}
