//! OffsetCommit, versions 0 to 10, and TxnOffsetCommit, versions 0 to 6.
//!
//! KIP-447: a transactional commit names the member, which must be in the current generation.
//! KIP-848: from version 9 of OffsetCommit on, a member of a consumer group commits with its member
//! epoch. KIP-1251: an earlier epoch is accepted for partitions that the member has had since then.

use ottla_protocol::group::offset_commit_value::OffsetCommitValue;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition,
};
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_types::{ErrorCode, TimestampMs};

use super::super::classic;
use super::super::command::GroupReply;
use super::super::live::{ClassicGroup, GroupState};
use super::super::machine::GroupScene;
use super::super::record::GroupRecord;

/// The first version of OffsetCommit that distinguishes a member epoch from a generation.
const MEMBER_EPOCHS_FROM: i16 = 9;

/// The member that commits, as the request names it.
struct CommittingMember<'a> {
    group: &'a str,
    member: &'a str,
    epoch: i32,
    /// May it commit, as far as that does not depend on the partition?
    allowed: Result<(), ErrorCode>,
}

/// One partition of a commit.
struct PartitionCommit<'a> {
    topic: &'a str,
    index: i32,
    metadata: Option<&'a str>,
}

pub(in crate::group) fn commit_offsets(
    scene: &mut GroupScene<'_>,
    request: &OffsetCommitRequest,
    version: i16,
) {
    let committer = CommittingMember {
        group: &request.group_id,
        member: &request.member_id,
        epoch: request.generation_id_or_member_epoch,
        allowed: check_commit(scene, request, version),
    };
    let now_ms = scene.turn.now_ms;
    let mut response = OffsetCommitResponse::default();
    for topic in &request.topics {
        let mut answer = OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            ..Default::default()
        };
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let metadata = partition.committed_metadata.as_deref();
            let commit = PartitionCommit { topic: &topic.name, index, metadata };
            let code = commit_partition(scene, &committer, &commit, || {
                let value = commit_value(now_ms, request, partition, version);
                GroupRecord::Offset {
                    group: request.group_id.clone(),
                    topic: topic.name.clone(),
                    partition: index,
                    value: Some(OffsetCommitValue { topic_id: topic.topic_id, ..value }),
                }
            });
            answer.partitions.push(OffsetCommitResponsePartition {
                partition_index: index,
                error_code: code.0,
                ..Default::default()
            });
        }
        response.topics.push(answer);
    }
    scene.turn.reply(GroupReply::CommitOffsets(response));
}

/// TxnOffsetCommit: the offsets are pending until the transaction's marker comes (KIP-98, KIP-447).
pub(in crate::group) fn commit_in_transaction(
    scene: &mut GroupScene<'_>,
    request: &TxnOffsetCommitRequest,
) {
    let committer = CommittingMember {
        group: &request.group_id,
        member: &request.member_id,
        epoch: request.generation_id_or_member_epoch,
        allowed: check_commit_in_transaction(scene, request),
    };
    let now_ms = scene.turn.now_ms;
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &request.topics {
        let mut answer =
            TxnOffsetCommitResponseTopic { name: topic.name.clone(), ..Default::default() };
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let metadata = partition.committed_metadata.as_deref();
            let commit = PartitionCommit { topic: &topic.name, index, metadata };
            let code = commit_partition(scene, &committer, &commit, || GroupRecord::Pending {
                producer: (request.producer_id, request.producer_epoch),
                group: request.group_id.clone(),
                topic: topic.name.clone(),
                partition: index,
                value: OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.clone().unwrap_or_default(),
                    commit_timestamp: now_ms,
                    expire_timestamp: -1,
                    ..Default::default()
                },
            });
            answer.partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: index,
                error_code: code.0,
                ..Default::default()
            });
        }
        response.topics.push(answer);
    }
    scene.turn.reply(GroupReply::CommitInTransaction(response));
}

/// Writes `record` down, if the member may commit for the partition: what the partition is
/// answered.
fn commit_partition(
    scene: &mut GroupScene<'_>,
    committer: &CommittingMember<'_>,
    commit: &PartitionCommit<'_>,
    record: impl FnOnce() -> GroupRecord,
) -> ErrorCode {
    let fits = check_metadata_size(scene, commit.metadata);
    let late = |code| check_late_commit(scene, committer, commit, code);
    match committer.allowed.or_else(late).and(fits) {
        Err(code) => code,
        Ok(()) => {
            scene.turn.record(record());
            ErrorCode::NONE
        }
    }
}

/// A member may commit with an earlier epoch for a partition that it has had since then (KIP-1251).
fn check_late_commit(
    scene: &GroupScene<'_>,
    committer: &CommittingMember<'_>,
    commit: &PartitionCommit<'_>,
    code: ErrorCode,
) -> Result<(), ErrorCode> {
    let CommittingMember { group, member, epoch, .. } = *committer;
    let is_about_epochs =
        [ErrorCode::STALE_MEMBER_EPOCH, ErrorCode::ILLEGAL_GENERATION].contains(&code);
    let known = scene.stored.consumers.get(group).filter(|_| is_about_epochs);
    let topic = scene.settings.topics.find(commit.topic);
    let (Some(known), Some((topic, _))) = (known, topic) else { return Err(code) };
    if known.may_commit_late(member, epoch, topic, commit.index) { Ok(()) } else { Err(code) }
}

