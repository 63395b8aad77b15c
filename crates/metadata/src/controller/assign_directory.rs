//! In which of its directories a broker keeps a partition (KIP-858).

use alloc::collections::BTreeMap;

use ottla_machine::Turn;
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::command::AssignedDirectory;
use super::partition_change::ChangedTopic;
use super::{Controller, ControllerReply, ControllerScene};

pub(super) fn assign_directory(
    scene: &ControllerScene<'_>,
    broker: NodeId,
    assigned: &[AssignedDirectory],
    turn: &mut Turn<Controller>,
) {
    let mut reply = Ok(());
    let mut topics: BTreeMap<Uuid, ChangedTopic<'_>> = BTreeMap::new();
    for it in assigned {
        let topic = scene.cluster.topic_by_id(it.topic_id);
        let known = topic.and_then(|topic| Some((topic, topic.partitions.get(&it.index)?)));
        let Some((topic, state)) = known.filter(|(_, it)| it.replicas.contains(&broker)) else {
            reply = Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            continue;
        };
        let topic = topics.entry(it.topic_id).or_insert_with(|| ChangedTopic::new(scene, topic));
        let mut change = topic.change(it.index, state);
        change.target.directory = Some((broker, it.directory));
        turn.records.extend(change.build().map(MetadataRecord::from));
    }
    turn.reply(ControllerReply::Assigned(reply));
}
