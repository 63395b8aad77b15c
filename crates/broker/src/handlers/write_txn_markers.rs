//! WriteTxnMarkers: other coordinators, and operators, end transactions here.

use ottla_coordinator::group::TransactionEnd;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WriteTxnMarkersRequest,
};
use ottla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::hosts::transactions::write_marker;
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers, and `kafka-transactions.sh abort`.
pub const API: Api = Api::of(ApiKey::WriteTxnMarkers, 1, 2);

/// Writes each marker, and answers when it is committed.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let mut response = WriteTxnMarkersResponse::default();
    for marker in request.markers {
        response.markers.push(one(node, call, marker).await);
    }
    response
}

async fn one(node: &Node, call: &Call, marker: WritableTxnMarker) -> WritableTxnMarkerResult {
    let allowed = may(&call.caller.principal, Operation::ClusterAction, Resource::Cluster);
    let end = TransactionEnd {
        producer: (marker.producer_id, marker.producer_epoch),
        commit: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
        is_bumped: marker.transaction_version >= 2,
    };
    let mut result =
        WritableTxnMarkerResult { producer_id: marker.producer_id, ..Default::default() };
    for topic in marker.topics {
        let mut answer =
            WritableTxnMarkerTopicResult { name: topic.name.clone(), ..Default::default() };
        for partition_index in topic.partition_indexes {
            let done = if allowed {
                write_marker(node, &topic.name, partition_index, &end).await
            } else {
                Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)
            };
            let error_code = done.err().unwrap_or(ErrorCode::NONE).0;
            answer.partitions.push(WritableTxnMarkerPartitionResult {
                partition_index,
                error_code,
                ..Default::default()
            });
        }
        result.topics.push(answer);
    }
    result
}
