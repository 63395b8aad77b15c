//! Consumer groups (KIP-848): the coordinator computes the assignment.
//!
//! There are three epochs. The group epoch rises with every change of members, subscriptions or
//! topics; the assignment epoch is the group epoch for which the target assignment was computed;
//! and a member epoch is the assignment epoch that the member has reached. A member first gives
//! partitions up, then takes the new epoch, then gets the partitions that other members have given
//! up: so a partition has one owner at any time.

mod assign;
pub(super) mod classic;
mod heartbeat;
mod leave;
mod reconcile;
mod record;
mod show;
mod stored;
mod topics;

pub use record::ConsumerRecord;
pub use stored::{
    ClassicMetadata, ConsumerGroup, CurrentAssignment, MemberState, TopicIdPartitions,
};
pub use topics::TopicCatalog;

pub(super) use heartbeat::consumer_heartbeat;
pub(super) use leave::{rebalance_timeout, session_timeout};
pub(super) use show::{describe_consumer_groups, list_consumer_groups};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_machine::Note;

use super::command::GroupTimer;
use super::machine::GroupScene;
use super::record::GroupRecord;
use stored::ConsumerMember;

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// A copy of a group that a command changes, and the records of the change.
pub(super) struct Draft {
    pub id: String,
    pub group: ConsumerGroup,
    pub records: Vec<GroupRecord>,
    pub notes: Vec<Note>,
}

impl Draft {
    /// The group as it is, or a new one.
    pub fn of(scene: &GroupScene<'_>, id: &str) -> Self {
        let group = scene.stored.consumers.get(id).cloned().unwrap_or_default();
        Self { id: id.into(), group, records: Vec::new(), notes: Vec::new() }
    }

    /// Changes the group.
    pub fn write(&mut self, record: ConsumerRecord) {
        self.group.apply(&record);
        self.records.push(GroupRecord::Consumer(record));
    }

    /// Raises the group epoch: a new assignment is due. `reason` is for the log.
    pub fn bump(&mut self, metadata_hash: i64, reason: String) {
        let epoch = self.group.epoch + 1;
        self.write(ConsumerRecord::epoch(&self.id, epoch, metadata_hash));
        self.notes.push(Note::Group {
            event: "group rebalance started",
            group: self.id.clone(),
            generation: epoch,
            members: self.group.members.len(),
            reason,
        });
    }

    /// Are the records larger than one append may be? A member's metadata has no bound of its own.
    pub fn is_too_large(&self, scene: &GroupScene<'_>) -> bool {
        let bytes = self.records.iter().map(GroupRecord::size_bytes).sum::<usize>();
        bytes > scene.settings.batch_bytes_max
    }

    /// A rebalance ends when every member has its target assignment; with no members left, at once.
    fn tell_of_the_end(&mut self, scene: &GroupScene<'_>) {
        let group = &self.group;
        let is_over = |it: &ConsumerGroup| it.members.is_empty() || it.is_settled();
        let was_under_way =
            scene.stored.consumers.get(&self.id).is_some_and(|before| !is_over(before));
        if !is_over(group) || !was_under_way && self.notes.is_empty() {
            return;
        }
        let reason = match group.members.is_empty() {
            true => String::from("the group has no members left"),
            false => String::from("every member has its assignment"),
        };
        self.notes.push(Note::Group {
            event: "group rebalance finished",
            group: self.id.clone(),
            generation: group.epoch,
            members: group.members.len(),
            reason,
        });
    }

    pub fn finish(mut self, scene: &mut GroupScene<'_>) {
        self.tell_of_the_end(scene);
        scene.turn.records.extend(self.records);
        scene.turn.notes.extend(self.notes);
    }
}

/// The partition has been replayed: the session timeout of each member starts now.
pub(super) fn start_sessions(scene: &mut GroupScene<'_>) {
    for (id, group) in &scene.stored.consumers {
        for (member, said) in &group.members {
            restart_session(scene, id, member, said);
        }
        let revoking = group.current.iter().filter(|(_, it)| it.state == MemberState::Unrevoked);
        for (member, _) in revoking {
            let Some(said) = group.members.get(member) else { continue };
            // A classic member revokes partitions by joining again.
            let timer = if said.classic.is_some() { join_timer } else { rebalance_timer };
            scene.turn.set_timer(timer(id, member), i64::from(said.rebalance_timeout_ms));
        }
    }
}

/// The member has sent a request: its session timeout starts again. A member that uses the
/// classic protocol brings its own timeout.
fn restart_session(scene: &mut GroupScene<'_>, group: &str, member: &str, said: &ConsumerMember) {
    let usual = scene.settings.consumer_session_ms(group);
    let delay = said.classic.as_ref().map_or(usual, |it| it.session_timeout_ms);
    scene.turn.set_timer(session_timer(group, member), i64::from(delay));
}

/// The member has left: its timers end.
fn stop_watching(scene: &mut GroupScene<'_>, group: &str, member: &str) {
    for timer in [session_timer, rebalance_timer, join_timer, sync_timer] {
        scene.turn.cancel_timer(timer(group, member));
    }
}

fn session_timer(group: &str, member: &str) -> GroupTimer {
    GroupTimer::ConsumerSession { group: Arc::from(group), member: Arc::from(member) }
}

fn rebalance_timer(group: &str, member: &str) -> GroupTimer {
    GroupTimer::ConsumerRebalance { group: Arc::from(group), member: Arc::from(member) }
}

fn join_timer(group: &str, member: &str) -> GroupTimer {
    GroupTimer::ConsumerJoin { group: Arc::from(group), member: Arc::from(member) }
}

fn sync_timer(group: &str, member: &str) -> GroupTimer {
    GroupTimer::ConsumerSync { group: Arc::from(group), member: Arc::from(member) }
}

/// Deletes the group, but not its offsets.
pub(super) fn delete_consumer_group(scene: &mut GroupScene<'_>, id: &str) {
    scene.seen.remove(id);
    if let Some(group) = scene.stored.consumers.get(id) {
        let records = group.tombstones(id).into_iter().map(GroupRecord::Consumer);
        scene.turn.records.extend(records);
    }
}
