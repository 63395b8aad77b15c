//! AlterPartition: a partition's leader wants another in-sync set (KIP-497).

use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData as AskedPartition,
};
use ottla_protocol::messages::alter_partition_response::{
    AlterPartitionResponse, PartitionData, TopicData,
};
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_types::{Bug, ErrorCode, NodeId, is_planted};

use super::partition_change::{ChangedTopic, LEADER_STAYS, PartitionChange, RECOVERING};
use super::{Controller, ControllerReply, ControllerScene};
use crate::cluster::PartitionState;

/// The version of the request from which on it names the members' broker epochs (KIP-903).
const WITH_EPOCHS: i16 = 3;

pub(super) fn alter_partition(
    scene: &ControllerScene<'_>,
    request: &AlterPartitionRequest,
    version: i16,
    turn: &mut Turn<Controller>,
) {
    let mut response = AlterPartitionResponse::default();
    let known = scene.cluster.broker(request.broker_id);
    if known.is_none_or(|it| it.epoch != request.broker_epoch) {
        response.error_code = ErrorCode::STALE_BROKER_EPOCH.0;
        return turn.reply(ControllerReply::AlterPartition(response));
    }
    for asked in &request.topics {
        let topic = scene.cluster.topic_by_id(asked.topic_id);
        let topic = topic.map(|topic| ChangedTopic::new(scene, topic));
        let mut answer = TopicData { topic_id: asked.topic_id, ..Default::default() };
        for partition in &asked.partitions {
            let altered = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_ID).and_then(|topic| {
                let alteration = Alteration {
                    topic,
                    leader: request.broker_id,
                    isr: asked_members(partition, version),
                    asked: partition,
                };
                alteration.decide(turn)
            });
            answer.partitions.push(altered.unwrap_or_else(|code| PartitionData {
                partition_index: partition.partition_index,
                error_code: code.0,
                ..Default::default()
            }));
        }
        response.topics.push(answer);
    }
    turn.reply(ControllerReply::AlterPartition(response));
}

/// The in-sync set that is asked for; an epoch of -1 is not checked.
fn asked_members(asked: &AskedPartition, version: i16) -> Vec<BrokerState> {
    if version >= WITH_EPOCHS {
        return asked.new_isr_with_epochs.clone();
    }
    let member = |id: &NodeId| BrokerState { broker_id: *id, ..Default::default() };
    asked.new_isr.iter().map(member).collect()
}

/// One partition's in-sync set, as its leader wants it.
struct Alteration<'a> {
    topic: ChangedTopic<'a>,
    leader: NodeId,
    isr: Vec<BrokerState>,
    asked: &'a AskedPartition,
}

impl Alteration<'_> {
    fn decide(&self, turn: &mut Turn<Controller>) -> Result<PartitionData, ErrorCode> {
        let index = self.asked.partition_index;
        let known = self.topic.topic.partitions.get(&index);
        let state = known.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        self.check(state)?;
        let election = self.topic.rules.default_election();
        let mut change = PartitionChange { election, ..self.topic.change(index, state) };
        change.target.isr = self.isr.iter().map(|it| it.broker_id).collect();
        change.target.recovery = self.asked.leader_recovery_state;
        let Some(record) = change.build() else { return Ok(altered_partition(index, state)) };
        let mut after = state.clone();
        after.take_change(&record);
        let has_moved = moves_leader(&record, self.leader);
        turn.record(record.into());
        // The change ends a reassignment, and with it this broker's leadership: it has to look into
        // the metadata before it asks again.
        if has_moved {
            Err(ErrorCode::NEW_LEADER_ELECTED)
        } else {
            Ok(altered_partition(index, &after))
        }
    }

    /// May the leader have what it asks for? In the order in which Kafka looks.
    fn check(&self, state: &PartitionState) -> Result<(), ErrorCode> {
        let asked = self.asked;
        // A leader that knows more than this controller talks to one that is no longer active.
        if asked.leader_epoch > state.leader_epoch || asked.partition_epoch > state.partition_epoch
        {
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        if asked.leader_epoch < state.leader_epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if self.leader != state.leader {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if asked.partition_epoch < state.partition_epoch && !is_planted(Bug::StaleInSyncTaken) {
            return Err(ErrorCode::INVALID_UPDATE_VERSION);
        }
        let isr: Vec<NodeId> = self.isr.iter().map(|it| it.broker_id).collect();
        let is_set = !isr.is_empty()
            && super::repeated_items(isr.iter()).is_empty()
            && isr.iter().all(|id| state.replicas.contains(id));
        if !is_set || !isr.contains(&state.leader) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let is_recovering = match asked.leader_recovery_state {
            0 => false,
            RECOVERING => true,
            _ => return Err(ErrorCode::INVALID_REQUEST),
        };
        if is_recovering && (isr.len() > 1 || state.recovery != RECOVERING) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let is_eligible = |it: &BrokerState| self.is_eligible(it) || is_planted(Bug::AnyMayJoin);
        if self.isr.iter().all(is_eligible) { Ok(()) } else { Err(ErrorCode::INELIGIBLE_REPLICA) }
    }

    /// May this broker be in sync? Not if it has stopped, or started again since its leader saw it
    /// (KIP-841, KIP-903).
    fn is_eligible(&self, member: &BrokerState) -> bool {
        let is_epoch = |epoch: i64| member.broker_epoch == -1 || member.broker_epoch == epoch;
        let broker = self.topic.scene.cluster.broker(member.broker_id);
        broker.is_some_and(|it| it.is_active() && is_epoch(it.epoch))
    }
}

fn moves_leader(record: &PartitionChangeRecord, leader: NodeId) -> bool {
    record.leader != LEADER_STAYS && record.leader != leader
}

fn altered_partition(index: i32, state: &PartitionState) -> PartitionData {
    PartitionData {
        partition_index: index,
        leader_id: state.leader,
        leader_epoch: state.leader_epoch,
        isr: state.isr.clone(),
        leader_recovery_state: state.recovery,
        partition_epoch: state.partition_epoch,
        ..Default::default()
    }
}
