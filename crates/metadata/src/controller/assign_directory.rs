//! In which of its directories a broker keeps a partition (KIP-858).

use ottla_machine::Turn;
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::command::AssignedDirectory;
use super::{Controller, ControllerReply, ControllerScene};

pub(super) fn assign_directory(
    scene: &ControllerScene<'_>,
    broker: NodeId,
    assigned: &[AssignedDirectory],
    turn: &mut Turn<Controller>,
) {
    let mut reply = Ok(());
    for it in assigned {
        let topic = scene.cluster.topic_by_id(it.topic_id);
        let known = topic.and_then(|topic| topic.partitions.get(&it.index));
        let at = known.and_then(|it| it.replicas.iter().position(|id| *id == broker));
        let (Some(state), Some(at)) = (known, at) else {
            reply = Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            continue;
        };
        let mut directories = state.directories.clone();
        directories.resize(state.replicas.len(), Uuid::ZERO);
        if directories[at] != it.directory {
            directories[at] = it.directory;
            let record = PartitionChangeRecord {
                partition_id: it.index,
                topic_id: it.topic_id,
                directories: Some(directories),
                ..Default::default()
            };
            turn.records.push(record.into());
        }
    }
    turn.reply(ControllerReply::Assigned(reply));
}
