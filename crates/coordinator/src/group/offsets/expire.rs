//! Offsets that expire: `offsets.retention.minutes` after the group became empty, or after the last
//! commit of a group that never had members (KIP-211).

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_types::TimestampMs;

use super::super::command::GroupTimer;
use super::super::live::GroupState;
use super::super::machine::GroupScene;
use super::super::stored::CommittedOffset;
use super::delete::{offset_tombstone, subscribed_topics, tombstone_group};

/// How many records one round writes at most; the next goes on.
const RECORDS_MAX: usize = 2_000;

pub(in crate::group) fn start_expiry_timer(scene: &mut GroupScene<'_>) {
    let delay = scene.settings.offsets_check_interval_ms;
    scene.turn.set_timer(GroupTimer::OffsetExpiry, delay);
}

pub(in crate::group) fn expire_offsets(scene: &mut GroupScene<'_>) {
    let groups = scene.stored.groups_with_offsets().into_iter().chain(scene.live.keys());
    let groups: Vec<String> = groups.cloned().collect();
    let groups = groups.into_iter().chain(scene.stored.consumers.keys().cloned());
    let groups: BTreeSet<String> = groups.collect();
    for group in groups {
        if scene.turn.records.len() >= RECORDS_MAX {
            break;
        }
        expire_group_offsets(scene, &group);
    }
    start_expiry_timer(scene);
}

fn expire_group_offsets(scene: &mut GroupScene<'_>, group: &str) {
    let now = scene.turn.now_ms;
    let retention = scene.settings.offsets_retention_ms;
    let live = scene.live.get(group);
    let known = scene.stored.consumers.get(group);
    let empty = live.is_none_or(|live| live.state == GroupState::Empty && live.pending.is_empty())
        && known.is_none_or(|known| known.members.is_empty());
    // While a group has members, only offsets of topics that no member subscribes to can expire.
    let of_members = || known.map(|it| it.topics().into_iter().cloned().collect());
    let read = if empty { None } else { live.and_then(subscribed_topics).or_else(of_members) };
    if !empty && read.is_none() {
        return;
    }
    // A group that had members counts from when the last one left (KIP-211).
    let since = live.filter(|live| empty && live.protocol_type.is_some()).map(|live| live.since_ms);
    let expired = |offset: &CommittedOffset| -> bool {
        let base: TimestampMs = since.unwrap_or(offset.timestamp).max(offset.timestamp);
        offset.expires.unwrap_or_else(|| base.saturating_add(retention)) <= now
    };
    let mut left = 0;
    let mut records = Vec::new();
    for (topic, partitions) in scene.stored.offsets.get(group).into_iter().flatten() {
        for (partition, committed) in partitions {
            let needed = read.as_ref().is_some_and(|read| read.contains(topic))
                || scene.stored.is_unstable(group, topic, *partition);
            if !needed && expired(committed) {
                records.push(offset_tombstone(group, topic, *partition));
            } else {
                left += 1;
            }
        }
    }
    // An offset that is only pending keeps the group until its transaction ends.
    if empty && left == 0 && !scene.stored.has_pending(group) {
        tombstone_group(scene, group);
    } else {
        scene.turn.records.extend(records);
    }
}
