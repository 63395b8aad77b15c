//! JoinGroup to a classic group, versions 0 to 9.
//!
//! KIP-134: an empty group waits `group.initial.rebalance.delay.ms` for its first members. KIP-345:
//! static members (version 5). KIP-394: from version 4 a dynamic member joins twice, the second
//! time with the id that it was given, so that a lost answer leaves no member behind. KIP-800: the
//! reason for joining (version 8), which goes into the log. KIP-814: a static leader that returns
//! may be asked to skip the assignment (version 9).

use alloc::format;
use alloc::string::String;

use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_types::ErrorCode;

use super::super::command::{GroupReply, JoinCommand};
use super::super::consumer;
use super::super::live::{ClassicGroup, ClassicMember, GroupState, known_group};
use super::super::machine::GroupScene;
use super::super::record::GroupRecord;
use super::rebalance::{join_response, prepare_rebalance, turn_away};
use super::{restart_session, session_timer};

pub(in crate::group) fn join_group(scene: &mut GroupScene<'_>, join: JoinCommand) {
    if let Err(code) = admit_member(scene, &join) {
        refuse_join(scene, code, join.request.member_id);
    }
}

pub(in crate::group) fn refuse_join(
    scene: &mut GroupScene<'_>,
    code: ErrorCode,
    member_id: String,
) {
    let response = JoinGroupResponse { error_code: code.0, member_id, ..Default::default() };
    scene.turn.reply(GroupReply::Join(response));
}

fn admit_member(scene: &mut GroupScene<'_>, join: &JoinCommand) -> Result<(), ErrorCode> {
    let request = &join.request;
    let settings = scene.settings;
    if request.group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let bounds = settings.session_timeout_min_ms..=settings.session_timeout_max_ms;
    if !bounds.contains(&request.session_timeout_ms) {
        return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
    }
    let assigns = scene.stored.consumers.get(&request.group_id);
    if assigns.is_some_and(|group| !group.members.is_empty()) {
        return consumer::classic::join_consumer_group(scene, join);
    }
    let new = request.member_id.is_empty();
    if !new && !scene.live.contains_key(&request.group_id) {
        return Err(ErrorCode::UNKNOWN_MEMBER_ID);
    }
    // An empty group of the other kind gives its name to this one.
    consumer::delete_consumer_group(scene, &request.group_id);
    let now = scene.turn.now_ms;
    let live = scene
        .live
        .entry(request.group_id.clone())
        .or_insert_with(|| ClassicGroup { since_ms: now, ..ClassicGroup::default() });
    let protocols = join.protocols();
    let known = (!new).then_some(request.member_id.as_str());
    if !live.agrees(&request.protocol_type, &protocols, known) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    let is_static = request.group_instance_id.as_ref();
    let returns = is_static.is_some_and(|instance| live.statics.contains_key(instance));
    let inside = known.is_some_and(|id| live.members.contains_key(id)) || returns;
    if !inside
        && live.members.len() + live.pending.len() >= settings.members_max
        && !known.is_some_and(|id| live.pending.contains(id))
    {
        return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
    }
    if new { join_without_id(scene, join) } else { join_with_id(scene, join) }
}