/// Checks the metadata of a commit against `offset.metadata.max.bytes`.
fn check_metadata_size(scene: &GroupScene<'_>, metadata: Option<&str>) -> Result<(), ErrorCode> {
    let units = metadata.map_or(0, |it| it.encode_utf16().count());
    if units > scene.settings.offset_metadata_units_max {
        return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
    }
    Ok(())
}

/// May a producer commit for this group? It need not name a member; one that it names must be in
/// the group.
fn check_commit_in_transaction(
    scene: &mut GroupScene<'_>,
    request: &TxnOffsetCommitRequest,
) -> Result<(), ErrorCode> {
    let (group, generation) = (&request.group_id, request.generation_id_or_member_epoch);
    if group.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    if let Some(known) = scene.stored.consumers.get(group) {
        let is_nobody = generation < 0 && request.member_id.is_empty();
        let may = || known.may_commit(&request.member_id, generation);
        return if is_nobody { Ok(()) } else { may() }.map_err(|code| match code {
            ErrorCode::STALE_MEMBER_EPOCH => ErrorCode::ILLEGAL_GENERATION,
            code => code,
        });
    }
    let now = scene.turn.now_ms;
    let Some(live) = scene.live.get(group) else {
        if generation >= 0 {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        scene.live.insert(group.clone(), ClassicGroup { since_ms: now, ..ClassicGroup::default() });
        return Ok(());
    };
    let instance = request.group_instance_id.as_deref();
    let is_nobody = generation < 0 && request.member_id.is_empty() && instance.is_none();
    if is_nobody || generation < 0 && live.state == GroupState::Empty {
        return Ok(());
    }
    check_current_member(live, &request.member_id, instance, generation)
}

/// Checks that the member is in the group, and that the generation is the current one.
fn check_current_member(
    live: &ClassicGroup,
    member: &str,
    instance: Option<&str>,
    generation: i32,
) -> Result<(), ErrorCode> {
    classic::check_member(live, member, instance, generation)?;
    if generation == live.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
}

fn commit_value(
    now_ms: TimestampMs,
    request: &OffsetCommitRequest,
    partition: &OffsetCommitRequestPartition,
    version: i16,
) -> OffsetCommitValue {
    let kept = request.retention_time_ms;
    let said = version == 1 && partition.commit_timestamp >= 0;
    OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.clone().unwrap_or_default(),
        commit_timestamp: if said { partition.commit_timestamp } else { now_ms },
        expire_timestamp: if kept >= 0 { now_ms.saturating_add(kept) } else { -1 },
        ..Default::default()
    }
}

/// May a client commit offsets as this member, or without a member id?
fn check_commit(
    scene: &mut GroupScene<'_>,
    request: &OffsetCommitRequest,
    version: i16,
) -> Result<(), ErrorCode> {
    let (group, generation) = (&request.group_id, request.generation_id_or_member_epoch);
    if let Some(known) = scene.stored.consumers.get(group) {
        known.may_commit(&request.member_id, generation)?;
        let member = known.members.get(&request.member_id);
        // Earlier versions have no member epoch.
        let knows = version >= MEMBER_EPOCHS_FROM || member.is_none_or(|it| it.classic.is_some());
        return if knows { Ok(()) } else { Err(ErrorCode::UNSUPPORTED_VERSION) };
    }
    let now = scene.turn.now_ms;
    let Some(live) = scene.live.get(group) else {
        if generation >= 0 {
            // Clients of older versions do not expect that a group is missing.
            let is_old = version < MEMBER_EPOCHS_FROM;
            let missing = ErrorCode::GROUP_ID_NOT_FOUND;
            return Err(if is_old { ErrorCode::ILLEGAL_GENERATION } else { missing });
        }
        // A group that is only a name for offsets.
        scene.live.insert(group.clone(), ClassicGroup { since_ms: now, ..ClassicGroup::default() });
        return Ok(());
    };
    let instance = request.group_instance_id.as_deref();
    if generation < 0 && live.state == GroupState::Empty {
        return Ok(());
    }
    if generation >= 0 || !request.member_id.is_empty() || instance.is_some() {
        check_current_member(live, &request.member_id, instance, generation)?;
    } else {
        return Err(ErrorCode::UNKNOWN_MEMBER_ID);
    }
    if live.state == GroupState::Completing {
        return Err(ErrorCode::REBALANCE_IN_PROGRESS);
    }
    let waits = live.members.get(&request.member_id).is_some_and(|it| it.joining.is_some());
    if !waits {
        classic::restart_session(scene, group, &request.member_id);
    }
    Ok(())
}
