//! One partition of `__consumer_offsets` as a replicated state machine.

use alloc::collections::BTreeMap;
use alloc::string::String;

use ottla_machine::{Machine, Turn};

use super::command::{GroupCommand, GroupReply, GroupTimer};
use super::live::ClassicGroup;
use super::record::GroupRecord;
use super::settings::GroupSettings;
use super::stored::StoredGroups;
use super::{classic, consumer, offsets, show};

/// How many groups a debug build looks at after every turn, and of how many members each: with all
/// of them, the time of a rebalance would grow with the square of their number.
const CHECKED_GROUPS_MAX: usize = 16;
const CHECKED_MEMBERS_MAX: usize = 32;

/// The groups of one shard.
#[derive(Debug, Default)]
pub struct GroupMachine {
    stored: StoredGroups,
    volatile: GroupVolatile,
    settings: GroupSettings,
}

/// What only this leader knows of its groups.
#[derive(Clone, Debug, Default)]
pub struct GroupVolatile {
    live: BTreeMap<String, ClassicGroup>,
    /// For which version of the topics each consumer group was last looked at.
    seen: BTreeMap<String, i64>,
}

impl GroupMachine {
    /// A machine that has seen no record yet.
    #[must_use]
    pub fn new(settings: GroupSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What the log says.
    #[must_use]
    pub const fn stored(&self) -> &StoredGroups {
        &self.stored
    }
}

/// What a decision works with: the log to read, the live part to change, the turn to fill.
pub(super) struct GroupScene<'a> {
    pub stored: &'a StoredGroups,
    pub live: &'a mut BTreeMap<String, ClassicGroup>,
    pub seen: &'a mut BTreeMap<String, i64>,
    pub settings: &'a GroupSettings,
    pub turn: &'a mut Turn<GroupMachine>,
}

impl Machine for GroupMachine {
    type Command = GroupCommand;
    type Record = GroupRecord;
    type Reply = GroupReply;
    type Timer = GroupTimer;
    type Volatile = GroupVolatile;
    type Settings = GroupSettings;

    fn set_settings(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    fn decide(&mut self, command: GroupCommand, turn: &mut Turn<Self>) {
        let Self { stored, volatile: GroupVolatile { live, seen }, settings } = self;
        let scene = &mut GroupScene { stored, live, seen, settings, turn };
        match command {
            GroupCommand::Loaded => {
                classic::start_sessions(scene);
                consumer::start_sessions(scene);
                offsets::expire::start_expiry_timer(scene);
            }
            GroupCommand::Expired(timer) => timer_expired(scene, &timer),
            GroupCommand::Join(join) => classic::join::join_group(scene, join),
            GroupCommand::Sync { request, version } => {
                classic::sync::sync_group(scene, request, version)
            }
            GroupCommand::Heartbeat(request) => {
                classic::heartbeat::classic_heartbeat(scene, &request)
            }
            GroupCommand::Leave { request, version } => {
                classic::leave::leave_group(scene, request, version)
            }
            GroupCommand::CommitOffsets { request, version } => {
                offsets::commit::commit_offsets(scene, &request, version);
            }
            GroupCommand::FetchOffsets { request, require_stable } => {
                offsets::fetch::fetch_offsets(scene, request, require_stable);
            }
            GroupCommand::ConsumerHeartbeat { request, client } => {
                consumer::consumer_heartbeat(scene, request, client);
            }
            GroupCommand::ConsumerDescribe(groups) => {
                consumer::describe_consumer_groups(scene, groups)
            }
            GroupCommand::CommitInTransaction(request) => {
                offsets::commit::commit_in_transaction(scene, &request);
            }
            GroupCommand::EndTransaction(end) => {
                scene.turn.record(GroupRecord::Ended(end));
                scene.turn.reply(GroupReply::TransactionEnded);
            }
            GroupCommand::DeleteOffsets(request) => {
                offsets::delete::delete_offsets(scene, &request)
            }
            GroupCommand::Describe { groups, version } => {
                show::describe_groups(scene, groups, version)
            }
            GroupCommand::List(request) => show::list_groups(scene, &request),
            GroupCommand::Delete { groups } => offsets::delete::delete_groups(scene, groups),
            GroupCommand::TopicsDeleted(gone) => {
                offsets::delete::delete_topic_offsets(scene, &gone)
            }
        }
    }

    fn apply(&mut self, record: &GroupRecord) {
        self.stored.apply(record);
    }

    fn check_turn(&self, records: &[GroupRecord]) {
        // A turn may change a group without a record, so debug builds look at the first groups,
        // whatever was asked; production does not.
        if cfg!(debug_assertions) {
            let classic = self.volatile.live.iter().take(CHECKED_GROUPS_MAX);
            for (id, group) in
                classic.filter(|(_, group)| group.members.len() < CHECKED_MEMBERS_MAX)
            {
                let is_consumer = self.stored.consumers.contains_key(id);
                assert!(!is_consumer, "group {id}: it is a classic and a consumer group at once");
                assert_eq!(group.broken_rule(), None, "group {id}");
            }
            let consumers = self.stored.consumers.iter().take(CHECKED_GROUPS_MAX);
            for (id, group) in
                consumers.filter(|(_, group)| group.members.len() < CHECKED_MEMBERS_MAX)
            {
                assert_eq!(group.broken_rule(), None, "group {id}");
            }
            let is_pending = |record: &GroupRecord| {
                matches!(record, GroupRecord::Pending { .. } | GroupRecord::Ended(_))
            };
            if records.iter().any(is_pending) {
                self.stored.check_pending();
            }
        }
    }

    fn expired(timer: GroupTimer) -> GroupCommand {
        GroupCommand::Expired(timer)
    }

    fn volatile(&self) -> GroupVolatile {
        self.volatile.clone()
    }

    fn restore(&mut self, before: GroupVolatile) {
        self.volatile = before;
    }
}

fn timer_expired(scene: &mut GroupScene<'_>, timer: &GroupTimer) {
    match timer {
        GroupTimer::Session { group, member } => {
            classic::expire::session_expired(scene, group, member)
        }
        GroupTimer::Join { group } => classic::expire::join_time_over(scene, group),
        GroupTimer::Sync { group } => classic::expire::sync_time_over(scene, group),
        GroupTimer::OffsetExpiry => offsets::expire::expire_offsets(scene),
        GroupTimer::ConsumerSession { group, member }
        | GroupTimer::ConsumerJoin { group, member }
        | GroupTimer::ConsumerSync { group, member } => {
            consumer::session_timeout(scene, group, member);
        }
        GroupTimer::ConsumerRebalance { group, member } => {
            consumer::rebalance_timeout(scene, group, member);
        }
    }
}
