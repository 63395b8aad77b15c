//! Background work for a partition: durability, retention, compaction.

use std::time::Duration;

use ottla_clock::Clock;
use ottla_storage::{
    Cleaning, CleaningStep, CleaningTerms, Compaction, Dirt, Retired, StorageError,
};
use ottla_types::{Offset, TimestampMs};

use crate::bells::Ringer as _;
use crate::dir::Dir;
use crate::owner::{Needs, Owner};
use crate::partition::Partition;
use crate::partitions::Partitions;

/// What a cleaning of one partition came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cleaned {
    /// Everything below is clean.
    pub upto: Offset,
    /// How many bytes the log has become smaller by.
    pub saved_bytes: u64,
}

/// What a step of a cleaning came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CleanedPart {
    /// There is more to do; the log has become smaller by so many bytes.
    More {
        /// In this step.
        saved_bytes: u64,
    },
    /// All is done.
    Done,
    /// The log has changed so much meanwhile that the cleaning is worth nothing; the next begins
    /// where this one did.
    Void,
}

impl Partition {
    /// Makes records durable that requests wait for; one call serves all of them. If another
    /// thread is at it, it comes again for what has come meanwhile: a disk that hangs must not take
    /// more than one thread.
    ///
    /// # Errors
    /// The disk fails; the log accepts no more appends.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.rung().answer(Needs { sync: true, ..Needs::default() });
        if !self.rung().begin_sync() {
            return Ok(());
        }
        let begun = self.turn(StorageError::Failed, |owner| owner.log.begin_sync());
        let done = begun.and_then(|sync| {
            let done = self.disk().flushing(|| sync.run());
            self.turn(StorageError::Failed, |owner| owner.log.end_sync(&sync, done))
        });
        self.rung().end_sync();
        // Calls that came meanwhile returned at once: the turn rings again if there is work to do.
        done.and_then(|()| self.turn(StorageError::Failed, |_| Ok(())))
    }

    /// Everything below survives a power cut.
    #[must_use]
    pub fn durable(&self) -> Offset {
        self.peek(|owner| owner.log.durable()).unwrap_or(0)
    }

    /// The time after which unflushed records must be durable (`flush.ms`); `None` if there are
    /// none.
    pub(crate) fn undurable_ms(&self) -> Option<u64> {
        let look = |owner: &Owner| {
            owner.rules().flush_ms.filter(|_| owner.log.durable() < owner.log.log_end())
        };
        self.peek(look).flatten()
    }

    /// Makes everything durable and moves the recovery point.
    ///
    /// # Errors
    /// The disk fails. If only room is missing, a later flush may find some.
    pub fn flush(&self) -> Result<(), StorageError> {
        let _upkeep = self.begin_upkeep();
        self.flush_alone()
    }

    /// As [`Partition::flush`], for a caller that changes files of closed segments alone already.
    fn flush_alone(&self) -> Result<(), StorageError> {
        self.rung().answer(Needs { flush: true, ..Needs::default() });
        let flush = self.turn(StorageError::Failed, |owner| owner.log.begin_flush())?;
        let Some(flush) = flush else { return Ok(()) };
        let done = self.disk().flushing(|| flush.run());
        self.turn(StorageError::Failed, |owner| owner.log.end_flush(flush, done))
    }

    /// Moves the cache window on, and reserves room ahead.
    pub(crate) fn trim(&self, window_bytes: u64) {
        self.rung().answer(Needs { trim: true, ..Needs::default() });
        self.prepare_segment();
        // Last, as it may wait for the disk's queue.
        self.view().trim_cache(window_bytes);
    }

    /// Makes the next segment ready if it will be needed soon.
    fn prepare_segment(&self) {
        // Another thread may hold it and wait for the disk; the next megabytes lead here again.
        let Some(_upkeep) = self.try_upkeep() else { return };
        let Some(wanted) = self.peek(|owner| owner.log.preparation()).flatten() else { return };
        let made = wanted.run().and_then(|spare| {
            let Some(spare) = spare else { return Ok(()) };
            self.turn(StorageError::Failed, |owner| {
                owner.log.set_spare(spare);
                Ok(())
            })
        });
        if let Err(error) = made {
            tracing::debug!(partition = %self.name(), %error, "next segment cannot be prepared");
        }
    }

    /// Gives up segments that are too old, too many, or lie below the log's start; they are
    /// removed by the caller.
    ///
    /// # Errors
    /// The disk fails.
    pub fn retain(&self, now_ms: TimestampMs) -> Result<Option<Retired>, StorageError> {
        let _upkeep = self.begin_upkeep();
        if self.is_moving() {
            return Ok(None);
        }
        let Some(retention) = self.peek(|owner| owner.rules().retention) else { return Ok(None) };
        let limit = self.ends().high_watermark;
        let Some(offset) = self.view().expired(retention, limit, now_ms)? else {
            return Ok(None);
        };
        if self.durable() < offset {
            // If the power went before the old segments have lost their names, the segments after
            // them could be lost: a gap between records that are durable.
            self.flush_alone()?;
        }
        let retired = self.turn(StorageError::Failed, |owner| owner.log.retire_before(offset))?;
        if let Some(retired) = &retired {
            tracing::info!(partition = %self.name(), log_start = offset, "old segments deleted");
            retired.mark()?;
        }
        Ok(retired)
    }

    /// What there is to clean, if the partition is compacted and it is time; everything below
    /// `clean_offset` is clean.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn due_dirt(
        &self,
        clean_offset: Offset,
        now_ms: TimestampMs,
    ) -> Result<Option<Dirt>, StorageError> {
        let Some(rules) = self.peek(|owner| owner.rules().compaction).flatten() else {
            return Ok(None);
        };
        let dirt = self.view().dirt(clean_offset, self.ends().last_stable, &rules, now_ms)?;
        Ok(dirt.is_due(&rules, now_ms).then_some(dirt))
    }

    /// Begins a cleaning; `terms` get the topic's compaction settings. `None` if the topic is not
    /// compacted, or the partition closed.
    pub(crate) fn plan_cleaning(
        &self,
        terms: impl FnOnce(Compaction) -> CleaningTerms,
    ) -> Option<Cleaning> {
        let begin =
            |owner: &Owner| Some(owner.log.begin_cleaning(terms(owner.rules().compaction?)));
        self.peek(begin).flatten()
    }

    /// Goes on with a cleaning for about so many bytes; old segments go to `retire`.
    ///
    /// # Errors
    /// The disk fails, or a batch is broken. [`StorageError::Failed`] if the partition was closed,
    /// or is moved to another directory.
    pub(crate) fn clean_step(
        &self,
        cleaning: &mut Cleaning,
        bytes_max: u64,
        retire: &mut dyn FnMut(Retired),
    ) -> Result<CleanedPart, StorageError> {
        let _alone = self.begin_cleaning();
        let is_here = self.peek(|_| self.folder() == cleaning.folder());
        if self.is_moving() || is_here != Some(true) {
            return Err(StorageError::Failed);
        }
        let swap = match cleaning.step(bytes_max)? {
            CleaningStep::More => return Ok(CleanedPart::More { saved_bytes: 0 }),
            CleaningStep::Done => return Ok(CleanedPart::Done),
            CleaningStep::Swap(swap) => swap,
        };
        let _upkeep = self.begin_upkeep();
        let replaced = self.turn(StorageError::Failed, |owner| Ok(owner.log.replace(&swap)))?;
        if !replaced {
            swap.abandon()?;
            return Ok(CleanedPart::Void);
        }
        retire(swap.finish()?);
        Ok(CleanedPart::More { saved_bytes: swap.saved_bytes() })
    }
}

