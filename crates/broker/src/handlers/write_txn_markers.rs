//! WriteTxnMarkers: other coordinators, and operators, end transactions here.
//!
//! Version 0 was removed in Kafka 4.0. 2: the transaction's version (KIP-1228).

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::group::TransactionEnd;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WriteTxnMarkersRequest,
};
use ottla_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
};
use ottla_types::{ErrorCode, NO_EPOCH, NO_PRODUCER, ProducerId};

use crate::guard::{Operation, Resource};
use crate::hosts::markers::MarkerBegun;
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers, and `kafka-transactions.sh abort`.
pub const API: Api = Api::of(ApiKey::WriteTxnMarkers, 1, 2);

/// What Kafka says for no epoch of a producer.
const NO_PRODUCER_EPOCH: i16 = -1;

/// Writes each marker, and answers when all are committed: they are waited for together.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let mut results = Results::new();
    let mut begun = Vec::new();
    for marker in request.markers {
        // Also one without partitions.
        results.entry(marker.producer_id).or_default();
        begin_marker(node, call, marker, &mut begun);
    }
    let markers = node.coordinators.local_markers();
    let deadline = markers.deadline();
    for ((producer_id, topic, index), marker) in begun {
        let done = markers.finish(marker, deadline).await;
        let partitions = results.entry(producer_id).or_default().entry(topic).or_default();
        partitions.insert(index, done.err().unwrap_or(ErrorCode::NONE));
    }
    if results.values().all(BTreeMap::is_empty) {
        // Nothing was asked of any partition.
        return WriteTxnMarkersResponse::default();
    }
    let partition = |(index, code): (i32, ErrorCode)| WritableTxnMarkerPartitionResult {
        partition_index: index,
        error_code: code.0,
        ..Default::default()
    };
    let topic = |(name, partitions): (String, BTreeMap<_, _>)| WritableTxnMarkerTopicResult {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    let marker = |(producer_id, topics): (ProducerId, BTreeMap<_, _>)| WritableTxnMarkerResult {
        producer_id,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    WriteTxnMarkersResponse {
        markers: results.into_iter().map(marker).collect(),
        ..Default::default()
    }
}

/// The answer for each producer, topic and partition: each once, however often it was named.
type Results = BTreeMap<ProducerId, BTreeMap<String, BTreeMap<i32, ErrorCode>>>;

/// Of which producer, and where.
type MarkedPlace = (ProducerId, String, i32);

fn begin_marker(
    node: &Node,
    call: &Call,
    marker: WritableTxnMarker,
    begun: &mut Vec<(MarkedPlace, MarkerBegun)>,
) {
    let allowed = call.may(node, Operation::Alter, Resource::Cluster)
        || call.may(node, Operation::ClusterAction, Resource::Cluster);
    let end = TransactionEnd {
        producer: (marker.producer_id, marker.producer_epoch),
        commit: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
        is_bumped: marker.transaction_version >= 2,
    };
    let mut places = BTreeSet::new();
    for topic in &marker.topics {
        places.extend(topic.partition_indexes.iter().map(|index| (topic.name.as_str(), *index)));
    }
    for (topic, index) in places {
        let written = if !allowed {
            MarkerBegun::Done(Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED))
        } else if node.partitions.find(topic, index).is_some()
            && let Err(code) = check_rights(&marker)
        {
            MarkerBegun::Done(Err(code))
        } else {
            node.coordinators.local_markers().begin(topic, index, &end)
        };
        begun.push(((marker.producer_id, topic.to_owned(), index), written));
    }
}

/// A marker that no coordinator would send must not reach a log.
fn check_rights(marker: &WritableTxnMarker) -> Result<(), ErrorCode> {
    if marker.producer_epoch < NO_PRODUCER_EPOCH {
        return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
    }
    if marker.coordinator_epoch < NO_EPOCH {
        return Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED);
    }
    let is_whole = marker.producer_id != NO_PRODUCER
        && marker.producer_epoch != NO_PRODUCER_EPOCH
        && marker.transaction_version != -1;
    if is_whole { Ok(()) } else { Err(ErrorCode::UNKNOWN_SERVER_ERROR) }
}

#[cfg(test)]
#[path = "write_txn_markers_tests.rs"]
mod tests;
