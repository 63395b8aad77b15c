//! ConsumerGroupHeartbeat, versions 0 and 1 (KIP-848): a member joins (epoch 0), reports its
//! subscription and the partitions that it owns, and gets its assignment. Version 1: the client
//! draws the member id (KIP-1082), and patterns are resolved here.

use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions as Owned,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_types::ErrorCode;

use super::super::command::{GroupReply, MemberClient};
use super::super::live::GroupState;
use super::super::machine::GroupScene;
use super::super::record::GroupRecord;
use super::assign::{ASSIGNORS, assign_partitions};
use super::classic::{Upgrade, upgrade_group};
use super::reconcile::{is_within, reconcile_member};
use super::record::ConsumerRecord;
use super::stored::{ConsumerMember, CurrentAssignment, MemberState, TopicIdPartitions};
use super::{Draft, leave, rebalance_timer, restart_session};

/// The member epoch of a member that leaves.
pub(super) const LEAVES: i32 = -1;
/// The member epoch of a static member that leaves and will be back.
pub(super) const AWAY: i32 = -2;

/// Why a heartbeat is refused: Kafka's error code, and the message for the client.
#[derive(Clone, Debug)]
pub(super) struct HeartbeatRefusal {
    pub code: ErrorCode,
    /// The same in words.
    pub message: Cow<'static, str>,
}

/// A refusal with a constant message.
pub(super) const fn refuse_heartbeat(code: ErrorCode, message: &'static str) -> HeartbeatRefusal {
    HeartbeatRefusal { code, message: Cow::Borrowed(message) }
}

pub(in crate::group) fn consumer_heartbeat(
    scene: &mut GroupScene<'_>,
    request: ConsumerGroupHeartbeatRequest,
    client: MemberClient,
) {
    let answer = match check_request(&request) {
        Err(refused) => Err(refused),
        Ok(()) if request.member_epoch < 0 => leave::leave_by_heartbeat(scene, &request),
        Ok(()) => take_heartbeat(scene, &request, client),
    };
    let response = answer.unwrap_or_else(|refused| ConsumerGroupHeartbeatResponse {
        error_code: refused.code.0,
        error_message: Some(refused.message.into_owned()),
        ..Default::default()
    });
    scene.turn.reply(GroupReply::ConsumerHeartbeat(response));
}

fn check_request(request: &ConsumerGroupHeartbeatRequest) -> Result<(), HeartbeatRefusal> {
    let invalid = |message| Err(refuse_heartbeat(ErrorCode::INVALID_REQUEST, message));
    let is_blank = |text: &Option<String>| text.as_ref().is_some_and(|it| it.trim().is_empty());
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if request.member_id.trim().is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if request.member_epoch < AWAY {
        return invalid("MemberEpoch is invalid.");
    }
    if request.member_epoch == AWAY && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    }
    if request.member_epoch == 0 {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.topic_partitions.as_ref().is_none_or(|it| !it.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    }
    if request.server_assignor.as_deref().is_some_and(|it| !ASSIGNORS.contains(&it)) {
        return Err(refuse_heartbeat(
            ErrorCode::UNSUPPORTED_ASSIGNOR,
            "The assignor is not supported; supported are uniform and range.",
        ));
    }
    Ok(())
}

fn take_heartbeat(
    scene: &mut GroupScene<'_>,
    request: &ConsumerGroupHeartbeatRequest,
    client: MemberClient,
) -> Result<ConsumerGroupHeartbeatResponse, HeartbeatRefusal> {
    let (id, joins) = (&request.group_id, request.member_epoch == 0);
    let is_known = scene.stored.consumers.contains_key(id);
    if !is_known && !joins {
        return Err(refuse_heartbeat(ErrorCode::GROUP_ID_NOT_FOUND, "The group is not known."));
    }
    if let Some(response) = nothing_new(scene, request, &client) {
        return Ok(response);
    }
    let (mut draft, upgrade) = draft_group(scene, id)?;
    let entrant = Entrant {
        member: &request.member_id,
        instance: request.instance_id.as_deref(),
        joins,
        is_classic: false,
    };
    admit_member(scene, &mut draft, &entrant)?;
    let member = request.member_id.clone();
    let before = draft.group.current.get(&member).cloned().unwrap_or_default();
    let owned = request.topic_partitions.as_ref().map(|all| owned_partitions(all));
    check_epoch(&before, request.member_epoch, owned.as_ref())?;
    let now = member_from_heartbeat(&draft, request, client);
    update_member(scene, &mut draft, &member, now)?;
    match upgrade {
        Some(upgrade) => upgrade.finish(scene, &draft),
        None => drop(scene.live.remove(id)),
    }
    settle_target(scene, &mut draft);
    let mut now = reconcile_member(&draft.group, &member, owned.as_ref());
    if joins && now.epoch != 0 && before.epoch != 0 {
        // A member that joins again under its id owns nothing: its last epoch does not count.
        now.previous = before.epoch;
    }
    let is_new = draft.group.current.get(&member) != Some(&now);
    if is_new {
        draft.write(ConsumerRecord::current(id, &member, now.clone()));
    }
    set_member_timers(scene, &draft, &member, &before);
    let groups = scene.stored.consumers.len();
    let interval_ms = scene.settings.consumer_heartbeat_ms(id, &draft.group, groups);
    draft.finish(scene);
    let tells = is_full(request) || now.assigned != before.assigned;
    Ok(ConsumerGroupHeartbeatResponse {
        member_id: Some(member),
        member_epoch: now.epoch,
        heartbeat_interval_ms: interval_ms,
        assignment: tells.then(|| response_assignment(&now.assigned)),
        ..Default::default()
    })
}

