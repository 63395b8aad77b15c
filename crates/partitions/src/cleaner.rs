//! Compaction in the background: each cleaner takes the dirtiest log that no other is at.
//!
//! A round of a cleaner reads and writes a few megabytes, or less where its rate is low; then the
//! cleaner rests until it may move more. Between two rounds it holds no lock and no thread.

use ottla_locks::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::{Clock, Next, Task};
use ottla_storage::{Cleaning, CleaningTerms, Dirt, StorageError};
use ottla_types::{Offset, TimestampMs, TopicPartition, Uuid};

use crate::keeper::{KeeperSettings, KeeperSettingsSource};
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::upkeep::{Cleaned, CleanedPart};

/// What it is not worth to wait for.
const MOMENT: Duration = Duration::from_millis(10);
/// How much a round moves at most, and at least, in bytes: a stop waits for a round, and each
/// round reads a megabyte ahead.
const ROUND_BYTES_MAX: u64 = 16 << 20;
const ROUND_BYTES_MIN: u64 = 1 << 20;
/// For how much time a round moves at most at its rate, in seconds.
const ROUND_SECONDS: f64 = 0.1;

/// What the cleaners share.
pub(crate) struct Cleaners {
    all: Arc<Partitions>,
    clock: Clock,
    settings: KeeperSettingsSource,
    /// The logs that are being cleaned: no two cleaners clean the same.
    busy: Mutex<HashSet<TopicPartition>>,
    /// Logs in which a cleaning has failed; they are left alone until the next start, so that each
    /// failure is logged once. A new topic of the same name has another id, and its chance.
    uncleanable: Mutex<HashSet<(Uuid, TopicPartition)>>,
}

/// A cleaning between its begin and its end.
struct CleaningRun {
    partition: Partition,
    cleaning: Cleaning,
    saved_bytes: u64,
    begun: Duration,
}

impl Cleaners {
    pub(crate) fn new(
        all: &Arc<Partitions>,
        clock: &Clock,
        settings: KeeperSettingsSource,
    ) -> Arc<Self> {
        let (busy, uncleanable) = (Mutex::default(), Mutex::default());
        let (all, clock) = (Arc::clone(all), clock.clone());
        Arc::new(Self { all, clock, settings, busy, uncleanable })
    }

    /// One cleaner.
    pub(crate) fn task(self: &Arc<Self>) -> Task {
        let cleaners = Arc::clone(self);
        let mut run = None;
        Task::new("cleaner", move || cleaners.round(&mut run))
    }

    /// Goes on with what is under way, or begins with the dirtiest log that is due.
    fn round(&self, under_way: &mut Option<CleaningRun>) -> Next {
        let settings = (self.settings)();
        let Some(mut run) = under_way.take().or_else(|| self.begin(&settings)) else {
            return Next::After(settings.cleaner_backoff);
        };
        let rate = settings.bytes_per_second_of_each();
        match self.all.clean_step(&mut run, round_bytes(rate)) {
            Ok(CleanedPart::More { .. }) => {
                let rest = self.rest(&run, rate);
                *under_way = Some(run);
                Next::After(rest)
            }
            Ok(CleanedPart::Done | CleanedPart::Void) => {
                self.end(&run);
                Next::After(Duration::ZERO)
            }
            // The partition is gone, or on its way to another directory.
            Err(StorageError::Failed) => {
                self.busy.lock().remove(run.partition.name());
                Next::After(settings.cleaner_backoff)
            }
            Err(error) => {
                let partition = &run.partition;
                tracing::error!(
                    partition = %partition.name(),
                    %error,
                    "compaction failed; log skipped until the next start"
                );
                self.uncleanable.lock().insert(full_name(partition));
                self.busy.lock().remove(partition.name());
                Next::After(Duration::ZERO)
            }
        }
    }

    fn begin(&self, settings: &KeeperSettings) -> Option<CleaningRun> {
        let (partition, dirt) = {
            let (mut busy, uncleanable) = (self.busy.lock(), self.uncleanable.lock());
            let found = self.all.dirtiest(self.clock.wall_ms(), |partition| {
                !busy.contains(partition.name()) && !uncleanable.contains(&full_name(partition))
            })?;
            busy.insert(found.0.name().clone());
            found
        };
        let memory_bytes = settings.cleaner_memory_bytes / settings.cleaners.max(1);
        let run = self.all.begin_cleaning(&partition, dirt, memory_bytes);
        if run.is_none() {
            self.busy.lock().remove(partition.name());
        }
        run
    }

    /// How long a cleaner must rest so that it does not move more than its rate allows.
    fn rest(&self, run: &CleaningRun, rate: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let moved = run.cleaning.moved_bytes() as f64;
        let due = Duration::try_from_secs_f64(moved / rate).unwrap_or_default();
        let early = (run.begun + due).saturating_sub(self.clock.monotonic());
        if early > MOMENT { early } else { Duration::ZERO }
    }