impl Partitions {
    /// Those of a directory whose flush brings what is unflushed in it below `bytes_max`, the most
    /// first.
    pub(crate) fn with_most_unflushed(&self, dir: &Dir, bytes_max: u64) -> Vec<Partition> {
        let mut all = Vec::new();
        for it in self.all_in(dir) {
            let unflushed = it.peek(|owner| owner.log.unflushed_bytes()).unwrap_or(0);
            if unflushed > 0 {
                all.push((unflushed, it));
            }
        }
        all.sort_by_key(|(unflushed, _)| std::cmp::Reverse(*unflushed));
        let mut left: u64 = all.iter().map(|(unflushed, _)| *unflushed).sum();
        let excess = all.into_iter().take_while(|(unflushed, _)| {
            let is_too_much = left > bytes_max;
            left -= unflushed;
            is_too_much
        });
        excess.map(|(_, partition)| partition).collect()
    }

    /// Deletes what the topics' retention no longer keeps, in all partitions.
    pub fn retain(&self, clock: &Clock) {
        self.dirs.iter().for_each(|dir| self.retain_in(dir, clock));
    }

    /// Deletes what the topics' retention no longer keeps, in the partitions of a directory.
    pub(crate) fn retain_in(&self, dir: &Dir, clock: &Clock) {
        let mut any = false;
        for partition in self.all_in(dir) {
            match partition.retain(clock.wall_ms()) {
                Ok(Some(retired)) => {
                    any = true;
                    let delay = partition.rules().delete_delay_ms;
                    let at = clock.monotonic() + Duration::from_millis(delay);
                    dir.bin.put(at, retired);
                }
                Ok(None) => {}
                Err(error) => partition.trouble(&error, "old segments cannot be deleted"),
            }
        }
        let written =
            if any && !dir.trouble.has_failed() { self.checkpoint_dir(dir) } else { Ok(()) };
        if let Err(error) = written {
            let directory = dir.dir.path().display();
            tracing::error!(
                %directory,
                %error,
                "checkpoint files cannot be written after old segments were deleted; retrying"
            );
        }
    }
}