/// Has the request all fields? A member sends them when it joins, and after an answer was lost.
const fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    let reads =
        request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    let says_all = request.rebalance_timeout_ms != -1 && reads;
    request.member_epoch == 0 || says_all && request.topic_partitions.is_some()
}

/// A draft of the group, which may have been a classic one so far.
fn draft_group(
    scene: &GroupScene<'_>,
    id: &str,
) -> Result<(Draft, Option<Upgrade>), HeartbeatRefusal> {
    let Some(live) = scene.live.get(id) else { return Ok((Draft::of(scene, id), None)) };
    if live.state != GroupState::Empty {
        let (draft, how) = upgrade_group(scene, id)?;
        return Ok((draft, Some(how)));
    }
    let mut draft = Draft::of(scene, id);
    if scene.stored.groups.contains_key(id) {
        // An empty classic group gives its name to this one.
        draft.records.push(GroupRecord::Group { group: String::from(id), value: None });
    }
    Ok((draft, None))
}

/// The answer to a heartbeat that changes nothing, in a group where nothing is due: most of them.
fn nothing_new(
    scene: &mut GroupScene<'_>,
    request: &ConsumerGroupHeartbeatRequest,
    client: &MemberClient,
) -> Option<ConsumerGroupHeartbeatResponse> {
    let (id, member) = (&request.group_id, &request.member_id);
    let group = scene.stored.consumers.get(id)?;
    let (known, now) = (group.members.get(member)?, group.current.get(member)?);
    let says_nothing = request.subscribed_topic_names.is_none()
        && request.subscribed_topic_regex.is_none()
        && request.server_assignor.is_none()
        && request.topic_partitions.is_none()
        && request.rebalance_timeout_ms == -1
        && request.rack_id.is_none()
        && request.instance_id == known.instance
        && known.classic.is_none()
        && (&client.id, &client.host) == (&known.client_id, &known.client_host);
    let is_there = now.epoch == request.member_epoch
        && now.state == MemberState::Stable
        && (now.epoch, now.epoch) == (group.target_epoch, group.epoch);
    if !says_nothing || !is_there || scene.seen.get(id) != Some(&scene.settings.topics.version) {
        return None;
    }
    let interval = scene.settings.consumer_heartbeat_ms(id, group, scene.stored.consumers.len());
    restart_session(scene, id, member, known);
    Some(ConsumerGroupHeartbeatResponse {
        member_id: Some(member.clone()),
        member_epoch: now.epoch,
        heartbeat_interval_ms: interval,
        ..Default::default()
    })
}

/// The sender of a request: a member, or a client that asks to become one.
pub(super) struct Entrant<'a> {
    pub member: &'a str,
    /// Its name across restarts.
    pub instance: Option<&'a str>,
    /// Does it ask?
    pub joins: bool,
    pub is_classic: bool,
}

pub(super) fn has_no_room(scene: &GroupScene<'_>, draft: &Draft) -> bool {
    draft.group.members.len() >= scene.settings.consumer_members_max
}

