//! The coordinators of one kind on this node: one machine for each partition of their topic that
//! the node leads.

use ottla_locks::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_clock::{Clock, Lane};
use ottla_machine::{Machine, expect_reply};
use ottla_partitions::{AppendRefusal, Partition};
use ottla_types::{ErrorCode, TimestampMs, coordinator_partition};
use tokio::sync::Notify;

use super::host::{Host, Unanswered, Wake};
use super::kind::{ShardKind, ShardSettings};
use super::topic_journal::{ReplayError, TopicJournal, replay_partition};

/// One coordinator.
pub type ShardHost<K> = Host<<K as ShardKind>::Machine, TopicJournal<K>>;

/// One partition of the topic, and how far its coordinator is.
struct Shard<K: ShardKind> {
    partition: Partition,
    /// Which load it is: what an earlier one has loaded is dropped.
    load: u64,
    state: ShardState<K>,
}

enum ShardState<K: ShardKind> {
    Loading,
    Ready(Arc<ShardHost<K>>),
    /// The load could not read or write what it had to: from this moment on it is tried again.
    Refused(Duration),
    /// The log holds what cannot be understood.
    Broken,
}

/// A coordinator that is to be loaded.
#[must_use]
pub struct Load {
    partition: Partition,
    number: u64,
}

/// After how long a load is tried again whose records were refused.
const LOAD_AGAIN: Duration = Duration::from_secs(1);

/// After how long a load is tried again whose log could not be read: not so often that a disk which
/// stays broken fills the node's log.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// How often the host checks whether the records that replies wait for have committed.
pub(super) const COMMIT_CHECK: Duration = Duration::from_millis(25);

/// How late a timer may be: what is due within this time is fired together.
const TOGETHER: Duration = Duration::from_millis(5);
/// The longest time between two checks of timers: the wall clock may have been set forward.
const NAP: Duration = Duration::from_secs(1);

const _: () = assert!(TOGETHER.as_millis() < NAP.as_millis(), "a pause lies between the two");
const _: () = assert!(LOAD_AGAIN.as_millis() >= NAP.as_millis(), "loads are checked at each nap");

/// All coordinators of a kind; cheap to clone.
pub struct Shards<K: ShardKind>(Arc<ShardsInner<K>>);

struct ShardsInner<K: ShardKind> {
    clock: Clock,
    /// Guards what is in force for the next load; a machine that runs gets them from here when they
    /// change.
    settings: RwLock<ShardSettings<K>>,
    /// The coordinators by partition. Written only to begin, end or drop a load, which itself runs
    /// without the lock.
    shards: RwLock<BTreeMap<i32, Shard<K>>>,
    /// How many loads have begun: each gets a number of its own, whatever their order.
    loads: AtomicU64,
    /// Wakes the task that fires timers.
    wake: Arc<Notify>,
    /// Where coordinators are loaded.
    loading: Lane,
}

impl<K: ShardKind> Clone for Shards<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: ShardKind> Debug for Shards<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shards({})", K::TOPIC)
    }
}

impl<K: ShardKind> Shards<K> {
    /// No coordinator yet.
    #[must_use]
    pub fn new(clock: Clock, loading: Lane, settings: ShardSettings<K>) -> Self {
        Self(Arc::new(ShardsInner {
            clock,
            settings: RwLock::new(settings),
            shards: RwLock::default(),
            loads: AtomicU64::new(0),
            wake: Arc::default(),
            loading,
        }))
    }

