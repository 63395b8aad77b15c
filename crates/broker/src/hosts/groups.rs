//! The group coordinators of this node: one machine for each partition of `__consumer_offsets`
//! that it leads.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_coordinator::group::{Command, GroupMachine, GroupSettings, Record, Reply};
use ottla_machine::Machine as _;
use ottla_partitions::{Isolation, Partition, ReadRefused, Refused};
use ottla_records::{BadRecords, BatchBuilder, BatchOptions, NewRecord, batches};
use ottla_types::{ErrorCode, Offset, TimestampMs, TopicPartition, coordinator_partition};
use tokio::sync::Notify;

use super::host::{Host, Journal};

/// The topic that groups and their offsets live in.
pub const TOPIC: &str = "__consumer_offsets";

/// How much of the topic is read at a time while loading, in bytes (`offsets.load.buffer.size`).
const LOAD_BYTES: usize = 5 * 1024 * 1024;
/// How much a batch may unpack to while loading, in bytes.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a timer of a group may be late.
const TICK: Duration = Duration::from_millis(25);
/// For how long at most nobody looks, when no group is asked for.
const NAP: Duration = Duration::from_secs(1);

/// One coordinator.
pub type GroupHost = Host<GroupMachine, OffsetsJournal>;

#[derive(Debug)]
enum Shard {
    Loading,
    Ready(Arc<GroupHost>),
    Broken,
}

/// All coordinators of this node.
#[derive(Debug)]
pub struct Groups {
    clock: Clock,
    settings: RwLock<GroupSettings>,
    shards: RwLock<BTreeMap<i32, Shard>>,
    /// Somebody has asked for a group.
    stirred: Notify,
}

impl Groups {
    /// No coordinator yet.
    #[must_use]
    pub fn new(clock: Clock, settings: GroupSettings) -> Self {
        Self {
            clock,
            settings: RwLock::new(settings),
            shards: RwLock::default(),
            stirred: Notify::new(),
        }
    }

    /// The coordinator of `group`, where `__consumer_offsets` has `count` partitions.
    ///
    /// # Errors
    /// What a client is told when the group's coordinator is not here, or not yet.
    pub fn of(&self, group: &str, count: i32) -> Result<Arc<GroupHost>, ErrorCode> {
        let index = shard_of(group, count).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        self.stirred.notify_one();
        match self.read().get(&index) {
            Some(Shard::Ready(host)) => Ok(Arc::clone(host)),
            Some(Shard::Loading) => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            Some(Shard::Broken) => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            None => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// Every coordinator that is ready.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<GroupHost>> {
        let ready = |shard: &Shard| match shard {
            Shard::Ready(host) => Some(Arc::clone(host)),
            Shard::Loading | Shard::Broken => None,
        };
        self.read().values().filter_map(ready).collect()
    }

    /// Is a coordinator still being loaded?
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.read().values().any(|shard| matches!(shard, Shard::Loading))
    }

    /// Loads a coordinator for each partition of the topic that is new, and lets go of those
    /// whose partition is no longer here. Reads whole partitions: not for a serving thread.
    pub fn reconcile(&self, led: &[Partition]) {
        let mut fresh = Vec::new();
        {
            let mut shards = self.write();
            shards.retain(|index, _| led.iter().any(|partition| partition.index() == *index));
            for partition in led {
                shards.entry(partition.index()).or_insert_with(|| {
                    fresh.push(partition.clone());
                    Shard::Loading
                });
            }
        }
        for partition in fresh {
            let index = partition.index();
            let shard = match self.load(partition) {
                Ok(host) => Shard::Ready(Arc::new(host)),
                Err(why) => {
                    tracing::error!(partition = index, why, "a group coordinator cannot load");
                    Shard::Broken
                }
            };
            self.write().insert(index, shard);
        }
    }

