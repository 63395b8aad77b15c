//! The upkeep of logs, so that serving threads never wait for a disk: tasks on lanes.
//!
//! | work | comes | does |
//! |---|---|---|
//! | sync | at once when a producer waits for durability | one fsync for all producers that wait |
//! | window | every few megabytes written | early write-back, lets go of old pages, reserves room |
//! | upkeep | every 64 MB of a log, and each second | flushes, checkpoints, retention, unlinking |
//! | cleaner | when a compacted log is dirty enough | compaction |
//!
//! Each data directory has a share of its own in the first three (see [`crate::Lanes`]); cleaners
//! work for all directories, as many as `log.cleaner.threads` says.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::{Clock, Next, Share, Task};
use ottla_types::TopicPartition;

use crate::cleaner::Cleaners;
use crate::dir::Dir;
use crate::owner::Needs;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// How often the upkeep of a directory looks around.
const TICK: Duration = Duration::from_secs(1);
/// How often high watermarks and log starts are written down.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// How long the disk is left alone between two rounds of flushes: each makes the file system commit
/// its journal, and appends may have to wait for that.
const FLUSH_APART: Duration = Duration::from_millis(100);

/// How logs are kept up. Read each time, so that a change takes effect.
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

impl KeeperSettings {
    /// How much each of the cleaners may read and write a second.
    pub(crate) fn bytes_per_second_of_each(&self) -> f64 {
        let cleaners = u32::try_from(self.cleaners.max(1)).unwrap_or(u32::MAX);
        self.cleaner_bytes_per_second / f64::from(cleaners)
    }
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

/// Returns the settings of the upkeep that are in force now.
pub type KeeperSettingsSource = Arc<dyn Fn() -> KeeperSettings + Send + Sync>;

/// Runs the upkeep of logs until it is stopped.
#[derive(Debug)]
pub struct Keeper {
    partitions: Arc<Partitions>,
}

impl Keeper {
    /// Starts the upkeep of the logs, on the lanes of the partitions.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        partitions: &Arc<Partitions>,
        clock: &Clock,
        ask: KeeperSettingsSource,
    ) -> io::Result<Self> {
        let (lanes, bells) = (&partitions.lanes, partitions.bells());
        lanes.keep_threads()?;
        bells.start_syncing(&lanes.sync);
        for share in partitions.dirs.iter().map(|dir| dir.share) {
            let bells = bells.of(share);
            let task = window_task(share, Arc::clone(partitions), Arc::clone(&ask));
            bells.trim.answer_by(lanes.upkeep.start_task(share, task));
            let task = upkeep_task(share, Arc::clone(partitions), clock.clone(), Arc::clone(&ask));
            bells.flush.answer_by(lanes.upkeep.start_task(share, task));
        }
        let count = ask().cleaners;
        let cleaners = Cleaners::new(partitions, clock, ask);
        for at in 0..count {
            lanes.cleaning.keep_thread()?;
            // It comes by itself; nothing rings for it.
            drop(lanes.cleaning.start_task(Share(at), cleaners.task()));
        }
        Ok(Self { partitions: Arc::clone(partitions) })
    }

    /// Stops, each task at the next place where it can; nothing runs on the lanes afterwards.
    pub fn stop(self) {
        self.partitions.lanes.stop();
    }
}

/// Keeps the cache windows of a directory.
fn window_task(share: Share, all: Arc<Partitions>, ask: KeeperSettingsSource) -> Task {
    Task::new("window", move || {
        let rung = all.bells().of(share).trim.take();
        if !rung.is_empty() {
            let window_bytes = ask().window_bytes;
            rung.iter().for_each(|partition| partition.trim(window_bytes));
        }
        Next::WhenRung { at_most: Duration::MAX }
    })
}

/// Keeps the files of a directory.
fn upkeep_task(
    share: Share,
    all: Arc<Partitions>,
    clock: Clock,
    ask: KeeperSettingsSource,
) -> Task {
    let (mut checkpointed, mut retained) = (clock.monotonic(), clock.monotonic());
    let mut late = Late::default();
    Task::new("upkeep", move || {
        let dir = &all.dirs[share.0];
        let flushed = all.flush(&all.bells().of(share).flush.take());
        if flushed {
            // Before anything is flushed again: a log keeps what a start by the recovery point
            // before its last one needs, and no more.
            all.note_recovery_points(dir);
        }
        let now = clock.monotonic();
        late.look(&all, dir, now);
        if now >= checkpointed + CHECKPOINT_EVERY {
            checkpointed = now;
            all.checkpoint_changes(dir);
        }
        if now >= retained + ask().retention_check {
            retained = now;
            all.retain_in(dir, &clock);
        }
        dir.bin.empty(now);
        dir.trouble.end_shortage();
        if flushed { Next::After(FLUSH_APART) } else { Next::WhenRung { at_most: TICK } }
    })
}

/// Logs whose records must be durable after some time (`flush.ms`), and when.
#[derive(Default)]
struct Late(BTreeMap<TopicPartition, (Duration, Partition)>);

impl Late {
    fn look(&mut self, all: &Partitions, dir: &Dir, now: Duration) {
        if all.bells().of(dir.share).has_changed() {
            all.each(|partition| {
                if partition.directory() != dir.id {
                    return;
                }
                if let Some(after) = partition.undurable_ms() {
                    let due = now + Duration::from_millis(after);
                    self.0
                        .entry(partition.name().clone())
                        .or_insert_with(|| (due, partition.clone()));
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

impl Partitions {
    /// Flushes these; was there anything to do?
    pub(crate) fn flush(&self, partitions: &[Partition]) -> bool {
        for partition in partitions {
            if let Err(error) = partition.flush() {
                partition.trouble(&error, "log cannot be flushed");
            }
        }
        !partitions.is_empty()
    }
}
