//! The threads that look after logs, so that those that serve never wait for a disk.
//!
//! | thread | comes | does |
//! |---|---|---|
//! | sync | at once when a producer waits for durability | one fsync for all who wait |
//! | window | every few megabytes written | early write-back, lets go of old pages, reserves room |
//! | keeper | every 64 MB of a log, and each second | flushes, checkpoints, retention, unlinking |
//! | cleaner | when a compacted log is dirty enough | compaction |

use ottla_locks::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_storage::{Retired, StorageError};
use ottla_types::{TopicPartition, Uuid};

use crate::bells::Bell;
use crate::owner::Needs;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// How often the keeper looks around.
const TICK: Duration = Duration::from_secs(1);
/// How many logs are made durable at once: one that waits for a slow disk holds up no other.
const SYNC_THREADS: usize = 4;
/// How often high watermarks and log starts are written down.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// How long the disk is left alone between two rounds of flushes: each makes the file system commit
/// its journal, and appends may have to wait for that.
const FLUSH_APART: Duration = Duration::from_millis(100);

/// How logs are looked after. Asked for anew each time, so that a change takes effect.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// How often segments to delete are looked for (`log.retention.check.interval.ms`).
    pub retention_check: Duration,
    /// How much of each log is kept in the system's cache, in bytes.
    pub window_bytes: u64,
    /// How many threads clean (`log.cleaner.threads`); 0 does not (`log.cleaner.enable`).
    pub cleaners: usize,
    /// The memory for the keys of all cleaners together (`log.cleaner.dedupe.buffer.size`).
    pub cleaner_memory_bytes: usize,
    /// How much all cleaners together read and write (`log.cleaner.io.max.bytes.per.second`).
    pub cleaner_bytes_per_second: f64,
    /// How long a cleaner sleeps when there is nothing to clean (`log.cleaner.backoff.ms`).
    pub cleaner_backoff: Duration,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            retention_check: Duration::from_secs(300),
            window_bytes: 256 << 20,
            cleaners: 1,
            cleaner_memory_bytes: 128 << 20,
            cleaner_bytes_per_second: f64::MAX,
            cleaner_backoff: Duration::from_secs(15),
        }
    }
}

/// Says how logs are to be looked after now.
pub type Ask = Arc<dyn Fn() -> KeeperSettings + Send + Sync>;

/// The running threads.
#[derive(Debug)]
pub struct Keeper {
    partitions: Arc<Partitions>,
    threads: Vec<JoinHandle<()>>,
    cleaners: Arc<Cleaners>,
}

/// What the cleaners share.
#[derive(Debug, Default)]
struct Cleaners {
    busy: Mutex<HashSet<TopicPartition>>,
    /// Logs with something that cannot be cleaned; said once.
    hopeless: Mutex<HashSet<(Uuid, TopicPartition)>>,
    pause: Bell,
    stopped: AtomicBool,
}

/// Files on their way out.
#[derive(Debug, Default)]
pub(crate) struct Bin(Mutex<VecDeque<(Duration, Retired)>>);

impl Bin {
    /// Takes files that are to be removed at this time.
    pub(crate) fn put(&self, at: Duration, retired: Retired) {
        self.0.lock().push_back((at, retired));
    }

    fn due(&self, now: Duration) -> Vec<Retired> {
        let mut all = self.0.lock();
        let (due, later): (VecDeque<_>, _) = all.drain(..).partition(|(at, _)| *at <= now);
        *all = later;
        due.into_iter().map(|(_, retired)| retired).collect()
    }
}

impl Keeper {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(partitions: &Arc<Partitions>, clock: &Clock, ask: Ask) -> io::Result<Self> {
        let cleaners = Arc::new(Cleaners::default());
        let mut keeper = Self {
            partitions: Arc::clone(partitions),
            threads: Vec::new(),
            cleaners: Arc::clone(&cleaners),
        };
        let count = ask().cleaners;
        for at in 0..SYNC_THREADS {
            let all = Arc::clone(partitions);
            keeper.spawn(&format!("sync-{at}"), move || sync_loop(&all))?;
        }
        let (all, asked) = (Arc::clone(partitions), Arc::clone(&ask));
        keeper.spawn("window", move || window_loop(&all, &asked))?;
        let (all, asked, time) = (Arc::clone(partitions), Arc::clone(&ask), clock.clone());
        keeper.spawn("keeper", move || keeper_loop(&all, &time, &asked))?;
        for at in 0..count {
            let (all, asked, time) = (Arc::clone(partitions), Arc::clone(&ask), clock.clone());
            let cleaners = Arc::clone(&cleaners);
            let one = move || cleaner_loop(&all, &time, &asked, &cleaners);
            keeper.spawn(&format!("cleaner-{at}"), one)?;
        }
        Ok(keeper)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Stops the threads, each at the next place where it can.
    pub fn stop(self) {
        self.partitions.bells().stop();
        self.cleaners.stopped.store(true, Ordering::Release);
        self.cleaners.pause.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("log maintenance thread panicked");
            }
        }
    }
}

