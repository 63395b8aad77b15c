//! Compaction in the background: each cleaner takes the dirtiest log that no other is at.

use ottla_locks::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::{Clock, Next, Pause, Task};
use ottla_storage::StorageError;
use ottla_types::{TopicPartition, Uuid};

use crate::keeper::KeeperSettingsSource;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// What it is not worth to wait for.
const MOMENT: Duration = Duration::from_millis(10);

/// What the cleaners share.
pub(crate) struct Cleaners {
    all: Arc<Partitions>,
    clock: Clock,
    ask: KeeperSettingsSource,
    busy: Mutex<HashSet<TopicPartition>>,
    /// Logs with something that cannot be cleaned; said once.
    hopeless: Mutex<HashSet<(Uuid, TopicPartition)>>,
    pause: Arc<Pause>,
}

impl Cleaners {
    pub(crate) fn new(
        all: &Arc<Partitions>,
        clock: &Clock,
        ask: KeeperSettingsSource,
        pause: Arc<Pause>,
    ) -> Arc<Self> {
        let (busy, hopeless) = (Mutex::default(), Mutex::default());
        let (all, clock) = (Arc::clone(all), clock.clone());
        Arc::new(Self { all, clock, ask, busy, hopeless, pause })
    }

    /// One cleaner.
    pub(crate) fn task(self: &Arc<Self>) -> Task {
        let cleaners = Arc::clone(self);
        Task::new("cleaner", move || {
            let found = cleaners.clean_one();
            Next::After(if found { Duration::ZERO } else { (cleaners.ask)().cleaner_backoff })
        })
    }

    /// Cleans the dirtiest log that is due; was there one?
    fn clean_one(&self) -> bool {
        let settings = (self.ask)();
        let id = |it: &Partition| (it.topic_id(), it.name().clone());
        let found = {
            let (mut busy, hopeless) = (self.busy.lock(), self.hopeless.lock());
            let found = self.all.filthiest(self.clock.wall_ms(), |it| {
                !busy.contains(it.name()) && !hopeless.contains(&id(it))
            });
            found.inspect(|(partition, _)| {
                busy.insert(partition.name().clone());
            })
        };
        let Some((partition, dirt)) = found else { return false };
        let begun = self.clock.monotonic();
        let mut moved = 0.0;
        let share = settings.cleaner_bytes_per_second
            / f64::from(u32::try_from(settings.cleaners.max(1)).unwrap_or(1));
        let mut pace = |bytes: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let more = bytes as f64;
            moved += more;
            let due = Duration::try_from_secs_f64(moved / share).unwrap_or_default();
            let early = (begun + due).saturating_sub(self.clock.monotonic());
            let rest = if early > MOMENT { early } else { Duration::ZERO };
            self.pause.rest(rest).map_err(|_| StorageError::Failed)
        };
        let memory = settings.cleaner_memory_bytes / settings.cleaners.max(1);
        let done = self.all.clean(&partition, &dirt, memory, &mut pace);
        self.busy.lock().remove(partition.name());
        match done {
            Ok(cleaned) => {
                if let Some(cleaned) = cleaned {
                    let took_ms = (self.clock.monotonic() - begun).as_millis();
                    let (upto, saved) = (cleaned.upto, cleaned.saved_bytes);
                    tracing::info!(partition = %partition.name(), upto, saved, took_ms, "log compacted");
                }
                true
            }
            Err(StorageError::Failed) => false,
            Err(error) => {
                tracing::error!(partition = %partition.name(), %error, "compaction failed; log skipped until the next start");
                self.hopeless.lock().insert(id(&partition));
                true
            }
        }
    }
}
