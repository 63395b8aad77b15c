//! The coordinators of one kind on this node: one machine for each partition of their topic that
//! the node leads, and for each leader epoch of it.
//!
//! What a coordinator has loaded and appended counts in the leader epoch in which it was loaded. In
//! the next one, also of the same node, it is loaded again: its log may have been cut, and another
//! leader may have written to it.

use ottla_locks::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_clock::{Clock, Lane};
use ottla_machine::{Machine, expect_reply};
use ottla_partitions::{AppendRefusal, Interest, LedPartition, Partitions, Wait};
use ottla_types::{Bug, ErrorCode, Offset, TimestampMs, coordinator_partition, is_planted};
use tokio::sync::Notify;

use super::host::{Host, Unanswered, Wake};
use super::kind::{ShardKind, ShardSettings};
use super::topic_journal::{ReplayError, TopicJournal, replay_partition};

/// One coordinator.
pub type ShardHost<K> = Host<<K as ShardKind>::Machine, TopicJournal<K>>;

/// One partition of the topic in one leader epoch, and how far its coordinator is.
struct Shard<K: ShardKind> {
    led: LedPartition,
    /// Which load it is: what an earlier one has loaded is dropped.
    load: u64,
    state: ShardState<K>,
}

enum ShardState<K: ShardKind> {
    /// Not all of its log has committed. It is loaded when the high watermark is at the offset that
    /// was the log's end.
    Uncommitted(Offset),
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
    led: LedPartition,
    number: u64,
}

/// After how long a load is tried again whose records were refused.
const LOAD_AGAIN: Duration = Duration::from_secs(1);

/// After how long a load is tried again whose log could not be read: not so often that a disk which
/// stays broken fills the node's log.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// A log up to this size is read while the metadata waits; larger ones are read beside it.
const LOADED_AT_ONCE_BYTES: u64 = 1 << 20;

/// How late a timer may be: what is due within this time is fired together.
const TOGETHER: Duration = Duration::from_millis(5);
/// The longest time between two checks of timers: the wall clock may have been set forward.
const NAP: Duration = Duration::from_secs(1);

const _: () = assert!(TOGETHER.as_millis() < NAP.as_millis(), "a pause lies between the two");
const _: () = assert!(LOAD_AGAIN.as_millis() >= NAP.as_millis(), "loads are checked at each nap");

/// What wakes the tasks of the coordinators of a kind.
#[derive(Debug, Default)]
struct ShardBells {
    /// A timer is due earlier than was expected, or a coordinator is to be loaded again.
    timers: Notify,
    /// A request waits for a commit, or a load does.
    commits: Notify,
    /// Timers have fired, or coordinators were loaded: they may have decided something that is to
    /// be carried out elsewhere.
    decided: Notify,
}

impl Wake for ShardBells {
    fn wake(&self) {
        self.timers.notify_one();
    }

