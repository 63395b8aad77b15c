//! One partition of `__consumer_offsets` as a replicated state machine.

use alloc::collections::BTreeMap;
use alloc::string::String;

use ottla_machine::{Machine, Turn};

use super::command::{Command, Reply, Timer};
use super::live::Live;
use super::record::Record;
use super::settings::GroupSettings;
use super::stored::Stored;
use super::{classic, consumer, offsets, show};

/// The groups of one shard.
#[derive(Debug, Default)]
pub struct GroupMachine {
    stored: Stored,
    volatile: Volatile,
    settings: GroupSettings,
}

/// What only this leader knows of its groups.
#[derive(Clone, Debug, Default)]
pub struct Volatile {
    live: BTreeMap<String, Live>,
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
    pub const fn stored(&self) -> &Stored {
        &self.stored
    }
}

/// What a decision works with: the log to read, the live part to change, the turn to fill.
pub(super) struct Scene<'a> {
    pub stored: &'a Stored,
    pub live: &'a mut BTreeMap<String, Live>,
    pub seen: &'a mut BTreeMap<String, i64>,
    pub settings: &'a GroupSettings,
    pub turn: &'a mut Turn<GroupMachine>,
}

impl Machine for GroupMachine {
    type Command = Command;
    type Record = Record;
    type Reply = Reply;
    type Timer = Timer;
    type Volatile = Volatile;

    fn decide(&mut self, command: Command, turn: &mut Turn<Self>) {
        if let Command::Settings(settings) = command {
            self.settings = settings;
            return;
        }
        let Self { stored, volatile: Volatile { live, seen }, settings } = self;
        let scene = &mut Scene { stored, live, seen, settings, turn };
        match command {
            // Taken out above.
            Command::Settings(_) => {}
            Command::Loaded => {
                classic::loaded(scene);
                consumer::loaded(scene);
                offsets::expire::start(scene);
            }
            Command::Expired(timer) => expired(scene, &timer),
            Command::Join(join) => classic::join::join(scene, join),
            Command::Sync { request, version } => classic::sync::sync(scene, request, version),
            Command::Heartbeat(request) => classic::heartbeat::heartbeat(scene, &request),
            Command::Leave { request, version } => classic::leave::leave(scene, request, version),
            Command::CommitOffsets { request, version } => {
                offsets::commit::commit(scene, &request, version);
            }
            Command::FetchOffsets { request, require_stable } => {
                offsets::fetch::fetch(scene, request, require_stable);
            }
            Command::ConsumerHeartbeat { request, client } => {
                consumer::heartbeat(scene, request, client);
            }
            Command::ConsumerDescribe(groups) => consumer::describe(scene, groups),
            Command::CommitInTransaction(request) => {
                offsets::commit::in_transaction(scene, &request);
            }
            Command::EndTransaction(end) => {
                scene.turn.record(Record::Ended(end));
                scene.turn.reply(Reply::TransactionEnded);
            }
            Command::DeleteOffsets(request) => offsets::delete::delete(scene, &request),
            Command::Describe { groups, version } => show::describe(scene, groups, version),
            Command::List(request) => show::list(scene, &request),
            Command::Delete { groups } => offsets::delete::groups(scene, groups),
            Command::TopicsDeleted(gone) => offsets::delete::topics(scene, &gone),
        }
    }

    fn apply(&mut self, record: &Record) {
        self.stored.apply(record);
    }

    fn expired(timer: Timer) -> Command {
        Command::Expired(timer)
    }

    fn volatile(&self) -> Volatile {
        self.volatile.clone()
    }

    fn restore(&mut self, before: Volatile) {
        self.volatile = before;
    }
}

fn expired(scene: &mut Scene<'_>, timer: &Timer) {
    match timer {
        Timer::Session { group, member } => classic::expire::session(scene, group, member),
        Timer::Join { group } => classic::expire::join(scene, group),
        Timer::Sync { group } => classic::expire::sync(scene, group),
        Timer::OffsetExpiry => offsets::expire::expire(scene),
        Timer::ConsumerSession { group, member }
        | Timer::ConsumerJoin { group, member }
        | Timer::ConsumerSync { group, member } => {
            consumer::session_timeout(scene, group, member);
        }
        Timer::ConsumerRebalance { group, member } => {
            consumer::rebalance_timeout(scene, group, member);
        }
    }
}
