//! In which of its directories a broker keeps a partition (KIP-858).

use ottla_machine::Turn;
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{ErrorCode, NodeId, PartitionIndex, Uuid};

use super::{Controller, Reply, Scene};

pub(super) fn assign(
    scene: &Scene<'_>,
    broker: NodeId,
    (topic, index): (Uuid, PartitionIndex),
    directory: Uuid,
    turn: &mut Turn<Controller>,
) {
    let known = scene.cluster.topic_by_id(topic).and_then(|it| it.partitions.get(&index));
    let at = known.and_then(|it| it.replicas.iter().position(|id| *id == broker));
    let (Some(state), Some(at)) = (known, at) else {
        turn.reply(Reply::Assigned(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)));
        return;
    };
    let mut directories = state.directories.clone();
    directories.resize(state.replicas.len(), Uuid::ZERO);
    if directories[at] != directory {
        directories[at] = directory;
        let record = PartitionChangeRecord {
            partition_id: index,
            topic_id: topic,
            directories: Some(directories),
            ..Default::default()
        };
        turn.records.push(record.into());
    }
    turn.reply(Reply::Assigned(Ok(())));
}
