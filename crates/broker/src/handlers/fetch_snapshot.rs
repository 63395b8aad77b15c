//! FetchSnapshot: a controller or a broker fetches a part of a snapshot of the metadata.
//!
//! KIP-630. 1: directory ids and endpoints (KIP-853).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::fetch_snapshot_request::FetchSnapshotRequest;
use ottla_protocol::messages::fetch_snapshot_response::FetchSnapshotResponse;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Controllers and brokers.
pub const API: Api = Api::of(ApiKey::FetchSnapshot, 0, 1);

/// Answers as a member of the metadata quorum.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: FetchSnapshotRequest,
) -> FetchSnapshotResponse {
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return FetchSnapshotResponse { error_code: code.0, ..Default::default() };
    }
    node.quorum.fetch_snapshot(request).await
}
