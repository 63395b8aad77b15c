//! AlterPartitionReassignments: partitions that move to other brokers (KIP-455).
//!
//! A move adds the new replicas and marks those that go; it ends in the change that has all new
//! ones in sync. One that asks for nothing new ends at once.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use ottla_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, PartitionIndex};

use super::create_topics::check_assignment;
use super::partition_change::{
    ChangedTopic, ElectionChoice, PartitionChange, PartitionTarget, RECOVERING,
};
use super::{Controller, ControllerReply, ControllerScene};
use crate::cluster::{BrokerRegistration, PartitionState};

/// Why a partition is not moved: Kafka's code, and a text where the code alone does not say enough.
type ReassignmentRefusal = (ErrorCode, Option<String>);

pub(super) fn alter_reassignments(
    scene: &ControllerScene<'_>,
    request: &AlterPartitionReassignmentsRequest,
    turn: &mut Turn<Controller>,
) {
    let mut response = AlterPartitionReassignmentsResponse {
        error_message: None,
        allow_replication_factor_change: request.allow_replication_factor_change,
        ..Default::default()
    };
    let factor = if request.allow_replication_factor_change {
        FactorRule::MayChange
    } else {
        FactorRule::Stays
    };
    for topic in &request.topics {
        let known = scene.cluster.topic(&topic.name).map(|it| ChangedTopic::new(scene, it));
        let mut answer =
            ReassignableTopicResponse { name: topic.name.clone(), ..Default::default() };
        // A partition that changed twice in a request would change twice from one state.
        let mut changed = BTreeSet::new();
        for asked in &topic.partitions {
            let index = asked.partition_index;
            let found = known.and_then(|it| Some((it, it.topic.partitions.get(&index)?)));
            let decided = match found {
                Some((topic, state)) => PartitionMove { topic, index, state }.decide(asked, factor),
                None => {
                    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                    Err((code, Some(String::from(code.message()))))
                }
            };
            let decided = match decided {
                Ok(Some(_)) if !changed.insert(index) => {
                    let why = format!("Partition {index} is named twice.");
                    Err((ErrorCode::INVALID_REQUEST, Some(why)))
                }
                decided => decided,
            };
            let mut row = ReassignablePartitionResponse {
                partition_index: asked.partition_index,
                error_message: None,
                ..Default::default()
            };
            match decided {
                Ok(record) => turn.records.extend(record),
                Err((code, why)) => (row.error_code, row.error_message) = (code.0, why),
            }
            answer.partitions.push(row);
        }
        response.responses.push(answer);
    }
    turn.reply(ControllerReply::AlterPartitionReassignments(response));
}

/// May the number of replicas change (KIP-860)?
#[derive(Clone, Copy, PartialEq, Eq)]
enum FactorRule {
    Stays,
    MayChange,
}

/// A partition that is to move.
struct PartitionMove<'a> {
    topic: ChangedTopic<'a>,
    index: PartitionIndex,
    state: &'a PartitionState,
}

impl PartitionMove<'_> {
    fn decide(
        &self,
        asked: &ReassignablePartition,
        factor: FactorRule,
    ) -> Result<Option<MetadataRecord>, ReassignmentRefusal> {
        let Some(wanted) = &asked.replicas else { return self.cancel() };
        let texted = |(code, why)| (code, Some(why));
        check_assignment(self.topic.scene, wanted, None).map_err(texted)?;
        let before = self.factor();
        if factor == FactorRule::Stays && before != wanted.len() {
            let after = wanted.len();
            let why = format!("The replication factor is changed from {before} to {after}");
            return Err((ErrorCode::INVALID_REPLICATION_FACTOR, Some(why)));
        }
        let state = self.state;
        let difference = |all: &[NodeId], without: &[NodeId]| -> Vec<NodeId> {
            let all: BTreeSet<NodeId> = all.iter().copied().collect();
            all.into_iter().filter(|id| !without.contains(id)).collect()
        };
        let removing = difference(&state.replicas, wanted);
        let target = PartitionTarget {
            replicas: wanted.iter().chain(&removing).copied().collect(),
            adding: difference(wanted, &state.replicas),
            removing,
            ..PartitionTarget::of(state)
        };
        Ok(self.build(target, ElectionChoice::Online))
    }

    /// Takes a move back: the replicas that it adds leave again.
    fn cancel(&self) -> Result<Option<MetadataRecord>, ReassignmentRefusal> {
        let state = self.state;
        if state.adding.is_empty() && state.removing.is_empty() {
            return Err((ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, None));
        }
        let is_original = |id: &NodeId| !state.adding.contains(id);
        let originals =
            |all: &[NodeId]| -> Vec<NodeId> { all.iter().copied().filter(is_original).collect() };
        let mut target = PartitionTarget {
            isr: originals(&state.isr),
            replicas: originals(&state.replicas),
            adding: Vec::new(),
            removing: Vec::new(),
            ..PartitionTarget::of(state)
        };
        if target.replicas.is_empty() {
            let why = "Invalid replica assignment: addingReplicas contains all replicas.";
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, Some(String::from(why))));
        }
        let loses_all = target.isr.is_empty() && !state.isr.is_empty();
        if loses_all && !self.topic.rules.is_unclean_allowed {
            let why = format!(
                "Unable to revert partition assignment for {}:{} because it would require an \
                 unclean leader election.",
                self.topic.topic.name, self.index
            );
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, Some(why)));
        }
        if loses_all && !self.topic.scene.cluster.keeps_eligible() {
            // The in-sync set cannot be empty then.
            let serves = |id: &&NodeId| {
                self.topic.scene.cluster.broker(**id).is_some_and(BrokerRegistration::is_active)
            };
            let serving = target.replicas.iter().find(serves);
            let leader = serving.or(target.replicas.first()).copied();
            target.isr = leader.into_iter().collect();
            target.recovery = RECOVERING;
        }
        Ok(self.build(target, self.topic.rules.default_election()))
    }

    /// How many replicas the partition is to have, a move that is under way done.
    fn factor(&self) -> usize {
        let state = self.state;
        state.replicas.iter().filter(|id| !state.removing.contains(id)).count()
    }

    fn build(&self, target: PartitionTarget, election: ElectionChoice) -> Option<MetadataRecord> {
        let begun = self.topic.change(self.index, self.state);
        PartitionChange { election, target, ..begun }.build().map(MetadataRecord::from)
    }
}

/// What a partition has when its reassignment has ended.
pub(super) struct CompletedReassignment {
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
}

/// Ends a reassignment whose new replicas are all in sync. Where it makes the partition's replicas
/// fewer, all that stay must be: ending it would make the in-sync set smaller than need be
/// (KAFKA-19975).
pub(super) fn completed_reassignment(target: &PartitionTarget) -> Option<CompletedReassignment> {
    let PartitionTarget { removing, adding, .. } = target;
    if removing.is_empty() && adding.is_empty() {
        return None;
    }
    let staying = |all: &[NodeId]| -> Vec<NodeId> {
        all.iter().copied().filter(|id| !removing.contains(id)).collect()
    };
    let (replicas, isr) = (staying(&target.replicas), staying(&target.isr));
    let is_shrinking = adding.len() < removing.len();
    let in_sync = |id: &NodeId| isr.contains(id);
    let can_end = (removing.is_empty() || !isr.is_empty() && !replicas.is_empty())
        && adding.iter().all(in_sync)
        && (!is_shrinking || replicas.iter().all(in_sync));
    can_end.then_some(CompletedReassignment { replicas, isr })
}