/// Checks that the sender is a member; one that joins may become a member.
pub(super) fn admit_member(
    scene: &GroupScene<'_>,
    draft: &mut Draft,
    entrant: &Entrant<'_>,
) -> Result<(), HeartbeatRefusal> {
    let Entrant { member, instance, joins, is_classic } = *entrant;
    if let Some(instance) = instance {
        let there = draft.group.holder(instance).map(String::from);
        match there {
            Some(there) if there == *member => return Ok(()),
            Some(there) if joins => {
                let is_away = draft.group.current.get(&there).is_some_and(|it| it.epoch == AWAY);
                let was_classic =
                    draft.group.members.get(&there).is_some_and(|it| it.classic.is_some());
                // A classic member does not announce that it will be back (epoch -2).
                if !is_away && !is_classic && !was_classic {
                    return Err(refuse_heartbeat(
                        ErrorCode::UNRELEASED_INSTANCE_ID,
                        "The instance id is in use.",
                    ));
                }
                replace_static_member(draft, &there, member);
                return Ok(());
            }
            Some(_) => {
                return Err(refuse_heartbeat(
                    ErrorCode::FENCED_INSTANCE_ID,
                    "Another member has the instance id.",
                ));
            }
            None if joins => {}
            // Only a join may take an instance id: a heartbeat must not rename a member.
            None => {
                return Err(refuse_heartbeat(
                    ErrorCode::UNKNOWN_MEMBER_ID,
                    "The instance id is not known.",
                ));
            }
        }
    }
    if draft.group.members.contains_key(member) {
        return Ok(());
    }
    if !joins {
        return Err(refuse_heartbeat(
            ErrorCode::UNKNOWN_MEMBER_ID,
            "The member is not a member of the group.",
        ));
    }
    if has_no_room(scene, draft) {
        return Err(refuse_heartbeat(
            ErrorCode::GROUP_MAX_SIZE_REACHED,
            "The group has as many members as it may.",
        ));
    }
    Ok(())
}

/// A static member is back under another member id: it gets the assignment that it had.
fn replace_static_member(draft: &mut Draft, old: &str, new: &str) {
    let (target, had) =
        (draft.group.targets.get(old).cloned(), draft.group.current.get(old).cloned());
    let said = draft.group.members.get(old).cloned();
    let group = draft.id.clone();
    for record in ConsumerRecord::no_member(&group, old) {
        draft.write(record);
    }
    let (member, value) = (String::from(new), said);
    draft.write(ConsumerRecord::Member { group: group.clone(), member, value });
    let member = String::from(new);
    draft.write(ConsumerRecord::Target { group: group.clone(), member, value: target });
    if let Some(had) = had {
        // It has the epoch of the member that it replaces, so that the answer has its assignment.
        let epoch = if had.epoch == AWAY { had.previous } else { had.epoch };
        let current = CurrentAssignment { epoch, state: MemberState::Unreleased, ..had };
        draft.write(ConsumerRecord::current(&group, new, current));
    }
}

fn check_epoch(
    known: &CurrentAssignment,
    said: i32,
    owned: Option<&TopicIdPartitions>,
) -> Result<(), HeartbeatRefusal> {
    let fenced = Err(refuse_heartbeat(
        ErrorCode::FENCED_MEMBER_EPOCH,
        "The consumer group member has a different member epoch; it must give everything up and rejoin.",
    ));
    if said == 0 || said == known.epoch {
        return Ok(());
    }
    // The answer that would have brought it further may have been lost.
    let missed = said == known.previous && owned.is_some_and(|it| is_within(it, &known.assigned));
    if said < known.epoch && missed { Ok(()) } else { fenced }
}