    fn end(&self, run: &CleaningRun) {
        self.busy.lock().remove(run.partition.name());
        let took_ms = (self.clock.monotonic() - run.begun).as_millis();
        let Cleaned { upto, saved_bytes } = run.cleaned();
        tracing::info!(
            partition = %run.partition.name(),
            upto,
            saved = saved_bytes,
            took_ms,
            "log compacted"
        );
    }
}

/// How many bytes a round moves, at so many bytes a second.
fn round_bytes(rate: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and a rate need not be exact"
    )]
    let bytes = (rate * ROUND_SECONDS) as u64;
    bytes.clamp(ROUND_BYTES_MIN, ROUND_BYTES_MAX)
}

fn full_name(partition: &Partition) -> (Uuid, TopicPartition) {
    (partition.topic_id(), partition.name().clone())
}

impl CleaningRun {
    fn cleaned(&self) -> Cleaned {
        Cleaned { upto: self.cleaning.upto(), saved_bytes: self.saved_bytes }
    }
}

impl Partitions {
    /// The dirtiest compacted partition for which it is time, of those that are `wanted`.
    fn dirtiest(
        &self,
        now_ms: TimestampMs,
        wanted: impl Fn(&Partition) -> bool,
    ) -> Option<(Partition, Dirt)> {
        let mut dirtiest: Option<(Partition, Dirt)> = None;
        for partition in self.index().compacted() {
            if !wanted(partition) || partition.is_moving() {
                continue;
            }
            let clean_offset = self.clean_offset(partition);
            if let Ok(Some(dirt)) = partition.due_dirt(clean_offset, now_ms)
                && dirtiest.as_ref().is_none_or(|(_, most)| most.millionths() < dirt.millionths())
            {
                dirtiest = Some((partition.clone(), dirt));
            }
        }
        dirtiest
    }

    /// Up to where a partition is clean.
    fn clean_offset(&self, partition: &Partition) -> Offset {
        let home = self.home_of(partition);
        let known = home.and_then(|home| home.clean.lock().0.get(partition.name()).copied());
        known.unwrap_or(0)
    }

    /// Begins to clean a partition; `None` if its topic is not compacted any more, or it is closed.
    fn begin_cleaning(
        &self,
        partition: &Partition,
        dirt: Dirt,
        memory_bytes: usize,
    ) -> Option<CleaningRun> {
        let (now_ms, seed) = (self.clock.wall_ms(), self.clock.random_bytes());
        let terms = |rules| CleaningTerms { rules, dirt, now_ms, memory_bytes, seed };
        let cleaning = partition.plan_cleaning(terms)?;
        let (partition, begun) = (partition.clone(), self.clock.monotonic());
        Some(CleaningRun { partition, cleaning, saved_bytes: 0, begun })
    }

    /// Goes on with a cleaning for about so many bytes; when all is done, it is written down up to
    /// where the partition is clean.
    ///
    /// # Errors
    /// The disk fails, or a batch is broken. [`StorageError::Failed`] if the partition was closed,
    /// or is moved to another directory.
    fn clean_step(
        &self,
        run: &mut CleaningRun,
        bytes_max: u64,
    ) -> Result<CleanedPart, StorageError> {
        let partition = &run.partition;
        let home = self.home_of(partition).ok_or(StorageError::Failed)?;
        let delay = Duration::from_millis(partition.rules().delete_delay_ms);
        let mut retire = |retired| home.bin.put(self.clock.monotonic() + delay, retired);
        let part = partition.clean_step(&mut run.cleaning, bytes_max, &mut retire)?;
        match part {
            CleanedPart::More { saved_bytes } => run.saved_bytes += saved_bytes,
            CleanedPart::Done => {
                let mut clean = home.clean.lock();
                clean.0.insert(partition.name().clone(), run.cleaning.upto());
                home.dir.set_clean_offsets(&clean)?;
            }
            CleanedPart::Void => {}
        }
        Ok(part)
    }

    /// Cleans every compacted partition that is dirty enough, now and on this thread; returns how
    /// many were.
    ///
    /// # Errors
    /// The disk fails, or a batch is broken.
    pub fn clean_all(&self) -> Result<usize, StorageError> {
        let mut cleaned = 0;
        while let Some((partition, dirt)) = self.dirtiest(self.clock.wall_ms(), |_| true) {
            let Some(mut run) = self.begin_cleaning(&partition, dirt, usize::MAX) else { break };
            while matches!(self.clean_step(&mut run, u64::MAX)?, CleanedPart::More { .. }) {}
            cleaned += 1;
        }
        Ok(cleaned)
    }
}