    fn watch_commit(&self) {
        if !is_planted(Bug::CommitsUnseen) {
            self.commits.notify_one();
        }
    }
}

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
    bells: Arc<ShardBells>,
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
            bells: Arc::default(),
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
            Some(ShardState::Uncommitted(_) | ShardState::Loading | ShardState::Ready(_)) => {
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
            _ => None,
        };
        self.read().iter().filter_map(ready).collect()
    }

    /// Is a coordinator still being loaded?
    #[must_use]
    pub fn is_loading(&self) -> bool {
        let is_loading = |shard: &Shard<K>| {
            matches!(shard.state, ShardState::Uncommitted(_) | ShardState::Loading)
        };
        self.read().values().any(is_loading)
    }

    /// Loads a coordinator for each partition of the topic that this node leads in another epoch
    /// than before, and unloads those whose epoch has ended. Nothing else that changes in a
    /// partition, such as its in-sync set, does that.
    ///
    /// Returns when small logs are loaded, which are those of new topics: not for a serving thread.
    /// Larger ones are loaded beside it, as the metadata must not wait for them.
    pub fn reconcile(&self, partitions: &Partitions) {
        let (mut gone, mut fresh) = (Vec::new(), Vec::new());
        {
            let mut shards = self.write();
            // Looked up under the lock: of two calls at once the later one knows the later epochs.
            let led: Vec<LedPartition> = led_partitions(partitions, K::TOPIC).collect();
            shards.retain(|_, shard| {
                let is_led = led.iter().any(|it| is_same(it, &shard.led));
                if let ShardState::Ready(host) = &shard.state
                    && !is_led
                {
                    gone.push(Arc::clone(host));
                }
                is_led
            });
            for led in led {
                if !shards.contains_key(&led.partition().index()) {
                    fresh.push(self.begin(&mut shards, led));
                }
            }
        }
        // A request that waits for one of them holds it, and would never be answered.
        gone.iter().for_each(|host| host.unload());
        let is_small = |load: &Load| load.led.partition().size_bytes() <= LOADED_AT_ONCE_BYTES;
        let (small, large): (Vec<Load>, Vec<Load>) = fresh.into_iter().partition(is_small);
        self.start_loads(large);
        let work = small.into_iter().map(|load| {
            let share = load.led.partition().share();
            (share, move || self.finish(load))
        });
        self.0.loading.all(work.collect());
    }

    /// The coordinators that have lost their journal, or whose load was refused a while ago: each
    /// is to be loaded again, by [`Shards::finish`].
    pub fn begin_again(&self) -> Vec<Load> {
        let now = self.0.clock.monotonic();
        self.begin_where(|shard| match &shard.state {
            ShardState::Ready(host) => host.is_lost(),
            ShardState::Refused(until) => *until <= now,
            ShardState::Uncommitted(_) | ShardState::Loading | ShardState::Broken => false,
        })
    }

    /// The coordinators whose log has committed, which is what their load has waited for: each is
    /// to be loaded, by [`Shards::finish`].
    pub fn begin_committed(&self) -> Vec<Load> {
        self.begin_where(|shard| match &shard.state {
            ShardState::Uncommitted(end) => {
                shard.led.ends().is_none_or(|ends| ends.high_watermark >= *end)
            }
            _ => false,
        })
    }

    fn begin_where(&self, is_due: impl Fn(&Shard<K>) -> bool) -> Vec<Load> {
        if !self.read().values().any(&is_due) {
            return Vec::new();
        }
        let mut shards = self.write();
        let due = shards.values().filter(|it| is_due(it));
        let due: Vec<LedPartition> = due.map(|it| it.led.clone()).collect();
        due.into_iter().map(|led| self.begin(&mut shards, led)).collect()
    }

    fn begin(&self, shards: &mut BTreeMap<i32, Shard<K>>, led: LedPartition) -> Load {
        let number = self.0.loads.fetch_add(1, Ordering::Relaxed);
        let load = Load { led: led.clone(), number };
        let index = led.partition().index();
        shards.insert(index, Shard { led, load: number, state: ShardState::Loading });
        load
    }

    /// Loads a coordinator, which may take long: not for a serving thread.
    pub fn finish(&self, load: Load) {
        let Load { led, number } = load;
        let (partition, leader_epoch) = (led.partition().name().clone(), led.epoch());
        let index = led.partition().index();
        let state = self.load(led).unwrap_or_else(|error| match error {
            ReplayError::Read(error) => {
                tracing::error!(
                    %partition,
                    leader_epoch,
                    %error,
                    "coordinator cannot be loaded: its log cannot be read; retrying"
                );
                ShardState::Refused(self.0.clock.monotonic() + READ_AGAIN)
            }
            // The metadata that says so is on its way to this coordinator.
            ReplayError::Moved => ShardState::Refused(self.0.clock.monotonic() + LOAD_AGAIN),
            ReplayError::Content(error) => {
                tracing::error!(
                    %partition,
                    leader_epoch,
                    error,
                    "coordinator cannot be loaded; its groups or transactions fail until it is \
                     loaded in another leader epoch"
                );
                ShardState::Broken
            }
        });
        let mut shards = self.write();
        match shards.get_mut(&index).filter(|shard| shard.load == number) {
            Some(shard) => shard.state = state,
            // Its epoch has ended meanwhile; no request has seen this coordinator.
            None => return,
        }
        drop(shards);
        // Its timers run from now on, or what its load waits for is watched.
        self.wake();
        self.0.bells.watch_commit();
    }

    fn load(&self, led: LedPartition) -> Result<ShardState<K>, ReplayError> {
        let ends = led.ends().ok_or(ReplayError::Moved)?;
        if ends.high_watermark < ends.log_end {
            // What has not committed yet can neither be read nor left out.
            return Ok(ShardState::Uncommitted(ends.log_end));
        }
        let settings = self.0.settings.read().clone();
        let mut machine = K::machine(settings);
        replay_partition::<K>(&led, ends.log_end, |record| machine.apply(record))?;
        let journal = TopicJournal::<K>::new(led);
        let bells = Arc::clone(&self.0.bells) as Arc<dyn Wake>;
        let host = Host::new(self.0.clock.clone(), machine, journal, bells);
        Ok(match host.tell(K::loaded()) {
            Ok(()) => ShardState::Ready(Arc::new(host)),
            Err(_) => ShardState::Refused(self.0.clock.monotonic() + LOAD_AGAIN),
        })
    }

    fn start_loads(&self, loads: Vec<Load>) {
        for load in loads {
            let shards = self.clone();
            let share = load.led.partition().share();
            self.0.loading.start(share, move || shards.finish(load));
        }
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

    /// Runs the coordinators, without end: fires their timers, loads those that are to be loaded
    /// again, and lets answers go as what they rest on commits.
    pub(super) async fn run(&self) {
        tokio::join!(biased; self.watch_commits(), self.fire_timers());
    }

    async fn fire_timers(&self) {
        loop {
            self.start_loads(self.begin_again());
            let mut next_ms = TimestampMs::MAX;
            for (_, host) in self.all() {
                next_ms = next_ms.min(host.fire().unwrap_or(TimestampMs::MAX));
            }
            self.0.bells.decided.notify_one();
            self.rest(next_ms).await;
        }
    }

    /// Answers what has committed as soon as it has. A partition is watched only while something
    /// waits for it: where this node's log is all there is, appends commit at once, and wake
    /// nothing.
    async fn watch_commits(&self) {
        loop {
            let (wait, hosts) = self.watched();
            for host in &hosts {
                host.committed();
            }
            self.start_loads(self.begin_committed());
            tokio::select! {
                biased;
                () = wait.moved() => {}
                () = self.0.bells.commits.notified() => {}
            }
        }
    }

    /// A wait for the partitions that something waits for, which has begun; and the coordinators
    /// among them.
    fn watched(&self) -> (Wait, Vec<Arc<ShardHost<K>>>) {
        let (mut wait, mut hosts) = (Wait::new(), Vec::new());
        for shard in self.read().values() {
            match &shard.state {
                ShardState::Ready(host) if host.awaits_commit() => hosts.push(Arc::clone(host)),
                ShardState::Uncommitted(_) => {}
                _ => continue,
            }
            wait.add(shard.led.partition().progress(), Interest::Committed);
        }
        (wait, hosts)
    }

    /// Lets the task that fires timers look again at once.
    pub fn wake(&self) {
        self.0.bells.wake();
    }

    /// Waits until coordinators may have decided something that is to be carried out elsewhere.
    pub(super) async fn decided(&self) {
        self.0.bells.decided.notified().await;
    }

    /// Sleeps until `next_ms`, when a timer is due, or until an earlier one was set.
    async fn rest(&self, next_ms: TimestampMs) {
        let until_next = next_ms.saturating_sub(self.0.clock.wall_ms());
        let until_next = Duration::from_millis(u64::try_from(until_next).unwrap_or(0));
        let pause = until_next.clamp(TOGETHER, NAP);
        tokio::select! {
            biased;
            () = self.0.clock.sleep(pause) => {}
            // Many may be set at once.
            () = self.0.bells.timers.notified() => self.0.clock.sleep(TOGETHER).await,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<i32, Shard<K>>> {
        self.0.shards.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<i32, Shard<K>>> {
        self.0.shards.write()
    }
}

/// The partitions of a topic that this node leads.
fn led_partitions(partitions: &Partitions, topic: &str) -> impl Iterator<Item = LedPartition> {
    partitions.of_topic(topic).into_iter().filter_map(|partition| {
        let ends = partition.ends();
        ends.leading.then(|| LedPartition::new(partition, ends.leader_epoch))
    })
}

/// A topic of the same name that was created later is another.
fn is_same(one: &LedPartition, other: &LedPartition) -> bool {
    let identity =
        |led: &LedPartition| (led.partition().index(), led.partition().topic_id(), led.epoch());
    identity(one) == identity(other)
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
