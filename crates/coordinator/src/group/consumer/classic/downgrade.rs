//! The last member of the consumer protocol leaves: the group becomes a classic group (KIP-848).

use alloc::string::String;

use super::super::super::classic;
use super::super::super::command::MemberClient;
use super::super::super::live::{ClassicGroup, ClassicMember, GroupState};
use super::super::super::machine::GroupScene;
use super::super::super::record::GroupRecord;
use super::super::stored::ConsumerGroup;
use super::super::{CONSUMER, Draft, stop_watching};
use super::encode_assignment;

/// Would all members use the classic protocol after this change, and did not before?
pub(in crate::group::consumer) fn downgrade_is_due(scene: &GroupScene<'_>, draft: &Draft) -> bool {
    let before = scene.stored.consumers.get(&draft.id);
    let was = before.is_some_and(|group| group.members.values().any(|it| it.classic.is_none()));
    let now = &draft.group.members;
    was && scene.settings.migration.down
        && !now.is_empty()
        && now.len() <= scene.settings.members_max
        && now.values().all(|it| it.classic.is_some())
}

/// Writes the group as a classic one, with each member's current assignment; its generation is the
/// group epoch.
pub(in crate::group::consumer) fn downgrade_group(
    scene: &mut GroupScene<'_>,
    draft: &Draft,
) -> i32 {
    let before = scene.stored.consumers.get(&draft.id).expect("downgrade_is_due has looked it up");
    let tombstones = before.tombstones(&draft.id).into_iter().map(GroupRecord::Consumer);
    scene.turn.records.extend(tombstones);
    for member in before.members.keys().chain(draft.group.members.keys()) {
        stop_watching(scene, &draft.id, member);
    }
    scene.seen.remove(&draft.id);
    let live = classic_group(scene, before, &draft.group);
    let (group, value) = (draft.id.clone(), Some(live.to_log()));
    scene.turn.record(GroupRecord::Group { group, value });
    scene.live.insert(draft.id.clone(), live);
    for member in draft.group.members.keys() {
        classic::restart_session(scene, &draft.id, member);
    }
    if !before.is_settled() || draft.group.members.len() < before.members.len() {
        // Some partitions have no owner: the leader of the classic group has to assign again.
        let reason = String::from("the group changed to the classic protocol");
        classic::prepare_rebalance(scene, &draft.id, reason);
    }
    before.epoch
}

fn classic_group(
    scene: &GroupScene<'_>,
    before: &ConsumerGroup,
    now: &ConsumerGroup,
) -> ClassicGroup {
    let mut live = ClassicGroup {
        state: GroupState::Stable,
        generation: before.epoch,
        protocol_type: Some(String::from(CONSUMER)),
        since_ms: scene.turn.now_ms,
        ..ClassicGroup::default()
    };
    for (id, it) in &now.members {
        let said = it.classic.as_ref().expect("downgrade_is_due has seen that all use it");
        if let Some(instance) = &it.instance {
            live.statics.insert(instance.clone(), id.clone());
        }
        let member = ClassicMember {
            instance: it.instance.clone(),
            client: MemberClient { id: it.client_id.clone(), host: it.client_host.clone() },
            session_timeout_ms: said.session_timeout_ms,
            rebalance_timeout_ms: it.rebalance_timeout_ms,
            protocols: said.protocols.clone(),
            ..ClassicMember::default()
        };
        live.members.insert(id.clone(), member);
    }
    live.protocol = live.choose();
    let protocol = live.protocol.clone().unwrap_or_default();
    for (id, member) in &mut live.members {
        let has = now.current.get(id).map(|it| it.assigned.clone()).unwrap_or_default();
        let metadata = member.metadata(&protocol);
        member.assignment = encode_assignment(&has, &metadata, &scene.settings.topics);
    }
    live
}