fn joining_member(join: &JoinCommand, ticket: ottla_machine::Ticket) -> ClassicMember {
    let request = &join.request;
    ClassicMember {
        instance: request.group_instance_id.clone(),
        client: join.client.clone(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: join.rebalance_timeout_ms(),
        protocols: join.protocols(),
        joining: Some((ticket, join.version)),
        ..ClassicMember::default()
    }
}

/// A JoinGroup without a member id.
fn join_without_id(scene: &mut GroupScene<'_>, join: &JoinCommand) -> Result<(), ErrorCode> {
    let group = &join.request.group_id;
    let id = join.new_member_id();
    let live = known_group(scene.live, group);
    if let Some(instance) = &join.request.group_instance_id {
        if let Some(before) = live.statics.get(instance).cloned() {
            replace_static_member(scene, join, &before, &id);
            return Ok(());
        }
    } else if join.version >= 4 {
        // It has to come back with its id, so that a lost answer leaves no ghost (KIP-394).
        live.pending.insert(id.clone());
        let delay = i64::from(join.request.session_timeout_ms);
        scene.turn.set_timer(session_timer(group, &id), delay);
        refuse_join(scene, ErrorCode::MEMBER_ID_REQUIRED, id);
        return Ok(());
    }
    add_member(scene, join, id);
    Ok(())
}

/// The reason of the rebalance for the log: what happened, and the reason that the client gave.
fn join_reason(join: &JoinCommand, what: &str) -> String {
    match join.request.reason.as_deref().filter(|said| !said.is_empty()) {
        Some(said) => format!("{what}: {said}"),
        None => String::from(what),
    }
}

fn add_member(scene: &mut GroupScene<'_>, join: &JoinCommand, id: String) {
    let group = &join.request.group_id;
    let ticket = scene.turn.ticket;
    let live = known_group(scene.live, group);
    live.pending.remove(&id);
    if live.members.is_empty() {
        live.protocol_type = Some(join.request.protocol_type.clone());
    }
    if let Some(instance) = &join.request.group_instance_id {
        live.statics.insert(instance.clone(), id.clone());
    }
    if let Some((_, came)) = &mut live.gathering {
        *came = true;
    }
    live.members.insert(id.clone(), joining_member(join, ticket));
    // No session timer while its JoinGroup waits: the answer may take longer than the session.
    scene.turn.cancel_timer(session_timer(group, &id));
    prepare_rebalance(scene, group, join_reason(join, &format!("member {id} joined")));
}

/// A static member has restarted: its new member id replaces the old one (KIP-345).
fn replace_static_member(scene: &mut GroupScene<'_>, join: &JoinCommand, before: &str, id: &str) {
    let group = &join.request.group_id;
    let ticket = scene.turn.ticket;
    let live = known_group(scene.live, group);
    let old = live.members.remove(before).expect("a static member's id is a member's");
    scene.turn.cancel_timer(session_timer(group, before));
    turn_away(scene, before, &old, ErrorCode::FENCED_INSTANCE_ID);
    let live = known_group(scene.live, group);
    let mut fresh = joining_member(join, ticket);
    fresh.assignment = old.assignment;
    if let Some(instance) = &fresh.instance {
        live.statics.insert(instance.clone(), String::from(id));
    }
    let led = live.is_leader(before);
    if led {
        live.leader = Some(String::from(id));
    }
    live.members.insert(String::from(id), fresh);
    let record = GroupRecord::Group { group: group.clone(), value: Some(live.to_log()) };
    let fits = record.size_bytes() <= scene.settings.batch_bytes_max;
    let unchanged = live.state == GroupState::Stable && live.choose() == live.protocol && fits;
    if !unchanged {
        let why = format!("static member {id} replaced {before}");
        return prepare_rebalance(scene, group, join_reason(join, &why));
    }
    // Nothing has changed for the others: the generation goes on, under the new id.
    if let Some(member) = live.members.get_mut(id) {
        member.joining = None;
    }
    let mut response = join_response(live, id, join.version);
    response.skip_assignment = led && join.version >= 9;
    if led && join.version < 9 {
        // A client of an older version would assign again if the answer named it as the leader.
        response.leader = String::from(before);
        response.members.clear();
    }
    let value = Some(live.to_log());
    scene.turn.record(GroupRecord::Group { group: group.clone(), value });
    scene.turn.reply(GroupReply::Join(response));
    restart_session(scene, group, id);
}

/// A JoinGroup with a member id.
fn join_with_id(scene: &mut GroupScene<'_>, join: &JoinCommand) -> Result<(), ErrorCode> {
    let request = &join.request;
    let (group, id) = (&request.group_id, &request.member_id);
    let ticket = scene.turn.ticket;
    let live = known_group(scene.live, group);
    if live.pending.contains(id) {
        add_member(scene, join, id.clone());
        return Ok(());
    }
    super::check_member(live, id, request.group_instance_id.as_deref(), -1)?;
    let fresh = joining_member(join, ticket);
    let state = live.state;
    let leads = live.is_leader(id);
    let known = live.members.get_mut(id).expect("it was checked that it is a member");
    let same = known.protocols == fresh.protocols;
    let stays = same && (state == GroupState::Completing || state == GroupState::Stable && !leads);
    if stays {
        // The answer to its last JoinGroup was lost: the same answer again.
        let response = join_response(live, id, join.version);
        scene.turn.reply(GroupReply::Join(response));
        restart_session(scene, group, id);
        return Ok(());
    }
    if let Some((waiting, _)) = known.joining.take() {
        // The client has given up its earlier JoinGroup, whose connection may be closed.
        let code = ErrorCode::REBALANCE_IN_PROGRESS.0;
        let response =
            JoinGroupResponse { error_code: code, member_id: id.clone(), ..Default::default() };
        scene.turn.reply_to(waiting, GroupReply::Join(response));
    }
    // A static member stays one, also if this request has no group.instance.id.
    let (instance, assignment) = (known.instance.take(), known.assignment.clone());
    let syncing = known.syncing.take();
    *known = ClassicMember { instance, assignment, syncing, ..fresh };
    scene.turn.cancel_timer(session_timer(group, id));
    prepare_rebalance(scene, group, join_reason(join, &format!("member {id} joined again")));
    Ok(())
}