    fn load(&self, partition: Partition) -> Result<GroupHost, String> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut machine = GroupMachine::new(settings);
        replay(&partition, &mut machine)?;
        let host = Host::new(self.clock.clone(), machine, OffsetsJournal { partition });
        host.tell(Command::Loaded).map_err(|_| "its log cannot be written".to_owned())?;
        Ok(host)
    }

    /// The operator has changed settings.
    pub fn set(&self, settings: &GroupSettings) {
        let before = {
            let mut now = self.settings.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, settings.clone())
        };
        if before != *settings {
            for host in self.all() {
                // A coordinator that is lost takes the settings up when it is loaded again.
                let _ = host.tell(Command::Settings(settings.clone()));
            }
        }
    }

    /// These partitions no longer exist: their offsets go too.
    pub fn partitions_deleted(&self, gone: &[TopicPartition]) {
        for host in self.all() {
            // A coordinator that is lost finds out when it is loaded again.
            let _ = host.tell(Command::PartitionsDeleted(gone.to_vec()));
        }
    }

    /// Fires the groups' timers for ever. Awake while somebody asks for groups, asleep otherwise.
    pub async fn tick(&self) {
        let mut awake_until = Duration::ZERO;
        loop {
            let (mut next_ms, mut anybody_waits) = (TimestampMs::MAX, false);
            for host in self.all() {
                next_ms = next_ms.min(host.fire().unwrap_or(TimestampMs::MAX));
                anybody_waits |= host.committed();
            }
            let until_next = next_ms.saturating_sub(self.clock.wall_ms());
            let until_next = Duration::from_millis(u64::try_from(until_next).unwrap_or(0));
            let is_awake = anybody_waits || self.clock.monotonic() < awake_until;
            let pause = if is_awake { TICK } else { until_next.clamp(TICK, NAP) };
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.stirred.notified() => {
                    // Whoever asks is about to set timers that nobody knows of yet.
                    awake_until = self.clock.monotonic() + NAP;
                    self.clock.sleep(TICK).await;
                }
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<i32, Shard>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<i32, Shard>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of `count` partitions a group lives in; `None` if there are none.
#[must_use]
pub fn shard_of(group: &str, count: i32) -> Option<i32> {
    (count > 0).then(|| coordinator_partition(group, count))
}

fn replay(partition: &Partition, machine: &mut GroupMachine) -> Result<(), String> {
    let mut at = partition.ends().log_start;
    let end = partition.ends().log_end;
    while at < end {
        let read = partition
            .read(at, LOAD_BYTES, true, Isolation::Uncommitted)
            .map_err(|refused: ReadRefused| refused.to_string())?;
        let before = at;
        for batch in batches(&read.records) {
            let Ok(batch) = batch else { break };
            if !batch.is_control() {
                let unpacked = batch.unpack(UNPACKED_BYTES_MAX);
                for record in unpacked.map_err(|error| error.to_string())?.records() {
                    let record = record.map_err(|error| error.to_string())?;
                    let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
                    let value = record.value.map(Bytes::copy_from_slice);
                    // What another kind of group wrote is not for this machine.
                    match Record::decode(key, value) {
                        Ok(Some(record)) => machine.apply(&record),
                        Ok(None) => {}
                        Err(error) => {
                            tracing::warn!(offset = record.offset, %error, "not a group's record");
                        }
                    }
                }
            }
            at = batch.next_offset();
        }
        if at == before {
            return Err(format!("nothing to read at offset {at}, before the end {end}"));
        }
    }
    Ok(())
}

/// A partition of `__consumer_offsets` as a journal.
#[derive(Debug)]
pub struct OffsetsJournal {
    partition: Partition,
}

impl Journal<Record> for OffsetsJournal {
    type Error = Refused;

    fn append(&mut self, records: &[Record], now_ms: TimestampMs) -> Result<Offset, Refused> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in records {
            let (key, value) = record.encode();
            builder.push(&NewRecord {
                timestamp: now_ms,
                key: Some(&key),
                value: value.as_deref(),
                headers: &[],
            });
        }
        let batch = builder.build().map_err(|error| Refused::Records(BadRecords::Broken(error)))?;
        let batch = Bytes::from(batch);
        Ok(self.partition.append(&batch, now_ms, true, true)?.end)
    }

    fn end(&self) -> Offset {
        self.partition.ends().log_end
    }

    fn committed(&self) -> Offset {
        self.partition.ends().high_watermark
    }
}

/// Asks the coordinator and takes the reply apart; any other kind of reply is a lost coordinator.
///
/// # Errors
/// `NOT_COORDINATOR` when the coordinator went away before it could answer.
pub async fn ask<T>(
    host: &GroupHost,
    command: Command,
    pick: impl FnOnce(Reply) -> Option<T>,
) -> Result<T, ErrorCode> {
    let reply = host.ask(command).await.map_err(|_| ErrorCode::NOT_COORDINATOR)?;
    pick(reply).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)
}
