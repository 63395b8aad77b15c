//! The coordinators of one kind on this node: one machine for each partition of their topic that
//! the node leads.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_machine::Machine;
use ottla_partitions::{Isolation, Partition, ReadRefused, Refused};
use ottla_records::{BadRecords, Batch, BatchBuilder, BatchOptions, NewRecord, batches};
use ottla_types::{ErrorCode, Offset, TimestampMs, coordinator_partition};
use tokio::sync::Notify;

use super::host::{Host, Journal};

/// How much of the topic is read at a time while loading, in bytes (`offsets.load.buffer.size`).
const LOAD_BYTES: usize = 5 * 1024 * 1024;
/// How much a batch may unpack to while loading, in bytes.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A load that takes longer says how far it is, every so many records.
const TOLD_EVERY: u64 = 1_000_000;

/// A kind of coordinator.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// What runs in it.
    type Machine: Machine<Record = Self::Record>;
    /// What it writes down.
    type Record;
    /// What an operator may decide about it.
    type Settings: Clone + PartialEq + std::fmt::Debug + Send + Sync;
    /// The topic that it lives in.
    const TOPIC: &'static str;

    /// A machine that has seen no record yet.
    fn machine(settings: Self::Settings) -> Self::Machine;

    /// The command that says that all records have been seen.
    fn loaded() -> <Self::Machine as Machine>::Command;

    /// The command that changes the settings.
    fn changed(settings: Self::Settings) -> <Self::Machine as Machine>::Command;

    /// Takes the records out of a batch of the topic.
    ///
    /// # Errors
    /// The batch is broken, or there is a record that must not be guessed at.
    fn read(batch: &Batch<'_>, take: &mut dyn FnMut(&Self::Record)) -> Result<(), String>;

    /// Writes records as one batch.
    ///
    /// # Errors
    /// It is unknown whether they were written.
    fn write(
        partition: &Partition,
        records: &[Self::Record],
        now_ms: TimestampMs,
    ) -> Result<Offset, Refused>;
}

/// One coordinator.
pub type ShardHost<K> = Host<<K as Kind>::Machine, TopicJournal<K>>;

enum Shard<K: Kind> {
    Loading,
    Ready(Arc<ShardHost<K>>),
    Broken,
}

/// How late a timer may be: what is due within this time is fired together.
const TOGETHER: Duration = Duration::from_millis(5);
/// After how long at the latest timers are looked at, for the wall clock may have been set forward.
const NAP: Duration = Duration::from_secs(1);

/// All coordinators of a kind.
pub struct Shards<K: Kind> {
    clock: Clock,
    settings: RwLock<K::Settings>,
    shards: RwLock<BTreeMap<i32, Shard<K>>>,
    /// Wakes the task that fires timers.
    wake: Arc<Notify>,
}

impl<K: Kind> std::fmt::Debug for Shards<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shards({})", K::TOPIC)
    }
}

impl<K: Kind> Shards<K> {
    /// No coordinator yet.
    #[must_use]
    pub fn new(clock: Clock, settings: K::Settings) -> Self {
        let settings = RwLock::new(settings);
        Self { clock, settings, shards: RwLock::default(), wake: Arc::default() }
    }

    /// The coordinator of this key, where the topic has `count` partitions.
    ///
    /// # Errors
    /// What a client is told when the coordinator is not here, or not yet.
    pub fn of(&self, key: &str, count: i32) -> Result<Arc<ShardHost<K>>, ErrorCode> {
        self.at(shard_of(key, count).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?)
    }

