//! JoinGroup to a consumer group, by a member that uses the classic protocol (KIP-848): it is
//! answered at once, as the coordinator computes the assignment.

use alloc::string::String;

use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::shared::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_types::ErrorCode;

use super::super::super::classic::join::refuse_join;
use super::super::super::command::{GroupReply, JoinCommand};
use super::super::super::machine::GroupScene;
use super::super::CONSUMER;
use super::super::heartbeat::{Entrant, admit_member, has_no_room, settle_target, update_member};
use super::super::reconcile::reconcile_member;
use super::super::record::ConsumerRecord;
use super::super::stored::{ClassicMetadata, ConsumerMember, CurrentAssignment};
use super::super::{Draft, join_timer, restart_session, sync_timer};
use super::{by_id, decode_subscription, downgrade_group, downgrade_is_due};

pub(in crate::group) fn join_consumer_group(
    scene: &mut GroupScene<'_>,
    join: &JoinCommand,
) -> Result<(), ErrorCode> {
    let request = &join.request;
    let mut draft = Draft::of(scene, &request.group_id);
    let is_new = request.member_id.is_empty();
    let member = if is_new { join.new_member_id() } else { request.member_id.clone() };
    if !draft.group.members.contains_key(&member) && has_no_room(scene, &draft) {
        return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
    }
    let said = member_subscription(&draft, join, &member)?;
    let is_static = request.group_instance_id.is_some();
    if is_new && !is_static && join.version >= 4 {
        refuse_join(scene, ErrorCode::MEMBER_ID_REQUIRED, member);
        return Ok(());
    }
    let entrant = Entrant {
        member: &member,
        instance: request.group_instance_id.as_deref(),
        joins: is_new || !is_static,
        is_classic: true,
    };
    admit_member(scene, &mut draft, &entrant).map_err(|refused| refused.code)?;
    let owned = said.owned_partitions.iter().map(|it| (it.topic.clone(), it.partitions.clone()));
    let owned = by_id(owned, &scene.settings.topics);
    let now = member_from_join(&draft, join, &member, said);
    update_member(scene, &mut draft, &member, now).map_err(|refused| refused.code)?;
    settle_target(scene, &mut draft);
    let now = reconcile_member(&draft.group, &member, Some(&owned));
    if draft.group.current.get(&member) != Some(&now) {
        draft.write(ConsumerRecord::current(&draft.id.clone(), &member, now.clone()));
    }
    finish_join(scene, draft, join, member, &now);
    Ok(())
}

/// The member's subscription, if it has an assignor in common with the other classic members.
fn member_subscription(
    draft: &Draft,
    join: &JoinCommand,
    member: &str,
) -> Result<ConsumerProtocolSubscription, ErrorCode> {
    let request = &join.request;
    let others = || draft.group.members.iter().filter(|(id, _)| id.as_str() != member);
    let classic = || others().filter_map(|(_, it)| it.classic.as_ref());
    let suits = |name: &str| classic().all(|it| it.protocols.iter().any(|(it, _)| it == name));
    if request.protocol_type != CONSUMER || !request.protocols.iter().any(|it| suits(&it.name)) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    let first = request.protocols.first().map(|it| it.metadata.clone());
    first.and_then(decode_subscription).ok_or(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
}

fn member_from_join(
    draft: &Draft,
    join: &JoinCommand,
    id: &str,
    said: ConsumerProtocolSubscription,
) -> ConsumerMember {
    let request = &join.request;
    let before = draft.group.members.get(id).cloned().unwrap_or_default();
    ConsumerMember {
        instance: request.group_instance_id.clone(),
        rack: said.rack_id.or(before.rack),
        client_id: join.client.id.clone(),
        client_host: join.client.host.clone(),
        topics: said.topics.into_iter().collect(),
        regex: None,
        rebalance_timeout_ms: join.rebalance_timeout_ms(),
        assignor: before.assignor,
        classic: Some(ClassicMetadata {
            session_timeout_ms: request.session_timeout_ms,
            protocols: join.protocols(),
        }),
    }
}

fn finish_join(
    scene: &mut GroupScene<'_>,
    draft: Draft,
    join: &JoinCommand,
    member: String,
    now: &CurrentAssignment,
) {
    let mut generation_id = now.epoch;
    if downgrade_is_due(scene, &draft) {
        // It has replaced the last member of the consumer protocol.
        generation_id = downgrade_group(scene, &draft);
    } else {
        if let Some(said) = draft.group.members.get(&member) {
            let delay = i64::from(said.rebalance_timeout_ms);
            scene.turn.cancel_timer(join_timer(&draft.id, &member));
            scene.turn.set_timer(sync_timer(&draft.id, &member), delay);
            restart_session(scene, &draft.id, &member, said);
        }
        draft.finish(scene);
    }
    let protocol_name = join.request.protocols.first().map(|it| it.name.clone());
    let response = JoinGroupResponse {
        generation_id,
        protocol_type: (join.version >= 7).then(|| String::from(CONSUMER)),
        protocol_name,
        member_id: member,
        ..Default::default()
    };
    scene.turn.reply(GroupReply::Join(response));
}