    /// The coordinator that lives in this partition.
    ///
    /// # Errors
    /// The error code for a client when the coordinator is not here, or not yet.
    pub fn at(&self, index: i32) -> Result<Arc<ShardHost<K>>, ErrorCode> {
        match self.read().get(&index).map(|shard| &shard.state) {
            // One that is lost is about to be loaded again.
            Some(ShardState::Ready(host)) if !host.is_lost() => Ok(Arc::clone(host)),
            Some(ShardState::Loading | ShardState::Ready(_)) => {
                Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
            }
            Some(ShardState::Refused(_) | ShardState::Broken) => {
                Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
            }
            None => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// Every coordinator that is ready, with its partition.
    #[must_use]
    pub fn all(&self) -> Vec<(i32, Arc<ShardHost<K>>)> {
        let ready = |(index, shard): (&i32, &Shard<K>)| match &shard.state {
            ShardState::Ready(host) => Some((*index, Arc::clone(host))),
            ShardState::Loading | ShardState::Refused(_) | ShardState::Broken => None,
        };
        self.read().iter().filter_map(ready).collect()
    }

    /// Is a coordinator still being loaded?
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.read().values().any(|shard| matches!(shard.state, ShardState::Loading))
    }

    /// Loads a coordinator for each partition of the topic that is new, and unloads those whose
    /// partition is no longer here. Returns when they are loaded: not for a serving thread.
    pub fn reconcile(&self, led: &[Partition]) {
        let (mut gone, mut fresh) = (Vec::new(), Vec::new());
        {
            let mut shards = self.write();
            shards.retain(|_, shard| {
                let is_led = led.iter().any(|it| is_same(it, &shard.partition));
                if let ShardState::Ready(host) = &shard.state
                    && !is_led
                {
                    gone.push(Arc::clone(host));
                }
                is_led
            });
            for partition in led {
                if !shards.contains_key(&partition.index()) {
                    fresh.push(self.begin(&mut shards, partition.clone()));
                }
            }
        }
        // A request that waits for one of them holds it, and would never be answered.
        gone.iter().for_each(|host| host.unload());
        let work = fresh.into_iter().map(|load| {
            let share = load.partition.share();
            (share, move || self.finish(load))
        });
        self.0.loading.all(work.collect());
    }

    /// The coordinators that have lost their journal, or whose load was refused a while ago: each
    /// is to be loaded again, by [`Shards::finish`].
    pub fn begin_again(&self) -> Vec<Load> {
        let now = self.0.clock.monotonic();
        let is_due = |shard: &Shard<K>| match &shard.state {
            ShardState::Ready(host) => host.is_lost(),
            ShardState::Refused(until) => *until <= now,
            ShardState::Loading | ShardState::Broken => false,
        };
        if !self.read().values().any(is_due) {
            return Vec::new();
        }
        let mut shards = self.write();
        let due: Vec<Partition> =
            shards.values().filter(|it| is_due(it)).map(|it| it.partition.clone()).collect();
        due.into_iter().map(|partition| self.begin(&mut shards, partition)).collect()
    }

    fn begin(&self, shards: &mut BTreeMap<i32, Shard<K>>, partition: Partition) -> Load {
        let number = self.0.loads.fetch_add(1, Ordering::Relaxed);
        let index = partition.index();
        let load = Load { partition: partition.clone(), number };
        shards.insert(index, Shard { partition, load: number, state: ShardState::Loading });
        load
    }

    /// Loads a coordinator, which may take long: not for a serving thread.
    pub fn finish(&self, load: Load) {
        let Load { partition, number } = load;
        let index = partition.index();
        let name = partition.name().clone();
        let state = self.load(partition).unwrap_or_else(|error| match error {
            ReplayError::Read(error) => {
                tracing::error!(
                    partition = %name,
                    %error,
                    "coordinator cannot be loaded: its log cannot be read; retrying"
                );
                ShardState::Refused(self.0.clock.monotonic() + READ_AGAIN)
            }
            ReplayError::Content(error) => {
                tracing::error!(
                    partition = %name,
                    error,
                    "coordinator cannot be loaded; its groups or transactions fail until the next start"
                );
                ShardState::Broken
            }
        });
        let mut shards = self.write();
        match shards.get_mut(&index).filter(|shard| shard.load == number) {
            Some(shard) => shard.state = state,
            // The partition has gone meanwhile; no request has seen this coordinator.
            None => return,
        }
        drop(shards);
        // Its timers run from now on.
        self.wake();
    }

    fn load(&self, partition: Partition) -> Result<ShardState<K>, ReplayError> {
        let ends = partition.ends();
        if ends.high_watermark < ends.log_end {
            // What has not committed yet can neither be read nor left out.
            return Ok(ShardState::Refused(self.0.clock.monotonic() + LOAD_AGAIN));
        }
        let settings = self.0.settings.read().clone();
        let mut machine = K::machine(settings);
        replay_partition::<K>(&partition, |record| machine.apply(record))?;
        let journal = TopicJournal::<K>::new(partition);
        let wake = Arc::clone(&self.0.wake) as Arc<dyn Wake>;
        let host = Host::new(self.0.clock.clone(), machine, journal, wake);
        Ok(match host.tell(K::loaded()) {
            Ok(()) => ShardState::Ready(Arc::new(host)),
            Err(_) => ShardState::Refused(self.0.clock.monotonic() + LOAD_AGAIN),
        })
    }

    /// The operator has changed settings.
    pub fn set(&self, settings: &ShardSettings<K>) {
        let before = {
            let mut now = self.0.settings.write();
            std::mem::replace(&mut *now, settings.clone())
        };
        if before != *settings {
            for (_, host) in self.all() {
                host.set_settings(settings.clone());
            }
        }
    }

    /// Loads what has to be loaded again, beside the thread that serves.
    fn load_again(&self) {
        for load in self.begin_again() {
            let shards = self.clone();
            self.0.loading.start(load.partition.share(), move || shards.finish(load));
        }
    }

    /// Runs the coordinators, without end: loads those that are to be loaded again, fires timers,
    /// answers what has committed, and does `work` for each, which returns whether it has left
    /// nothing to do. While something is left, the next round comes after `again`.
    pub(super) async fn look_after(
        &self,
        again: Duration,
        mut work: impl AsyncFnMut(i32, &ShardHost<K>) -> bool,
    ) {
        loop {
            self.load_again();
            let (mut next_ms, mut is_done) = (TimestampMs::MAX, true);
            for (index, host) in self.all() {
                next_ms = next_ms.min(host.fire().unwrap_or(TimestampMs::MAX));
                is_done &= !host.committed();
                is_done &= work(index, &host).await;
            }
            self.rest(next_ms, (!is_done).then_some(again)).await;
        }
    }

    /// Lets the task that fires timers look again at once.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Waits for the interval between two checks of what has committed.
    pub async fn commit_pause(&self) {
        self.0.clock.sleep(COMMIT_CHECK).await;
    }

    /// Sleeps until `next_ms`, when a timer is due, or until an earlier one was set; not longer
    /// than `longest`, if there is other work to look after.
    async fn rest(&self, next_ms: TimestampMs, longest: Option<Duration>) {
        let until_next = next_ms.saturating_sub(self.0.clock.wall_ms());
        let until_next = Duration::from_millis(u64::try_from(until_next).unwrap_or(0));
        let pause = until_next.min(longest.unwrap_or(NAP)).clamp(TOGETHER, NAP);
        tokio::select! {
            biased;
            () = self.0.clock.sleep(pause) => {}
            // Many may be set at once.
            () = self.0.wake.notified() => self.0.clock.sleep(TOGETHER).await,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<i32, Shard<K>>> {
        self.0.shards.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<i32, Shard<K>>> {
        self.0.shards.write()
    }
}

/// A topic of the same name that was created later is another.
fn is_same(one: &Partition, other: &Partition) -> bool {
    one.index() == other.index() && one.topic_id() == other.topic_id()
}

/// Which of `count` partitions a key lives in; `None` if there are none.
#[must_use]
pub fn shard_of(key: &str, count: i32) -> Option<i32> {
    (count > 0).then(|| coordinator_partition(key, count))
}

/// The error code for a client whose request got no reply.
#[must_use]
pub fn unanswered_code(error: &Unanswered<AppendRefusal>) -> ErrorCode {
    let Unanswered::Refused(refused) = error else { return ErrorCode::NOT_COORDINATOR };
    match refused.code() {
        ErrorCode::NOT_ENOUGH_REPLICAS => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => {
            ErrorCode::NOT_COORDINATOR
        }
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        code => code,
    }
}

/// Asks a coordinator; the caller knows which kind of reply its command has.
///
/// # Errors
/// The error code for the client if the coordinator was unloaded before it answered, or cannot
/// write.
pub async fn ask_coordinator<K: ShardKind, T>(
    host: &ShardHost<K>,
    command: <K::Machine as Machine>::Command,
) -> Result<T, ErrorCode>
where
    T: TryFrom<<K::Machine as Machine>::Reply, Error = <K::Machine as Machine>::Reply>,
{
    let reply = host.ask(command).await.map_err(|error| unanswered_code(&error))?;
    Ok(expect_reply(reply))
}

#[cfg(test)]
#[path = "shards_tests.rs"]
mod tests;
