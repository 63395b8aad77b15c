//! One partition of `__transaction_state` as a replicated state machine.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use ottla_machine::{Machine, Turn};
use ottla_types::ProducerEpoch;

use super::command::{TransactionCommand, TransactionReply, TransactionTimer};
use super::record::TransactionRecord;
use super::settings::TransactionSettings;
use super::stored::Transaction;
use super::{add, end, expire, init, show};

/// The transactional ids of one shard.
#[derive(Debug, Default)]
pub struct TransactionMachine {
    stored: BTreeMap<String, Transaction>,
    /// The ids whose markers are not all written: those in `PrepareCommit` or `PrepareAbort`. An
    /// index of `stored`, so that [`TransactionCommand::TakeWork`] need not walk all ids.
    prepared: BTreeSet<String>,
    live: TransactionVolatile,
    settings: TransactionSettings,
}

/// What only this leader knows.
#[derive(Clone, Debug, Default)]
pub struct TransactionVolatile {
    /// By id, the epoch that the client named in its last InitProducerId (KIP-360). The client may
    /// not have received the answer and ask again with it: then it gets the same epoch once more.
    /// Example: a client with epoch 4 asks, and epoch 5 is written; 4 stands here. It asks again
    /// with epoch 4, and the answer is epoch 5 again, not 6.
    pub(super) epoch_before: BTreeMap<String, ProducerEpoch>,
    /// The ids whose markers the host is writing: taken with `TakeWork`, and not
    /// `Marked` yet.
    pub(super) at_work: BTreeSet<String>,
}

/// What a decision works with.
pub(super) struct TransactionScene<'a> {
    pub stored: &'a BTreeMap<String, Transaction>,
    pub prepared: &'a BTreeSet<String>,
    pub live: &'a mut TransactionVolatile,
    pub settings: &'a TransactionSettings,
    pub turn: &'a mut Turn<TransactionMachine>,
}

impl TransactionScene<'_> {
    /// Writes down what the id is from now on.
    pub fn write(&mut self, id: &str, value: Transaction) {
        self.turn.record(TransactionRecord { id: id.into(), value: Some(value) });
    }
}

impl TransactionMachine {
    /// A machine that has seen no record yet.
    #[must_use]
    pub fn new(settings: TransactionSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What the log says, by transactional id.
    #[must_use]
    pub const fn stored(&self) -> &BTreeMap<String, Transaction> {
        &self.stored
    }
}

impl Machine for TransactionMachine {
    type Command = TransactionCommand;
    type Record = TransactionRecord;
    type Reply = TransactionReply;
    type Timer = TransactionTimer;
    type Volatile = TransactionVolatile;
    type Settings = TransactionSettings;

    fn set_settings(&mut self, settings: TransactionSettings) {
        self.settings = settings;
    }

    fn decide(&mut self, command: TransactionCommand, turn: &mut Turn<Self>) {
        let Self { stored, prepared, live, settings } = self;
        let scene = &mut TransactionScene { stored, prepared, live, settings, turn };
        match command {
            TransactionCommand::Loaded => expire::start_timers(scene),
            TransactionCommand::Expired(TransactionTimer::Timeout(id)) => end::time_out(scene, &id),
            TransactionCommand::Expired(TransactionTimer::IdExpiry) => expire::expire_ids(scene),
            TransactionCommand::Init(request) => init::init_producer(scene, &request),
            TransactionCommand::Add(request) => add::add_partitions(scene, &request),
            TransactionCommand::End(request) => end::end_transaction(scene, &request),
            TransactionCommand::TakeWork => end::take_work(scene),
            TransactionCommand::Marked(work) => end::complete_transaction(scene, &work),
            TransactionCommand::Describe(id) => show::describe_transaction(scene, &id),
            TransactionCommand::List(request) => show::list_transactions(scene, &request),
        }
    }

    fn apply(&mut self, record: &TransactionRecord) {
        if record.value.as_ref().is_some_and(|it| it.state.is_prepared()) {
            self.prepared.insert(record.id.clone());
        } else {
            self.prepared.remove(&record.id);
        }
        match &record.value {
            Some(value) => self.stored.insert(record.id.clone(), value.clone()),
            None => self.stored.remove(&record.id),
        };
    }

    fn check_turn(&self, records: &[TransactionRecord]) {
        for record in records {
            if let Some(broken) = record.value.as_ref().and_then(Transaction::broken_rule) {
                panic!("transactional id {}: {broken}", record.id);
            }
        }
        if cfg!(debug_assertions) {
            let prepared = self.stored.iter().filter(|(_, value)| value.state.is_prepared());
            assert!(prepared.map(|(id, _)| id).eq(&self.prepared), "prepared mirrors stored");
            assert!(self.live.at_work.is_subset(&self.prepared), "markers of an ended transaction");
        }
    }

    fn expired(timer: TransactionTimer) -> TransactionCommand {
        TransactionCommand::Expired(timer)
    }

    fn volatile(&self) -> TransactionVolatile {
        self.live.clone()
    }

    fn restore(&mut self, before: TransactionVolatile) {
        self.live = before;
    }
}
