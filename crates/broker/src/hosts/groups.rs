//! The group coordinators of this node, in `__consumer_offsets`.

use std::time::Duration;

use ottla_coordinator::group::{
    Command, DeletedTopic, GroupMachine, GroupSettings, Record, TransactionEnd,
};
use ottla_partitions::{Marker, Partition, Refused};
use ottla_records::control::{ControlKind, coordinator_epoch};
use ottla_records::{Batch, BatchOptions};
use ottla_types::{CONSUMER_OFFSETS, Offset, TimestampMs};

use super::shards::{Kind, ShardHost, Shards, batch_of, each_record};

pub use super::shards::ask;

/// The topic that groups and their offsets live in.
pub const TOPIC: &str = CONSUMER_OFFSETS;

/// How often is looked whether what replies wait for has committed.
const COMMIT_CHECK: Duration = Duration::from_millis(25);

/// Groups and their offsets.
#[derive(Debug)]
pub struct GroupKind;

/// One coordinator.
pub type GroupHost = ShardHost<GroupKind>;
/// All coordinators of this node.
pub type Groups = Shards<GroupKind>;

impl Kind for GroupKind {
    type Machine = GroupMachine;
    type Record = Record;
    type Settings = GroupSettings;
    const TOPIC: &'static str = TOPIC;

    fn machine(settings: GroupSettings) -> GroupMachine {
        GroupMachine::new(settings)
    }

    fn loaded() -> Command {
        Command::Loaded
    }

    fn changed(settings: GroupSettings) -> Command {
        Command::Settings(settings)
    }

    fn read(batch: &Batch<'_>, take: &mut dyn FnMut(&Record)) -> Result<(), String> {
        if batch.is_control() {
            if let Some(end) = end_of(batch) {
                take(&Record::Ended(end));
            }
            return Ok(());
        }
        let producer = (batch.producer_id(), batch.producer_epoch());
        each_record(batch, |offset, key, value| {
            // What another kind of group wrote is not for this machine.
            match Record::decode(key, value) {
                Ok(Some(record)) if batch.is_transactional() => {
                    take(&record.in_transaction(producer));
                }
                Ok(Some(record)) => take(&record),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(offset, %error, "__consumer_offsets holds a record that is not a group's; it is skipped")
                }
            }
            Ok(())
        })
    }

    fn write(
        partition: &Partition,
        records: &[Record],
        now_ms: TimestampMs,
    ) -> Result<Offset, Refused> {
        let options = match records.first() {
            Some(Record::Ended(end)) => {
                return Ok(partition.end_transaction(&marker(end), now_ms)?.end);
            }
            // The coordinator is in nobody's sequence, but Kafka's batches start at 0.
            Some(Record::Pending { producer, .. }) => BatchOptions {
                producer_id: producer.0,
                producer_epoch: producer.1,
                base_sequence: 0,
                transactional: true,
                ..BatchOptions::default()
            },
            _ => BatchOptions::default(),
        };
        let is_transactional = options.transactional;
        let batch = batch_of(options, records.iter().map(|it| it.encode(now_ms)), now_ms)?;
        if is_transactional {
            return Ok(partition.append_own(&batch, now_ms)?.end);
        }
        Ok(partition.append(&batch, now_ms, true, true)?.end)
    }
}

/// The marker of an end.
#[must_use]
pub const fn marker(end: &TransactionEnd) -> Marker {
    Marker {
        producer_id: end.producer.0,
        epoch: end.producer.1,
        commit: end.commit,
        coordinator_epoch: end.coordinator_epoch,
        is_bumped: end.is_bumped,
    }
}

/// What a marker says; `None` if the batch is another kind of control batch.
fn end_of(batch: &Batch<'_>) -> Option<TransactionEnd> {
    let unpacked = batch.unpack(batch.bytes().len()).ok()?;
    let record = unpacked.records().next()?.ok()?;
    let commit = match ControlKind::of(&record)? {
        ControlKind::Commit => true,
        ControlKind::Abort => false,
        _ => return None,
    };
    Some(TransactionEnd {
        producer: (batch.producer_id(), batch.producer_epoch()),
        commit,
        coordinator_epoch: coordinator_epoch(&record).unwrap_or(-1),
        is_bumped: false,
    })
}

impl Groups {
    /// These topics no longer exist: their offsets go too.
    pub fn topics_deleted(&self, gone: &[DeletedTopic]) {
        for (_, host) in self.all() {
            // A coordinator that is lost finds out when it is loaded again.
            let _ = host.tell(Command::TopicsDeleted(gone.to_vec()));
        }
    }

    /// Fires the groups' timers for ever.
    pub async fn tick(&self) {
        loop {
            let (mut next_ms, mut is_waited_for) = (TimestampMs::MAX, false);
            for (_, host) in self.all() {
                next_ms = next_ms.min(host.fire().unwrap_or(TimestampMs::MAX));
                is_waited_for |= host.committed();
            }
            self.rest(next_ms, is_waited_for.then_some(COMMIT_CHECK)).await;
        }
    }
}
