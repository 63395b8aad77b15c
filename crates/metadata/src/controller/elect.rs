//! Who leads a partition when a broker comes or goes.

use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::NodeId;

use super::Scene;
use crate::cluster::PartitionState;

/// Takes `broker` out of all partitions: another member of the in-sync set leads, or nobody does
/// and the last member stays eligible (KIP-966).
pub(super) fn leave(scene: &Scene<'_>, broker: NodeId) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in scene.cluster.topics() {
        for (index, state) in &topic.partitions {
            if state.isr.contains(&broker) {
                let mut record = PartitionChangeRecord {
                    partition_id: *index,
                    topic_id: topic.id,
                    ..Default::default()
                };
                without(scene, state, broker, &mut record);
                records.push(record.into());
            }
        }
    }
    records
}

fn without(
    scene: &Scene<'_>,
    state: &PartitionState,
    broker: NodeId,
    record: &mut PartitionChangeRecord,
) {
    let isr: Vec<NodeId> = state.isr.iter().copied().filter(|id| *id != broker).collect();
    let able = |id: &&NodeId| serves(scene, **id);
    if state.leader == broker {
        let order = state.replicas.iter().filter(|id| isr.contains(id));
        record.leader = order.clone().find(able).copied().unwrap_or(-1);
    }
    if isr.is_empty() {
        let mut elr = state.elr.clone();
        if !elr.contains(&broker) {
            elr.push(broker);
        }
        record.eligible_leader_replicas = Some(elr);
        record.last_known_elr = Some(alloc::vec![broker]);
    }
    record.isr = Some(isr);
}

fn serves(scene: &Scene<'_>, id: NodeId) -> bool {
    scene.cluster.broker(id).is_some_and(|it| !it.fenced && !it.stopping)
}

/// `broker` may serve: it leads every partition that nobody leads and that it may lead.
pub(super) fn join(scene: &Scene<'_>, broker: NodeId) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in scene.cluster.topics() {
        for (index, state) in &topic.partitions {
            let eligible = state.isr.contains(&broker)
                || state.isr.is_empty() && state.elr.contains(&broker)
                || state.isr.is_empty() && state.elr.is_empty() && state.replicas == [broker];
            if state.leader != -1 || !eligible {
                continue;
            }
            let record = PartitionChangeRecord {
                partition_id: *index,
                topic_id: topic.id,
                leader: broker,
                isr: (!state.isr.contains(&broker)).then(|| alloc::vec![broker]),
                eligible_leader_replicas: (!state.elr.is_empty()).then(Vec::new),
                last_known_elr: (!state.last_known_elr.is_empty()).then(Vec::new),
                ..Default::default()
            };
            records.push(record.into());
        }
    }
    records
}
