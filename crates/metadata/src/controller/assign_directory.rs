//! In which of its directories a broker keeps a partition (KIP-858).

use alloc::collections::BTreeMap;

use ottla_machine::Turn;
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::command::AssignedDirectory;
use super::partition_change::{
    ElectionChoice, ElectionRules, PartitionChange, PartitionTarget, ServingBrokers,
};
use super::{Controller, ControllerReply, ControllerScene};

pub(super) fn assign_directory(
    scene: &ControllerScene<'_>,
    broker: NodeId,
    assigned: &[AssignedDirectory],
    turn: &mut Turn<Controller>,
) {
    let mut reply = Ok(());
    let mut rules: BTreeMap<Uuid, ElectionRules> = BTreeMap::new();
    for it in assigned {
        let topic = scene.cluster.topic_by_id(it.topic_id);
        let known = topic.and_then(|topic| Some((topic, topic.partitions.get(&it.index)?)));
        let Some((topic, state)) = known.filter(|(_, it)| it.replicas.contains(&broker)) else {
            reply = Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            continue;
        };
        let rules =
            rules.entry(it.topic_id).or_insert_with(|| ElectionRules::of_topic(scene, topic));
        let target = PartitionTarget {
            directory: Some((broker, it.directory)),
            ..PartitionTarget::of(state)
        };
        let change = PartitionChange {
            scene,
            rules,
            topic_id: it.topic_id,
            index: it.index,
            state,
            serving: ServingBrokers::default(),
            election: ElectionChoice::Online,
            target,
        };
        turn.records.extend(change.build().map(MetadataRecord::from));
    }
    turn.reply(ControllerReply::Assigned(reply));
}