/// The member after this heartbeat: fields that the request leaves out stay as they were.
fn member_from_heartbeat(
    draft: &Draft,
    request: &ConsumerGroupHeartbeatRequest,
    client: MemberClient,
) -> ConsumerMember {
    let mut now = draft.group.members.get(&request.member_id).cloned().unwrap_or_default();
    now.classic = None;
    (now.client_id, now.client_host) = (client.id, client.host);
    if request.instance_id.is_some() {
        now.instance.clone_from(&request.instance_id);
    }
    if request.rack_id.is_some() {
        now.rack.clone_from(&request.rack_id);
    }
    if request.rebalance_timeout_ms != -1 {
        now.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if request.server_assignor.is_some() {
        now.assignor.clone_from(&request.server_assignor);
    }
    if let Some(names) = &request.subscribed_topic_names {
        now.topics = names.iter().cloned().collect();
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        now.regex = Some(regex.clone()).filter(|it| !it.is_empty());
    }
    now
}

/// Writes the member's metadata to the log; if its subscription has changed, the group epoch rises.
pub(super) fn update_member(
    scene: &mut GroupScene<'_>,
    draft: &mut Draft,
    member: &str,
    now: ConsumerMember,
) -> Result<(), HeartbeatRefusal> {
    if let Some(regex) = &now.regex
        && !draft.group.regexes.contains_key(regex)
    {
        resolve_pattern(scene, draft, regex)?;
    }
    let same = |other: &ConsumerMember| {
        (&other.topics, &other.regex, &other.assignor) == (&now.topics, &now.regex, &now.assignor)
    };
    let before = draft.group.members.get(member);
    let is_change = before.map_or_else(|| !same(&ConsumerMember::default()), |it| !same(it));
    let is_known = before.is_some();
    if before != Some(&now) {
        let group = draft.id.clone();
        let value = Some(now);
        draft.write(ConsumerRecord::Member { group, member: String::from(member), value });
    }
    forget_patterns(draft);
    let topics = &scene.settings.topics;
    if scene.seen.get(&draft.id) != Some(&topics.version) {
        resolve_all_patterns(scene, draft);
    }
    let hash = draft.group.hash(topics);
    let is_new = draft.group.epoch == 0;
    // The first epoch is that of a group without topics, as in Kafka.
    draft.group.epoch = draft.group.epoch.max(1);
    if is_change || hash != draft.group.metadata_hash {
        let reason = match (is_change, is_known) {
            (true, true) => format!("member {member} changed its subscription"),
            (true, false) => format!("member {member} joined"),
            (false, _) => String::from("topics or their partitions changed"),
        };
        draft.bump(hash, reason);
    } else if is_new {
        draft.write(ConsumerRecord::epoch(&draft.id.clone(), 1, hash));
    }
    if draft.is_too_large(scene) {
        return Err(refuse_heartbeat(
            ErrorCode::UNKNOWN_SERVER_ERROR,
            "What the member says is too large.",
        ));
    }
    scene.seen.insert(draft.id.clone(), topics.version);
    Ok(())
}

fn resolve_pattern(
    scene: &GroupScene<'_>,
    draft: &mut Draft,
    regex: &str,
) -> Result<(), HeartbeatRefusal> {
    let topics = &scene.settings.topics;
    let found = topics.matching(regex).map_err(|bad| HeartbeatRefusal {
        code: ErrorCode::INVALID_REGULAR_EXPRESSION,
        message: format!("the topic pattern `{regex}` is not a regular expression: {bad}").into(),
    })?;
    if draft.group.regexes.get(regex) != Some(&found) {
        let (group, regex) = (draft.id.clone(), String::from(regex));
        draft.write(ConsumerRecord::Regex { group, regex, value: Some((found, topics.version)) });
    }
    Ok(())
}

/// Resolves all patterns again: the topics have changed.
fn resolve_all_patterns(scene: &GroupScene<'_>, draft: &mut Draft) {
    let regexes: Vec<String> = draft.group.regexes.keys().cloned().collect();
    for regex in regexes {
        // A pattern that another server accepted and this one does not keeps its resolved topics.
        let _ = resolve_pattern(scene, draft, &regex);
    }
}

/// Deletes the resolved patterns that no member subscribes to.
pub(super) fn forget_patterns(draft: &mut Draft) {
    let used: BTreeSet<&String> =
        draft.group.members.values().filter_map(|it| it.regex.as_ref()).collect();
    let unused: Vec<String> =
        draft.group.regexes.keys().filter(|it| !used.contains(it)).cloned().collect();
    for regex in unused {
        let group = draft.id.clone();
        draft.write(ConsumerRecord::Regex { group, regex, value: None });
    }
}

/// A new assignment, if one is due.
pub(super) fn settle_target(scene: &GroupScene<'_>, draft: &mut Draft) {
    if draft.group.epoch <= draft.group.target_epoch {
        return;
    }
    for (member, places) in assign_partitions(&draft.group, &scene.settings.topics) {
        if draft.group.targets.get(&member) != Some(&places) {
            let (group, value) = (draft.id.clone(), Some(places));
            draft.write(ConsumerRecord::Target { group, member, value });
        }
    }
    let (group, value) = (draft.id.clone(), Some(draft.group.epoch));
    draft.write(ConsumerRecord::TargetEpoch { group, value });
}

fn set_member_timers(
    scene: &mut GroupScene<'_>,
    draft: &Draft,
    member: &str,
    before: &CurrentAssignment,
) {
    let said = draft.group.members.get(member).expect("it has just been written down");
    restart_session(scene, &draft.id, member, said);
    let now = draft.group.current.get(member).map(|it| it.state);
    let must_give_up = now == Some(MemberState::Unrevoked);
    let had_to = before.state == MemberState::Unrevoked;
    if must_give_up && !had_to {
        let delay = i64::from(said.rebalance_timeout_ms);
        scene.turn.set_timer(rebalance_timer(&draft.id, member), delay);
    } else if had_to && !must_give_up {
        scene.turn.cancel_timer(rebalance_timer(&draft.id, member));
    }
}

fn owned_partitions(all: &[Owned]) -> TopicIdPartitions {
    all.iter().map(|it| (it.topic_id, it.partitions.iter().copied().collect())).collect()
}

fn response_assignment(places: &TopicIdPartitions) -> Assignment {
    let one = |(topic, partitions): (&ottla_types::Uuid, &BTreeSet<i32>)| TopicPartitions {
        topic_id: *topic,
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    };
    Assignment { topic_partitions: places.iter().map(one).collect(), ..Default::default() }
}
