//! A member of the consumer protocol joins a classic group: it becomes a consumer group (KIP-848).

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;

use ottla_types::ErrorCode;

use super::super::super::classic;
use super::super::super::command::GroupTimer;
use super::super::super::live::ClassicGroup;
use super::super::super::machine::GroupScene;
use super::super::super::record::GroupRecord;
use super::super::heartbeat::{HeartbeatRefusal, refuse_heartbeat};
use super::super::reconcile::difference_of;
use super::super::record::ConsumerRecord;
use super::super::stored::{
    ClassicMetadata, ConsumerMember, CurrentAssignment, MemberState, TopicIdPartitions,
};
use super::super::{CONSUMER, Draft, restart_session};
use super::{by_id, decode_assignment, decode_subscription};

const NO_CONSUMER_GROUP: HeartbeatRefusal =
    refuse_heartbeat(ErrorCode::GROUP_ID_NOT_FOUND, "The group is not a consumer group.");

/// Proof that the group was a classic one, to be finished within the turn.
#[must_use = "the requests of its members wait for an answer"]
pub(in crate::group::consumer) struct Upgrade(());

/// A draft of the group as a consumer group: each member has its last assignment by the leader, and
/// must revoke the partitions that it claims to own beyond that. The group itself is unchanged.
pub(in crate::group::consumer) fn upgrade_group(
    scene: &GroupScene<'_>,
    id: &str,
) -> Result<(Draft, Upgrade), HeartbeatRefusal> {
    let live = scene.live.get(id).ok_or(NO_CONSUMER_GROUP)?;
    let settings = scene.settings;
    if !settings.migration.up
        || live.protocol_type.as_deref() != Some(CONSUMER)
        || live.members.len() > settings.consumer_members_max
    {
        return Err(NO_CONSUMER_GROUP);
    }
    let mut draft = Draft::of(scene, id);
    if scene.stored.groups.contains_key(id) {
        draft.records.push(GroupRecord::Group { group: String::from(id), value: None });
    }
    let group = || String::from(id);
    let epoch = live.generation;
    let mut currents = alloc::vec::Vec::new();
    for Moved { member, said, assigned, revoking } in moved_members(scene, live)? {
        let value = Some(said);
        draft.write(ConsumerRecord::Member { group: group(), member: member.clone(), value });
        let state = if revoking.is_empty() { MemberState::Stable } else { MemberState::Unrevoked };
        let current = CurrentAssignment {
            epoch,
            previous: epoch,
            state,
            assigned,
            revoking,
            ..CurrentAssignment::default()
        };
        let current = current.dated(&CurrentAssignment::default(), epoch);
        currents.push((member, current));
    }
    let hash = draft.group.hash(&settings.topics);
    draft.write(ConsumerRecord::epoch(id, epoch, hash));
    for (member, current) in &currents {
        let (member, value) = (member.clone(), Some(current.assigned.clone()));
        draft.write(ConsumerRecord::Target { group: group(), member, value });
    }
    draft.write(ConsumerRecord::TargetEpoch { group: group(), value: Some(epoch) });
    for (member, current) in currents {
        draft.write(ConsumerRecord::current(id, &member, current));
    }
    Ok((draft, Upgrade(())))
}

/// A member of the classic group, as it will be in the consumer group.
struct Moved {
    member: String,
    said: ConsumerMember,
    assigned: TopicIdPartitions,
    revoking: TopicIdPartitions,
}

fn moved_members(
    scene: &GroupScene<'_>,
    live: &ClassicGroup,
) -> Result<alloc::vec::Vec<Moved>, HeartbeatRefusal> {
    let malformed = || {
        refuse_heartbeat(
            ErrorCode::GROUP_ID_NOT_FOUND,
            "The classic group cannot become a consumer group: the subscription or assignment of a member is malformed.",
        )
    };
    let mut all = alloc::vec::Vec::new();
    for (id, it) in &live.members {
        let first = it.protocols.first().map(|(name, _)| name.as_str());
        let protocol = live.protocol.as_deref().or(first).unwrap_or_default();
        let said = decode_subscription(it.metadata(protocol)).ok_or_else(malformed)?;
        let assigned = decode_assignment(it.assignment.clone(), &scene.settings.topics)
            .ok_or_else(malformed)?;
        let owned = said.owned_partitions.into_iter().map(|it| (it.topic, it.partitions));
        let owned = by_id(owned, &scene.settings.topics);
        let said = ConsumerMember {
            instance: it.instance.clone(),
            rack: said.rack_id,
            client_id: it.client.id.clone(),
            client_host: it.client.host.clone(),
            topics: said.topics.into_iter().collect::<BTreeSet<_>>(),
            regex: None,
            rebalance_timeout_ms: it.rebalance_timeout_ms,
            assignor: None,
            classic: Some(ClassicMetadata {
                session_timeout_ms: it.session_timeout_ms,
                protocols: it.protocols.clone(),
            }),
        };
        let revoking = difference_of(&owned, &assigned);
        all.push(Moved { member: id.clone(), said, assigned, revoking });
    }
    Ok(all)
}

impl Upgrade {
    /// Answers the requests that wait in the classic group with `REBALANCE_IN_PROGRESS`, and starts
    /// the members' sessions in the consumer group.
    pub fn finish(self, scene: &mut GroupScene<'_>, draft: &Draft) {
        let live = scene.live.remove(&draft.id).expect("upgrade_group has looked it up");
        let group = || Arc::from(draft.id.as_str());
        scene.turn.cancel_timer(GroupTimer::Join { group: group() });
        scene.turn.cancel_timer(GroupTimer::Sync { group: group() });
        for (member_id, member) in live.members {
            classic::turn_away(scene, &member_id, &member, ErrorCode::REBALANCE_IN_PROGRESS);
            let member = Arc::from(member_id.as_str());
            scene.turn.cancel_timer(GroupTimer::Session { group: group(), member });
            if let Some(said) = draft.group.members.get(&member_id) {
                restart_session(scene, &draft.id, &member_id, said);
            }
        }
    }
}
