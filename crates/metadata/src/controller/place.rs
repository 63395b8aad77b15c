//! On which brokers a new partition lies.

use alloc::format;
use alloc::vec::Vec;

use ottla_types::{ErrorCode, NodeId, Uuid};

use super::{ControllerRefusal, ControllerScene};
use crate::versions::DIRECTORIES_SINCE;

/// Replicas for `count` new partitions, spread over the brokers that may serve, the first
/// partition's leader chosen by `first`.
pub(super) fn spread_replicas(
    scene: &ControllerScene<'_>,
    count: usize,
    factor: usize,
    first: usize,
) -> Result<Vec<Vec<NodeId>>, ControllerRefusal> {
    let able = |broker: &&crate::BrokerRegistration| broker.is_active();
    let brokers: Vec<NodeId> = scene.cluster.brokers().filter(able).map(|it| it.id).collect();
    if factor > brokers.len() {
        let why = format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of \
             {factor} cannot be reached because only {} broker(s) are registered.",
            brokers.len()
        );
        return Err((ErrorCode::INVALID_REPLICATION_FACTOR, why));
    }
    check_replicas_max(scene, factor)?;
    let of = |partition: usize| {
        let replica = |at: usize| brokers[(first + partition + at) % brokers.len()];
        (0..factor).map(replica).collect()
    };
    Ok((0..count).map(of).collect())
}

/// May a new partition have so many replicas?
pub(super) fn check_replicas_max(
    scene: &ControllerScene<'_>,
    count: usize,
) -> Result<(), ControllerRefusal> {
    match scene.settings.replicas_max {
        Some(most) if count > most => {
            let why = format!(
                "Unable to replicate the partition {count} time(s): this release does not \
                 replicate partitions between brokers yet. Set the replication factor to {most}."
            );
            Err((ErrorCode::INVALID_REPLICATION_FACTOR, why))
        }
        _ => Ok(()),
    }
}

/// The directory of each replica of a new partition; none where the metadata does not know them.
pub(super) fn replica_directories(scene: &ControllerScene<'_>, replicas: &[NodeId]) -> Vec<Uuid> {
    if scene.cluster.metadata_version() < DIRECTORIES_SINCE {
        return Vec::new();
    }
    replicas.iter().map(|id| new_directory(scene, *id)).collect()
}

/// Where a broker gets a new replica: known where it has only one directory. Otherwise it is
/// unassigned: the broker chooses, and tells the controller (KIP-858).
pub(super) fn new_directory(scene: &ControllerScene<'_>, broker: NodeId) -> Uuid {
    match scene.cluster.broker(broker).map(|it| it.log_dirs.as_slice()) {
        Some([only]) => *only,
        _ => Uuid::ONE,
    }
}