fn sync_loop(all: &Partitions) {
    while let Some(rung) = all.bells().sync.wait_for(1, TICK * 60) {
        for partition in rung {
            if let Err(error) = partition.sync() {
                partition.trouble(&error, "records cannot be made durable");
            }
        }
    }
}

fn window_loop(all: &Partitions, ask: &Ask) {
    while let Some(rung) = all.bells().trim.wait(TICK * 60) {
        let window_bytes = ask().window_bytes;
        for partition in rung {
            partition.trim(window_bytes);
        }
    }
}

fn keeper_loop(all: &Partitions, clock: &Clock, ask: &Ask) {
    let (mut checkpointed, mut retained) = (clock.monotonic(), clock.monotonic());
    let mut late = Late::default();
    while let Some(rung) = all.bells().flush.wait(TICK) {
        let flushed = all.flush(&rung);
        if flushed {
            // Before anything is flushed again: a log keeps what a start by the recovery point
            // before its last one needs, and no more.
            all.written_down(all.write_recovery_points());
        }
        let now = clock.monotonic();
        late.look(all, now);
        if now >= checkpointed + CHECKPOINT_EVERY {
            checkpointed = now;
            all.checkpoint_changes();
        }
        if now >= retained + ask().retention_check {
            retained = now;
            all.retain(clock);
        }
        for retired in all.bin().due(now) {
            if let Err(error) = retired.remove() {
                tracing::warn!(%error, "files of a deleted segment cannot be removed");
            }
        }
        if flushed {
            all.bells().flush.rest(FLUSH_APART);
        }
    }
}

/// Logs whose records must be durable after some time (`flush.ms`), and when.
#[derive(Default)]
struct Late(HashMap<TopicPartition, (Duration, Partition)>);

impl Late {
    fn look(&mut self, all: &Partitions, now: Duration) {
        if all.bells().has_changed() {
            all.each(|it| {
                if let Some(after) = it.undurable_ms() {
                    let due = now + Duration::from_millis(after);
                    self.0.entry(it.name().clone()).or_insert_with(|| (due, it.clone()));
                }
            });
        }
        self.0.retain(|_, (due, partition)| {
            let is_due = *due <= now;
            if is_due {
                let needs = Needs { sync: true, ..Needs::default() };
                all.bells().ring(partition, needs);
            }
            !is_due
        });
    }
}

fn cleaner_loop(all: &Partitions, clock: &Clock, ask: &Ask, cleaners: &Cleaners) {
    while !cleaners.stopped.load(Ordering::Acquire) {
        if !clean_one(all, clock, &ask(), cleaners)
            && cleaners.pause.wait(ask().cleaner_backoff).is_none()
        {
            return;
        }
    }
}

/// Cleans the dirtiest log that is due; was there one?
fn clean_one(
    all: &Partitions,
    clock: &Clock,
    settings: &KeeperSettings,
    cleaners: &Cleaners,
) -> bool {
    let busy = || cleaners.busy.lock();
    let id = |it: &Partition| (it.topic_id(), it.name().clone());
    let hopeless = || cleaners.hopeless.lock();
    let found = {
        let (mut busy, hopeless) = (busy(), hopeless());
        let found = all.filthiest(clock.wall_ms(), |it| {
            !busy.contains(it.name()) && !hopeless.contains(&id(it))
        });
        found.inspect(|(partition, _)| {
            busy.insert(partition.name().clone());
        })
    };
    let Some((partition, dirt)) = found else { return false };
    let begun = clock.monotonic();
    let mut moved = 0.0;
    let share = settings.cleaner_bytes_per_second
        / f64::from(u32::try_from(settings.cleaners.max(1)).unwrap_or(1));
    let mut pace = |bytes: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let more = bytes as f64;
        moved += more;
        let due = Duration::try_from_secs_f64(moved / share).unwrap_or_default();
        let early = (begun + due).saturating_sub(clock.monotonic());
        let stopped = early > TICK / 100 && cleaners.pause.wait(early).is_none();
        if stopped || cleaners.stopped.load(Ordering::Acquire) {
            return Err(StorageError::Failed);
        }
        Ok(())
    };
    let memory = settings.cleaner_memory_bytes / settings.cleaners.max(1);
    let done = all.clean(&partition, &dirt, memory, &mut pace);
    busy().remove(partition.name());
    match done {
        Ok(cleaned) => {
            if let Some(cleaned) = cleaned {
                let took_ms = (clock.monotonic() - begun).as_millis();
                let (upto, saved) = (cleaned.upto, cleaned.saved_bytes);
                tracing::info!(partition = %partition.name(), upto, saved, took_ms, "log compacted");
            }
            true
        }
        Err(StorageError::Failed) => false,
        Err(error) => {
            tracing::error!(partition = %partition.name(), %error, "compaction failed; log skipped until the next start");
            hopeless().insert(id(&partition));
            true
        }
    }
}

impl Partitions {
    /// Flushes these; was there anything to do?
    pub(crate) fn flush(&self, partitions: &[Partition]) -> bool {
        for partition in partitions {
            if let Err(error) = partition.flush() {
                partition.trouble(&error, "cannot be made durable");
            }
        }
        !partitions.is_empty()
    }
}
