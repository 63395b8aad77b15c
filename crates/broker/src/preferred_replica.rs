//! From which replica a consumer is to read (KIP-392).

use ottla_partitions::{Partition, ReadableReplica};
use ottla_types::{NodeId, Offset};

use crate::node::Node;
use crate::request::Call;
use crate::rules::ReplicaSelector;

/// The broker from which a consumer in `rack` is to read the partition instead, from `offset` on;
/// `None` if it may read here.
pub fn preferred_replica(
    node: &Node,
    call: &Call,
    partition: &Partition,
    rack: &str,
    offset: Offset,
) -> Option<NodeId> {
    if node.own().replica_selector == ReplicaSelector::Leader || rack.is_empty() {
        return None;
    }
    let cluster = node.cluster();
    let is_there =
        |id: NodeId| cluster.broker(id).is_some_and(|broker| broker.rack.as_deref() == Some(rack));
    // Followers prefer no one.
    if !partition.ends().leading || is_there(node.id) {
        return None;
    }
    // Not one that is fenced, or that has no such listener as the consumer has used.
    let is_reachable = |id: NodeId| {
        let serves = cluster.broker(id).is_some_and(|broker| !broker.fenced);
        serves && node.address(&cluster, id, &call.session.listener).is_some()
    };
    let all = partition.readable_from(offset).into_iter();
    let near = all.filter(|it| is_there(it.id) && is_reachable(it.id));
    near.max_by_key(most_caught_up).map(|it| it.id)
}

/// As in Kafka: the longest log, then the shortest time since it had everything, then the id.
fn most_caught_up(it: &ReadableReplica) -> (Offset, Option<u64>, NodeId) {
    (it.end, it.caught_up_ms, it.id)
}