    /// The coordinator that lives in this partition.
    ///
    /// # Errors
    /// See [`Shards::of`].
    pub fn at(&self, index: i32) -> Result<Arc<ShardHost<K>>, ErrorCode> {
        match self.read().get(&index) {
            Some(Shard::Ready(host)) => Ok(Arc::clone(host)),
            Some(Shard::Loading) => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            Some(Shard::Broken) => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            None => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// Every coordinator that is ready, with its partition.
    #[must_use]
    pub fn all(&self) -> Vec<(i32, Arc<ShardHost<K>>)> {
        let ready = |(index, shard): (&i32, &Shard<K>)| match shard {
            Shard::Ready(host) => Some((*index, Arc::clone(host))),
            Shard::Loading | Shard::Broken => None,
        };
        self.read().iter().filter_map(ready).collect()
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
                    tracing::error!(
                        topic = K::TOPIC,
                        partition = index,
                        why,
                        "a coordinator cannot load"
                    );
                    Shard::Broken
                }
            };
            self.write().insert(index, shard);
            // Its timers run from now on.
            self.wake();
        }
    }

    fn load(&self, partition: Partition) -> Result<ShardHost<K>, String> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut machine = K::machine(settings);
        replay::<K>(&partition, &mut machine)?;
        let journal = TopicJournal { partition, kind: PhantomData };
        let host = Host::new(self.clock.clone(), machine, journal, Arc::clone(&self.wake));
        host.tell(K::loaded()).map_err(|_| "its log cannot be written".to_owned())?;
        Ok(host)
    }

    /// The operator has changed settings.
    pub fn set(&self, settings: &K::Settings) {
        let before = {
            let mut now = self.settings.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, settings.clone())
        };
        if before != *settings {
            for (_, host) in self.all() {
                // A coordinator that is lost takes the settings up when it is loaded again.
                let _ = host.tell(K::changed(settings.clone()));
            }
        }
    }

    /// Lets the task that fires timers look again at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Sleeps until `next_ms`, when a timer is due, or until an earlier one was set; not longer
    /// than `longest`, if there is other work to look after.
    pub async fn rest(&self, next_ms: TimestampMs, longest: Option<Duration>) {
        let until_next = next_ms.saturating_sub(self.clock.wall_ms());
        let until_next = Duration::from_millis(u64::try_from(until_next).unwrap_or(0));
        let pause = until_next.min(longest.unwrap_or(NAP)).clamp(TOGETHER, NAP);
        tokio::select! {
            () = self.clock.sleep(pause) => {}
            // Many may be set at once.
            () = self.wake.notified() => self.clock.sleep(TOGETHER).await,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<i32, Shard<K>>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<i32, Shard<K>>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of `count` partitions a key lives in; `None` if there are none.
#[must_use]
pub fn shard_of(key: &str, count: i32) -> Option<i32> {
    (count > 0).then(|| coordinator_partition(key, count))
}

fn replay<K: Kind>(partition: &Partition, machine: &mut K::Machine) -> Result<(), String> {
    let mut at = partition.ends().log_start;
    let end = partition.ends().log_end;
    let mut taken: u64 = 0;
    while at < end {
        let read = partition
            .read(at, LOAD_BYTES, true, Isolation::Uncommitted)
            .map_err(|refused: ReadRefused| refused.to_string())?;
        let before = at;
        for batch in batches(&read.records) {
            let Ok(batch) = batch else { break };
            K::read(&batch, &mut |record| {
                machine.apply(record);
                taken += 1;
                if taken.is_multiple_of(TOLD_EVERY) {
                    tracing::info!(partition = %partition.name(), at, end, "coordinator loading");
                }
            })?;
            at = batch.next_offset();
        }
        if at == before {
            return Err(format!("nothing to read at offset {at}, before the end {end}"));
        }
    }
    Ok(())
}

/// Unpacks a batch and decodes its records.
///
/// # Errors
/// The batch is broken, or `take` refuses.
pub fn each_record(
    batch: &Batch<'_>,
    mut take: impl FnMut(Offset, Bytes, Option<Bytes>) -> Result<(), String>,
) -> Result<(), String> {
    let unpacked = batch.unpack(UNPACKED_BYTES_MAX).map_err(|error| error.to_string())?;
    for record in unpacked.records() {
        let record = record.map_err(|error| error.to_string())?;
        let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
        take(record.offset, key, record.value.map(Bytes::copy_from_slice))?;
    }
    Ok(())
}

/// One batch of these keys and values.
///
/// # Errors
/// They do not fit.
pub fn batch_of(
    options: BatchOptions,
    records: impl Iterator<Item = (Bytes, Option<Bytes>)>,
    now_ms: TimestampMs,
) -> Result<Bytes, Refused> {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        let value = value.as_deref();
        builder.push(&NewRecord { timestamp: now_ms, key: Some(&key), value, headers: &[] });
    }
    let batch = builder.build().map_err(|error| Refused::Records(BadRecords::Broken(error)))?;
    Ok(Bytes::from(batch))
}

/// A partition of a coordinator's topic as a journal.
#[derive(Debug)]
pub struct TopicJournal<K> {
    partition: Partition,
    kind: PhantomData<K>,
}

impl<K: Kind> Journal<K::Record> for TopicJournal<K> {
    type Error = Refused;

    fn append(&mut self, records: &[K::Record], now_ms: TimestampMs) -> Result<Offset, Refused> {
        K::write(&self.partition, records, now_ms)
    }

    fn end(&self) -> Offset {
        self.partition.ends().log_end
    }

    fn committed(&self) -> Offset {
        self.partition.ends().high_watermark
    }
}

/// Asks a coordinator and takes the reply apart; any other kind of reply is a lost coordinator.
///
/// # Errors
/// `NOT_COORDINATOR` when the coordinator went away before it could answer.
pub async fn ask<K: Kind, T>(
    host: &ShardHost<K>,
    command: <K::Machine as Machine>::Command,
    pick: impl FnOnce(<K::Machine as Machine>::Reply) -> Option<T>,
) -> Result<T, ErrorCode> {
    let reply = host.ask(command).await.map_err(|_| ErrorCode::NOT_COORDINATOR)?;
    pick(reply).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)
}
