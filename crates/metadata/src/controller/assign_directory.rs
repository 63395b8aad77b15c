//! AssignReplicasToDirs: in which of its directories a broker keeps a partition (KIP-858).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{ErrorCode, Uuid};

use super::command::AssignedDirectory;
use super::partition_change::ChangedTopic;
use super::{AskingBroker, Controller, ControllerReply, ControllerScene};
use crate::cluster::BrokerRegistration;
use crate::versions::DIRECTORIES_SINCE;

/// What can be assigned is, each partition for itself.
pub(super) fn assign_directories(
    scene: &ControllerScene<'_>,
    asking: AskingBroker,
    assigned: &[AssignedDirectory],
    turn: &mut Turn<Controller>,
) {
    let broker = match asking.registration(scene) {
        _ if scene.cluster.metadata_version() < DIRECTORIES_SINCE => {
            let refused = Err(ErrorCode::UNSUPPORTED_VERSION);
            return turn.reply(ControllerReply::Assigned(refused));
        }
        Err(code) => return turn.reply(ControllerReply::Assigned(Err(code))),
        Ok(broker) => broker,
    };
    let mut topics: BTreeMap<Uuid, Option<ChangedTopic<'_>>> = BTreeMap::new();
    let mut codes = Vec::with_capacity(assigned.len());
    for it in assigned {
        let topic = *topics.entry(it.topic_id).or_insert_with(|| {
            let known = scene.cluster.topic_by_id(it.topic_id);
            known.map(|topic| ChangedTopic::new(scene, topic))
        });
        let assignment = DirectoryAssignment { asking, broker, assigned: it };
        match topic.ok_or(ErrorCode::UNKNOWN_TOPIC_ID).and_then(|topic| assignment.decide(topic)) {
            Ok(record) => {
                turn.records.extend(record.map(Into::into));
                codes.push(ErrorCode::NONE);
            }
            Err(code) => codes.push(code),
        }
    }
    turn.reply(ControllerReply::Assigned(Ok(codes)));
}

/// One partition's directory, as its broker says.
struct DirectoryAssignment<'a> {
    asking: AskingBroker,
    broker: Option<&'a BrokerRegistration>,
    assigned: &'a AssignedDirectory,
}

impl DirectoryAssignment<'_> {
    /// The record; none if nothing changes.
    fn decide(&self, topic: ChangedTopic<'_>) -> Result<Option<PartitionChangeRecord>, ErrorCode> {
        let (id, AssignedDirectory { index, directory, .. }) = (self.asking.id, *self.assigned);
        let known = topic.topic.partitions.get(&index);
        let state = known.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if !state.replicas.contains(&id) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let mut change = topic.change(index, state);
        change.target.directory = Some((id, directory));
        // What lies in a directory that has failed is as if the broker had left.
        if self.broker.is_some_and(|it| !it.has_online(directory)) {
            change.serving.leaving = Some(id);
            change.election = topic.rules.default_election();
            change.target.isr.retain(|it| *it != id);
        }
        Ok(change.build())
    }
}
